"""Posting parcels over connections that are kept, at next to no cost. Floor 9.

A general HTTP client spends some 2 ms of the processor on a request, as much as the node that answers it,
and where all share two cores, what the generator takes, the nodes wait for.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

import trio

from p2pledger.client.exchange import Answer
from p2pledger.testnet.ports import HOST

READ_BYTES = 64 * 1024
HEAD_BYTES_MAX = 16 * 1024
HEAD_END = b"\r\n\r\n"


class BadAnswer(Exception):
    """A connection was broken off, or what came over it is no answer of a length that it names."""


class Poster:
    """Posts CBOR to one path of one node, each request over a connection that is free, or a new one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or HOST, parts.port or 80
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/cbor\r\nContent-Length: %d\r\n\r\n"
        )
        self._free: list[trio.SocketStream] = []

    async def post(self, body: bytes) -> Answer:
        """Send a body and return what was answered. Raises: OSError, BadAnswer."""
        stream, answer = await self._stream(), None
        try:
            await stream.send_all((self._head % len(body)).encode() + body)
            answer = await _read(stream)
        except trio.BrokenResourceError as error:
            raise BadAnswer("the connection broke") from error
        finally:
            if answer is None:  # whatever came in between, this connection is of no more use
                stream.socket.close()
            else:
                self._free.append(stream)
        return answer

    async def _stream(self) -> trio.SocketStream:
        while self._free:
            stream = self._free.pop()
            if not stream.socket.is_readable():  # there is nothing to read on it but its end
                return stream
            await stream.aclose()
        return await trio.open_tcp_stream(self._host, self._port)

    async def aclose(self) -> None:
        """Close the connections that are free."""
        for stream in self._free:
            await stream.aclose()
        self._free.clear()


async def _read(stream: trio.SocketStream) -> Answer:
    received = b""
    while (end := received.find(HEAD_END)) < 0:
        if len(received) > HEAD_BYTES_MAX:
            raise BadAnswer("the head of the answer has no end")
        received += await _more(stream)
    status, headers = _head_of(received[:end])
    try:
        length = int(headers["content-length"])
    except (KeyError, ValueError):
        raise BadAnswer("the answer does not say how long it is") from None
    content = received[end + len(HEAD_END) :]
    while len(content) < length:
        content += await _more(stream)
    return Answer(status, headers, content)


async def _more(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some(READ_BYTES)
    if not data:
        raise BadAnswer("the node broke off its answer")
    return bytes(data)


def _head_of(head: bytes) -> tuple[int, Mapping[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    try:
        return int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}
    except (IndexError, ValueError):
        raise BadAnswer(f"no HTTP answer begins with {first[:40]!r}") from None
