"""Judging the proposal of the current view, and casting N, F and X.

upon a proposal of the current view:  all of it held and justified, valid: sign N; invalid: sign X
upon an N certificate:                block valid, nothing signed above: sign F
upon the deadline:                    sign X, unless F was signed (R2)
"""

from p2pledger.chain.block import Proposal
from p2pledger.chain.message import BODIES_MAX, BodiesRequest, CertificatesRequest, ProposalsRequest
from p2pledger.chain.vote import check_evidence, finalise, notarise, skip
from p2pledger.consensus.checks import check_content, check_header
from p2pledger.consensus.events import Execute, Judgement
from p2pledger.consensus.finality import check_final_is_valid
from p2pledger.consensus.situation import Situation
from p2pledger.consensus.tree import Block
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, View

BODIES_KEY = "bodies:"
PROPOSAL_KEY = "proposal:"
CERTIFICATES_KEY = "certificates:"
"""What the keys of questions begin with."""


def execute_wanted(s: Situation) -> None:
    """Have executed what is to be voted on, built on, or made final: each block after its parent.

    What was notarised below the newest final view is on the way to that block, or on none.
    """
    notarised = s.tally.notarised.items()
    wanted = [certificate.ballot.digest for view, certificate in notarised if view >= s.final_view]
    if (proposal := s.tally.proposals.get(s.view)) is not None:
        wanted.append(proposal.header.digest)
    if s.tally.final is not None:
        wanted.append(s.tally.final.ballot.digest)
    passed: set[Hash] = set()
    for digest in reversed(wanted):  # the highest first: those below are on its way mostly
        if digest not in passed:
            passed |= {block.header.digest for block in execute_branch(s, digest)}


def execute_branch(s: Situation, digest: Hash) -> list[Block]:
    """Execute the next unexecuted block on the way to `digest`, or ask for what the way lacks.

    The blocks that the way leads over.
    """
    blocks, end = s.tree.branch(digest)
    if end != s.tree.root.digest:
        want_proposal(s, end)
        return blocks
    pending = [block for block in blocks if not block.is_valid]
    if pending and pending[0].judgement is Judgement.INVALID:
        for block in pending[1:]:
            block.judgement, block.reason = Judgement.INVALID, "an ancestor is invalid"
    elif pending and pending[0].missing:
        want_bodies(s, pending[0], pending[0].missing)
    elif pending and not pending[0].is_executing:
        _judge(s, pending[0])
    return blocks


def want_proposal(s: Situation, digest: Hash) -> None:
    """Ask for an unfinal block by digest, from those whose signatures say that they have it first."""
    if digest in s.final_certificates:
        return  # fetched by height
    certificates = [c for c in s.tally.notarised.values() if c.ballot.digest == digest]
    signers = [vote.signer for c in certificates for vote in c.votes() if vote.signer != s.voice.index]
    request = ProposalsRequest(s.epoch, (digest,))
    s.asking.want(f"{PROPOSAL_KEY}{digest.hex()}", request, [*signers, *s.others])


def want_bodies(s: Situation, block: Block, missing: tuple[Hash, ...]) -> None:
    """Ask for bodies: the proposer first, then whoever signed N for the block, then the others in turn."""
    digest = block.header.digest
    certificates = [c for c in s.tally.notarised.values() if c.ballot.digest == digest]
    signers = [vote.signer for c in certificates for vote in c.votes()]
    peers = [i for i in (block.header.proposer, *signers, *s.others) if i != s.voice.index]
    s.asking.want(f"{BODIES_KEY}{digest.hex()}", BodiesRequest(missing[:BODIES_MAX]), peers)


def _judge(s: Situation, block: Block) -> None:
    parent = s.known(block.header.parent_digest)
    assert parent is not None, "a branch that ends at the root has all its parents"
    recorded = s.recorded(block.header.parent_digest)
    try:
        check_header(block.header, s.place(*parent))
        check_content(block.transaction_ids, block.evidence, recorded)
        for item in block.evidence:
            accused = s.sets.get(item.first.ballot.epoch)
            if accused is None or item.first.ballot.epoch + 1 < s.epoch:
                raise InvalidMessage("evidence of an epoch that is over")
            check_evidence(item, s.setting.genesis_hash, accused, s.setting.is_signed)
    except InvalidMessage as error:
        condemn(s, block, str(error))
        return
    block.is_executing = True
    s.out.work.append(Execute(block.header, block.transaction_ids, block.evidence))


def condemn(s: Situation, block: Block, reason: str) -> None:
    """A block is invalid, and with it all that descends from it. Raises: Fatal when it is final."""
    block.judgement, block.reason = Judgement.INVALID, reason
    check_final_is_valid(s)


