"""What a consensus key may still sign: pure. Floor 5.

The table is PROTOCOL.md's `sign_vote`. It knows one view only, the highest that was voted in: below it
nothing is signed any more, and within it nothing that contradicts what was signed there.
"""

from dataclasses import dataclass
from enum import Enum

from p2pledger.chain.vote import Ballot, VoteKind, finalise, notarise, skip
from p2pledger.types import Epoch, Hash, View


class Reason(Enum):
    """Why a ballot is not signed. Closed, so that metrics can be labelled with it."""

    BELOW_GUARD = "below_guard"
    """A later view was voted in already."""
    SKIPPED = "skipped"
    """The view was skipped: neither N nor F any more."""
    FINALISED = "finalised"
    """F was signed in this view: X and F exclude each other (R2)."""
    OTHER_BLOCK = "other_block"
    """The same kind of vote was given to another block of this view."""
    NOT_A_MEMBER = "not_a_member"
    """The key is not in the authority list of the ballot's epoch."""


class GuardRefused(Exception):
    """The guard does not allow a ballot. Normal after a restart, never a reason to stop."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Guard:
    """What was voted in the highest view voted in. At (0, 0) nothing was."""

    epoch: Epoch = Epoch(0)
    view: View = View(0)
    n_digest: Hash | None = None
    is_skipped: bool = False
    f_digest: Hash | None = None

    @property
    def at(self) -> tuple[Epoch, View]:
        """The highest (epoch, view) voted in."""
        return self.epoch, self.view

    def ballots(self) -> tuple[Ballot, ...]:
        """Its fields as the ballots that were signed."""
        voted = []
        if self.n_digest is not None:
            voted.append(notarise(self.epoch, self.view, self.n_digest))
        if self.is_skipped:
            voted.append(skip(self.epoch, self.view))
        if self.f_digest is not None:
            voted.append(finalise(self.epoch, self.view, self.f_digest))
        return tuple(voted)


def check_guard(guard: Guard, ballot: Ballot) -> Guard:
    """The guard once this ballot is signed.

    Raises: GuardRefused when signing it could contradict what was signed before. The very same ballot
    is never refused in the guard's own view, and changes nothing.
    """
    at = (ballot.epoch, ballot.view)
    if at < guard.at:
        raise GuardRefused(Reason.BELOW_GUARD)
    if at > guard.at:
        guard = Guard(ballot.epoch, ballot.view)
    n_digest, is_skipped, f_digest = guard.n_digest, guard.is_skipped, guard.f_digest
    match ballot.kind:
        case VoteKind.NOTARISE:
            _check_block(is_skipped, n_digest, ballot.digest)
            n_digest = ballot.digest
        case VoteKind.SKIP:
            if f_digest is not None:
                raise GuardRefused(Reason.FINALISED)
            is_skipped = True
        case VoteKind.FINALISE:
            _check_block(is_skipped, f_digest, ballot.digest)
            f_digest = ballot.digest
    return Guard(guard.epoch, guard.view, n_digest, is_skipped, f_digest)


def _check_block(is_skipped: bool, signed: Hash | None, digest: Hash) -> None:
    if is_skipped:
        raise GuardRefused(Reason.SKIPPED)
    if signed is not None and signed != digest:
        raise GuardRefused(Reason.OTHER_BLOCK)
