"""A situation at a moment: how long things take already, and the words for who is concerned."""

from collections.abc import Collection, Sequence

from p2pledger.chain.vote import VoteKind
from p2pledger.consensus.situation import Situation
from p2pledger.types import Millis, PeerId

NAMES_MAX = 8
"""A sentence names this many authorities; the table has them all."""


class Look:
    """A situation at a moment, and the words for what is seen in it."""

    def __init__(
        self,
        s: Situation,
        now: Millis,
        connected: Collection[PeerId] | None,
        waiting_since: Millis | None,
    ) -> None:
        self.s, self.now, self.connected = s, now, connected
        self.own = s.voice.index
        self.parameters = s.setting.parameters
        self.questions = s.asking.questions()
        lapsed_ms = s.pacing.lapsed_ms
        self.is_late = self.own is not None and lapsed_ms is not None and now - lapsed_ms >= self.grace_ms
        """The view's deadline has passed, and the votes that should follow do not end it."""
        self.is_final_late = s.is_final_awaited and now - self.final_known_ms >= self.grace_ms
        """A block is known to be final, and for some time nothing has become so here."""
        self.quiet_ms = now - s.final_ms
        """Since something became final here."""
        self.work_ms = 0
        """For how long of that there was something to include; a follower counts its own mempool."""
        since = s.pacing.work_since_ms if self.own is not None else waiting_since
        if since is not None:
            self.work_ms = min(self.quiet_ms, now - since) or 1

    @property
    def grace_ms(self) -> int:
        """How long a thing may be awaited beyond its time before that is worth a word."""
        return max(self.parameters.status_interval_ms, 2 * self.parameters.delta_ms)

    @property
    def final_known_ms(self) -> Millis:
        """When the newest F certificate came, or a block became final here, whichever is later."""
        _, at = self.s.newest.get(VoteKind.FINALISE, (None, Millis(0)))
        return max(at, self.s.final_ms)

    def name(self, index: int) -> str:
        """An authority in a sentence."""
        return "this node" if index == self.own else self.s.authorities.members[index].organisation

    def names(self, indexes: Sequence[int]) -> str:
        """Several of them: `a, b and c`."""
        known = [self.name(index) for index in indexes[:NAMES_MAX]]
        if len(indexes) > NAMES_MAX:
            known.append(f"{len(indexes) - NAMES_MAX} others")
        return " and ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)

    def about(self, indexes: Sequence[int]) -> tuple[str, ...]:
        """The organisations of these authorities."""
        return tuple(self.s.authorities.members[index].organisation for index in indexes)

    def silence(self, indexes: Sequence[int]) -> str:
        """For how long nothing was heard of any of these."""
        heard_ms, listening_ms = self.s.pacing.heard_ms, self.s.pacing.listening_ms
        return span(min(self.now - heard_ms.get(index, listening_ms) for index in indexes))


def span(ms: int) -> str:
    """A time as people say it."""
    seconds = max(0, ms) / 1_000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"
