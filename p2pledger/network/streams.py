"""Direct streams: frames to authorities, and asks. Floor 6.

/p2pledger/frames/1   one stream for each direction, opened when first needed and kept. Frames of four
                      bytes length and data; those queued together leave in one write.
/p2pledger/ask/1      one stream for each ask. One frame asks; frames answer; an empty frame says that
                      this was all, so an answer that broke off is never taken for a whole one.
"""

import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID

from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.network.mending import UnlockedStream
from p2pledger.network.outbox import MeteredWriter, Outbox
from p2pledger.network.seam import FRAME_BYTES_MAX, REQUEST_BYTES_MAX, Handler, Meter, Unreachable
from p2pledger.network.standing import Offence, Standing
from p2pledger.network.transport import Switchboard
from p2pledger.network.wire import StreamReader, encode_frame
from p2pledger.types import PeerId

_log = logging.getLogger(__name__)

FRAMES = TProtocol("/p2pledger/frames/1")
ASK = TProtocol("/p2pledger/ask/1")

OUTBOX_BYTES = 16 * 1024 * 1024
"""Room for four of the largest frames to one authority."""

FRAME_STREAMS_PER_PEER = 2
"""One, and one that a reconnecting peer opens before the old one is found dead."""

ASKS_PER_PEER = 4
"""How many asks one peer may have running with us, and we with it."""

ASKS_SERVED = 32
SERVE_S = 60.0
STALL_S = 10.0
"""How long one write may wait for a peer that does not read."""

REOPEN_S = 1.0
END = encode_frame(b"")


class _Line:
    """What is sent to one peer, and the stream that it leaves on once that is open."""

    def __init__(self) -> None:
        self.outbox = Outbox(OUTBOX_BYTES)
        self.stream: INetStream | None = None

    @property
    def is_dead(self) -> bool:
        """Whether its connection has ended. A stream tells of that only when it is written to."""
        return self.stream is not None and self.stream.muxed_conn.is_closed


class Frames:
    """One outgoing stream of frames for each peer that anything was sent to, and all incoming ones."""

    def __init__(
        self,
        switchboard: Switchboard,
        nursery: trio.Nursery,
        standing: Standing,
        handler: Handler,
        meter: Meter,
    ) -> None:
        self._switchboard = switchboard
        self._nursery = nursery
        self._standing = standing
        self._handler = handler
        self._meter = meter
        self._lines: dict[ID, _Line] = {}
        self._closed_until: dict[ID, float] = {}
        switchboard.serve(FRAMES, self._receive, limit=FRAME_STREAMS_PER_PEER)

    def send(self, peer: ID, data: bytes) -> bool:
        """Queue a frame for a connected peer; False, and counted, when there is no room for it."""
        line = self._lines.get(peer)
        if line is None and trio.current_time() >= self._closed_until.get(peer, 0.0):
            line = self._lines[peer] = _Line()
            self._nursery.start_soon(self._transmit, peer, line)
        if line is None or not line.outbox.push(encode_frame(data)):
            self._meter.dropped("outbound")
            return False
        return True

    def reopen(self, peer: ID) -> None:
        """A new connection stands: what is left of an old one is not to swallow the first frames on it."""
        self._closed_until.pop(peer, None)
        line = self._lines.get(peer)
        if line is not None and line.is_dead:
            del self._lines[peer]
            for _ in range(line.outbox.close()):
                self._meter.dropped("outbound")

    async def _transmit(self, peer: ID, line: _Line) -> None:
        try:
            stream = line.stream = await self._switchboard.new_stream(peer, [FRAMES])
            assert isinstance(stream, UnlockedStream)
            await line.outbox.pour(MeteredWriter(stream, self._meter, "frames"), STALL_S)
        except (BaseLibp2pError, trio.TooSlowError) as error:
            _log.debug("frames_ended", extra={"peer": str(peer), "why": repr(error)})
        finally:
            if self._lines.get(peer) is line:
                # A peer that refuses our frames is not to be asked again with every one of them.
                self._closed_until[peer] = trio.current_time() + REOPEN_S
                del self._lines[peer]
            for _ in range(line.outbox.close()):
                self._meter.dropped("outbound")
            if line.stream is not None:
                await line.stream.reset()

    async def _receive(self, stream: INetStream) -> None:
        remote = stream.muxed_conn.peer_id
        peer = PeerId(str(remote))
        if not self._handler.is_frame_peer(peer):
            await stream.reset()
            return
        reader = StreamReader(stream)
        try:
            while (data := await reader.frame(FRAME_BYTES_MAX)) is not None:
                self._meter.traffic("inbound", "frames", len(data))
                if not data:
                    raise InvalidMessage("an empty frame")
                await self._take(peer, data)
        except InvalidMessage:
            self._standing.offend(remote, Offence.FRAME)
            raise

    async def _take(self, peer: PeerId, data: bytes) -> None:
        try:
            await self._handler.on_frame(peer, data)
        except (InvalidMessage, Fatal):
            raise
        except Exception:  # noqa: BLE001 - an edge: the peer is not to lose its stream for our fault
            _log.exception("frame_failed", extra={"peer": peer})


