"""Every fault of the library that is mended: the same check passes here and fails on the stock library.

When a later release of the library passes a check, the test says so by failing, and the mend can go.
"""

import logging
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import trio
import trio.testing
from libp2p.abc import IMuxedConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import IOException
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.peer.id import ID
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.mcache import MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.exceptions import (
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils.varint import read_delim
from p2pledger.network import mending
from p2pledger.network.flow import ACK, DATA, HEADER, SYN, WINDOW_UPDATE
from p2pledger.network.router import RecentMessages, Router, message_id
from p2pledger.network.standing import Standing
from p2pledger.network.transport import BoundedConnection
from p2pledger.network.yamux import MAX_INBOUND_STREAMS, Mux
from tests.net.hosts import Counts

PEER = ID(b"\x00\x04peer")


def fails_on_stock(is_stock: bool) -> AbstractContextManager[object]:
    return pytest.raises((AssertionError, MuxedStreamError, OverflowError)) if is_stock else nullcontext()


def test_the_version_is_the_one_that_was_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    mending.check_version()
    monkeypatch.setattr(mending, "VERSION", "0.8.2")
    with pytest.raises(ImportError, match=r"built on libp2p 0\.8\.2, found 0\.8\.1"):
        mending.check_version()


class Zeros:
    """A peer that announces a terabyte and keeps sending."""

    def __init__(self) -> None:
        self._start = bytearray(b"\x80\x80\x80\x80\x80\x20")
        self.n_bytes = 0

    async def read(self, n: int | None = None) -> bytes:
        assert n is not None
        data = bytes(self._start[:n]) or bytes(min(n, 65_536))
        del self._start[:n]
        self.n_bytes += len(data)
        return data


@pytest.mark.parametrize("is_stock", [False, True])
async def test_unbounded_protocol_names(is_stock: bool) -> None:
    reader = Zeros()
    assert multiselect_communicator.read_delim is mending.read_bounded_delim
    with fails_on_stock(is_stock):
        with pytest.raises(IOException):
            await (read_delim if is_stock else multiselect_communicator.read_delim)(reader)
        assert reader.n_bytes < 65_536


@pytest.mark.parametrize("is_stock", [False, True])
def test_logging_to_the_root_logger(is_stock: bool) -> None:
    mend = "" if is_stock else "import p2pledger.network.mending;"
    program = (
        f"import logging; from libp2p.network.connection import swarm_connection; {mend}"
        "swarm_connection.logging.warning('a peer did something'); assert not logging.root.handlers"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    with fails_on_stock(is_stock):
        assert done.returncode == 0
        assert done.stderr == b""
    assert logging.getLogger("libp2p.network.auto_connector").level == logging.CRITICAL


class Ready:
    """A multiplexed stream that never waits, and breaks off when it is told to."""

    muxed_conn = None

    def __init__(self) -> None:
        self.fault: MuxedStreamError | None = None
        self.written = b""

    async def read(self, n: int | None = None) -> bytes:
        if self.fault is not None:
            raise self.fault
        return b"data"

    async def write(self, data: bytes) -> None:
        if self.fault is not None:
            raise self.fault
        self.written += data


async def open_stream(kind: type[NetStream]) -> tuple[NetStream, Ready]:
    ready = Ready()
    stream = kind(ready, None, None)  # type: ignore[arg-type]
    await stream.set_state(StreamState.OPEN)
    return stream, ready


@pytest.mark.parametrize("is_stock", [False, True])
async def test_a_lock_for_every_read(is_stock: bool) -> None:
    assert swarm_connection.NetStream is mending.UnlockedStream  # type: ignore[attr-defined]
    stream, ready = await open_stream(NetStream if is_stock else mending.UnlockedStream)
    heard = b""
    with trio.CancelScope() as scope:
        scope.cancel()  # whatever takes a turn of the scheduler ends here
        heard = await stream.read(10)
        await stream.write(b"said")
    with fails_on_stock(is_stock):
        assert (heard, ready.written) == (b"data", b"said")


@pytest.mark.parametrize("fault", [MuxedStreamEOF(), MuxedStreamReset(), MuxedStreamClosed()])
@pytest.mark.parametrize("verb", ["read", "write"])
async def test_a_stream_without_the_lock_ends_as_the_librarys(verb: str, fault: MuxedStreamError) -> None:
    ends = []
    for kind in (NetStream, mending.UnlockedStream):
        stream, ready = await open_stream(kind)
        ready.fault = fault
        argument = 10 if verb == "read" else b"data"
        for _ in range(2):
            with pytest.raises(BaseLibp2pError) as raised:
                await getattr(stream, verb)(argument)
            ends.append((type(raised.value), await stream.state))
        assert ready.written == b""
    assert ends[:2] == ends[2:]


class RawStream:
    """Records how much is asked of the socket at once."""

    def __init__(self) -> None:
        self.most = 0

    async def read(self, n: int | None = None) -> bytes:
        self.most = max(self.most, n or 0)
        return bytes(10)


@pytest.mark.parametrize("is_stock", [False, True])
async def test_an_unbounded_read_before_the_handshake(is_stock: bool) -> None:
    stream = RawStream()
    raw = RawConnection(stream, False)  # type: ignore[arg-type]
    with fails_on_stock(is_stock):
        if is_stock:
            await raw.read(2**40)
        else:
            with pytest.raises(IOException):
                await BoundedConnection(raw).read(2**40)
        assert stream.most <= 1024 * 1024


class Plain:
    """A secure connection in memory, without the security."""

    is_initiator = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, n: int | None = None) -> bytes:
        data = bytearray()
        while len(data) < (n or 1):
            piece = await self._stream.receive_some(n and n - len(data))
            if not piece:
                raise IOException("closed")
            data += piece
        return bytes(data)

    async def write(self, data: bytes) -> None:
        # As a socket does: what was not yet taken when the writer is cancelled is lost.
        for start in range(0, len(data), 100):
            await self._stream.send_all(data[start : start + 100])

    async def close(self) -> None:
        await self._stream.aclose()


class Quiet:
    def on_violation(self, peer: ID, reason: str) -> None:
        pass

    def on_ping(self, peer: ID, rtt_ms: float) -> None:
        pass


def stock_mux(stream: trio.abc.Stream) -> IMuxedConn:
    return Yamux(Plain(stream), PEER)  # type: ignore[arg-type]


def own_mux(stream: trio.abc.Stream) -> IMuxedConn:
    return Mux(Plain(stream), PEER, Quiet())  # type: ignore[arg-type]


MUXERS = pytest.mark.parametrize("make", [own_mux, stock_mux])
MakeMux = Callable[[trio.abc.Stream], IMuxedConn]


async def settle() -> None:
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked(0.001)


@MUXERS
async def test_a_peer_that_ignores_the_receive_window(make: MakeMux) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    mux = make(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.start)
        await theirs.send_all(HEADER.pack(0, WINDOW_UPDATE, SYN, 1, 0))
        for _ in range(6):
            await theirs.send_all(HEADER.pack(0, DATA, 0, 1, 50_000) + bytes(50_000))
        await settle()
        with fails_on_stock(make is stock_mux):
            assert mux.is_closed
        nursery.cancel_scope.cancel()


@MUXERS
async def test_streams_without_limit(make: MakeMux) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    mux = make(ours)
    held = []

    async def accept() -> None:
        while True:
            held.append(await mux.accept_stream())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.start)
        nursery.start_soon(accept)
        for stream_id in range(1, 200, 2):
            await theirs.send_all(HEADER.pack(0, WINDOW_UPDATE, SYN, stream_id, 0))
        await settle()
        with fails_on_stock(make is stock_mux):
            assert len(held) <= MAX_INBOUND_STREAMS
        nursery.cancel_scope.cancel()


