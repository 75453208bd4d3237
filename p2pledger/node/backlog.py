"""How much may wait at a time: as much as becomes final soon. Floor 6.

A node that takes in whatever its mempool holds, takes in minutes of work, and spends on that work what the
agreement needs. Refused early, a client loses nothing: it is told when to come again.
"""

import math

from p2pledger.types import Millis

WAIT_MS = 2_000
"""What becomes final in this time may wait. Of one sponsor alone three quarters of it."""
WAITING_MIN = 4_096
"""So many may wait on however slow a ledger, and on one that has had so little to do that it seems slow."""
WAITING_START = 8_192
"""So many may wait at a start, and what blocks tell takes its place as time goes by: on a fast ledger the
first is final after half a second only, and what were refused until then would be refused for want of
knowledge."""
MEMORY_MS = 5_000
"""What was final so long ago counts a third of what is final now; time in which nothing waits is left out.

Were it short, one slow second, after which the most waits, would have that refused."""


class Backlog:
    """Watches how fast transactions become final while some wait: an idle ledger is not a slow one.

    No clock of its own.
    """

    def __init__(self) -> None:
        self._since_ms: Millis | None = None
        """From when the next block counts; None while nothing waits."""
        self._told_per_ms: float | None = None
        """How many blocks make final in a millisecond; None before the first."""

    def begin(self, now: Millis) -> None:
        """Something waits."""
        if self._since_ms is None:
            self._since_ms = now

    def settle(self, count: int, waiting: int, now: Millis) -> None:
        """A block of `count` transactions was stored, and so many are still waiting."""
        if self._since_ms is not None:
            elapsed_ms = max(1, now - self._since_ms)
            weight = 1 - math.exp(-elapsed_ms / MEMORY_MS)
            self._told_per_ms = self._per_ms + weight * (count / elapsed_ms - self._per_ms)
        self._since_ms = now if waiting else None

    @property
    def waiting_max(self) -> int:
        """How many transactions may wait now."""
        return max(WAITING_MIN, round(self._per_ms * WAIT_MS))

    @property
    def _per_ms(self) -> float:
        return WAITING_START / WAIT_MS if self._told_per_ms is None else self._told_per_ms
