"""From what is on disk to a core that goes on where it stopped.

Everything kept is replayed and the maximum taken, never the last record: an own vote missing from the
own tally after a whole-network restart has halted chains (PROTOCOL, R7).
"""

from dataclasses import replace

from p2pledger.chain.block import Proposal
from p2pledger.chain.vote import Vote, VoteKind
from p2pledger.consensus.events import Recovered
from p2pledger.consensus.finality import own_index
from p2pledger.consensus.leading import UNSIGNED
from p2pledger.consensus.pacing import Pacing
from p2pledger.consensus.situation import Setting, Situation
from p2pledger.consensus.tally import Tally
from p2pledger.consensus.tree import Block, Root, Tree
from p2pledger.consensus.voice import Voice
from p2pledger.errors import InvalidMessage
from p2pledger.types import Millis


def recover(setting: Setting, found: Recovered, now: Millis) -> Situation:
    """The state of a core that starts with this on disk. Pure.

    The first view is one above the highest certificate held, or the guard's view if that is higher.
    """
    authorities = found.sets[found.epoch]
    root = Root(found.tip_digest, found.tip_height, found.tip_time_ms)
    s = Situation(
        setting=setting,
        now=now,
        epoch=found.epoch,
        sets=dict(found.sets),
        base_digest=found.base_digest,
        base_height=found.base_height,
        tree=Tree(root),
        tally=Tally(found.epoch, authorities, setting.genesis_hash, setting.is_signed),
        voice=Voice(None, found.guard, found.voted),
        pacing=Pacing(setting.parameters, now),
        boundaries=dict(found.boundaries),
        offences=set(found.offences),
        final_ms=now,
    )
    s.voice.epoch, s.voice.index = s.epoch, own_index(s)
    s.pulled_height = root.height
    # The guard file lets go of votes up to the newest F certificate that it keeps, of whatever epoch.
    finals = [c.ballot for c in found.certificates if c.ballot.kind is VoteKind.FINALISE]
    s.voice.floor = max(((ballot.epoch, ballot.view) for ballot in finals), default=s.voice.floor)
    replay(s, found)
    s.face(s.offences)
    s.listen()
    return s


def replay(s: Situation, found: Recovered) -> None:
    """Take what the guard file kept of the epoch that begins here.

    It may be a later one than the chain store knew at the start: the store had not got so far, or was lost.
    """
    certificates = [*found.certificates, *([found.tip_certificate] if found.tip_certificate else [])]
    unsaved = list(s.unsaved)
    for certificate in sorted(certificates, key=lambda c: c.ballot.view):
        if certificate.ballot.epoch != s.epoch:
            continue
        try:
            counted = s.tally.add_certificate(certificate)
        except InvalidMessage:
            continue  # kept from before a change of the list; the rows themselves carry checksums
        if counted.certificate is not None:
            s.keep_certificate(counted.certificate)
    s.unsaved = unsaved
    for proposal in found.proposals:
        # Also below the final view: what is final may be in no chain store yet, here or anywhere.
        if proposal.epoch == s.epoch and proposal.header.height > s.tree.root.height:
            _replay_proposal(s, proposal, found.votes)
    for vote in found.votes:
        if vote.ballot.epoch == s.epoch and s.tally.is_true(vote):
            s.voice.record(vote)
            counted_vote = s.tally.add_vote(vote, is_verified=True)
            if counted_vote.certificate is not None:
                s.keep_certificate(counted_vote.certificate)
    s.certified_ms.setdefault(s.tree.root.digest, s.now)
    s.voice.floor = max(s.voice.floor, (s.epoch, s.final_view))
    if found.guard is not None and found.guard[0] == s.epoch:
        s.next_view = max(s.next_view, found.guard[1])


def _replay_proposal(s: Situation, proposal: Proposal, votes: tuple[Vote, ...]) -> None:
    """Hold a block again that was voted for. An own proposal gets its vote back and is never rebuilt."""
    if proposal.vote.signature == UNSIGNED:
        own = next((vote for vote in votes if vote.ballot == proposal.vote.ballot), None)
        if own is None:
            return
        proposal = replace(proposal, vote=own)
    if proposal.view > s.final_view:
        s.tally.proposals.setdefault(proposal.view, proposal)
    s.tree.add(Block(proposal.header, proposal.transaction_ids, proposal.evidence, proposal=proposal))
