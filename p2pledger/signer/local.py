"""The signer of votes: the only code that lets a consensus key sign. Floor 5.

In the process here; behind the same protocol it may live in another one.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import Proposal
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Ballot, Certificate, Vote, VoteKind
from p2pledger.crypto import Signer
from p2pledger.signer.guard import Guard, GuardRefused, Reason, check_guard
from p2pledger.signer.guardfile import Durable
from p2pledger.types import Epoch, Hash, PublicKey, View


@dataclass(frozen=True)
class Refused:
    """A ballot that the signer did not sign."""

    reason: Reason


class VoteSigner(Protocol):
    """Owns a consensus key, its guard, and what must survive with it."""

    @property
    def public_key(self) -> PublicKey:
        """The key that votes."""

    def sign_vote(
        self,
        ballot: Ballot,
        certificates: Sequence[Certificate],
        proposal: Proposal | None,
        bodies: Sequence[Transaction],
    ) -> Vote | Refused:
        """Sign a ballot, if the guard allows it. The vote may be shown to anyone once this returns.

        Guard, vote, certificates, proposal and bodies became durable as one transaction before: a vote
        that is visible and not durable can be contradicted after a crash. The very same ballot gives
        the very same vote again, for as long as it is kept. Certificates are kept even when the
        ballot is refused. Blocks for the length of a disk sync.
        Raises: Fatal when the disk fails: nothing was signed, and nothing will be.
        """

    def load(self) -> Durable:
        """All that was kept, for a start."""

    def keep_boundary(self, certificate: Certificate) -> None:
        """Keep the F certificate of an epoch's last block for ever."""

    def prune(self, epoch: Epoch, view: View) -> None:
        """The chain store durably holds the block that became final in this view: forget what is below."""

    def close(self) -> None:
        """Release the guard."""


class GuardKeeper(Protocol):
    """What holds a guard durably: `GuardFile`, or the simulator's disk. Its methods say what they promise."""

    guard: Guard

    def vote(self, ballot: Ballot) -> Vote | None:
        """See `GuardFile.vote`."""

    def record(
        self,
        guard: Guard,
        vote: Vote | None,
        certificates: Sequence[Certificate],
        proposal: Proposal | None,
        bodies: Sequence[Transaction],
    ) -> None:
        """See `GuardFile.record`."""

    def keep_boundary(self, certificate: Certificate) -> None:
        """See `GuardFile.keep_boundary`."""

    def prune(self, epoch: Epoch, view: View) -> None:
        """See `GuardFile.prune`."""

    def load(self) -> Durable:
        """See `GuardFile.load`."""

    def close(self) -> None:
        """See `GuardFile.close`."""


class LocalSigner:
    """A `VoteSigner` whose key is in this process's memory.

    `authorities_of` gives the list of an epoch, None while it is not known: votes are bound to its hash,
    and name the key's position in it. Safe to call from any thread; votes are signed one after the other.
    """

    def __init__(
        self,
        key: Signer,
        guard_file: GuardKeeper,
        genesis_hash: Hash,
        authorities_of: Callable[[Epoch], AuthoritySet | None],
    ) -> None:
        self._key = key
        self._guard_file = guard_file
        self._genesis_hash = genesis_hash
        self._authorities_of = authorities_of
        self._lock = threading.Lock()

    @property
    def public_key(self) -> PublicKey:
        """See `VoteSigner.public_key`."""
        return self._key.public_key

    def sign_vote(
        self,
        ballot: Ballot,
        certificates: Sequence[Certificate],
        proposal: Proposal | None,
        bodies: Sequence[Transaction],
    ) -> Vote | Refused:
        """See `VoteSigner.sign_vote`."""
        is_for_another = proposal is not None and proposal.header.digest != ballot.digest
        if is_for_another and ballot.kind is not VoteKind.SKIP:
            raise ValueError("the proposal is not of the block that is voted for")
        with self._lock:
            authorities = self._authorities_of(ballot.epoch)
            index = authorities.index_of(self.public_key) if authorities is not None else None
            if authorities is None or index is None:
                return self._refuse(Reason.NOT_A_MEMBER, certificates)
            signed = self._guard_file.vote(ballot)
            if signed is not None:
                self._keep(certificates)
                return signed
            try:
                guard = check_guard(self._guard_file.guard, ballot)
            except GuardRefused as refused:
                return self._refuse(refused.reason, certificates)
            digest = ballot.sign_digest(self._genesis_hash, authorities.hash)
            vote = Vote(ballot, index, self._key.sign(digest))
            self._guard_file.record(guard, vote, certificates, proposal, bodies)
            return vote

    def _refuse(self, reason: Reason, certificates: Sequence[Certificate]) -> Refused:
        self._keep(certificates)
        return Refused(reason)

    def _keep(self, certificates: Sequence[Certificate]) -> None:
        if certificates:
            self._guard_file.record(self._guard_file.guard, None, certificates, None, ())

    def load(self) -> Durable:
        """See `VoteSigner.load`."""
        return self._guard_file.load()

    def keep_boundary(self, certificate: Certificate) -> None:
        """See `VoteSigner.keep_boundary`."""
        self._guard_file.keep_boundary(certificate)

    def prune(self, epoch: Epoch, view: View) -> None:
        """See `VoteSigner.prune`."""
        self._guard_file.prune(epoch, view)

    def close(self) -> None:
        """See `VoteSigner.close`."""
        self._guard_file.close()
