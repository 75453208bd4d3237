"""What the seam promises, held by several real hosts in one process."""

from contextlib import aclosing

import pytest
import trio
from p2pledger.errors import Fatal
from p2pledger.network.host import Host, peer_id_of
from p2pledger.network.seam import GOSSIP_BYTES_MAX, PeerAddress, Topic, Unreachable
from p2pledger.types import PeerId
from tests.net.hosts import Peer, introduce, make_peer, network, running, seed_of, until


async def replies(asker: Peer, answerer: Peer, request: bytes, *, timeout_ms: int = 10_000) -> list[bytes]:
    async with aclosing(asker.host.ask(answerer.id, request, timeout_ms=timeout_ms)) as answer:
        return [reply async for reply in answer]


def test_the_peer_id_grows_from_the_seed() -> None:
    assert peer_id_of(bytes(32)) == "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


async def test_gossip_reaches_everybody_once_and_not_its_sender() -> None:
    async with network("a", "b", "c", "d") as peers:
        sent = [b"transactions %d" % index for index in range(50)]
        for data in sent:
            await peers[0].host.publish(Topic.TRANSACTIONS, data)
        await until(lambda: all(len(peer.handler.gossip) >= 50 for peer in peers[1:]))
        await peers[1].host.publish(Topic.BLOCKS, b"last")
        await until(lambda: all(b"last" in peer.handler.heard() for peer in (peers[0], *peers[2:])))
        assert peers[0].handler.heard() == [b"last"]
        for peer in peers[2:]:
            assert sorted(peer.handler.heard()) == sorted([*sent, b"last"])


async def test_gossip_at_its_largest_and_no_larger() -> None:
    async with network("a", "b") as (a, b):
        await a.host.publish(Topic.BLOCKS, bytes(GOSSIP_BYTES_MAX))
        await until(lambda: b.handler.heard() == [bytes(GOSSIP_BYTES_MAX)])
        with pytest.raises(ValueError, match="to gossip"):
            await a.host.publish(Topic.BLOCKS, bytes(GOSSIP_BYTES_MAX + 1))


async def test_chains_do_not_hear_each_other() -> None:
    a, b = make_peer("a"), make_peer("b")
    b.host = Host(
        seed=seed_of("b"),
        listen=["/ip4/127.0.0.1/tcp/0"],
        chain_tag="ffff222233334444",
        handler=b.handler,
        meter=b.counts,
    )
    async with running(a, b):
        introduce(a, b)
        await until(lambda: a.id in b.host.connected() and b.id in a.host.connected())
        assert await replies(b, a, b"count 1 1") == [b"\0"]
        await a.host.publish(Topic.TRANSACTIONS, b"for chain a")
        assert await replies(b, a, b"count 1 1") == [b"\0"]
        assert b.handler.gossip == []


async def test_what_one_of_a_circle_says_goes_to_each_of_it_once_and_beyond_it_as_ever() -> None:
    async with network("a", "b", "c", "d", "e") as (*circle, outside):
        members = frozenset(peer.id for peer in circle)
        everybody = {peer.id: peer.address for peer in (*circle, outside)}
        for peer in (*circle, outside):
            peer.host.admit(frozenset(everybody), everybody, members)
        await until(lambda: all(set(p.host.mesh_sizes().values()) == {4} for p in (*circle, outside)))
        said = [b"%d" % number for number in range(20)]
        for data in said:
            await circle[0].host.publish(Topic.TRANSACTIONS, data)
        await until(lambda: all(len(peer.handler.heard()) == 20 for peer in (*circle[1:], outside)))
        await trio.sleep(0.2)
        duplicates = [peer.counts.of["gossip", Topic.TRANSACTIONS, "duplicate"] for peer in circle[1:]]
        assert duplicates == [0, 0, 0]
        await outside.host.publish(Topic.TRANSACTIONS, b"from outside")
        await until(lambda: all(b"from outside" in peer.handler.heard() for peer in circle))


async def test_frames_keep_their_order() -> None:
    async with network("a", "b") as (a, b):
        sent = [b"%d" % index for index in range(5_000)]
        assert all(a.host.send(b.id, data) for data in sent)
        assert b.host.send(a.id, bytes(4 * 1024 * 1024))
        await until(lambda: len(b.handler.frames) == 5_000 and len(a.handler.frames) == 1)
        assert [data for _, data in b.handler.frames] == sent
        assert {peer for peer, _ in b.handler.frames} == {a.id}


async def test_a_frame_to_nobody_is_counted() -> None:
    async with network("a", "b") as (a, _):
        assert not a.host.send(peer_id_of(seed_of("nobody")), b"frame")
        assert a.counts.of["dropped", "outbound"] == 1


