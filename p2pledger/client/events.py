"""Final blocks as they come, over as many connections as it takes. Without I/O. Floor 7.

Server-sent events (the HTML standard, section 9.2), as far as the API uses them: `id`, `data`, comments.
"""

from collections.abc import Iterator

from p2pledger.client.answers import read_event
from p2pledger.client.exchange import Limits, Nodes, Pause, Plan, Request
from p2pledger.client.outcomes import FinalEvent, InvalidAnswer, Unavailable
from p2pledger.types import Height

SILENCE_MS_MAX = 45_000
"""Three of the API's pings: a connection that is silent for longer is gone."""

EVENT_BYTES_MAX = 4 * 1024 * 1024


class EventParser:
    """Bytes in, the data of events out."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of each event that is complete now. Raises: InvalidAnswer for one without end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            name, _, value = line.partition(b":")
            if not line and self._data:
                yield b"\n".join(self._data).decode(errors="replace")
                self._data, self._size_bytes = [], 0
            elif name == b"data":
                self._data.append(value.removeprefix(b" "))
                self._size_bytes += len(value)
        if self._size_bytes + len(self._rest) > EVENT_BYTES_MAX:
            raise InvalidAnswer("an event without end")


class Subscription:
    """Which heights are due, over broken connections and from one node to the next.

    A connection is opened for each request of `next_request`; its bytes go through `feed`, and how it
    ended through `ended`.
    """

    def __init__(self, nodes: Nodes, limits: Limits, after: Height) -> None:
        self._nodes = nodes
        self._limits = limits
        self._after = after
        self._failures = 0
        self._node, _ = nodes.pick()
        self._parser = EventParser()

    def next_request(self) -> Plan[Request]:
        """The next connection to open, after the pause that is due."""
        self._node, pause_ms = self._nodes.pick()
        if pause_ms:
            yield Pause(pause_ms)
        self._parser = EventParser()
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self._after)}
        return Request(self._node.url + "/v1/events", "GET", SILENCE_MS_MAX, headers=headers)

    def feed(self, chunk: bytes) -> Iterator[FinalEvent]:
        """The events in these bytes: each height once, in order. Raises: InvalidAnswer for a gap."""
        for data in self._parser.feed(chunk):
            event = read_event(data)
            if event.height <= self._after:
                continue
            if event.height != self._after + 1:
                raise InvalidAnswer(f"height {event.height} came when {self._after + 1} was due")
            self._after = event.height
            self._failures = 0
            self._nodes.answered(self._node)
            yield event

    def ended(self, reason: str) -> None:
        """The connection is over. Raises: Unavailable when that has happened too often without an event."""
        self._failures += 1
        self._nodes.failed(self._node)
        if self._failures >= self._limits.attempts_max:
            raise Unavailable(f"no events from {self._node.url}: {reason}")
