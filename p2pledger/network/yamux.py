"""The stream multiplexer: yamux 1.0 over a libp2p secure connection. Floor 6.

The library's own muxer cannot be mended from outside: it lets a peer overrun the receive window, opens
any number of streams, corrupts the cipher stream when a write is cancelled, polls for window updates and
gives up after five seconds, and blocks its reader behind its writer. This one keeps the same interface
(`IMuxedConn`, `IMuxedStream`) and the same bytes on the wire.

One task reads the connection and one writes it; streams only touch buffers. So cancelling a stream's read
or write never harms the connection, and a peer that stops reading stops only what is sent to it.
Everything held for a peer is bounded: MAX_INBOUND_STREAMS times its window, plus OUTBOX_BYTES.

Source: https://github.com/hashicorp/yamux/blob/master/spec.md
"""

import logging
from typing import Protocol

import trio
from libp2p.abc import IMuxedConn, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError
from multiaddr import Multiaddr

from p2pledger.network.flow import (
    ACK,
    DATA,
    FIN,
    FRAME_BYTES,
    GO_AWAY,
    HEADER,
    INITIAL_WINDOW_BYTES,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    Stream,
)

_log = logging.getLogger(__name__)

OUTBOX_BYTES = 256 * 1024
"""What waits for the socket before writers wait. Control frames may exceed it by CONTROL_BYTES."""

CONTROL_BYTES = 64 * 1024
MAX_INBOUND_STREAMS = 32
MAX_STREAM_ID = 2**32 - 1

PING_INTERVAL_S = 5.0
PONG_TIMEOUT_S = 20.0
"""A connection whose other end is silent this long is closed: TCP alone would not notice for minutes."""

HALF_CLOSED_S = 60.0
"""How long a stream that we have closed waits for the other side to close it too."""

GOODBYE_S = 0.5


class Watcher(Protocol):
    """Who is told what a peer does on its connection."""

    def on_violation(self, peer: ID, reason: str) -> None:
        """The peer broke the protocol in a way that no honest one does; its connection is being closed."""

    def on_ping(self, peer: ID, rtt_ms: float) -> None:
        """A round trip was measured."""


class Violation(Exception):
    """Frames that the specification forbids. The peer is at fault."""


