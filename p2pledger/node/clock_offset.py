"""How far this node's clock is from the authorities' clocks, by the times in headers. Floor 6.

A leader puts its time into a block when it begins to build it. What is measured when the block arrives is
the difference of the clocks and the way here, so of each leader the least of its last few counts, which is
the one that came fastest; and of the leaders the median, which no third of liars moves far. So it is too
great by the fastest way here: some milliseconds at an authority, which hears leaders themselves, and what an
agreement takes at a gateway, which hears of final blocks.
"""

from collections import deque
from statistics import median

from p2pledger.types import Millis

SAMPLES = 16
"""Of a leader, the last ones: while there is work, those of about a minute."""
LEADERS_MAX = 64


class ClockOffset:
    """What headers told; `leader` is anything that stands for the one who made a header."""

    def __init__(self) -> None:
        self._ahead_ms: dict[object, deque[int]] = {}

    def observe(
        self, leader: object, time_ms: Millis, now: Millis, *, parent_ms: Millis | None = None
    ) -> None:
        """A leader's block, whose header has this time, is here now; `parent_ms`: its parent's, if known.

        A header's time is later than its parent's. One that is so by the least there is was put there by the
        rule and not by a clock: whoever leads after a clock that is ahead has no other.
        """
        if parent_ms is not None and time_ms == parent_ms + 1:
            return
        if leader not in self._ahead_ms and len(self._ahead_ms) == LEADERS_MAX:
            del self._ahead_ms[next(iter(self._ahead_ms))]
        self._ahead_ms.setdefault(leader, deque(maxlen=SAMPLES)).append(now - time_ms)

    def forget(self) -> None:
        """Our own clock was set: what was measured by it says nothing any more."""
        self._ahead_ms.clear()

    @property
    def ahead_ms(self) -> float:
        """By how much our clock is ahead of theirs, or behind when negative; 0 while nothing was heard."""
        return float(median([min(samples) for samples in self._ahead_ms.values()] or [0]))
