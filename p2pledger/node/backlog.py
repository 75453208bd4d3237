"""How much may wait at a time: as much as becomes final soon. Floor 6.

A node that takes in whatever its mempool holds, takes in minutes of work, and spends on that work what the
agreement needs. Refused early, a client loses nothing: it is told when to come again.
"""

import math

from p2pledger.types import Millis

WAIT_MS = 2_000
"""What becomes final in this time may wait. Of one sponsor alone three quarters of it."""
WAITING_MIN = 4_096
"""So many may wait at a node that has had nothing to do, and so cannot tell how fast the ledger is."""
MEMORY_MS = 2_000
"""What was final so long ago counts a third of what is final now."""


class Backlog:
    """Watches how fast transactions become final. No clock of its own."""

    def __init__(self, now: Millis) -> None:
        self._settled_ms = now
        self._per_ms = 0.0

    def settle(self, count: int, now: Millis) -> None:
        """A block of so many transactions was stored."""
        elapsed_ms = max(1, now - self._settled_ms)
        self._settled_ms = now
        weight = 1 - math.exp(-elapsed_ms / MEMORY_MS)
        self._per_ms += weight * (count / elapsed_ms - self._per_ms)

    @property
    def waiting_max(self) -> int:
        """How many transactions may wait now."""
        return max(WAITING_MIN, round(self._per_ms * WAIT_MS))
