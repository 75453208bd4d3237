"""Votes, certificates and proposals of one epoch, and what they add up to.

Votes are counted unverified and verified together when they reach a quorum: most votes of a calm
network are needed, and a liar's are thrown out then.
"""

from dataclasses import dataclass, field

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import Proposal
from p2pledger.chain.vote import (
    Ballot,
    Certificate,
    Evidence,
    IsSigned,
    Vote,
    VoteKind,
    certificate_of,
    check_certificate,
    evidence_of,
    is_contradiction,
)
from p2pledger.types import Epoch, Hash, View

LATE_VIEWS = 64
"""How far below the final view votes are still compared, so that a late contradiction is found."""


@dataclass
class _Held:
    vote: Vote
    is_verified: bool


@dataclass
class Counted:
    """What taking in votes led to: a certificate that is new, contradictions, and signers of false votes."""

    certificate: Certificate | None = None
    evidence: list[Evidence] = field(default_factory=list)
    forgers: list[int] = field(default_factory=list)


class Tally:
    """One epoch's book-keeping. Knows signatures and quorums, but no blocks, views' order or time."""

    def __init__(
        self, epoch: Epoch, authorities: AuthoritySet, genesis_hash: Hash, is_signed: IsSigned
    ) -> None:
        self.epoch = epoch
        self.authorities = authorities
        self.notarised: dict[View, Certificate] = {}
        self.skipped: dict[View, Certificate] = {}
        self.final: Certificate | None = None
        self.proposals: dict[View, Proposal] = {}
        self._genesis_hash = genesis_hash
        self._is_signed = is_signed
        self._votes: dict[View, dict[tuple[VoteKind, int], _Held]] = {}

    @property
    def final_view(self) -> View:
        """The view of the newest F certificate; 0 before the first."""
        return self.final.ballot.view if self.final is not None else View(0)

    def is_true(self, vote: Vote) -> bool:
        """Whether a vote's signature is its signer's. Costs one verification."""
        if vote.signer >= len(self.authorities):
            return False
        digest = vote.ballot.sign_digest(self._genesis_hash, self.authorities.hash)
        return self._is_signed(self.authorities.members[vote.signer].key, digest, vote.signature)

    def vote_of(self, view: View, kind: VoteKind, signer: int) -> Vote | None:
        """The vote held of this signer; it may be unverified."""
        held = self._votes.get(view, {}).get((kind, signer))
        return held.vote if held is not None else None

    def votes_in(self, view: View) -> list[tuple[Vote, bool]]:
        """The votes held of a view, by signer, each with whether its signature was verified already."""
        held = self._votes.get(view, {}).values()
        return sorted(((h.vote, h.is_verified) for h in held), key=lambda item: item[0].signer)

    def highest_votes_of(self, signer: int) -> tuple[Vote, ...]:
        """The true votes of a signer in the highest view in which one is held: what a status echoes."""
        for view in sorted(self._votes, reverse=True):
            slots = [(kind, signer) for kind in VoteKind if (kind, signer) in self._votes[view]]
            votes = [held.vote for slot in slots if self._verify(held := self._votes[view][slot])]
            if votes:
                return tuple(votes)
            for slot in slots:  # false, all of them: not to be verified at each status again
                del self._votes[view][slot]
        return ()

    def add_vote(self, vote: Vote, *, is_verified: bool = False) -> Counted:
        """Count a vote of this epoch. The caller has checked its view's bounds and its signer's range."""
        counted = Counted()
        self._hold(vote, is_verified, counted)
        if self.certificate_for(vote.ballot) is None:
            counted.certificate = self._certify(vote.ballot, counted)
        return counted

    def add_certificate(self, certificate: Certificate) -> Counted:
        """Verify a certificate of this epoch, keep it if it is of use, compare its votes with those held.

        One for a ballot that is certified already is not looked at.
        Raises: InvalidMessage when it is false.
        """
        ballot = certificate.ballot
        if self.certificate_for(ballot) is not None:
            return Counted()
        check_certificate(certificate, self._genesis_hash, self.authorities, self._is_signed)
        counted = Counted(certificate if self._keep(certificate) else None)
        if self.final_view <= ballot.view + LATE_VIEWS:
            for vote in certificate.votes():
                self._hold(vote, True, counted)
        return counted

    def certificate_for(self, ballot: Ballot) -> Certificate | None:
        """The certificate held for exactly this ballot, if any."""
        match ballot.kind:
            case VoteKind.NOTARISE:
                held = self.notarised.get(ballot.view)
            case VoteKind.SKIP:
                held = self.skipped.get(ballot.view)
            case VoteKind.FINALISE:
                held = self.final
        return held if held is not None and held.ballot == ballot else None

    def prune(self) -> None:
        """Forget what lies below the final view; votes are kept a little longer, for late evidence."""
        floor = self.final_view
        for kept in (self.notarised, self.skipped, self.proposals):
            for view in [view for view in kept if view < floor]:
                del kept[view]
        for view in [view for view in self._votes if view + LATE_VIEWS < floor]:
            del self._votes[view]

    def _hold(self, vote: Vote, is_verified: bool, counted: Counted) -> None:
        votes = self._votes.setdefault(vote.ballot.view, {})
        slot = (vote.ballot.kind, vote.signer)
        held = votes.get(slot)
        mine = _Held(vote, is_verified)
        if held is not None and held.vote.ballot == vote.ballot:
            held.is_verified = held.is_verified or (is_verified and held.vote == vote)
            if is_verified and not held.is_verified:
                votes[slot] = mine
            return
        rivals = [h for (_, who), h in votes.items() if who == vote.signer and is_contradiction(h.vote, vote)]
        for rival in rivals:
            # Only a contradiction is worth a verification each; the false one of the two goes.
            if not self._verify(mine):
                counted.forgers.append(vote.signer)
                return
            if self._verify(rival):
                counted.evidence.append(evidence_of(rival.vote, vote))
        if held is None or not self._verify(held):
            votes[slot] = mine

    def _verify(self, held: _Held) -> bool:
        held.is_verified = held.is_verified or self.is_true(held.vote)
        return held.is_verified

    def _certify(self, ballot: Ballot, counted: Counted) -> Certificate | None:
        votes = self._votes[ballot.view]
        if len(votes) < self.authorities.quorum:
            return None
        matching = {
            slot: held
            for slot, held in votes.items()
            if slot[0] is ballot.kind and held.vote.ballot == ballot
        }
        if len(matching) < self.authorities.quorum:
            return None
        for slot, held in list(matching.items()):
            if not self._verify(held):
                counted.forgers.append(slot[1])
                del votes[slot], matching[slot]
        if len(matching) < self.authorities.quorum:
            return None
        certificate = certificate_of((held.vote for held in matching.values()), len(self.authorities))
        return certificate if self._keep(certificate) else None

    def _keep(self, certificate: Certificate) -> bool:
        """Keep a true certificate, unless it is of no use any more; whether it was kept.

        The first of its kind in its view stays. A second one, for another block, takes more than a third
        of liars: it leads nowhere here, and the votes inside are evidence against them.
        """
        view = certificate.ballot.view
        if certificate.ballot.kind is VoteKind.FINALISE:
            is_new = view > self.final_view
            if is_new:
                self.final = certificate
            return is_new
        kept = self.notarised if certificate.ballot.kind is VoteKind.NOTARISE else self.skipped
        is_new = view >= self.final_view and view not in kept
        if is_new:
            kept[view] = certificate
        return is_new
