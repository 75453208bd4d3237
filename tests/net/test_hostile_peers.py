"""Admitted peers that attack, and strangers at the door: the host lives and honest traffic goes on."""

import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

import pytest
import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.exceptions import MuxedStreamError
from p2pledger.network import streams, transport, wire, yamux
from p2pledger.network.flow import DATA, HEADER, PING, SYN, WINDOW_UPDATE
from p2pledger.network.gossip import SUBSCRIPTIONS_MAX
from p2pledger.network.router import CONTROLS_MAX
from p2pledger.network.seam import Topic
from p2pledger.network.streams import ASK, FRAMES
from p2pledger.network.wire import encode_delimited, encode_frame
from tests.net.attackers import (
    GOSSIP,
    TRANSACTIONS,
    Attacker,
    admit_too,
    agree_on_yamux,
    attacker,
    connect,
    resident_bytes,
    shaken_hands,
)
from tests.net.hosts import Peer, introduce, make_peer, network, running, until

MALLORY = "mallory"
MEGABYTE = 1024 * 1024


@asynccontextmanager
async def besieged(ban_s: float = 300.0) -> AsyncIterator[tuple[Peer, Peer]]:
    """Two honest peers that have admitted Mallory; at the end they must still get on with each other."""
    async with network("a", "b", ban_s=ban_s) as (a, b):
        admit_too(MALLORY, a, b)
        yield a, b
        assert b.id in a.host.connected()
        await a.host.publish(Topic.BLOCKS, b"from a")
        await b.host.publish(Topic.BLOCKS, b"from b")
        assert a.host.send(b.id, b"frame") and b.host.send(a.id, b"frame")
        async with aclosing(b.host.ask(a.id, b"count 2 10", timeout_ms=10_000)) as answer:
            assert len([reply async for reply in answer]) == 2
        await until(lambda: b"from a" in b.handler.heard() and b"from b" in a.handler.heard())
        await until(lambda: (a.id, b"frame") in b.handler.frames and (b.id, b"frame") in a.handler.frames)


def cut_off(peer: Peer, enemy: Attacker, reason: str) -> Callable[[], bool]:
    return lambda: enemy.id not in peer.host.connected() and peer.counts.of["banned", reason] == 1


NO_RPC = encode_delimited(b"\xff" * 100)
ENDLESS_VARINT = b"\xff" * 11
HUGE_VARINT = b"\xff" * 9 + b"\x01"
HUGE_RPC = b"\x80\x80\x80\x02"  # four megabytes
HUGE_FRAME = struct.pack("!I", 0xFFFF_FFFF)


@pytest.mark.parametrize("data", [NO_RPC, ENDLESS_VARINT, HUGE_VARINT, HUGE_RPC])
async def test_rubbish_as_gossip(data: bytes) -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        await mallory.insist(GOSSIP, data)
        await until(cut_off(a, mallory, "gossip"))


@pytest.mark.parametrize("data", [HUGE_FRAME, encode_frame(b""), encode_frame(b"rubbish")])
async def test_rubbish_as_frames(data: bytes) -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        await mallory.insist(FRAMES, data)
        await until(cut_off(a, mallory, "frame"))


@pytest.mark.parametrize("data", [HUGE_FRAME, encode_frame(b"rubbish"), encode_frame(bytes(65_537))])
async def test_rubbish_as_requests(data: bytes) -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        await mallory.insist(ASK, data)
        await until(cut_off(a, mallory, "request"))


async def test_a_ban_ends_and_the_peer_starts_clean() -> None:
    async with besieged(ban_s=1.0) as (a, _):
        async with attacker(MALLORY, a) as mallory:
            await mallory.insist(GOSSIP, NO_RPC)
            await until(cut_off(a, mallory, "gossip"))
        # While it lasts, the door is shut: the handshake ends and then the connection.
        with pytest.raises(BaseLibp2pError):
            async with shaken_hands(MALLORY, a) as secure:
                await agree_on_yamux(secure)
        await trio.sleep(1.0)
        async with attacker(MALLORY, a) as mallory:
            assert a.host.scores()[mallory.id] == 0.0


async def test_a_record_outlives_a_disconnect() -> None:
    async with besieged() as (a, _):
        for strike in range(3):
            async with attacker(MALLORY, a) as mallory:
                assert a.host.scores()[mallory.id] == pytest.approx(-25 * strike, abs=5)
                stream = await mallory.open(GOSSIP)
                await stream.write(NO_RPC)
                await until(lambda: stream.is_reset)
            await until(lambda: mallory.id not in a.host.connected())


