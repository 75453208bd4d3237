"""Messages on a stream: a length, then so many bytes. Floor 6.

Two lengths are in use: ours, four bytes big-endian, and libp2p's varint. The reader is buffered, holds no
more than one message and a read, and gives a message that has begun FRAME_S seconds to come in.
"""

import trio
from libp2p.abc import INetStream
from libp2p.network.stream.exceptions import StreamEOF

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


class StreamReader:
    """Reads whole messages from one stream."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def frame(self, bytes_max: int) -> bytes | None:
        """Return the next message that our own length announces; None when the peer has ended the stream.

        Raises: InvalidMessage for a length over `bytes_max`; trio.TooSlowError; the library's IOException.
        """
        if not await self._begin():
            return None
        with trio.fail_after(FRAME_S):
            await self._fill(LENGTH_BYTES)
            length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            return await self._cut(LENGTH_BYTES, length, bytes_max)

    async def delimited(self, bytes_max: int) -> bytes | None:
        """As `frame`, for libp2p's varint length."""
        if not await self._begin():
            return None
        with trio.fail_after(FRAME_S):
            length = n_bytes = 0
            while True:
                if n_bytes == VARINT_BYTES_MAX:
                    raise InvalidMessage("a length of more than 64 bits")
                await self._fill(n_bytes + 1)
                byte = self._buffer[n_bytes]
                length |= (byte & 0x7F) << (7 * n_bytes)
                n_bytes += 1
                if byte < 0x80:
                    return await self._cut(n_bytes, length, bytes_max)

    async def _begin(self) -> bool:
        if not self._buffer:
            try:
                await self._fill(1)
            except StreamEOF:
                return False
        return True

    async def _fill(self, n_bytes: int) -> None:
        while len(self._buffer) < n_bytes:
            piece = await self._stream.read(READ_BYTES)
            if not piece:
                raise StreamEOF("the stream ended within a message")
            self._buffer += piece

    async def _cut(self, start: int, length: int, bytes_max: int) -> bytes:
        if length > bytes_max:
            raise InvalidMessage(f"a message of {length} bytes, at most {bytes_max} are allowed")
        await self._fill(start + length)
        message = bytes(memoryview(self._buffer)[start : start + length])
        del self._buffer[: start + length]
        return message
