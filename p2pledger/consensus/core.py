"""The agreement core: one function from an event to everything to be done about it.

`step` takes in the event, then settles: whatever is now possible is done, in the order in which the
rules depend on each other. No rule waits to be called by the one event that enables it, so no order of
arrival can leave something undone.
"""

from collections.abc import Sequence
from contextlib import suppress

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import Batch, Certificates, Frame, Reply, Status
from p2pledger.chain.vote import Certificate, Evidence, Vote, VoteKind, check_evidence, finalise
from p2pledger.consensus import catchup, finality, leading, voting
from p2pledger.consensus.checks import check_roots
from p2pledger.consensus.events import (
    Answered,
    Arrived,
    AskFailed,
    Built,
    ClockStepped,
    Event,
    Executed,
    Gossiped,
    Judgement,
    Met,
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
from p2pledger.consensus.settling import settle, wake_at
from p2pledger.consensus.situation import Setting, Situation
from p2pledger.consensus.tally import LATE_VIEWS, Counted
from p2pledger.consensus.tree import Block
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Millis

PROPOSAL_VIEWS_AHEAD = 8
"""Proposals of later views are kept this far ahead; what is dropped comes again with a status."""


class Consensus:
    """One node's part in the agreement, as an authority or as a follower.

    Built from what a start finds on disk; the first `step` may be a `Tick`.
    """

    def __init__(self, setting: Setting, recovered: Recovered, now: Millis) -> None:
        self._s = recover(setting, recovered, now)
        self._recovered = recovered

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
        if _take_in(s, event) or now >= s.wake_at:
            settle(s, self._recovered)
            s.wake_at = wake_at(s)
        return s.out.take(s.wake_at)


def _take_in(s: Situation, event: Event) -> bool:
    """Take the event in. False: nothing that a rule rests on has changed, so that none needs to be tried.

    Most votes come after their certificate, and most counts after the first. A tick says nothing: whether a
    rule waits for the time that it is, `wake_at` says.
    """
    match event:
        case Tick():
            return False
        case Received(peer, Vote() as vote):
            return _on_frame(s, peer, vote)
        case Pending(epoch, view):
            is_news = (epoch, view) == (s.epoch, s.view) and s.pacing.pending_since_ms is None
            if is_news:
                s.pacing.count_work(s.now)
            return is_news
        case _:
            _take_in_news(s, event)
            return True


def _take_in_news(s: Situation, event: Event) -> None:
    match event:
        case Received(peer, frame):
            _on_frame(s, peer, frame)
        case Gossiped(FinalBlock() as block):
            with suppress(InvalidMessage):  # the node judged it before it was passed on to others
                _on_final_blocks(s, [block], None)
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
        case Met(peer):
            catchup.greet(s, peer)
        case Arrived(transaction_ids):
            for lacking in s.tree:
                lacking.missing = tuple(i for i in lacking.missing if i not in transaction_ids)
        case Answered():
            _on_answered(s, event)
        case AskFailed(key, _):
            s.asking.fail(key, s.now)
        case ClockStepped(by_ms):
            _shift(s, by_ms)


def _on_frame(s: Situation, peer: int, frame: Frame) -> bool:
    """What another authority says. Whatever no honest one would say is told, and nothing of it is kept.

    False: it was a vote that adds up to nothing yet, of one who is known to be there.
    """
    if peer >= len(s.authorities):
        return False  # of a longer list, which reigned when it came in
    is_news = s.pacing.hear(peer, s.now)
    if s.voice.is_waiting and s.voice.waits_until_ms is None:
        s.hear_first()
    try:
        match frame:
            case Proposal():
                _on_proposal(s, peer, frame)
            case Vote():
                return _on_vote(s, peer, frame) or is_news
            case Status():
                catchup.on_status(s, peer, frame)
            case Certificates(certificates):
                for certificate in certificates:
                    _on_certificate(s, certificate, peer)
            case Evidence():
                _on_evidence(s, frame)
            case Batch():
                pass  # transactions are the mempool's
    except InvalidMessage as error:
        s.out.misbehaved.append(Misbehaved(peer, str(error)))
    return True


def _on_proposal(s: Situation, peer: int, proposal: Proposal) -> None:
    """Keep the first proposal of a view that its leader signed; a second one is evidence, and no more.

    (Were the second one notarised, it is asked for by its digest.)
    """
    if proposal.epoch != s.epoch or proposal.view <= s.final_view:
        if proposal.epoch > s.epoch and proposal.newest_final is not None:
            _on_certificate(s, proposal.newest_final, peer)
        return
    held = s.tally.proposals.get(proposal.view)
    if held is not None and held.header.digest == proposal.header.digest:
        return
    _check_leader(s, proposal)
    _count(s, s.tally.add_vote(proposal.vote, is_verified=True), peer)
    if held is not None:
        return
    check_roots(proposal.header, proposal.transaction_ids, proposal.evidence)
    _take_carried(s, proposal, peer)
    if proposal.epoch == s.epoch and s.final_view < proposal.view <= s.next_view + PROPOSAL_VIEWS_AHEAD:
        s.tally.proposals[proposal.view] = proposal
        _hold(s, proposal)


def _check_leader(s: Situation, proposal: Proposal) -> None:
    vote = proposal.vote
    if vote.ballot.kind is not VoteKind.NOTARISE or vote.ballot.digest != proposal.header.digest:
        raise InvalidMessage("a proposal without its leader's vote")
    if vote.signer != s.leader(proposal.view) or not s.tally.is_true(vote):
        raise InvalidMessage("a proposal that the view's leader did not sign")


def _take_carried(s: Situation, proposal: Proposal, peer: int) -> None:
    """The certificates of a proposal, before anything else of it. Raises: InvalidMessage for a false one."""
    for certificate in (
        proposal.newest_final,
        proposal.justification.parent,
        *proposal.justification.skips,
    ):
        if certificate is not None:
            _on_certificate(s, certificate, peer)


def _hold(s: Situation, proposal: Proposal) -> None:
    block = s.tree.add(Block(proposal.header, proposal.transaction_ids, proposal.evidence, proposal=proposal))
    if block.proposal is None:
        block.proposal = proposal


def _on_vote(s: Situation, peer: int, vote: Vote) -> bool:
    """Whether it led to anything."""
    ballot = vote.ballot
    if ballot.epoch != s.epoch:
        return False  # under way while an epoch ended: another list has other positions
    if vote.signer != peer:
        raise InvalidMessage("a vote of another authority")
    is_near = s.final_view <= ballot.view + LATE_VIEWS
    if not is_near or ballot.view > s.view + s.setting.parameters.vote_window_views:
        return False
    counted = s.tally.add_vote(vote)
    _count(s, counted, peer)
    return counted.certificate is not None or bool(counted.evidence)


def _on_certificate(s: Situation, certificate: Certificate, peer: int | None) -> bool:
    """Whether it says something new. Raises: InvalidMessage when it is false."""
    if certificate.ballot.epoch != s.epoch:
        return False
    counted = s.tally.add_certificate(certificate)
    _count(s, counted, peer)
    for vote in counted.certificate.votes() if counted.certificate is not None else ():
        if vote.signer == s.voice.index:
            s.voice.meet(vote)
    return counted.certificate is not None


def _count(s: Situation, counted: Counted, peer: int | None) -> None:
    for forger in counted.forgers:
        s.out.misbehaved.append(Misbehaved(forger, "a vote whose signature is false"))
    for evidence in counted.evidence:
        _record_evidence(s, evidence)
    if counted.certificate is not None:
        s.keep_certificate(counted.certificate)


def _record_evidence(s: Situation, evidence: Evidence) -> None:
    s.face((evidence.offence,))
    if s.lacks_evidence(evidence.offence):
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
            block.missing = executed.missing


def _on_final_blocks(s: Situation, blocks: Sequence[FinalBlock], peer: int | None) -> bool:
    """Final blocks, from gossip or a page: believed for their certificates, and for those above them.

    Whether anything was of use. Raises: InvalidMessage for a false one; what lay above it is kept.
    """
    believed: set[Hash] = set()
    if s.tally.final is not None:
        believed.add(s.tree.branch(s.tally.final.ballot.digest)[1])
    size = len(s.tree)
    for final in sorted(blocks, key=lambda block: block.header.height, reverse=True):
        header, certificate = final.header, final.certificate
        digest = header.digest
        if header.epoch != s.epoch or header.height <= s.tree.root.height:
            continue
        if certificate is not None and digest not in s.final_certificates:
            if certificate.ballot != finalise(s.epoch, certificate.ballot.view, digest):
                raise InvalidMessage("a final block with the certificate of something else")
            _on_certificate(s, certificate, peer)
            s.final_certificates.setdefault(digest, certificate)  # true, though maybe not the newest
        if digest in believed or digest in s.final_certificates:
            check_roots(header, final.transaction_ids, final.evidence)
            s.tree.add(Block(header, final.transaction_ids, final.evidence))
            believed.add(header.parent_digest)
    return len(s.tree) > size


def _on_answered(s: Situation, answered: Answered) -> None:
    """Take what was answered. An answer that brought nothing on has the next peer asked."""
    key, peer = answered.key, answered.peer
    is_helpful = False
    try:
        is_helpful = _on_replies(s, key, peer, answered.replies)
    except InvalidMessage as error:
        s.out.misbehaved.append(Misbehaved(peer, str(error)))
    if key == finality.BLOCKS_KEY and not is_helpful:
        s.pull_from = []  # what is known to be final is wanted all the same
        s.pulled_in_vain += 1
    if is_helpful:
        s.asking.close(key)
    else:
        s.asking.fail(key, s.now)


def _on_replies(s: Situation, key: str, peer: int, replies: tuple[Reply, ...]) -> bool:
    if key.startswith(voting.BODIES_KEY):
        block = s.tree.get(Hash(bytes.fromhex(key.removeprefix(voting.BODIES_KEY))))
        if block is not None and replies:
            block.missing = ()  # execute it again: there may be more to ask for
        return bool(replies)
    is_helpful = _on_final_blocks(s, [reply for reply in replies if isinstance(reply, FinalBlock)], peer)
    for reply in replies:
        if isinstance(reply, Proposal) and reply.epoch == s.epoch:
            is_helpful |= _on_fetched_proposal(s, peer, key, reply)
        elif isinstance(reply, Certificates):
            for certificate in reply.certificates:
                is_helpful |= _on_certificate(s, certificate, peer)
    return is_helpful


def _on_fetched_proposal(s: Situation, peer: int, key: str, proposal: Proposal) -> bool:
    """An ancestor that was asked for by digest. Checked as in full as one that comes by itself."""
    if key != f"{voting.PROPOSAL_KEY}{proposal.header.digest.hex()}":
        return False
    _check_leader(s, proposal)
    check_roots(proposal.header, proposal.transaction_ids, proposal.evidence)
    _take_carried(s, proposal, peer)
    _hold(s, proposal)
    return True


def _shift(s: Situation, by_ms: int) -> None:
    s.pacing.shift(by_ms)
    s.asking.shift(by_ms)
    s.certified_ms = {digest: Millis(at + by_ms) for digest, at in s.certified_ms.items()}
    s.newest = {kind: (ballot, Millis(at + by_ms)) for kind, (ballot, at) in s.newest.items()}
    s.final_ms = Millis(s.final_ms + by_ms)
    s.peers = {peer: state.shifted(by_ms) for peer, state in s.peers.items()}
    if s.voice.waits_until_ms is not None:
        s.voice.waits_until_ms = Millis(s.voice.waits_until_ms + by_ms)
