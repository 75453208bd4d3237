"""Messages on a stream: a length, then so many bytes. Floor 6.

Two lengths are in use: ours, four bytes big-endian, and libp2p's varint. The reader is buffered, holds no
more than one message and a read, and gives a message that has begun FRAME_S seconds to come in.
"""

from collections.abc import Callable
from typing import Protocol

import trio
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from p2pledger.errors import InvalidMessage

READ_BYTES = 256 * 1024
LENGTH_BYTES = 4
VARINT_BYTES_MAX = 10
FRAME_S = 30.0


def encode_frame(data: bytes) -> bytes:
    """Put our own length before `data`."""
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def encode_delimited(data: bytes) -> bytes:
    """Put libp2p's varint length before `data`."""
    length, prefix = len(data), bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + data


_Head = Callable[[bytearray], tuple[int, int] | None]
"""From what has come in to where a message's data begin and how many they are; None: not known yet."""


def _frame_head(buffer: bytearray) -> tuple[int, int] | None:
    if len(buffer) < LENGTH_BYTES:
        return None
    return LENGTH_BYTES, int.from_bytes(buffer[:LENGTH_BYTES], "big")


def _delimited_head(buffer: bytearray) -> tuple[int, int] | None:
    length = 0
    for at, byte in enumerate(buffer[:VARINT_BYTES_MAX]):
        length |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:
            return at + 1, length
    if len(buffer) >= VARINT_BYTES_MAX:
        raise InvalidMessage("a length of more than 64 bits")
    return None


class ByteStream(Protocol):
    """What is read and written here: a stream of the swarm's, or of a bare connection."""

    async def read(self, n: int | None = None) -> bytes:
        """What has arrived, at least one byte and at most `n`. Raises: StreamEOF, MuxedStreamEOF."""

    async def write(self, data: bytes) -> None:
        """Write all of `data`."""


class StreamReader:
    """Reads whole messages from one stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def frame(self, bytes_max: int) -> bytes | None:
        """Return the next message that our own length announces; None when the peer has ended the stream.

        Raises: InvalidMessage for a length over `bytes_max`; trio.TooSlowError; the library's IOException.
        """
        return await self._next(_frame_head, bytes_max)

    async def delimited(self, bytes_max: int) -> bytes | None:
        """As `frame`, for libp2p's varint length."""
        return await self._next(_delimited_head, bytes_max)

    async def _next(self, head: _Head, bytes_max: int) -> bytes | None:
        if not self._buffer:
            try:
                await self._read()
            except (StreamEOF, MuxedStreamEOF):
                return None
        # Most messages are here whole by now, and setting up a timer costs as much as cutting one out.
        if (message := self._cut(head, bytes_max)) is not None:
            return message
        with trio.fail_after(FRAME_S):
            while (message := self._cut(head, bytes_max)) is None:
                await self._read()
        return message

    def _cut(self, head: _Head, bytes_max: int) -> bytes | None:
        if (found := head(self._buffer)) is None:
            return None
        start, length = found
        if length > bytes_max:
            raise InvalidMessage(f"a message of {length} bytes, at most {bytes_max} are allowed")
        if len(self._buffer) < start + length:
            return None
        message = bytes(memoryview(self._buffer)[start : start + length])
        del self._buffer[: start + length]
        return message

    async def _read(self) -> None:
        piece = await self._stream.read(READ_BYTES)
        if not piece:
            raise StreamEOF("the stream ended within a message")
        self._buffer += piece