async def test_whoever_is_met_is_told_of_each_time_and_hears_frames_at_once() -> None:
    async with network("a", "b") as (a, b):
        await until(lambda: a.handler.met == [b.id] and b.handler.met == [a.id])
        for times in (2, 3):
            assert a.host.send(b.id, b"frame")
            await until(lambda: bool(b.handler.frames))
            a.host.admit(frozenset(), {})
            await until(lambda: not a.host.connected() and not b.host.connected())
            b.handler.frames.clear()
            introduce(a, b)
            await until(lambda times=times: len(a.handler.met) == times)  # type: ignore[misc]
            assert a.host.send(b.id, b"frame")
            await until(lambda: bool(b.handler.frames))


async def test_an_ask_is_answered_reply_by_reply() -> None:
    async with network("a", "b") as (a, b):
        assert await replies(a, b, b"count 0 0") == []
        assert await replies(a, b, b"count 3 2") == [b"\0\0", b"\1\1", b"\2\2"]
        assert [len(reply) for reply in await replies(a, b, b"count 4 4000000")] == [4_000_000] * 4


async def test_breaking_off_an_ask_ends_the_answer() -> None:
    async with network("a", "b") as (a, b):
        async with aclosing(a.host.ask(b.id, b"count 1000000 100000", timeout_ms=60_000)) as answer:
            assert len(await anext(answer)) == 100_000
            assert b.handler.open_answers == 1
        await until(lambda: b.handler.open_answers == 0)


async def test_an_ask_that_fails_is_unreachable() -> None:
    async with network("a", "b") as (a, b):
        with pytest.raises(Unreachable, match="no answer in time"):
            await replies(a, b, b"hang", timeout_ms=100)
        with pytest.raises(Unreachable, match="broke off"):
            await replies(a, b, b"raise")
        with pytest.raises(Unreachable):
            async for _ in a.host.ask(peer_id_of(seed_of("nobody")), b"count 1 1", timeout_ms=1000):
                pass
        assert await replies(a, b, b"count 1 1") == [b"\0"]


async def test_asks_to_one_peer_are_few_at_a_time() -> None:
    async with network("a", "b") as (a, b), trio.open_nursery() as nursery:

        async def hang() -> None:
            await replies(a, b, b"hang", timeout_ms=60_000)

        for _ in range(4):
            nursery.start_soon(hang)
        await until(lambda: b.handler.open_answers == 4)
        with pytest.raises(Unreachable, match="too many"):
            await replies(a, b, b"count 1 1")
        nursery.cancel_scope.cancel()


async def test_a_stranger_is_refused_both_ways() -> None:
    a, stranger = make_peer("a"), make_peer("stranger")
    async with running(a, stranger):
        a.host.admit(frozenset(), {})
        stranger.host.admit(frozenset({a.id}), {a.id: a.address})
        await until(lambda: stranger.counts.of["dial", "error"] >= 2)
        assert a.host.connected() == frozenset() == stranger.host.connected()
        # And a peer that answers under another id than the one that was dialled is refused as well.
        other = peer_id_of(seed_of("other"))
        a.host.admit(frozenset({other, stranger.id}), {other: PeerAddress(other, stranger.address.addresses)})
        await until(lambda: a.counts.of["dial", "error"] >= 1)
        assert other not in a.host.connected()


async def test_a_peer_no_longer_allowed_is_cut_off() -> None:
    async with network("a", "b", "c") as (a, b, c):
        everybody = {peer.id: peer.address for peer in (a, b, c)}
        a.host.admit(frozenset({c.id}), everybody)
        await until(lambda: a.host.connected() == {c.id} and b.host.connected() == {c.id})
        a.host.admit(frozenset({b.id, c.id}), everybody)
        await until(lambda: a.host.connected() == {b.id, c.id})
        await until(lambda: set(a.host.mesh_sizes().values()) == {2})


async def test_a_restarted_peer_is_found_again() -> None:
    a, b = make_peer("a"), make_peer("b")
    async with running(a):
        async with running(b):
            introduce(a, b)
            await until(lambda: set(a.host.mesh_sizes().values()) == {1})
            port = b.host.addresses[0].rsplit("/", 1)[1]
        await until(lambda: not a.host.connected())
        await until(lambda: a.counts.of["dial", "error"] >= 1)
        again = make_peer("b", listen=f"/ip4/127.0.0.1/tcp/{port}")
        async with running(again):
            again.host.admit(frozenset({a.id}), {})
            await until(lambda: set(a.host.mesh_sizes().values()) == {1})
            await until(lambda: set(again.host.mesh_sizes().values()) == {1})
            await a.host.publish(Topic.BLOCKS, b"after the restart")
            assert a.host.send(again.id, b"frame")
            await until(lambda: again.handler.heard() == [b"after the restart"])
            await until(lambda: again.handler.frames == [(a.id, b"frame")])


