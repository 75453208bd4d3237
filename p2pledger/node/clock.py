"""The node's clock: the time of day, at the steady pace of the monotonic clock. Floor 6.

Deadlines must not fire because somebody set the machine's clock, and block times must follow it all the
same. So the time of day is read once, carried on by the monotonic clock, and corrected in steps that are
told to whoever keeps deadlines.
"""

import time
from collections.abc import Callable

from p2pledger.types import Millis

STEP_MS_MIN = 50
"""A smaller difference is the two clocks drifting, and is left until it has grown."""


class Clock:
    """Milliseconds since 1970, steady between corrections.

    `wrong_by_ms` puts it ahead of the machine's clock (or behind), so that a wrong clock can be tried.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
        *,
        wrong_by_ms: int = 0,
    ) -> None:
        self._wrong_by_ns = wrong_by_ms * 1_000_000
        self._wall_ns, self._steady_ns = wall_ns, steady_ns
        self._offset_ns = self._difference_ns()

    def _difference_ns(self) -> int:
        return self._wall_ns() + self._wrong_by_ns - self._steady_ns()

    def now(self) -> Millis:
        """The time. Never goes back but by `correct`."""
        return Millis((self._steady_ns() + self._offset_ns) // 1_000_000)

    def correct(self) -> int:
        """Follow the machine's clock if it was set; by how many milliseconds time jumped, mostly 0."""
        by_ms = (self._difference_ns() - self._offset_ns) // 1_000_000
        if abs(by_ms) < STEP_MS_MIN:
            return 0
        self._offset_ns += by_ms * 1_000_000
        return by_ms
