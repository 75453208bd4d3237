"""What is to happen when: the one clock of a story."""

import heapq
import itertools
from collections.abc import Callable


class Agenda:
    """Things to happen, by time, and in the order in which they were put down within a moment."""

    def __init__(self) -> None:
        self.now = 0
        self._heap: list[tuple[int, int, bool, Callable[[], None]]] = []
        self._order = itertools.count()

    def post(self, after_ms: int, happen: Callable[[], None], *, is_message: bool = False) -> None:
        """Have something happen."""
        heapq.heappush(self._heap, (self.now + after_ms, next(self._order), is_message, happen))

    def run(self, until: int | None = None) -> None:
        """Let all happen that is due up to a moment; up to this one if none is named."""
        end = self.now if until is None else until
        while self._heap and self._heap[0][0] <= end:
            self.now, _, _, happen = heapq.heappop(self._heap)
            happen()
        self.now = end

    def run_until_delivered(self) -> None:
        """Let all happen up to the moment at which no message is on its way any more."""
        self.run()
        while messages := [at for at, _, is_message, _ in self._heap if is_message]:
            self.run(min(messages))
