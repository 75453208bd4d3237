"""What this node lacks and whom it asks: every question is asked again, of another peer, for ever.

A question stays open for as long as each settling wishes it anew; what nobody wishes any more is gone.
Peers take turns, those most likely to know first. Waits grow from 100 ms to 2 s, so that a lonely node
does not spin.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from p2pledger.chain.message import Request
from p2pledger.consensus.events import Ask
from p2pledger.types import Millis

QUESTIONS_MAX = 64
WAIT_MS_MIN = 100
WAIT_MS_MAX = 2_000


@dataclass
class _Question:
    request: Request
    peers: list[int]
    attempts: int = 0
    is_wanted: bool = True
    is_asked: bool = False
    retry_ms: Millis = Millis(0)


@dataclass(frozen=True)
class OpenQuestion:
    """Something that is being asked: by which key, of whom now or next, and how often in vain so far."""

    key: str
    request: Request
    peer: int
    attempts: int


class Asking:
    """The open questions, by key."""

    def __init__(self) -> None:
        self._open: dict[str, _Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    def want(self, key: str, request: Request, peers: Iterable[int]) -> None:
        """Have this asked, the first of `peers` first; to be said at each settling while it is lacking.

        At most QUESTIONS_MAX are open: beyond that the wish is dropped, to be wished again.
        """
        if (question := self._open.get(key)) is not None:
            question.is_wanted = True
            if not question.is_asked:
                question.request = request
        elif (order := list(dict.fromkeys(peers))) and len(self._open) < QUESTIONS_MAX:
            self._open[key] = _Question(request, order)

    def is_open(self, key: str) -> bool:
        """Whether this is being asked."""
        return key in self._open

    def questions(self) -> list[OpenQuestion]:
        """All that is being asked."""
        return [
            OpenQuestion(key, q.request, q.peers[q.attempts % len(q.peers)], q.attempts)
            for key, q in self._open.items()
        ]

    def close(self, key: str) -> None:
        """The answer brought something on; what is still lacking is wished anew."""
        self._open.pop(key, None)

    def clear(self) -> None:
        """Nothing of what was asked matters any more."""
        self._open.clear()

    def fail(self, key: str, now: Millis) -> None:
        """The peer asked did not help: ask the next one after a wait."""
        if (question := self._open.get(key)) is not None:
            question.is_asked = False
            question.attempts += 1
            rounds = question.attempts // len(question.peers)
            question.retry_ms = Millis(now + min(WAIT_MS_MIN << min(rounds, 5), WAIT_MS_MAX))

    def due(self, now: Millis) -> list[Ask]:
        """The questions to put now; those that were not wished since the last call are dropped."""
        self._open = {key: question for key, question in self._open.items() if question.is_wanted}
        asks = []
        for key, question in self._open.items():
            question.is_wanted = False
            if not question.is_asked and question.retry_ms <= now:
                question.is_asked = True
                peer = question.peers[question.attempts % len(question.peers)]
                asks.append(Ask(key, peer, question.request))
        return asks

    def wake_ms(self) -> Millis | None:
        """When the next question is due."""
        return min((q.retry_ms for q in self._open.values() if not q.is_asked), default=None)

    def shift(self, by_ms: int) -> None:
        """The clock was set by this much."""
        for question in self._open.values():
            question.retry_ms = Millis(question.retry_ms + by_ms)