async def test_names_are_resolved_when_dialled() -> None:
    a, b = make_peer("a"), make_peer("b")
    async with running(a, b):
        port = b.host.addresses[0].rsplit("/", 1)[1]
        addresses = ("/dns4/no-such-host.invalid/tcp/1", f"/dns4/localhost/tcp/{port}")
        a.host.admit(frozenset({b.id}), {b.id: PeerAddress(b.id, addresses)})
        b.host.admit(frozenset({a.id}), {})
        await until(lambda: a.host.connected() == {b.id} and a.counts.of["dial", "ok"] > 0)
        assert a.counts.of["dial", "ok"] == 1


async def test_a_fault_of_the_node_harms_no_stream() -> None:
    async with network("a", "b") as (a, b):
        for data in (b"raise in check", b"raise in take", b"well"):
            await a.host.publish(Topic.TRANSACTIONS, data)
        assert a.host.send(b.id, b"raise") and a.host.send(b.id, b"well")
        await until(lambda: b.handler.heard() == [b"well"] and b.handler.frames == [(a.id, b"well")])
        assert b.host.scores() == {a.id: 0.0}


async def test_what_cannot_be_trusted_stops_the_host() -> None:
    a, b = make_peer("a"), make_peer("b")

    async def corrupt(topic: Topic, peer: PeerId, data: bytes) -> None:
        raise Fatal("the disk lies")

    b.handler.on_gossip = corrupt  # type: ignore[method-assign]
    stopped: list[Fatal] = []

    async def run_b() -> None:
        try:
            await b.host.run()
        except Fatal as error:
            stopped.append(error)

    async with running(a), trio.open_nursery() as nursery:
        nursery.start_soon(run_b)
        await until(lambda: bool(b.host.addresses))
        introduce(a, b)
        await until(lambda: set(a.host.mesh_sizes().values()) == {1})
        await a.host.publish(Topic.BLOCKS, b"data")
        await until(lambda: bool(stopped))
    assert str(stopped[0]) == "the disk lies"


async def test_a_cancelled_host_closes_everything() -> None:
    a, b = make_peer("a"), make_peer("b")
    async with running(a):
        async with trio.open_nursery() as nursery:
            await nursery.start(b.host.run)
            introduce(a, b)
            await until(lambda: set(a.host.mesh_sizes().values()) == {1})
            nursery.cancel_scope.cancel()
        await until(lambda: not a.host.connected())
        assert b.host.connected() == frozenset()


async def test_an_address_that_is_taken_is_an_error() -> None:
    a = make_peer("a")
    async with running(a):
        b = make_peer("b", listen=a.host.addresses[0].replace("127.0.0.1", "203.0.113.1"))
        with pytest.raises(ExceptionGroup) as caught:
            await b.host.run()
        assert caught.group_contains(OSError, match="cannot listen")


async def test_gauges() -> None:
    async with network("a", "b", "c") as peers:
        directions = [peer.host.peers_by_direction() for peer in peers]
        assert sum(d["inbound"] for d in directions) == sum(d["outbound"] for d in directions) == 3
        for peer in peers:
            assert peer.host.mesh_sizes() == dict.fromkeys(Topic, 2)
            assert set(peer.host.scores().values()) == {0.0}
            assert peer.host.connected() == {other.id for other in peers} - {peer.id}
        await until(lambda: all(peer.counts.of["ping",] for peer in peers))


async def test_metering() -> None:
    async with network("a", "b") as (a, b):
        await a.host.publish(Topic.BLOCKS, b"block")
        await a.host.publish(Topic.BLOCKS, b"?ignored")
        await a.host.publish(Topic.BLOCKS, b"!refused")
        a.host.send(b.id, b"frame")
        await replies(a, b, b"count 1 10")
        await until(lambda: b.counts.of["gossip", Topic.BLOCKS, "reject"] == 1 and bool(b.handler.frames))
        assert a.counts.of["gossip", Topic.BLOCKS, "published"] == 3
        assert b.counts.of["gossip", Topic.BLOCKS, "accept"] == 1
        assert b.counts.of["gossip", Topic.BLOCKS, "ignore"] == 1
        assert b.handler.heard() == [b"block"]
        assert b.counts.of["traffic", "inbound", "asks"] == len(b"count 1 10")
        assert a.counts.of["traffic", "inbound", "asks"] == 10
        await until(
            lambda: (
                a.counts.of["traffic", "outbound", "frames"]
                == b.counts.of["traffic", "inbound", "frames"] + 4
            )
        )
        assert b.host.scores()[a.id] == pytest.approx(-5.0, abs=0.5)
