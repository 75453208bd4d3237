"""Proposing: choosing the parent, having the block built, and justifying it."""

from dataclasses import replace

from p2pledger.chain.block import (
    BLOCK_EVIDENCE_MAX,
    JUSTIFICATION_BYTES_MAX,
    JUSTIFICATION_SKIPS_MAX,
    Justification,
    Proposal,
)
from p2pledger.chain.vote import Certificate, Vote, notarise
from p2pledger.consensus.checks import recordable
from p2pledger.consensus.events import Build, Built, Judgement
from p2pledger.consensus.situation import Situation
from p2pledger.consensus.tree import Block
from p2pledger.consensus.voting import want_certificates
from p2pledger.types import Hash, Height, Millis, Signature, View

UNSIGNED = Signature(bytes(64))
"""Stands in a leader's own proposal until the signer has made its vote durable."""


def propose(s: Situation) -> None:
    """If this node leads the current view and has not proposed in it: when it is time, have it built."""
    if s.voice.index is None or s.leader(s.view) != s.voice.index or s.view in s.tally.proposals:
        return
    if s.building == s.view or not s.voice.allows(notarise(s.epoch, s.view, s.base_digest)):
        return
    parent = choose_parent(s)
    if parent is None:
        _want_certificates(s)
        return
    digest, view = parent
    known = s.known(digest)
    assert known is not None, "an executed parent is held"
    height, time_ms = known
    if height == s.boundary_height:
        _propose_again(s, digest, view)
    elif s.now >= propose_ms(s, digest):
        s.building = s.view
        s.out.work.append(_build(s, digest, view, height, time_ms))


def propose_ms(s: Situation, parent: Hash) -> Millis:
    """When a child of this parent is due."""
    if s.evidence:
        s.pacing.count_work(s.now)
    return s.pacing.propose_ms(s.certified_ms.get(parent, s.pacing.entered_ms))


def choose_parent(s: Situation) -> tuple[Hash, View] | None:
    """The highest notarised block below the view that was executed and above which all is skipped.

    None while a certificate or an execution is awaited.
    """
    view = View(s.view - 1)
    while view > s.final_view:
        notarised = s.tally.notarised.get(view)
        if notarised is not None and s.tree.is_executed(notarised.ballot.digest):
            return notarised.ballot.digest, view
        if view not in s.tally.skipped:
            return None
        view = View(view - 1)
    return None if s.is_final_awaited else (s.tree.root.digest, s.final_view)


def _want_certificates(s: Situation) -> None:
    """Ask for the views that are neither notarised nor skipped, as far as is known here."""
    for view in range(s.final_view + 1, s.view):
        if view not in s.tally.notarised and view not in s.tally.skipped:
            want_certificates(s, View(view), s.others)
            return


def _build(s: Situation, digest: Hash, view: View, height: Height, time_ms: Millis) -> Build:
    branch, _ = s.tree.branch(digest)
    fresh = recordable(s.evidence.values(), s.recorded(digest))
    return Build(
        epoch=s.epoch,
        view=s.view,
        height=Height(height + 1),
        parent_digest=digest,
        parent_view=view,
        time_ms=Millis(max(s.now, time_ms + 1)),
        proposer=s.leader(s.view),
        evidence=tuple(fresh[:BLOCK_EVIDENCE_MAX]),
        is_boundary=height + 1 == s.boundary_height,
        is_empty=len(branch) >= s.setting.parameters.unfinal_blocks_max,
    )


def on_built(s: Situation, built: Built) -> None:
    """The block that was asked for is there: propose it, unless the view has passed or it is idle talk."""
    s.building = None
    header = built.header
    if built.view != s.view or s.view in s.tally.proposals or header.epoch != s.epoch:
        return
    if choose_parent(s) != (header.parent_digest, header.parent_view):
        return  # a better parent was certified meanwhile: the next settling has its child built
    carries = bool(built.transaction_ids or built.evidence) or s.carries_work(header.parent_digest)
    is_idle = not carries and not s.carries_work(s.best_parent()[0])
    certified = s.certified_ms.get(header.parent_digest, s.pacing.entered_ms)
    if is_idle and s.now < certified + s.setting.parameters.idle_interval_ms:
        s.pacing.pending_since_ms = None  # nothing of what was pending could be included
        return
    block = Block(header, built.transaction_ids, built.evidence, Judgement.VALID, next_set=built.next_set)
    _draft(s, s.tree.add(block), header.parent_view)


def _propose_again(s: Situation, digest: Hash, view: View) -> None:
    block = s.tree.get(digest)
    assert block is not None, "a boundary block that is final ends its epoch"
    _draft(s, block, view)


def _draft(s: Situation, block: Block, parent_view: View) -> None:
    """Have the leader's N vote signed; with it, `on_signed` completes and sends the proposal."""
    assert s.voice.index is not None
    ballot = notarise(s.epoch, s.view, block.header.digest)
    block.proposal = Proposal(
        block.header,
        block.transaction_ids,
        block.evidence,
        justify(s, parent_view),
        s.tally.final or s.boundaries.get(s.epoch - 1),  # type: ignore[call-overload]
        Vote(ballot, s.voice.index, UNSIGNED),
    )
    s.ask_for_vote(ballot, block)


def justify(s: Situation, parent_view: View) -> Justification:
    """The certificates that allow a parent of this view in the current view."""
    parent: Certificate | None = s.tally.notarised.get(parent_view)
    if parent is None and s.tally.final is not None and s.final_view == parent_view:
        parent = s.tally.final
    skips: list[Certificate] = []
    size = 0
    for view in range(parent_view + 1, s.view):
        certificate = s.tally.skipped[View(view)]
        size += 66 * len(certificate.signatures) + 128
        if size > JUSTIFICATION_BYTES_MAX or len(skips) >= JUSTIFICATION_SKIPS_MAX:
            break
        skips.append(certificate)
    return Justification(parent, tuple(skips))


def on_own_notarise(s: Situation, vote: Vote) -> bool:
    """A leader's own N vote came back: send the proposal it completes. False when there is none."""
    block = s.tree.get(vote.ballot.digest)
    draft = block.proposal if block is not None else None
    if block is None or draft is None or s.leader(vote.ballot.view) != s.voice.index:
        return False
    if draft.vote.ballot != vote.ballot:
        return False
    block.proposal = replace(draft, vote=vote)
    s.tally.proposals[vote.ballot.view] = block.proposal
    s.say(block.proposal)
    return True
