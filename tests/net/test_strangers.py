"""Strangers at the door: they may ask to join, and nothing else; for a short time, few at a time."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import pytest
import trio
from libp2p.exceptions import BaseLibp2pError
from p2pledger.network import lobby, transport
from p2pledger.network.flow import PING, SYN
from p2pledger.network.lobby import JOIN
from p2pledger.network.seam import Topic, Unreachable
from p2pledger.network.streams import ASK, FRAMES
from p2pledger.network.visit import visiting
from p2pledger.network.wire import encode_frame
from tests.net.attackers import GOSSIP, Attacker, attacker_at, resident_bytes
from tests.net.hosts import PATIENCE_S, Peer, introduce, make_peer, network, running, seed_of, until
from tests.net.test_hostile_peers import HUGE_FRAME, MEGABYTE

IDENTIFY = "/ipfs/id/1.0.0"


def door(peer: Peer) -> str:
    return f"{peer.host.addresses[0]}/p2p/{peer.id}"


def turned_away(peer: Peer, times: int = 1) -> Callable[[], bool]:
    return lambda: peer.counts.of["banned", "stranger"] == times and not peer.host._lobby.guests


async def is_let_in(name: str, peer: Peer) -> bool:
    """Whether a machine of this name is answered now."""
    with suppress(Unreachable):
        async with visiting(seed_of(name), door(peer)) as visit:
            return await visit.ask(b"count 1 1", timeout_ms=5_000) == [b"\0"]
    return False


async def test_a_stranger_asks_and_nobody_else_notices() -> None:
    async with network("a", "b") as (a, b):
        async with visiting(seed_of("stranger"), door(a)) as visit:
            assert await visit.ask(b"count 3 5", timeout_ms=5_000) == [b"\0" * 5, b"\1" * 5, b"\2" * 5]
            assert len(await visit.ask(b"count 1 3000000", timeout_ms=5_000)) == 1
            assert len(a.host._lobby.guests) == 1
            assert a.host.connected() == {b.id} and set(a.host.mesh_sizes().values()) == {1}
            await a.host.publish(Topic.BLOCKS, b"block")
            await until(lambda: b"block" in b.handler.heard())
            with trio.move_on_after(0.3):
                await visit.mux.accept_stream()
                raise AssertionError("the node opened a stream to a stranger")
        await until(lambda: not a.host._lobby.guests)
        assert a.host.scores() == {b.id: 0.0} and a.counts.of["banned", "stranger"] == 0
        assert a.counts.of["traffic", "outbound", "join"] == 3_000_015


@pytest.mark.parametrize("protocol", [GOSSIP, FRAMES, ASK, IDENTIFY, "ls", "/nothing/1"])
async def test_another_protocol_ends_the_visit(protocol: str) -> None:
    async with network("a", "b") as (a, b):
        async with attacker_at("stranger", a.address) as stranger:
            with pytest.raises(BaseLibp2pError):
                await stranger.open(protocol)
            await until(turned_away(a))
            await until(lambda: stranger.mux.is_closed)
        assert not await is_let_in("stranger", a)
        assert await is_let_in("somebody else", a)
        assert a.host.connected() == {b.id} and not a.handler.frames and not a.handler.gossip


@pytest.mark.parametrize(
    "hello", [b"\x05\xff\xfe\xfd\xfc\n", b"\x00", b"\x13/multistream/1.0.1\n", b"\xff" * 9 + b"\x01"]
)
async def test_rubbish_instead_of_a_protocol_name(hello: bytes) -> None:
    async with network("a", "b") as (a, _), attacker_at("stranger", a.address) as stranger:
        stream = await stranger.mux.open_stream()
        await stream.write(hello)
        await until(turned_away(a))


@pytest.mark.parametrize("data", [HUGE_FRAME, encode_frame(b"rubbish"), encode_frame(bytes(65_537))])
async def test_rubbish_as_a_request(data: bytes) -> None:
    async with network("a", "b") as (a, _), attacker_at("stranger", a.address) as stranger:
        stream = await stranger.open(JOIN)
        await stream.write(data)
        await until(turned_away(a))
        await until(lambda: stranger.mux.is_closed)


async def test_a_fault_of_the_node_is_not_held_against_the_guest() -> None:
    async with network("a", "b") as (a, _):
        async with visiting(seed_of("stranger"), door(a)) as visit:
            with pytest.raises(Unreachable):
                await visit.ask(b"raise", timeout_ms=5_000)
        await until(lambda: not a.host._lobby.guests)
        assert await is_let_in("stranger", a)


async def test_one_that_stays_and_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "IDLE_S", 0.3)
    async with network("a", "b") as (a, _), attacker_at("stranger", a.address) as stranger:
        await until(turned_away(a))
        await until(lambda: stranger.mux.is_closed)


async def test_one_that_begins_a_request_and_never_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "IDLE_S", 0.3)
    async with network("a", "b") as (a, _), attacker_at("stranger", a.address) as stranger:
        stream = await stranger.open(JOIN)
        await stream.write(b"\0\0")
        await until(turned_away(a))


async def test_a_visit_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "VISIT_S", 0.5)
    async with network("a", "b") as (a, _), visiting(seed_of("stranger"), door(a)) as visit:
        with pytest.raises(Unreachable):
            await visit.ask(b"hang", timeout_ms=20_000)
        await until(lambda: visit.mux.is_closed and not a.handler.open_answers)


async def test_a_visit_has_so_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "VISIT_REQUESTS", 3)
    async with network("a", "b") as (a, _), visiting(seed_of("stranger"), door(a)) as visit:
        for _ in range(3):
            await visit.ask(b"count 1 1", timeout_ms=5_000)
        with pytest.raises(Unreachable):
            await visit.ask(b"count 1 1", timeout_ms=5_000)
        assert len(a.handler.knocks) == 3


async def test_answers_have_a_length_over_a_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "VISIT_BYTES_OUT", 1_000)
    async with network("a", "b") as (a, _), visiting(seed_of("stranger"), door(a)) as visit:
        await visit.ask(b"count 1 900", timeout_ms=5_000)
        with pytest.raises(Unreachable):
            await visit.ask(b"count 1 101", timeout_ms=5_000)
        await until(turned_away(a))


async def test_answers_that_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "STALL_S", 0.5)
    async with network("a", "b") as (a, _), attacker_at("stranger", a.address) as stranger:
        stream = await stranger.open(JOIN)
        await stream.write(encode_frame(b"count 1000 1000000"))
        await until(turned_away(a))
        assert a.counts.of["traffic", "outbound", "join"] < 2 * MEGABYTE and a.handler.open_answers == 0


async def flood_streams(stranger: Attacker) -> None:
    for _ in range(400):
        if stranger.mux.is_closed:
            return
        with suppress(BaseLibp2pError):
            stream = await stranger.mux.open_stream()
            with trio.move_on_after(0.05):
                await stream.write(bytes(200_000))


async def flood_pings(stranger: Attacker) -> None:
    while not stranger.mux.is_closed:
        if stranger.mux.has_room:
            stranger.mux.put(PING, SYN, 0, 7)
        else:
            with trio.move_on_after(0.1):
                await stranger.mux.wait_for_room()
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("flood", [flood_streams, flood_pings])
async def test_a_flood_ends_the_connection_soon(
    flood: Callable[[Attacker], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobby, "VISIT_S", 10_000)
    monkeypatch.setattr(lobby, "IDLE_S", 10_000)
    async with network("a", "b") as (a, b), attacker_at("stranger", a.address) as stranger:
        before = resident_bytes()
        with trio.fail_after(PATIENCE_S):
            await flood(stranger)
        await until(lambda: stranger.mux.is_closed and not a.host._lobby.guests)
        assert resident_bytes() - before < 20 * MEGABYTE
        assert a.host.connected() == {b.id}


async def test_there_are_few_guests_and_few_of_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async with network("a", "b") as (a, _), AsyncExitStack() as visits:
        for name in ("first", "second"):
            await visits.enter_async_context(visiting(seed_of(name), door(a)))
        await until(lambda: len(a.host._lobby.guests) == lobby.GUESTS_PER_ADDRESS)
        assert not await is_let_in("third", a)
        monkeypatch.setattr(lobby, "GUESTS_PER_ADDRESS", 100)
        for n in range(lobby.GUESTS_MAX - 2):
            await visits.enter_async_context(visiting(seed_of(f"guest {n}"), door(a)))
        await until(lambda: len(a.host._lobby.guests) == lobby.GUESTS_MAX)
        assert not await is_let_in("one more", a)
        # The admitted have places of their own.
        c = make_peer("c")
        async with running(c):
            introduce(a, c)
            await until(lambda: c.id in a.host.connected())


async def test_places_are_given_back() -> None:
    async with network("a", "b") as (a, _):
        for _ in range(20):
            assert await is_let_in("stranger", a)
            await until(lambda: not a.host._lobby.guests)
        assert not a.host._lobby._of_address and not a.host._swarm._handshakes


async def test_an_address_that_brings_many_bad_guests_is_shut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "SHUT_S", 2.0)
    async with network("a", "b") as (a, _):
        for n in range(lobby.STRIKES_OF_ADDRESS):
            async with attacker_at(f"stranger {n}", a.address) as stranger:
                with suppress(BaseLibp2pError):
                    await stranger.open(GOSSIP)
                await until(turned_away(a, n + 1))
        assert not await is_let_in("somebody else", a)
        await trio.sleep(2.0)
        assert await is_let_in("somebody else", a)


async def test_a_stranger_that_is_admitted_is_not_judged_by_what_it_was() -> None:
    async with network("a", "b") as (a, _):
        c = make_peer("c")
        async with attacker_at("c", a.address) as stranger:
            with suppress(BaseLibp2pError):
                await stranger.open(GOSSIP)
            await until(turned_away(a))
        async with running(c):
            introduce(a, c)
            await until(lambda: c.id in a.host.connected() and a.host.scores()[c.id] == 0.0)
        # It may go on asking what it asked as a stranger.
        await until(lambda: c.id not in a.host.connected())
        assert await is_let_in("c", a)
        assert a.handler.knocks[-1][0] == c.id


async def test_who_is_not_admitted_any_more_is_cut_off_and_a_stranger_again() -> None:
    async with network("a", "b") as (a, b):
        a.host.admit(frozenset(), {})
        await until(lambda: not a.host.connected())
        await until(turned_away(a))  # b dials, and speaks as to a peer
        assert a.host.connected() == frozenset() and b.host._dial


async def test_whoever_stops_being_admitted_while_connecting_does_not_slip_in() -> None:
    async with network("a", "b") as (a, b):
        swarm = a.host._swarm
        conns = dict(swarm.connections)
        a.host._allowed.clear()  # as `admit` does, but for cutting off who is seen to be connected
        assert conns
        await until(lambda: b.id not in a.host.connected())


async def test_a_node_does_not_take_an_impostor_for_another() -> None:
    async with network("a", "b") as (a, b):
        with pytest.raises(Unreachable):
            async with visiting(seed_of("stranger"), f"{a.host.addresses[0]}/p2p/{b.id}"):
                pass
        for nowhere in ("/ip4/127.0.0.1/tcp/1", "/dns/nowhere.invalid/tcp/1"):
            with pytest.raises(Unreachable):
                async with visiting(seed_of("stranger"), f"{nowhere}/p2p/{b.id}"):
                    pass


def test_what_strangers_may_send_is_bounded() -> None:
    assert transport.GUEST_BYTES <= MEGABYTE and lobby.GUESTS_MAX <= 16
