"""How much may wait at a time: as much as becomes final soon. Floor 6.

A node that takes in whatever its mempool holds, takes in minutes of work, and spends on that work what the
agreement needs. Refused early, a client loses nothing: it is told when to come again.
"""

import math

from p2pledger.types import Millis

WAIT_MS = 2_000
"""What becomes final in this time may wait. Of one sponsor alone three quarters of it."""
WAITING_MIN = 4_096
"""So many may wait at a node that has had little to do, and so cannot tell how fast the ledger is."""
MEMORY_MS = 2_000
"""What was final so long ago counts a third of what is final now; time in which nothing waits is left out."""


class Backlog:
    """Watches how fast transactions become final while some wait: an idle ledger is not a slow one.

    No clock of its own.
    """

    def __init__(self) -> None:
        self._since_ms: Millis | None = None
        """From when the next block counts; None while nothing waits."""
        self._per_ms = 0.0

    def begin(self, now: Millis) -> None:
        """Something waits."""
        if self._since_ms is None:
            self._since_ms = now

    def settle(self, count: int, waiting: int, now: Millis) -> None:
        """A block of `count` transactions was stored, and so many are still waiting."""
        if self._since_ms is not None:
            elapsed_ms = max(1, now - self._since_ms)
            weight = 1 - math.exp(-elapsed_ms / MEMORY_MS)
            self._per_ms += weight * (count / elapsed_ms - self._per_ms)
        self._since_ms = now if waiting else None

    @property
    def waiting_max(self) -> int:
        """How many transactions may wait now."""
        return max(WAITING_MIN, round(self._per_ms * WAIT_MS))