def notarise_proposal(s: Situation) -> None:
    """Sign N for the current view's proposal once nothing speaks against it; X once something does."""
    proposal = s.tally.proposals.get(s.view)
    if proposal is None:
        return
    digest = proposal.header.digest
    ballot = notarise(s.epoch, s.view, digest)
    if not s.voice.allows(ballot):
        return
    try:
        if not is_justified(s, proposal):
            return
    except InvalidMessage:
        skip_view(s, "invalid")
        return
    block = s.tree.get(digest)
    if block is None or block.judgement is None:
        return
    if block.judgement is Judgement.INVALID:
        skip_view(s, "invalid")
    elif proposal.header.view == s.view and _is_stale(s, proposal):
        skip_view(s, "stale")
    elif proposal.header.view != s.view or s.now >= hold_until(s, proposal):
        s.ask_for_vote(ballot, block)


def hold_until(s: Situation, proposal: Proposal) -> int:
    """When the clock has come near enough to a block's time to vote for it."""
    return proposal.header.time_ms - s.setting.parameters.clock_drift_ms


def _is_stale(s: Situation, proposal: Proposal) -> bool:
    p = s.setting.parameters
    return s.now - proposal.header.time_ms > p.clock_drift_ms + p.idle_interval_ms


def is_justified(s: Situation, proposal: Proposal) -> bool:
    """Whether its parent is certified and every view between is skipped (R4); False while we must ask.

    Raises: InvalidMessage when no certificate could ever justify what the leader did sign.
    """
    if missing := missing_certificates(s, proposal):
        want_certificates(s, missing[0], [s.leader(proposal.view), *s.others])
    return not missing


def missing_certificates(s: Situation, proposal: Proposal) -> list[View]:
    """The views whose certificates are still lacking to justify a proposal.

    Judged by the certificates held, which the proposal's own were added to: the leader's signature covers
    its header only, so that whoever passes a proposal on can spoil its justification.
    Raises: InvalidMessage when no certificate could ever justify what the leader did sign.
    """
    header = proposal.header
    if header.view == proposal.view:
        if header.height > s.boundary_height:
            raise InvalidMessage("the boundary block of an epoch has no child in it")  # (R5)
        if header.parent_view >= header.view:
            raise InvalidMessage("a parent of a later view")
        parent_view = header.parent_view
        is_certified = _is_certified(s, parent_view, header.parent_digest)
    else:
        if header.height != s.boundary_height:
            raise InvalidMessage("only a boundary block is proposed again")
        again = [v for v, c in s.tally.notarised.items() if v < s.view and c.ballot.digest == header.digest]
        is_certified = bool(again)
        parent_view = max(again, default=header.view)
    above = range(parent_view + 1, s.view)
    missing = [] if is_certified else [parent_view]
    missing += [View(view) for view in above if view not in s.tally.skipped]
    return missing


def _is_certified(s: Situation, view: View, digest: Hash) -> bool:
    """Whether this certificate is held. Raises: InvalidMessage when it cannot exist, or came too late."""
    if view < s.final_view:
        raise InvalidMessage("a later view than the parent's is final")
    if view == 0:
        certified = s.base_digest
    elif (certificate := s.tally.notarised.get(view)) is not None:
        certified = certificate.ballot.digest
    elif s.tally.final is not None and view == s.final_view:
        certified = s.tally.final.ballot.digest
    else:
        return False
    if certified != digest:
        raise InvalidMessage("another block is certified in the parent's view")
    return True


def want_certificates(s: Situation, from_view: View, peers: list[int]) -> None:
    """Ask for the certificates of the views from this one up to the current one."""
    request = CertificatesRequest(s.epoch, from_view, View(s.view - 1))
    s.asking.want(f"{CERTIFICATES_KEY}{s.epoch}:{from_view}", request, peers)


def finalise_notarised(s: Situation) -> None:
    """Sign F for notarised blocks that are valid here, in views not below what was voted in already."""
    for view in sorted(s.tally.notarised):
        digest = s.tally.notarised[view].ballot.digest
        block = s.tree.get(digest)
        if view > s.final_view and block is not None and block.is_valid:
            s.ask_for_vote(finalise(s.epoch, view, digest), block)


def skip_view(s: Situation, reason: str) -> None:
    """Sign X for the current view, if the guard allows it."""
    s.ask_for_vote(skip(s.epoch, s.view), reason=reason)


def skip_silent_leader(s: Situation) -> None:
    """Skip a leader at once that a quorum without it shows to be away: nobody waits for its deadline."""
    leader = s.leader(s.view)
    if leader == s.voice.index or s.view in s.tally.proposals or not s.pacing.is_silent(leader, s.now):
        return
    if len(s.pacing.heard(s.now)) + 1 >= s.authorities.quorum:
        skip_view(s, "silent")
