"""What survives the crash of a simulated node: the guard and the chain store. Floor 8."""

from collections.abc import Sequence
from dataclasses import dataclass

from p2pledger.chain.block import Proposal
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Ballot, Certificate, Vote, VoteKind
from p2pledger.signer.guard import Guard
from p2pledger.signer.guardfile import Durable
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Hash, View

At = tuple[Epoch, View]


class MemoryGuard:
    """A `GuardKeeper` whose disk is this object: what `record` was given is there when it returns."""

    def __init__(self) -> None:
        self.guard = Guard()
        self._votes: dict[Ballot, Vote] = {}
        self._proposals: dict[tuple[At, Hash], tuple[Proposal, tuple[Transaction, ...]]] = {}
        self._certificates: dict[tuple[At, VoteKind], Certificate] = {}
        self._final: Certificate | None = None
        self._boundaries: dict[Epoch, Certificate] = {}
        self._pruned: At | None = None

    def copy(self) -> "MemoryGuard":
        """A backup of it: what nobody should ever put back."""
        other = MemoryGuard()
        other.guard, other._final, other._pruned = self.guard, self._final, self._pruned
        other._votes, other._proposals = dict(self._votes), dict(self._proposals)
        other._certificates, other._boundaries = dict(self._certificates), dict(self._boundaries)
        return other

    def vote(self, ballot: Ballot) -> Vote | None:
        """See `GuardFile.vote`."""
        return self._votes.get(ballot)

    def record(
        self,
        guard: Guard,
        vote: Vote | None,
        certificates: Sequence[Certificate],
        proposal: Proposal | None,
        bodies: Sequence[Transaction],
    ) -> None:
        """See `GuardFile.record`."""
        for certificate in certificates:
            self._keep(certificate)
        if vote is not None:
            ballot = vote.ballot
            self._votes[ballot] = vote
            if proposal is not None and ballot.kind is not VoteKind.SKIP:
                key = ((ballot.epoch, ballot.view), ballot.digest)
                self._proposals.setdefault(key, (proposal, tuple(bodies)))
        self._drop(guard)
        self.guard = guard

    def _keep(self, certificate: Certificate) -> None:
        ballot = certificate.ballot
        at = (ballot.epoch, ballot.view)
        if ballot.kind is not VoteKind.FINALISE:
            self._certificates[at, ballot.kind] = certificate
        elif self._final is None or at > (self._final.ballot.epoch, self._final.ballot.view):
            self._final = certificate

    def _drop(self, guard: Guard) -> None:
        if self._pruned is None:
            return
        floor, votes_below = self._pruned, min(guard.at, (self._pruned[0], View(self._pruned[1] + 1)))
        self._certificates = {key: c for key, c in self._certificates.items() if key[0] > floor}
        self._proposals = {key: p for key, p in self._proposals.items() if key[0] > floor}
        self._votes = {b: v for b, v in self._votes.items() if (b.epoch, b.view) >= votes_below}
        self._pruned = None

    def keep_boundary(self, certificate: Certificate) -> None:
        """See `GuardFile.keep_boundary`."""
        self._boundaries[certificate.ballot.epoch] = certificate

    def prune(self, epoch: Epoch, view: View) -> None:
        """See `GuardFile.prune`."""
        self._pruned = max(self._pruned or (epoch, view), (epoch, view))

    def load(self) -> Durable:
        """See `GuardFile.load`."""
        proposals = [self._proposals[key] for key in sorted(self._proposals)]
        return Durable(
            guard=self.guard,
            votes=tuple(sorted(self._votes.values(), key=_place)),
            proposals=tuple(proposal for proposal, _ in proposals),
            certificates=tuple(self._certificates.values()),
            final=self._final,
            boundaries=dict(self._boundaries),
            bodies=tuple({t.id: t for _, bodies in proposals for t in bodies}.values()),
        )

    def close(self) -> None:
        """See `GuardFile.close`."""


def _place(vote: Vote) -> tuple[Epoch, View, int]:
    return vote.ballot.epoch, vote.ballot.view, vote.ballot.kind.value


@dataclass(eq=False)
class Disk:
    """One node's. `guard` is None for a follower, and for an authority whose guard was lost."""

    store: Store
    guard: MemoryGuard | None
    backup: MemoryGuard | None = None
    """An old copy of the guard that somebody made."""
