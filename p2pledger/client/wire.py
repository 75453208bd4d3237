"""Between plans and httpx: what the sync and the async client have in common. Floor 7."""

import time
from typing import Any

import httpx

from p2pledger.client.exchange import ANSWER_BYTES_MAX, Answer, Lost, Request
from p2pledger.client.outcomes import InvalidAnswer

CONNECT_MS_MAX = 5_000


def monotonic_ms() -> float:
    """Milliseconds that never go back."""
    return time.monotonic() * 1_000


def asked(request: Request) -> dict[str, Any]:
    """The arguments of httpx's `stream` for a request. Answers come as they are, never compressed."""
    return {
        "method": request.method,
        "url": request.url,
        "content": request.content or None,
        "headers": {"Accept-Encoding": "identity", **request.headers},
        "timeout": httpx.Timeout(request.timeout_ms / 1_000, connect=CONNECT_MS_MAX / 1_000),
    }


class Content:
    """An answer's body as it comes, up to ANSWER_BYTES_MAX."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """Raises: InvalidAnswer when it is too long."""
        self._bytes += chunk
        if len(self._bytes) > ANSWER_BYTES_MAX:
            raise InvalidAnswer(f"an answer of more than {ANSWER_BYTES_MAX} bytes")

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)


def answer_of(response: httpx.Response, content: Content) -> Answer:
    """The complete answer; httpx gives header names in lower case."""
    return Answer(response.status_code, dict(response.headers), bytes(content))


def lost(error: httpx.TransportError) -> Lost:
    """What a broken request means: only one that found no connection was surely not acted on."""
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    return Lost(repr(error), was_sent=not isinstance(error, unsent))


def check_streams(response: httpx.Response) -> None:
    """Raises: InvalidAnswer unless this is the beginning of an event stream."""
    if response.status_code != 200 or not response.headers.get("content-type", "").startswith("text/event-"):
        raise InvalidAnswer(f"no event stream, but status {response.status_code}")
