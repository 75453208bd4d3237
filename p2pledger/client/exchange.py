"""Questions to any of several nodes, as plans without I/O. Floor 7.

A plan is a generator: it yields what is to be done next (a `Request` to send, a `Pause` to make), is sent
what came of it (an `Answer`, or `Lost`), and returns its result. The sync and the async client drive the
same plans; neither decides anything.
"""

import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from p2pledger.client.outcomes import Unavailable

T = TypeVar("T")

ANSWER_BYTES_MAX = 64 * 1024 * 1024
BACKOFF_MS_MIN = 50
BACKOFF_MS_MAX = 5_000
RETRY_AFTER_MS_MAX = 30_000
"""A node that asks for more patience is asked again after this long all the same."""

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that another node, or the same one later, may not answer."""


@dataclass(frozen=True)
class Limits:
    """How much patience a call has: attempts over all nodes, time in all, and time per request."""

    attempts_max: int = 12
    time_ms_max: int = 30_000
    request_ms_max: int = 10_000


@dataclass(frozen=True)
class Request:
    """One HTTP request to be sent. `timeout_ms` bounds how long the answer may be silent."""

    url: str
    method: str
    timeout_ms: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """Nothing is to be done for so long."""

    pause_ms: int


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Lost:
    """No complete answer came. `was_sent`: the node may have got the request and acted on it."""

    reason: str
    was_sent: bool


Reply = Answer | Lost | None
Plan = Generator[Request | Pause, Reply, T]


class Node:
    """A node's URL, and when it may be asked again."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.free_at_ms = 0.0
        self.failures = 0


class Nodes:
    """The nodes that may be asked: one as long as it answers, then the next.

    `clock` gives milliseconds that never go back. Calls that run at the same time share this.
    """

    def __init__(self, urls: Sequence[str], clock: Callable[[], float]) -> None:
        if not urls:
            raise ValueError("a client needs the URL of at least one node")
        self._nodes = [Node(url) for url in urls]
        self._clock = clock

    def now_ms(self) -> float:
        """The time by the client's own clock."""
        return self._clock()

    def pick(self) -> tuple[Node, int]:
        """The node to ask, and how many milliseconds to wait before."""
        now_ms = self._clock()
        node = min(self._nodes, key=lambda each: max(each.free_at_ms, now_ms))
        return node, max(0, math.ceil(node.free_at_ms - now_ms))

    def answered(self, node: Node) -> None:
        """The node did what it should."""
        node.failures = 0
        node.free_at_ms = 0.0

    def failed(self, node: Node, retry_after_ms: int | None = None) -> None:
        """The node did not: the others go first, and it rests, longer each time or as it asked."""
        self.turn_from(node)
        node.failures += 1
        backoff_ms = min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2.0 ** min(node.failures, 16))
        # Spread, so that a hundred clients of one node do not come back as one.
        rest_ms = random.uniform(0.5, 1.0) * backoff_ms if retry_after_ms is None else retry_after_ms  # noqa: S311
        node.free_at_ms = self._clock() + rest_ms

    def turn_from(self, node: Node) -> None:
        """Ask another node next."""
        self._nodes.remove(node)
        self._nodes.append(node)


@dataclass(frozen=True)
class Exchange:
    """An answer that is not to be retried, and whose it is.

    `maybe_acted`: an attempt before it may have been acted on.
    """

    node: Node
    answer: Answer
    maybe_acted: bool


def exchange(
    nodes: Nodes,
    limits: Limits,
    method: str,
    path: str,
    *,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    silence_ms: int = 0,
) -> Plan[Exchange]:
    """Ask until a node answers, within the limits. Only for what may be asked twice.

    `silence_ms` is how much longer than usual the node was asked to take.
    Raises: Unavailable.
    """
    deadline_ms = nodes.now_ms() + limits.time_ms_max + silence_ms
    maybe_acted, why = False, "no attempt was made"
    for _ in range(limits.attempts_max):
        node, pause_ms = nodes.pick()
        if nodes.now_ms() + pause_ms > deadline_ms:
            break
        if pause_ms:
            yield Pause(pause_ms)
        timeout_ms = limits.request_ms_max + silence_ms
        reply = yield Request(node.url + path, method, timeout_ms, content, headers or {})
        assert reply is not None
        if isinstance(reply, Answer) and reply.status not in RETRIED:
            nodes.answered(node)
            return Exchange(node, reply, maybe_acted)
        if isinstance(reply, Answer):
            why = f"{node.url} answered {reply.status}"
            # 429 is an honest no; of the others we cannot know how far the node had come.
            maybe_acted = maybe_acted or reply.status != 429
            nodes.failed(node, retry_after_ms(reply))
        else:
            why = f"{node.url}: {reply.reason}"
            maybe_acted = maybe_acted or reply.was_sent
            nodes.failed(node)
    raise Unavailable(f"no node answered {method} {path}; at last, {why}")


def retry_after_ms(answer: Answer) -> int | None:
    """What Retry-After asks for, in its form of whole seconds; None when there is none."""
    text = answer.headers.get("retry-after", "")
    if not text.isascii() or not text.isdigit():
        return None
    return min(RETRY_AFTER_MS_MAX, int(text[:9]) * 1_000)