@MUXERS
async def test_a_cancelled_write_spoils_the_connection(make: MakeMux) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    mux = make(ours)
    received = bytearray()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.start)
        await mux.event_started.wait()
        stream = await read_while(theirs, received, mux.open_stream)
        async with trio.open_nursery() as writing:
            writing.start_soon(stream.write, b"x" * 10_000)
            while received.count(b"x") < 10:
                received += await theirs.receive_some(10)
            writing.cancel_scope.cancel()
        await read_while(theirs, received, mux.open_stream)
        with fails_on_stock(make is stock_mux):
            check_frames(bytes(received))
        nursery.cancel_scope.cancel()


async def read_while(
    theirs: trio.abc.Stream, received: bytearray, act: Callable[[], object]
) -> "trio.abc.Stream":
    """Do something while the other end takes whatever comes."""
    results: list[object] = []

    async def read() -> None:
        while True:
            received.extend(await theirs.receive_some(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        results.append(await act())  # type: ignore[misc]
        await settle()
        nursery.cancel_scope.cancel()
    return results[0]  # type: ignore[return-value]


def check_frames(data: bytes) -> None:
    while len(data) >= HEADER.size:
        version, kind, _, _, length = HEADER.unpack(data[: HEADER.size])
        assert (version, kind) < (1, 4)
        end = HEADER.size + (length if kind == DATA else 0)
        assert len(data) >= end and set(data[HEADER.size : end]) <= {ord("x")}
        data = data[end:]
    assert data == b""


@MUXERS
async def test_a_writer_gives_up_on_a_slow_reader(
    make: MakeMux, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    mux = make(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.start)
        await mux.event_started.wait()
        stream = await mux.open_stream()
        await theirs.send_all(HEADER.pack(0, WINDOW_UPDATE, ACK, 2, 0))

        async def give_credit_late() -> None:
            await trio.sleep(10)
            await theirs.send_all(HEADER.pack(0, WINDOW_UPDATE, 0, 2, 256 * 1024))

        nursery.start_soon(give_credit_late)
        nursery.start_soon(drain, theirs)
        with fails_on_stock(make is stock_mux):
            await stream.write(bytes(300_000))
        nursery.cancel_scope.cancel()


async def drain(stream: trio.abc.Stream) -> None:
    async for _ in stream:
        pass


@MUXERS
async def test_a_window_update_after_every_read(make: MakeMux) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    mux = make(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.start)
        await theirs.send_all(HEADER.pack(0, WINDOW_UPDATE, SYN, 1, 0))
        stream = await mux.accept_stream()
        for _ in range(50):
            await theirs.send_all(HEADER.pack(0, DATA, 0, 1, 4) + b"data")
            assert await stream.read(4) == b"data"
        await settle()
        sent = bytes(await theirs.receive_some())
        with fails_on_stock(make is stock_mux):
            updates = [frame for frame in struct.iter_unpack("!BBHII", sent) if frame[1] == WINDOW_UPDATE]
            assert len(updates) <= 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("make", [RecentMessages, lambda: MessageCache(3, 5)])
def test_announcing_ids_that_nobody_computes(make: Callable[[], MessageCache]) -> None:
    recent, message = make(), rpc_pb2.Message(data=b"data", from_id=b"me", seqno=b"1", topicIDs=["topic"])
    recent.put(message)
    with fails_on_stock(make is not RecentMessages):
        assert recent.window("topic") == [message_id(message)]
        assert recent.get(message_id(message)) is message


def stock_router() -> GossipSub:
    return GossipSub([PROTOCOL_ID_V11], degree=6, degree_low=4, degree_high=12)


def own_router() -> GossipSub:
    return Router(Standing([], lambda peer, offence: None, 1.0), Counts())


@pytest.mark.parametrize("make", [own_router, stock_router])
async def test_grafts_for_one_peer_reach_all_that_follow(
    make: Callable[[], GossipSub], monkeypatch: pytest.MonkeyPatch
) -> None:
    router, sent = make(), {}

    async def record(control: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        sent[to_peer] = {graft.topicID for graft in control.graft}

    monkeypatch.setattr(router, "emit_control_message", record)
    first, second = ID(b"first"), ID(b"second")
    await router._emit_control_msgs({first: ["blocks"], second: ["evidence"]}, {}, {})
    with fails_on_stock(make is stock_router):
        assert sent == {first: {"blocks"}, second: {"evidence"}}
