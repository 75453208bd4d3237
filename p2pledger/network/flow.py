"""One yamux stream: two windows, and what has arrived. Floor 6. See `yamux` for the connection."""

import struct
from types import TracebackType
from typing import Protocol, Self

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

HEADER = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

INITIAL_WINDOW_BYTES = 256 * 1024
"""What yamux lets a peer send before the first credit, by its specification."""

GROWN_WINDOW_BYTES = 1024 * 1024
"""What a stream that is read steadily may have in flight."""

FRAME_BYTES = 65_519 - HEADER.size
"""The payload that fills one Noise message."""


class Connection(Protocol):
    """What a stream needs of its connection."""

    @property
    def has_room(self) -> bool:
        """Whether data may be queued now."""

    async def wait_for_room(self) -> None:
        """Return when something was sent, or the connection has ended."""

    def put(self, kind: int, flags: int, stream_id: int, length: int, payload: bytes = b"") -> None:
        """Queue a frame for the socket; returns at once. Data writers wait for `has_room` first."""

    def forget_if_done(self, stream: "Stream") -> None:
        """Let go of a stream that is closed both ways."""

    def get_remote_address(self) -> tuple[str, int] | None:
        """The address and port of the peer."""


class Stream(IMuxedStream):
    """One stream. At most one task may read and one may write at a time."""

    def __init__(self, stream_id: int, connection: Connection, muxed_conn: IMuxedConn) -> None:
        self.stream_id = stream_id
        self.muxed_conn = muxed_conn
        self.send_window = INITIAL_WINDOW_BYTES
        self.receive_window = INITIAL_WINDOW_BYTES
        self.send_closed = False
        self.receive_closed = False
        self.is_reset = False
        self.closed_at = 0.0
        self._connection = connection
        self._inbox = bytearray()
        self._is_grown = False
        self._credit = 0
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    async def read(self, n: int | None = None) -> bytes:
        """Return what has arrived, at least one byte and at most `n`.

        Raises: MuxedStreamEOF, MuxedStreamReset.
        """
        while not self._inbox:
            if self.is_reset:
                raise MuxedStreamReset("the stream was reset")
            if self.receive_closed:
                raise MuxedStreamEOF("the peer has closed the stream")
            await self._readers.park()
        if n is None or n < 0 or n >= len(self._inbox):
            data = bytes(self._inbox)
            self._inbox.clear()
        else:
            data = bytes(self._inbox[:n])
            del self._inbox[:n]
        self._give_credit(len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Hand all of `data` to the connection, waiting for window and for room.

        Raises: MuxedStreamClosed, MuxedStreamReset.
        """
        sent = 0
        while sent < len(data):
            if self.is_reset:
                raise MuxedStreamReset("the stream was reset")
            if self.send_closed:
                raise MuxedStreamClosed("the stream is closed for writing")
            if self.send_window == 0:
                await self._writers.park()
                continue
            if not self._connection.has_room:
                await self._connection.wait_for_room()
                continue
            chunk = data[sent : sent + min(self.send_window, FRAME_BYTES)]
            self.send_window -= len(chunk)
            self._connection.put(DATA, 0, self.stream_id, len(chunk), chunk)
            sent += len(chunk)
        await trio.lowlevel.checkpoint()

    def write_now(self, data: bytes) -> bool:
        """Hand all of `data` to the connection if it need not wait for anything; False: none of it was."""
        is_open = not (self.is_reset or self.send_closed)
        if not is_open or len(data) > min(self.send_window, FRAME_BYTES) or not self._connection.has_room:
            return False
        self.send_window -= len(data)
        self._connection.put(DATA, 0, self.stream_id, len(data), data)
        return True

    async def close(self) -> None:
        """Say that nothing more will be written. What the peer sends can still be read."""
        if not self.send_closed and not self.is_reset:
            self.send_closed = True
            self.closed_at = trio.current_time()
            self._connection.put(WINDOW_UPDATE, FIN, self.stream_id, 0)
            self._connection.forget_if_done(self)
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        """Break the stream off in both directions and drop what was not read. Never waits for the peer."""
        if not self.is_reset:
            if not (self.send_closed and self.receive_closed):
                self._connection.put(WINDOW_UPDATE, RST, self.stream_id, 0)
            self.break_off()
            self._connection.forget_if_done(self)

    def accept_data(self, data: bytes) -> None:
        """Take what the reader of the connection found; it has checked the window."""
        self.receive_window -= len(data)
        self._inbox += data
        self._readers.unpark_all()

    def accept_credit(self, increment: int) -> None:
        self.send_window += increment
        self._writers.unpark_all()

    def accept_end(self) -> None:
        self.receive_closed = True
        self._readers.unpark_all()

    def break_off(self) -> None:
        self.is_reset = self.send_closed = self.receive_closed = True
        self._inbox.clear()
        self._readers.unpark_all()
        self._writers.unpark_all()

    def _give_credit(self, n_bytes: int) -> None:
        """Let the peer send more, in steps of half a window: not one update for every read."""
        self._credit += n_bytes
        window = GROWN_WINDOW_BYTES if self._is_grown else INITIAL_WINDOW_BYTES
        if self._credit < window // 2 or self.receive_closed:
            return
        if not self._is_grown:
            self._is_grown = True
            self._credit += GROWN_WINDOW_BYTES - INITIAL_WINDOW_BYTES
        self.receive_window += self._credit
        self._connection.put(WINDOW_UPDATE, 0, self.stream_id, self._credit)
        self._credit = 0

    def set_deadline(self, ttl: int) -> None:
        raise NotImplementedError("cancel scopes do this")

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._connection.get_remote_address()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()