def spoil(message: rpc_pb2.Message, **fields: bytes) -> rpc_pb2.Message:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


FORGERIES: dict[str, Callable[[rpc_pb2.Message], rpc_pb2.Message]] = {
    "unsigned": lambda message: spoil(message, signature=b""),
    "badly signed": lambda message: spoil(message, signature=bytes(64)),
    "short signature": lambda message: spoil(message, signature=b"x"),
    "from nobody": lambda message: spoil(message, from_id=b""),
    "from rubbish": lambda message: spoil(message, from_id=b"\xff\x00\xff"),
    "undecodable key": lambda message: spoil(message, from_id=b"\x12\x20" + bytes(32), key=b"\xff\xff"),
    "refused by the node": lambda message: message,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_invalid_messages_end_in_a_ban(forge: Callable[[rpc_pb2.Message], rpc_pb2.Message]) -> None:
    async with besieged() as (a, b), attacker(MALLORY, a) as mallory:
        stream = await mallory.open(GOSSIP)
        await mallory.gossip(stream, forge(mallory.message(b"!first")))
        await until(lambda: a.host.scores().get(mallory.id, 0.0) < -4)
        for index in range(25):
            await mallory.gossip(stream, forge(mallory.message(b"!%d" % index)))
        await until(cut_off(a, mallory, "invalid"))
        assert b.counts.of["gossip", Topic.TRANSACTIONS, "reject"] == 0


async def test_a_forged_copy_does_not_shut_out_the_true_message() -> None:
    async with besieged() as (a, b), attacker(MALLORY, a) as mallory:
        stream = await mallory.open(GOSSIP)
        await mallory.gossip(stream, spoil(mallory.message(b"data"), signature=bytes(64)))
        await until(lambda: a.counts.of["gossip", Topic.TRANSACTIONS, "reject"] == 1)
        await b.host.publish(Topic.TRANSACTIONS, b"data")
        await until(lambda: a.handler.heard() == [b"data"])


async def test_what_is_ignored_costs_nothing() -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        stream = await mallory.open(GOSSIP)
        for index in range(50):
            await mallory.gossip(stream, mallory.message(b"?%d" % index))
        elsewhere = mallory.message(b"other topic", topic="elsewhere")
        await mallory.gossip(stream, elsewhere, mallory.message(b"heard"))
        await until(lambda: b"heard" in a.handler.heard())
        assert a.host.scores()[mallory.id] == 0.0
        assert a.counts.of["gossip", Topic.TRANSACTIONS, "ignore"] == 50


async def test_control_messages_leave_no_litter() -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        stream = await mallory.open(GOSSIP)
        for batch in range(50):
            rpc = rpc_pb2.RPC()
            for index in range(200):
                name = f"topic {batch} {index}"
                rpc.subscriptions.add(subscribe=True, topicid=name)
                rpc.control.graft.add(topicID=name)
                prune = rpc.control.prune.add(topicID=name)
                prune.peers.add(peerID=ID.from_base58(mallory.id).to_bytes())
                rpc.control.ihave.add(topicID=name, messageIDs=[b"x" * 32])
                rpc.control.iwant.add(messageIDs=[b"\xffx" * 16])
            await stream.write(encode_delimited(rpc.SerializeToString()))
        await mallory.gossip(stream, mallory.message(b"heard"))
        await until(lambda: b"heard" in a.handler.heard() or not a.host.connected() >= {mallory.id})
        router, bus = a.host._router, a.host._bus
        # Of grafts and prunes at least; the others are not even looked at once there were too many.
        lost = 50 * (200 - SUBSCRIPTIONS_MAX) + 2 * 50 * (200 - CONTROLS_MAX)
        assert a.counts.of["dropped", "inbound"] >= lost, "what one message holds too many of is counted"
        assert len(router.back_off) + len(bus.peer_topics) <= 6
        assert sum(len(topics) for topics in router.graft_flood_tracking.values()) <= 6
        assert sum(len(topics) for topics in router.ihave_message_limits.values()) <= 6


@pytest.mark.parametrize(
    ("protocol", "start"),
    [(ASK, encode_frame(b"hang")), (FRAMES, HUGE_FRAME)],
    ids=["of a stream that is not read", "of a stream that was reset"],
)
async def test_a_receive_window_that_is_overrun(protocol: str, start: bytes) -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        stream = await mallory.open(protocol)
        await stream.write(start)
        before = resident_bytes()
        chunk = bytes(60_000)
        for _ in range(5_000):  # 300 MB, were it allowed
            if mallory.mux.is_closed:
                break
            if not mallory.mux.has_room:
                await mallory.mux.wait_for_room()
                continue
            mallory.mux.put(DATA, 0, stream.stream_id, len(chunk), chunk)
        await until(cut_off(a, mallory, "muxer"))
        assert resident_bytes() - before < 20 * MEGABYTE


async def test_a_data_frame_larger_than_any_window() -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        mallory.mux.put(DATA, SYN, 101, 2**31)
        await until(cut_off(a, mallory, "muxer"))


@pytest.mark.parametrize(
    "frame",
    [
        HEADER.pack(1, DATA, 0, 1, 0),
        HEADER.pack(0, 9, 0, 1, 0),
        HEADER.pack(0, DATA, SYN, 2, 0),
        HEADER.pack(0, WINDOW_UPDATE, SYN, 51, 0) * 2,
    ],
    ids=["version", "type", "our own stream id", "opened twice"],
)
async def test_frames_that_break_the_multiplexer_rules(frame: bytes) -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        mallory.mux.put(WINDOW_UPDATE, 0, 12345, 1)
        mallory.mux._outbox += frame
        await until(cut_off(a, mallory, "muxer"))


async def test_random_bytes_where_frames_belong() -> None:
    chance = random.Random(20)
    async with besieged(ban_s=0.0) as (a, _):
        for _ in range(30):
            async with shaken_hands(MALLORY, a) as secure:
                await agree_on_yamux(secure)
                await secure.write(chance.randbytes(chance.randrange(1, 5_000)))
        await until(lambda: len(a.host.connected()) == 1)


async def test_more_streams_than_allowed() -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        before = resident_bytes()
        opened = [await mallory.mux.open_stream() for _ in range(500)]
        for stream in opened:
            if not stream.is_reset:
                with trio.move_on_after(0.05), suppress(MuxedStreamError):
                    await stream.write(bytes(200_000))
        await until(lambda: sum(not stream.is_reset for stream in opened) <= yamux.MAX_INBOUND_STREAMS)
        assert resident_bytes() - before < 40 * MEGABYTE


async def test_streams_that_are_filled_and_reset_leave_nothing() -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        before = resident_bytes()
        for _ in range(400):
            stream = await mallory.mux.open_stream()
            try:
                await stream.write(bytes(250_000))
            except MuxedStreamError:
                continue
            await stream.reset()
        assert resident_bytes() - before < 40 * MEGABYTE


async def test_few_streams_of_one_protocol() -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        opened = await mallory.open_many(GOSSIP, 8)
        await until(lambda: sum(not stream.is_reset for stream in opened) == 2)


@pytest.mark.parametrize(
    "hello",
    [b"\xff" * 9 + b"\x01" + bytes(100), b"\x05\xff\xfe\xfd\xfc\n", b"\x00", b"\x80\x80\x80\x40"],
    ids=["endless name", "no text", "empty", "a name of 128 MB"],
)
async def test_rubbish_instead_of_a_protocol_name(hello: bytes) -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        stream = await mallory.mux.open_stream()
        await stream.write(hello)
        await until(lambda: stream.is_reset)
        assert mallory.id in a.host.connected()


async def test_a_ping_flood_without_reading() -> None:
    async with besieged() as (a, _), shaken_hands(MALLORY, a) as secure:
        await agree_on_yamux(secure)
        before = resident_bytes()
        flood = HEADER.pack(0, PING, SYN, 0, 7) * 5_000
        with pytest.raises(BaseLibp2pError):
            while True:
                await secure.write(flood)
        assert resident_bytes() - before < 20 * MEGABYTE


async def test_a_frame_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FRAME_S", 0.3)
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        opened = [await mallory.open(protocol) for protocol in (FRAMES, GOSSIP, ASK)]
        for stream, start in zip(opened, (struct.pack("!I", 1000), b"\x80\x40", b"\0\0"), strict=True):
            await stream.write(start)
        await until(lambda: all(stream.is_reset for stream in opened))


async def test_answers_that_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALL_S", 0.5)
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        before = resident_bytes()
        opened = await mallory.open_many(ASK, 6)
        for stream in opened:
            with suppress(MuxedStreamError):
                await stream.write(encode_frame(b"count 1000 1000000"))
        await until(lambda: a.handler.open_answers == 4)
        await until(lambda: a.handler.open_answers == 0 and all(stream.is_reset for stream in opened))
        assert resident_bytes() - before < 40 * MEGABYTE


async def test_a_peer_that_reads_no_gossip() -> None:
    async with network("a", "b") as (a, b):
        admit_too(MALLORY, a, b)
        async with attacker(MALLORY, a) as mallory:
            stream = await mallory.open(GOSSIP)
            hello = rpc_pb2.RPC()
            hello.subscriptions.add(subscribe=True, topicid=TRANSACTIONS)
            hello.control.graft.add(topicID=TRANSACTIONS)
            await stream.write(encode_delimited(hello.SerializeToString()))
            # Take the stream that the host opens to us, and never read more of it.
            theirs = await mallory.mux.accept_stream()
            await theirs.write(b"\x13/multistream/1.0.0\n\x0f/meshsub/1.1.0\n")
            await until(lambda: a.host.mesh_sizes()[Topic.TRANSACTIONS] == 2)
            before = resident_bytes()
            for index in range(400):
                await a.host.publish(Topic.TRANSACTIONS, b"%d" % index + bytes(250_000))
                await until(lambda: len(b.handler.gossip) == index + 1)
                b.handler.gossip[index] = (*b.handler.gossip[index][:2], b"")
            assert a.counts.of["dropped", "outbound"] > 300
            assert resident_bytes() - before < 60 * MEGABYTE


async def test_a_slow_node_pushes_back() -> None:
    async with besieged() as (a, _), attacker(MALLORY, a) as mallory:
        a.handler.gossip_gate = trio.Event()
        stream = await mallory.open(GOSSIP)
        before = resident_bytes()
        with trio.move_on_after(1):
            for index in range(1000):
                await mallory.gossip(stream, mallory.message(b"%d" % index + bytes(100_000)))
        assert a.counts.of["traffic", "inbound", "gossip"] < MEGABYTE
        assert resident_bytes() - before < 20 * MEGABYTE
        a.handler.gossip_gate.set()


async def test_one_peer_with_many_connections() -> None:
    async with besieged() as (a, b), AsyncExitStack() as connections:
        enemy = admit_too(MALLORY, a, b)
        for _ in range(10):
            await agree_on_yamux(await connections.enter_async_context(shaken_hands(MALLORY, a)))
        await until(lambda: enemy in a.host.connected())
        await until(
            lambda: (
                len(a.host._swarm.connections[ID.from_base58(enemy)]) == transport.MAX_CONNECTIONS_PER_PEER
            )
        )


async def test_rubbish_at_the_port() -> None:
    chance = random.Random(7)
    openings = [b"GET / HTTP/1.1\r\n\r\n", b"\x13/multistream/1.0.0\n", b"\xff" * 9 + b"\x01", b""]
    async with besieged() as (a, _):
        for _ in range(40):
            stream = await connect(a)
            async with stream:
                try:
                    await stream.send_all(chance.choice(openings) + chance.randbytes(chance.randrange(2_000)))
                except trio.BrokenResourceError:
                    continue


async def test_a_flood_of_idle_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async with besieged() as (a, b):
        a.host._swarm.connection_config.inbound_upgrade_timeout = 1.0
        idle = [await connect(a) for _ in range(200)]
        handshakes = a.host._swarm._handshakes
        await until(lambda: 0 < handshakes.total() <= transport.MAX_HANDSHAKES_PER_ADDRESS)
        await until(lambda: handshakes.total() == 0)
        for stream in idle:
            await stream.aclose()
        # The door is open again.
        c = make_peer("c")
        async with running(c):
            introduce(a, b, c)
            await until(lambda: c.id in a.host.connected())


async def test_places_are_given_back() -> None:
    """The stock swarm keeps a place for each connection that ever was, and ends up accepting nobody."""
    async with besieged() as (a, _):
        a.host._swarm._inbound_limiter.total_tokens = 3
        for _ in range(10):
            async with attacker(MALLORY, a) as mallory:
                assert mallory.id in a.host.connected()
            await until(lambda: mallory.id not in a.host.connected())


async def test_a_stranger_gets_no_further_than_the_lobby() -> None:
    async with besieged() as (a, b):
        async with shaken_hands("stranger", a) as secure:
            await agree_on_yamux(secure)
            await until(lambda: len(a.host._lobby.guests) == 1)
            assert a.host.connected() == {b.id}
        await until(lambda: not a.host._lobby.guests)
