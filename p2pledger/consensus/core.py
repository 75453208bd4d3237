"""The agreement core: one function from an event to everything to be done about it.

`step` takes in the event, then settles: whatever is now possible is done, in the order in which the
rules depend on each other. No rule waits to be called by the one event that enables it, so no order of
arrival can leave something undone.
"""

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import Batch, Certificates, Status
from p2pledger.chain.vote import Certificate, Evidence, Vote, VoteKind, check_evidence
from p2pledger.consensus import catchup, finality, leading, voting
from p2pledger.consensus.events import (
    Answered,
    AskFailed,
    Built,
    ClockStepped,
    Event,
    Executed,
    Gossiped,
    Judgement,
    Misbehaved,
    Output,
    Pending,
    Received,
    Recovered,
    SignatureRefused,
    Signed,
    Tick,
)
from p2pledger.consensus.recovery import recover
from p2pledger.consensus.situation import EVIDENCE_MAX, Setting, Situation
from p2pledger.consensus.tally import LATE_VIEWS, Counted
from p2pledger.consensus.tree import Block
from p2pledger.errors import InvalidMessage
from p2pledger.types import Millis

PROPOSAL_VIEWS_AHEAD = 8
"""Proposals of later views are kept this far ahead; what is dropped comes again with a status."""


class Consensus:
    """One node's part in the agreement, as an authority or as a follower.

    Built from what a start finds on disk; the first `step` may be a `Tick`.
    """

    def __init__(self, setting: Setting, recovered: Recovered, now: Millis) -> None:
        self._s = recover(setting, recovered, now)

    @property
    def situation(self) -> Situation:
        """The state, to be read by status pages and checkers; only `step` changes it."""
        return self._s

    def step(self, event: Event, now: Millis) -> Output:
        """Take one event and return everything to do about it.

        Same start, same events, same times: same outputs. The simulator and crash recovery rest on
        this, so nothing here reads a clock, a socket, a file or a random number.

        Carry the output out in field order before the next step: a vote sent but not yet durable can
        be contradicted after a crash, and that is equivocation. A late, early or repeated message is
        normal traffic and gives an empty output, never an error.

        Raises: Fatal when a final block is not valid here; nothing may be answered after that.
        """
        s = self._s
        s.now = now
        _take_in(s, event)
        _settle(s)
        return s.out.take(_wake_at(s))


def _take_in(s: Situation, event: Event) -> None:
    match event:
        case Tick():
            pass
        case Received(peer, frame):
            s.pacing.hear(peer, s.now)
            _on_frame(s, peer, frame)
        case Gossiped(FinalBlock() as block):
            _on_final_block(s, block, None)
        case Gossiped(Evidence() as evidence):
            _on_evidence(s, evidence)
        case Signed(vote):
            _on_signed(s, vote)
        case SignatureRefused():
            pass  # the plan stands: what a guard refused once, it refuses again
        case Executed():
            _on_executed(s, event)
        case Built():
            leading.on_built(s, event)
        case Pending(epoch, view):
            if (epoch, view) == (s.epoch, s.view):
                s.pacing.count_work(s.now)
        case Answered():
            _on_answered(s, event)
        case AskFailed(key, _):
            s.asking.fail(key, s.now)
        case ClockStepped(by_ms):
            _shift(s, by_ms)


def _settle(s: Situation) -> None:
    """Do whatever has become possible. Each line rests on those above it."""
    finality.make_final(s)
    if s.next_view > s.view:
        finality.enter(s)
    voting.execute_wanted(s)
    _end_waiting(s)
    voting.finalise_notarised(s)
    voting.notarise_proposal(s)
    leading.propose(s)
    voting.skip_silent_leader(s)
    if s.pacing.is_overdue(s.now):
        voting.skip_view(s, "deadline")
        s.pacing.lapse(s.now)
        catchup.resend(s)
        catchup.tell_all(s)
    elif s.pacing.resend_ms is not None and s.now >= s.pacing.resend_ms:
        s.pacing.resend_ms = Millis(s.now + 3 * s.pacing.delta_ms)
        voting.skip_view(s, "deadline")  # whoever had to be silent at the deadline, or voted N after it
        catchup.resend(s)
        catchup.tell_all(s)
    elif s.now >= s.pacing.status_ms + s.setting.parameters.status_interval_ms:
        catchup.tell_all(s)
    s.out.work += s.asking.due(s.now)