class Mux(IMuxedConn):
    """A connection that carries streams. `start` runs it until it ends; nothing it raises escapes."""

    def __init__(self, conn: ISecureConn, peer_id: ID, watcher: Watcher) -> None:
        self.secured_conn = conn
        self.peer_id = peer_id
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        self._watcher = watcher
        self._streams: dict[int, Stream] = {}
        self._next_id = 1 if conn.is_initiator else 2
        self._n_inbound = 0
        self._stray_bytes = 0
        self._is_closing = False
        self._raw = bytearray()
        self._outbox = bytearray()
        self._is_writing = False
        self._outbox_filled = trio.lowlevel.ParkingLot()
        self._outbox_emptied = trio.lowlevel.ParkingLot()
        self._ping_id = 0
        self._pinged_at = 0.0
        self._pong = trio.Event()
        # The channel holds as many as may exist, so that announcing a stream never blocks the reader.
        self._accepted, self._to_accept = trio.open_memory_channel[Stream](MAX_INBOUND_STREAMS)

    @property
    def is_initiator(self) -> bool:
        return self.secured_conn.is_initiator

    @property
    def is_established(self) -> bool:
        return self.event_started.is_set() and not self._is_closing

    @property
    def is_closed(self) -> bool:
        return self.event_closed.is_set()

    @property
    def has_room(self) -> bool:
        return len(self._outbox) < OUTBOX_BYTES

    async def start(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._transmit)
                nursery.start_soon(self._keep_alive)
                self.event_started.set()
                await self._receive()
                nursery.cancel_scope.cancel()
        except* Violation as errors:
            self._watcher.on_violation(self.peer_id, str(errors.exceptions[0]))
        except* Exception as errors:  # noqa: BLE001 - an edge: what a peer breaks ends its connection, not us
            why = repr(errors.exceptions)
            _log.debug("connection_ended", extra={"peer": str(self.peer_id), "why": why})
        finally:
            with trio.CancelScope(shield=True):
                await self._shut()

    async def close(self) -> None:
        """Say goodbye, if the socket takes it quickly, and close."""
        if not self._is_closing:
            self._is_closing = True
            self.put(GO_AWAY, 0, 0, 0)
            with trio.move_on_after(GOODBYE_S):
                while (self._outbox or self._is_writing) and not self.event_closed.is_set():
                    await self._outbox_emptied.park()
        with trio.CancelScope(shield=True):
            await self._shut()

    async def open_stream(self) -> Stream:
        """Raises: MuxedStreamError when the connection is closing."""
        if self._is_closing or self._next_id > MAX_STREAM_ID:
            raise MuxedStreamError("the connection takes no more streams")
        stream = Stream(self._next_id, self, self)
        self._next_id += 2
        self._streams[stream.stream_id] = stream
        self.put(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        await trio.lowlevel.checkpoint()
        return stream

    async def accept_stream(self) -> Stream:
        """Raises: MuxedConnUnavailable once the connection has ended."""
        try:
            return await self._to_accept.receive()
        except trio.EndOfChannel:
            raise MuxedConnUnavailable("the connection has ended") from None

    def put(self, kind: int, flags: int, stream_id: int, length: int, payload: bytes = b"") -> None:
        """See `flow.Connection`."""
        if len(self._outbox) > OUTBOX_BYTES + FRAME_BYTES + CONTROL_BYTES:
            # Only answers to the peer's own frames can pile up this far: it floods and does not read.
            self._is_closing = True
            return
        self._outbox += HEADER.pack(0, kind, flags, stream_id, length)
        self._outbox += payload
        self._outbox_filled.unpark_all()

    async def wait_for_room(self) -> None:
        await self._outbox_emptied.park()

    def forget_if_done(self, stream: Stream) -> None:
        if stream.send_closed and stream.receive_closed and stream.stream_id in self._streams:
            del self._streams[stream.stream_id]
            self._stray_bytes += stream.receive_window
            self._n_inbound -= self._is_theirs(stream.stream_id)

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self.secured_conn.get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.secured_conn.get_remote_address()

    def _is_theirs(self, stream_id: int) -> bool:
        return (stream_id % 2 == 0) == self.is_initiator

    async def _shut(self) -> None:
        self._is_closing = True
        if self.event_closed.is_set():
            return
        self.event_closed.set()
        self._accepted.close()
        for stream in list(self._streams.values()):
            stream.break_off()
        self._streams.clear()
        self._outbox.clear()
        self._outbox_emptied.unpark_all()
        await self.secured_conn.close()

    async def _transmit(self) -> None:
        while True:
            while not self._outbox:
                await self._outbox_filled.park()
            chunk = bytes(self._outbox)
            self._outbox.clear()
            self._outbox_emptied.unpark_all()
            self._is_writing = True
            await self.secured_conn.write(chunk)
            self._is_writing = False
            self._outbox_emptied.unpark_all()

    async def _keep_alive(self) -> None:
        """Measure the round trip, close a silent connection, reset streams left half-closed."""
        while True:
            self._ping_id = (self._ping_id + 1) % 2**32
            self._pong = trio.Event()
            self._pinged_at = trio.current_time()
            self.put(PING, SYN, 0, self._ping_id)
            with trio.fail_after(PONG_TIMEOUT_S):
                await self._pong.wait()
            await trio.sleep(PING_INTERVAL_S)
            stale = trio.current_time() - HALF_CLOSED_S
            for stream in [s for s in self._streams.values() if s.send_closed and s.closed_at < stale]:
                await stream.reset()

    async def _take(self, n_bytes: int) -> bytes:
        while len(self._raw) < n_bytes:
            self._raw += await self.secured_conn.read(None)
        data = bytes(self._raw[:n_bytes])
        del self._raw[:n_bytes]
        return data

    async def _receive(self) -> None:
        while not self._is_closing:
            version, kind, flags, stream_id, length = HEADER.unpack(await self._take(HEADER.size))
            if version != 0 or kind > GO_AWAY:
                raise Violation("unknown frame")
            if kind == PING:
                self._on_ping(flags, length)
            elif kind == GO_AWAY:
                return
            else:
                await self._on_stream_frame(kind, flags, stream_id, length)

    def _on_ping(self, flags: int, ping_id: int) -> None:
        if flags & SYN:
            self.put(PING, ACK, 0, ping_id)
        elif ping_id == self._ping_id and not self._pong.is_set():
            self._pong.set()
            self._watcher.on_ping(self.peer_id, (trio.current_time() - self._pinged_at) * 1000)

    async def _on_stream_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if flags & SYN:
            self._on_new_stream(stream_id)
        stream = self._streams.get(stream_id)
        if kind == DATA:
            await self._take_data(stream, length)
        elif stream is not None:
            stream.accept_credit(length)
        if stream is None:
            return
        if flags & RST:
            stream.break_off()
        elif flags & FIN:
            stream.accept_end()
        self.forget_if_done(stream)

    def _on_new_stream(self, stream_id: int) -> None:
        if stream_id in self._streams or not self._is_theirs(stream_id):
            raise Violation("stream opened twice")
        if self._n_inbound >= MAX_INBOUND_STREAMS:
            self._stray_bytes += INITIAL_WINDOW_BYTES
            self.put(WINDOW_UPDATE, RST, stream_id, 0)
            return
        stream = self._streams[stream_id] = Stream(stream_id, self, self)
        self._n_inbound += 1
        self.put(WINDOW_UPDATE, ACK, stream_id, 0)
        try:
            self._accepted.send_nowait(stream)
        except trio.WouldBlock:
            # Streams that were opened and reset before anybody took them still fill the channel.
            self.put(WINDOW_UPDATE, RST, stream_id, 0)
            stream.break_off()
            self.forget_if_done(stream)

    async def _take_data(self, stream: Stream | None, length: int) -> None:
        """Read the body of a data frame. The window is checked first: what was not allowed is not read."""
        if stream is None:
            # It was on the way while we reset the stream: as much as that stream had left, and no more.
            if length > self._stray_bytes:
                raise Violation("data for no stream")
            self._stray_bytes -= length
            await self._discard(length)
            return
        if length > stream.receive_window or (length and stream.receive_closed):
            raise Violation("receive window overrun")
        data = await self._take(length)
        if stream.is_reset:
            self._stray_bytes -= length
        elif data:
            stream.accept_data(data)

    async def _discard(self, n_bytes: int) -> None:
        while n_bytes > 0:
            taken = min(n_bytes, FRAME_BYTES)
            await self._take(taken)
            n_bytes -= taken
