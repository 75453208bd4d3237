"""Whether the machine has a core to spare beside the event loop's, by measuring. Floor 6."""

from collections import deque

RECENT_MAX = 32
"""Stretches of work that tell how much of a core there is to be had."""
PROBED_EVERY = 16
"""Of what threads may do, so much is done on the loop, to see whether cores are still free."""
TAKEN_SHARE = 0.75
"""Who gets less of a core than this, while it has something to do, shares it with others."""


class Cores:
    """Whether a core is free for a thread: told by what the loop itself got of one while it was busy."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT_MAX)
        self._unobserved = 0

    def observe(self, elapsed_s: float, spent_s: float) -> None:
        """The loop had something to do for so long, and its thread got so much processor time meanwhile."""
        self._recent.append((elapsed_s, spent_s))

    @property
    def are_taken(self) -> bool:
        """Whether the loop, and so a thread beside it, waits for a core; False while nothing is known."""
        elapsed_s = sum([elapsed_s for elapsed_s, _ in self._recent])
        return sum([spent_s for _, spent_s in self._recent]) < TAKEN_SHARE * elapsed_s

    def is_for_thread(self) -> bool:
        """Whether a thread is to do what comes next. What is done on the loop, `observe` is to be told of."""
        self._unobserved += 1
        if self.are_taken or self._unobserved >= PROBED_EVERY:
            self._unobserved = 0
            return False
        return True