def _wake_at(s: Situation) -> Millis:
    times = [
        Millis(s.pacing.status_ms + s.setting.parameters.status_interval_ms),
        s.pacing.resend_ms if s.pacing.resend_ms is not None else s.pacing.deadline_ms(),
    ]
    if s.voice.waits_until_ms is not None:
        times.append(s.voice.waits_until_ms)
    if (at := s.asking.wake_ms()) is not None:
        times.append(at)
    proposal = s.tally.proposals.get(s.view)
    if proposal is not None and (hold := voting.hold_until(s, proposal)) > s.now:
        times.append(Millis(hold))
    if proposal is None and s.building is None and s.leader(s.view) == s.voice.index:
        parent = leading.choose_parent(s)
        if parent is not None and (due := leading.propose_ms(s, parent[0])) > s.now:
            times.append(due)
    return min(times)


def _on_frame(s: Situation, peer: int, frame: object) -> None:
    match frame:
        case Proposal():
            _on_proposal(s, peer, frame)
        case Vote():
            _on_vote(s, peer, frame)
        case Status():
            catchup.on_status(s, peer, frame)
        case Certificates(certificates):
            for certificate in certificates:
                _on_certificate(s, certificate, peer)
        case Evidence():
            _on_evidence(s, frame)
        case Batch():
            pass  # transactions are the mempool's


def _on_proposal(s: Situation, peer: int, proposal: Proposal) -> None:
    """Keep the first proposal of a view that its leader signed; a second one is evidence."""
    vote, digest = proposal.vote, proposal.header.digest
    if vote.ballot.kind is not VoteKind.NOTARISE or vote.ballot.digest != digest:
        s.out.misbehaved.append(Misbehaved(peer, "a proposal without its leader's vote"))
        return
    if proposal.epoch != s.epoch:
        if proposal.epoch > s.epoch and proposal.newest_final is not None:
            _on_certificate(s, proposal.newest_final, peer)
        return
    if not s.final_view < proposal.view <= s.next_view + PROPOSAL_VIEWS_AHEAD:
        return
    held = s.tally.proposals.get(proposal.view)
    if held is not None and held.header.digest == digest:
        return
    if vote.signer != s.leader(proposal.view) or not s.tally.is_true(vote):
        s.out.misbehaved.append(Misbehaved(peer, "a proposal that the view's leader did not sign"))
        return
    _count(s, s.tally.add_vote(vote, is_verified=True), peer)
    for certificate in _carried(proposal):
        _on_certificate(s, certificate, peer)
    if held is None and proposal.epoch == s.epoch:
        s.tally.proposals[proposal.view] = proposal
    _hold(s, proposal)


def _hold(s: Situation, proposal: Proposal) -> None:
    block = s.tree.add(Block(proposal.header, proposal.transaction_ids, proposal.evidence, proposal=proposal))
    if block.proposal is None:
        block.proposal = proposal


def _carried(proposal: Proposal) -> list[Certificate]:
    carried = [proposal.newest_final, proposal.justification.parent, *proposal.justification.skips]
    return [certificate for certificate in carried if certificate is not None]


def _on_vote(s: Situation, peer: int, vote: Vote) -> None:
    ballot = vote.ballot
    if vote.signer != peer:
        s.out.misbehaved.append(Misbehaved(peer, "a vote of another authority"))
        return
    is_near = s.final_view <= ballot.view + LATE_VIEWS
    if ballot.epoch == s.epoch and is_near and ballot.view <= s.view + s.setting.parameters.vote_window_views:
        _count(s, s.tally.add_vote(vote), peer)


def _on_certificate(s: Situation, certificate: Certificate, peer: int | None) -> None:
    if certificate.ballot.epoch != s.epoch:
        return
    try:
        counted = s.tally.add_certificate(certificate)
    except InvalidMessage as error:
        if peer is not None:
            s.out.misbehaved.append(Misbehaved(peer, str(error)))
        return
    if counted is None:
        return
    for vote in certificate.votes():
        if vote.signer == s.voice.index:
            s.voice.meet(vote)
    _count(s, counted, peer)


def _count(s: Situation, counted: Counted, peer: int | None) -> None:
    for forger in counted.forgers:
        s.out.misbehaved.append(Misbehaved(forger, "a vote whose signature is false"))
    for evidence in counted.evidence:
        _record_evidence(s, evidence)
    if counted.certificate is not None:
        s.keep_certificate(counted.certificate)


