"""What this authority has said, and whether it may speak.

A mirror of the signer's guard, so that the core does not ask for what the guard would refuse. The
signer decides; the mirror only plans. It also notices when the guard on disk is not what was signed:
then this authority falls silent and follows (PROTOCOL, R8).
"""

from p2pledger.chain.vote import Ballot, Vote, VoteKind
from p2pledger.types import Epoch, Millis, View

NO_GUARD = (
    "no guard was found for this key: it follows without voting until the key is replaced "
    "at an epoch boundary"
)
LOST_GUARD = (
    "a signature of this key was seen that its guard does not know: the guard was lost, restored from a "
    "backup, or a second node runs with this key; it follows without voting until the key is replaced"
)
NOT_A_MEMBER = "this node is no authority of the current epoch"
WAITING = "waiting for other authorities to say what this key has signed before"


class Voice:
    """One authority's own votes of the current epoch, and the state of its guard."""

    def __init__(
        self, index: int | None, guard: tuple[Epoch, View] | None, voted: tuple[Ballot, ...]
    ) -> None:
        self.index = index
        self.guard = guard if guard is not None else (Epoch(0), View(0))
        self.epoch = Epoch(0)
        self.votes: dict[View, dict[VoteKind, Vote]] = {}
        self.answered: set[int] = set()
        self.is_waiting = False
        self.waits_until_ms: Millis | None = None
        self.floor = (Epoch(0), View(0))
        """Every own vote of the epoch above this (epoch, view) is among `votes`."""
        self._lost = "" if guard is not None else NO_GUARD
        self._fields = {ballot.kind: ballot for ballot in voted}

    @property
    def notice(self) -> str:
        """Why it does not vote, in a sentence; empty when it may."""
        if self.index is None:
            return NOT_A_MEMBER
        return self._lost or (WAITING if self.is_waiting else "")

    @property
    def is_silent(self) -> bool:
        """Whether it may not vote now."""
        return self.notice != ""

    def allows(self, ballot: Ballot) -> bool:
        """Whether the guard allows this ballot and it was not asked for yet."""
        if self.is_silent or (ballot.epoch, ballot.view) < self.guard:
            return False
        if (ballot.epoch, ballot.view) > self.guard:
            return True
        if ballot.kind in self._fields:
            return False
        match ballot.kind:
            case VoteKind.SKIP:
                return VoteKind.FINALISE not in self._fields  # (R2)
            case _:
                return VoteKind.SKIP not in self._fields

    def plan(self, ballot: Ballot) -> None:
        """This ballot goes to the signer: nothing that contradicts it is asked for from here on."""
        if (ballot.epoch, ballot.view) > self.guard:
            self.guard, self._fields = (ballot.epoch, ballot.view), {}
        self._fields[ballot.kind] = ballot

    def record(self, vote: Vote) -> None:
        """The signer gave this vote."""
        self.votes.setdefault(vote.ballot.view, {})[vote.ballot.kind] = vote

    def meet(self, vote: Vote) -> bool:
        """A true vote of this key came from elsewhere. True when it is one that this guard never made."""
        ballot = vote.ballot
        at = (ballot.epoch, ballot.view)
        if at == self.guard:
            is_unknown = self._fields.get(ballot.kind) != ballot
        elif at < self.guard:
            given = self.votes.get(ballot.view, {}).get(ballot.kind)
            is_unheard = given is None or given.ballot != ballot
            is_unknown = is_unheard and at > self.floor and ballot.epoch == self.epoch
        else:
            is_unknown = True
        if is_unknown and not self._lost:
            self.fall_silent()
            return True
        return False

    def fall_silent(self) -> None:
        """This key is at work elsewhere: it says nothing more, and follows (R8)."""
        self._lost = self._lost or LOST_GUARD

    def latest(self, views: int) -> list[Vote]:
        """Its own votes of its highest views, to be said again."""
        return [vote for view in sorted(self.votes)[-views:] for vote in self.votes[view].values()]

    def prune(self, epoch: Epoch, final_view: View) -> None:
        """Forget its votes below the final view."""
        self.floor = max(self.floor, (epoch, final_view))
        for view in [view for view in self.votes if view < final_view]:
            del self.votes[view]

    def wait(self) -> None:
        """Say nothing until others told what this key has signed. While none is heard, none can tell."""
        self.is_waiting, self.waits_until_ms = True, None
        self.answered.clear()

    def speak(self) -> None:
        """The waiting is over."""
        self.is_waiting, self.waits_until_ms = False, None

    def begin_epoch(self, epoch: Epoch, index: int | None) -> None:
        """A new epoch: positions and views start again; the guard goes on."""
        self.epoch, self.index = epoch, index
        self.floor = max(self.floor, (epoch, View(0)))
        self.votes.clear()
