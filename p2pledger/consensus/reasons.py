"""What one core waits for, in plain words, the deepest cause first.

Nothing here changes the situation or verifies a signature.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress

from p2pledger.chain.block import Proposal
from p2pledger.chain.message import BodiesRequest, CertificatesRequest
from p2pledger.chain.vote import VoteKind
from p2pledger.consensus.asking import OpenQuestion
from p2pledger.consensus.causes import Cause, Reason
from p2pledger.consensus.events import Judgement
from p2pledger.consensus.finality import BLOCKS_KEY
from p2pledger.consensus.look import Look, span
from p2pledger.consensus.pacing import DELTA_GROWTH_MAX
from p2pledger.consensus.situation import Situation
from p2pledger.consensus.voice import LOST_GUARD, NO_GUARD
from p2pledger.consensus.voting import (
    BODIES_KEY,
    CERTIFICATES_KEY,
    PROPOSAL_KEY,
    hold_until,
    missing_certificates,
)
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Height, Millis, PeerId

STUCK_MS = 10_000
"""A core steps every status interval at least: one that did not for so long is held up by its node."""


def reasons_of(
    s: Situation, now: Millis, connected: Collection[PeerId] | None, waiting_since: Millis | None
) -> tuple[Reason, ...]:
    """All that this core waits for, the deepest cause first; never empty. Pure.

    `connected`: the peers that the node has a connection to, None when that is not known.
    `waiting_since`: when the oldest transaction of the mempool arrived, None when there is none.
    """
    look = Look(s, now, connected, waiting_since)
    found = [reason for judge in _JUDGES for reason in judge(look)]
    if not any(reason.is_trouble for reason in found):
        found += _nothing_final(look) or _all_is_well(look, {reason.cause for reason in found})
    return tuple(found)


def _node_stuck(look: Look) -> Iterator[Reason]:
    stuck_ms = look.now - look.s.now
    if stuck_ms >= max(STUCK_MS, 2 * look.parameters.status_interval_ms):
        yield Reason(
            Cause.NODE_STUCK, True, f"This node's agreement has not taken a step for {span(stuck_ms)}."
        )


def _own_voice(look: Look) -> Iterator[Reason]:
    s, voice = look.s, look.s.voice
    if s.setting.key is None:
        return
    if voice.index is None:
        yield Reason(Cause.NOT_A_MEMBER, False, f"This node is no authority of epoch {s.epoch}: it follows.")
    elif voice.notice == NO_GUARD:
        yield Reason(
            Cause.GUARD_MISSING,
            True,
            "No guard was found for this node's key: what it has signed is not known, so it does not vote.",
        )
    elif voice.notice == LOST_GUARD:
        yield Reason(
            Cause.GUARD_LOST,
            True,
            "A vote of this node's key was met that its guard does not know: the guard was lost or is an old"
            " copy, or a second node runs with this key. It does not vote.",
        )
    elif voice.is_waiting:
        until = "until another authority is heard"
        if voice.waits_until_ms is not None:
            left = span(voice.waits_until_ms - look.now)
            wanted = s.authorities.quorum - 1
            until = f"until {wanted} others have answered ({len(voice.answered)} have), or for {left} more"
        yield Reason(
            Cause.LISTENING, False, f"This node has come back and does not vote yet: it waits {until}."
        )


def _heard(look: Look) -> Iterator[Reason]:
    """Whether there are enough authorities to decide anything."""
    pacing, n, quorum = look.s.pacing, len(look.s.authorities), look.s.authorities.quorum
    others = [i for i in range(n) if i != look.own]
    if look.own is None:
        yield from _connections(look, others)
        return
    silent = [i for i in others if pacing.is_silent(i, look.now)]
    if not silent:
        return
    heard = [i for i in others if i not in silent]
    if len(heard) + 1 < quorum:
        yield Reason(
            Cause.NO_QUORUM_HEARD,
            True,
            f"It takes {quorum} of the {n} authorities to decide, and only these are there:"
            f" {look.names([look.own, *heard])}. Nothing was heard of {look.names(silent)} for"
            f" {look.silence(silent)}.",
            look.about(silent),
        )
    else:
        yield Reason(
            Cause.AUTHORITY_SILENT,
            False,
            f"Nothing was heard of {look.names(silent)} for {look.silence(silent)}; the others decide.",
            look.about(silent),
        )


def _connections(look: Look, authorities: Sequence[int]) -> Iterator[Reason]:
    """What a follower sees: it hears of authorities only whether a connection stands."""
    p, members, quorum = look.parameters, look.s.authorities.members, look.s.authorities.quorum
    if look.connected is None:
        return
    away = [i for i in authorities if members[i].peer not in look.connected]
    there = len(members) - len(away)
    patience_ms = 3 * p.delta_ms + look.grace_ms
    is_quiet = (
        look.quiet_ms > p.idle_interval_ms + patience_ms or look.work_ms > p.block_interval_ms + patience_ms
    )
    if there < quorum and is_quiet:
        cause = Cause.NO_QUORUM_HEARD if there else Cause.NO_AUTHORITY_CONNECTED
        yield Reason(
            cause,
            True,
            f"It takes {quorum} of the {len(members)} authorities to decide, and this node is connected to"
            f" {there or 'none'} of them, not to {look.names(away)}. Nothing has become final here for"
            f" {span(look.quiet_ms)}.",
            look.about(away),
        )
    elif away:
        yield Reason(
            Cause.AUTHORITY_SILENT,
            False,
            f"This node is not connected to {look.names(away)}.",
            look.about(away),
        )


def _behind(look: Look) -> Iterator[Reason]:
    """More than may lie say that there are later final blocks than here."""
    s, faulty = look.s, look.s.authorities.faulty
    own = (s.epoch, Height(s.tree.root.height + 1))
    ahead = [i for i, state in sorted(s.peers.items()) if (state.epoch, state.final_height) > own]
    if len(ahead) <= faulty:
        return
    height = sorted((s.peers[i].final_height for i in ahead), reverse=True)[faulty]
    lacking = height - s.tree.root.height
    is_trouble = look.quiet_ms >= look.grace_ms
    if is_trouble or lacking > look.parameters.unfinal_blocks_max:
        progress = f"got none for {span(look.quiet_ms)}" if is_trouble else "is fetching them"
        yield Reason(
            Cause.BEHIND,
            is_trouble,
            f"Block {height} is final at {look.names(ahead)}; this node is {lacking} blocks behind, and"
            f" {progress}.",
            look.about(ahead),
        )


def _final_not_executed(look: Look) -> Iterator[Reason]:
    final = look.s.tally.final
    if final is None or not look.is_final_late:
        return
    known = look.s.known(final.ballot.digest)
    what = f"Block {known[0]}" if known is not None else "A block"
    yield Reason(
        Cause.FINAL_NOT_EXECUTED,
        True,
        f"{what} of view {final.ballot.view} is known to be final, and nothing has become final here for"
        f" {span(look.now - look.final_known_ms)}: it is not executed yet.",
    )


def _asked(look: Look) -> Iterator[Reason]:
    """What this node lacks: trouble once it holds something up, worth a word once it was asked in vain."""
    is_late = look.is_late or look.is_final_late
    found: dict[Cause, list[tuple[str, OpenQuestion]]] = {}
    for question in look.questions:
        lacking = _lacking(look, question)
        if lacking is not None and (is_late or question.attempts):
            found.setdefault(lacking[0], []).append((lacking[1], question))
    for cause, lackings in found.items():
        what, question = lackings[0]
        more = f" (and {len(lackings) - 1} more of the kind)" if len(lackings) > 1 else ""
        tries = f", after {question.attempts} in vain" if question.attempts else ""
        sentence = f"{what} not here{more}; asked now{tries}: {look.name(question.peer)}."
        yield Reason(cause, is_late, sentence, look.about([question.peer]))


def _lacking(look: Look, question: OpenQuestion) -> tuple[Cause, str] | None:
    """What a question is for, in words; None for one that is asked just in case."""
    s = look.s
    if question.key == BLOCKS_KEY:
        is_wanted = s.is_final_awaited or any(_behind(look))
        return (Cause.BLOCK_MISSING, f"Final block {s.tree.root.height + 1} is") if is_wanted else None
    if question.key.startswith(PROPOSAL_KEY):
        return Cause.BLOCK_MISSING, f"Block {question.key.removeprefix(PROPOSAL_KEY)[:8]} is"
    match question.request:
        case BodiesRequest(ids):
            block = s.tree.get(Hash(bytes.fromhex(question.key.removeprefix(BODIES_KEY))))
            whose = (
                f"block {block.header.height}, proposed by {look.name(block.header.proposer)},"
                if block is not None
                else "a block"
            )
            return Cause.BODIES_MISSING, f"{len(ids)} transactions of {whose} are"
        case CertificatesRequest(_, low, high):
            return Cause.CERTIFICATES_MISSING, f"A certificate of the views {low} to {high} is"
    return None


def _proposal(look: Look) -> Iterator[Reason]:
    """What speaks against the proposal of this view, or that it is not here."""
    s, p = look.s, look.parameters
    leader = s.leader(s.view)
    proposal = s.tally.proposals.get(s.view)
    if proposal is None:
        if look.is_late and leader != look.own:
            is_silent = s.pacing.is_silent(leader, look.now)
            how = (
                f"nothing was heard of it for {look.silence([leader])}"
                if is_silent
                else "has not proposed, though heard"
            )
            yield Reason(
                Cause.LEADER_SILENT,
                True,
                f"{look.name(leader)} leads view {s.view}, and {how}.",
                look.about([leader]),
            )
        return
    whose = f"The block that {look.name(leader)} proposes in view {s.view}"
    header, block = proposal.header, s.tree.get(proposal.header.digest)
    if block is not None and block.judgement is Judgement.INVALID:
        yield Reason(
            Cause.BLOCK_INVALID,
            look.is_late,
            f"{whose} is not valid here{f': {block.reason}' if block.reason else ''}.",
            look.about([leader]),
        )
    yield from _unjustified(look, proposal)
    if header.view != s.view:
        return  # a boundary block proposed again keeps its old time
    if hold_until(s, proposal) > look.now:
        yield Reason(
            Cause.CLOCK_AHEAD,
            True,
            f"{whose} is dated {span(header.time_ms - look.now)} ahead of this node's clock; it gets no vote"
            f" here before that is {span(p.clock_drift_ms)}.",
            look.about([leader]),
        )
    behind_ms = s.pacing.entered_ms - header.time_ms
    kinds = {vote.ballot.kind for vote, _ in s.tally.votes_in(s.view) if vote.signer == look.own}
    if behind_ms > p.clock_drift_ms + p.idle_interval_ms and kinds == {VoteKind.SKIP}:
        yield Reason(
            Cause.CLOCK_BEHIND,
            True,
            f"{whose} was {span(behind_ms)} behind this node's clock when it came; it gets no vote here.",
            look.about([leader]),
        )


def _unjustified(look: Look, proposal: Proposal) -> Iterator[Reason]:
    """Once this node has given the view up it asks no more for what the proposal lacks: told all the same."""
    s = look.s
    if not look.is_late or any(q.key.startswith(CERTIFICATES_KEY) for q in look.questions):
        return
    with suppress(InvalidMessage):
        if views := missing_certificates(s, proposal):
            yield Reason(
                Cause.CERTIFICATES_MISSING,
                True,
                f"A certificate of view {views[0]}, on which view {s.view}'s proposal rests, is not here.",
            )


def _votes(look: Look) -> Iterator[Reason]:
    """The view is over its deadline: which votes would end it."""
    s = look.s
    lapsed_ms = s.pacing.lapsed_ms
    if not look.is_late or lapsed_ms is None:
        return
    votes = [vote for vote, _ in s.tally.votes_in(s.view)]
    counts = Counter(vote.ballot for vote in votes)
    held = [f"{_KIND_WORDS[ballot.kind]} has {count}" for ballot, count in counts.most_common()]
    voted = {vote.signer for vote in votes}
    missing = [i for i in range(len(s.authorities)) if i not in voted]
    of_whom = f" None came from {look.names(missing)}." if missing else ""
    over = span(look.now - lapsed_ms)
    yield Reason(
        Cause.VOTES_MISSING,
        True,
        f"View {s.view} is {over} over its deadline: {s.authorities.quorum} votes of one kind would end it,"
        f" and {', '.join(held) or 'there are none'}.{of_whom}",
        look.about(missing),
    )


def _peers_behind(look: Look) -> Iterator[Reason]:
    """Those that lag by more than a status may be late."""
    s, p = look.s, look.parameters
    allowed = p.unfinal_blocks_max + 2 * p.status_interval_ms // p.block_interval_ms
    behind = [i for i, state in sorted(s.peers.items()) if s.tree.root.height - state.final_height > allowed]
    if behind:
        most = max(s.tree.root.height - s.peers[i].final_height for i in behind)
        yield Reason(
            Cause.PEER_BEHIND,
            False,
            f"{look.names(behind)} said to be behind this node, by {most} blocks at most.",
            look.about(behind),
        )


def _nothing_final(look: Look) -> list[Reason]:
    """No single cause is seen from here, and yet f views given up in a row would not have taken so long."""
    p, views = look.parameters, look.s.authorities.faulty + 1
    given_up_ms = 3 * DELTA_GROWTH_MAX * p.delta_ms
    is_overdue = look.quiet_ms > views * (p.idle_interval_ms + given_up_ms)
    is_work_overdue = look.work_ms > p.idle_interval_ms + views * (p.block_interval_ms + given_up_ms)
    if not is_overdue and not is_work_overdue:
        return []
    return [Reason(Cause.NOTHING_FINAL, True, f"Nothing has become final here for {span(look.quiet_ms)}.")]


def _all_is_well(look: Look, noted: Collection[Cause]) -> list[Reason]:
    s = look.s
    if {Cause.LISTENING, Cause.BEHIND} & set(noted):
        return []  # what the others do is not known yet
    if not look.work_ms:
        left = span(s.pacing.deadline_ms() - look.now)
        sentence = f"All is well: no transaction waits, and the next block comes within {left}."
        return [Reason(Cause.IDLE, False, sentence)]
    ago = span(look.quiet_ms)
    sentence = (
        f"All is well: view {s.view} is under way, and block {s.tree.root.height} became final {ago} ago."
    )
    return [Reason(Cause.WORKING, False, sentence)]


_KIND_WORDS = {VoteKind.NOTARISE: "notarise", VoteKind.SKIP: "skip", VoteKind.FINALISE: "finalise"}

_JUDGES: tuple[Callable[[Look], Iterator[Reason]], ...] = (
    _node_stuck,
    _own_voice,
    _heard,
    _behind,
    _final_not_executed,
    _asked,
    _proposal,
    _votes,
    _peers_behind,
)