def _record_evidence(s: Situation, evidence: Evidence) -> None:
    if evidence.offence in s.offences or evidence.offence in s.evidence or len(s.evidence) >= EVIDENCE_MAX:
        return
    s.evidence[evidence.offence] = evidence
    s.out.misbehaved.append(Misbehaved(evidence.first.signer, "equivocation", evidence))


def _on_evidence(s: Situation, evidence: Evidence) -> None:
    epoch = evidence.first.ballot.epoch
    accused = s.sets.get(epoch)
    if accused is None or not s.epoch - 1 <= epoch <= s.epoch or evidence.offence in s.evidence:
        return
    try:
        check_evidence(evidence, s.setting.genesis_hash, accused, s.setting.is_signed)
    except InvalidMessage:
        return  # the node has checked what comes by gossip; whoever relays is not to blame here
    if epoch == s.epoch and evidence.first.signer == s.voice.index:
        for vote in (evidence.first, evidence.second):
            s.voice.meet(vote)
    _record_evidence(s, evidence)


def _on_signed(s: Situation, vote: Vote) -> None:
    """An own vote is durable: count it, and only now show it."""
    if vote.ballot.epoch != s.epoch:
        return
    s.voice.record(vote)
    is_proposal = vote.ballot.kind is VoteKind.NOTARISE and leading.on_own_notarise(s, vote)
    _count(s, s.tally.add_vote(vote, is_verified=True), None)
    if not is_proposal:
        s.say(vote)


def _on_executed(s: Situation, executed: Executed) -> None:
    block = s.tree.get(executed.digest)
    if block is None:
        return
    block.is_executing = False
    match executed.judgement:
        case Judgement.VALID:
            block.judgement, block.next_set = Judgement.VALID, executed.next_set
        case Judgement.INVALID:
            voting.condemn(s, block, executed.reason)
        case Judgement.MISSING:
            voting.want_bodies(s, block, executed.missing)


def _on_final_block(s: Situation, final: FinalBlock, peer: int | None) -> None:
    """A final block from gossip or a page: held for its own sake, believed for its certificate."""
    header = final.header
    if header.genesis_hash != s.setting.genesis_hash or header.epoch != s.epoch:
        return
    if header.height <= s.tree.root.height:
        return
    certificate = final.certificate
    if certificate is not None:
        if certificate.ballot.kind is not VoteKind.FINALISE or certificate.ballot.digest != header.digest:
            return
        _on_certificate(s, certificate, peer)
    block = s.tree.add(Block(header, final.transaction_ids, final.evidence))
    if certificate is not None and s.tally.final is not None and certificate.ballot.view <= s.final_view:
        s.final_certificates.setdefault(block.header.digest, certificate)


def _on_answered(s: Situation, answered: Answered) -> None:
    key, peer, replies = answered.key, answered.peer, answered.replies
    for block in catchup.final_blocks(replies):
        _on_final_block(s, block, peer)
    for reply in replies:
        if isinstance(reply, Proposal) and reply.epoch == s.epoch:
            _on_fetched_proposal(s, peer, key, reply)
        elif isinstance(reply, Certificates):
            for certificate in reply.certificates:
                _on_certificate(s, certificate, peer)
    is_final_awaited = s.tally.final is not None and s.tally.final.ballot.digest != s.tree.root.digest
    if not replies and (key != finality.BLOCKS_KEY or is_final_awaited):
        s.asking.fail(key, s.now)
    else:
        s.asking.close(key)


def _on_fetched_proposal(s: Situation, peer: int, key: str, proposal: Proposal) -> None:
    """An ancestor asked for by digest: its digest is its proof, whoever sent it."""
    if key == f"proposal:{proposal.header.digest.hex()}":
        for certificate in _carried(proposal):
            _on_certificate(s, certificate, peer)
        _hold(s, proposal)


def _end_waiting(s: Situation) -> None:
    """After a start: speak once enough others said what this key has signed, or 10Δ have passed (R8)."""
    until = s.voice.waits_until_ms
    if until is not None and (len(s.voice.answered) >= s.authorities.quorum - 1 or s.now >= until):
        s.voice.waits_until_ms = None


def _shift(s: Situation, by_ms: int) -> None:
    s.pacing.shift(by_ms)
    s.asking.shift(by_ms)
    s.certified_ms = {digest: Millis(at + by_ms) for digest, at in s.certified_ms.items()}
    if s.voice.waits_until_ms is not None:
        s.voice.waits_until_ms = Millis(s.voice.waits_until_ms + by_ms)