class Asks:
    """Asks that we make and asks that we answer."""

    def __init__(self, switchboard: Switchboard, standing: Standing, handler: Handler, meter: Meter) -> None:
        self._switchboard = switchboard
        self._standing = standing
        self._handler = handler
        self._meter = meter
        self._n_served = 0
        self._asking: Counter[ID] = Counter()
        switchboard.serve(ASK, self._serve, limit=ASKS_PER_PEER)

    async def ask(self, peer: ID, request: bytes, timeout_ms: int) -> AsyncGenerator[bytes, None]:
        """Ask and yield the replies. Raises: Unreachable."""
        if len(request) > REQUEST_BYTES_MAX:
            raise ValueError(f"a request of {len(request)} bytes, at most {REQUEST_BYTES_MAX} are allowed")
        if self._asking[peer] >= ASKS_PER_PEER:
            raise Unreachable("too many asks are running with this peer")
        self._asking[peer] += 1
        deadline = trio.current_time() + timeout_ms / 1000
        stream: INetStream | None = None
        try:
            # The scopes hold no yield: one that did would cancel whoever takes the replies.
            with trio.fail_at(deadline):
                stream = await self._switchboard.new_stream(peer, [ASK])
                await stream.write(encode_frame(request))
                self._meter.traffic("outbound", "asks", len(request))
            reader = StreamReader(stream)
            while True:
                with trio.fail_at(deadline):
                    reply = await reader.frame(FRAME_BYTES_MAX)
                if reply is None:
                    raise Unreachable("the answer broke off")
                if not reply:
                    break
                self._meter.traffic("inbound", "asks", len(reply))
                yield reply
        except InvalidMessage as error:
            self._standing.offend(peer, Offence.REQUEST)
            raise Unreachable("an oversized reply") from error
        except trio.TooSlowError as error:
            raise Unreachable("no answer in time") from error
        except BaseLibp2pError as error:
            raise Unreachable(f"the answer broke off: {error!r}") from error
        finally:
            self._asking[peer] -= 1
            if not self._asking[peer]:
                del self._asking[peer]
            if stream is not None:
                await stream.reset()

    async def _serve(self, stream: INetStream) -> None:
        remote = stream.muxed_conn.peer_id
        if self._n_served >= ASKS_SERVED:
            await stream.reset()
            return
        self._n_served += 1
        try:
            with trio.fail_after(SERVE_S):
                await self._answer(PeerId(str(remote)), stream)
        except InvalidMessage:
            self._standing.offend(remote, Offence.REQUEST)
            raise
        finally:
            self._n_served -= 1

    async def _answer(self, peer: PeerId, stream: INetStream) -> None:
        with trio.fail_after(STALL_S):
            request = await StreamReader(stream).frame(REQUEST_BYTES_MAX)
        if request is None:
            return
        self._meter.traffic("inbound", "asks", len(request))
        async with aclosing(self._handler.serve(peer, request)) as replies:
            async for reply in replies:
                assert 0 < len(reply) <= FRAME_BYTES_MAX
                with trio.fail_after(STALL_S):
                    await stream.write(encode_frame(reply))
                self._meter.traffic("outbound", "asks", len(reply))
        with trio.fail_after(STALL_S):
            await stream.write(END)
