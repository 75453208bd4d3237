"""What is gossiped: packed, and never the same bytes twice, because gossip passes those on only once."""

from itertools import pairwise

import pytest
import trio
from p2pledger.chain.transaction import Spread
from p2pledger.codec import decode
from p2pledger.network.seam import Topic
from p2pledger.node import gossiping
from p2pledger.node.gossiping import BATCH_BYTES_MAX, Batcher
from tests.unit.node.solo import Solo, Wire, fact, genesis


@pytest.fixture
def solo(tmp_path):
    made = Solo(tmp_path)
    yield made
    made.signer.close()


class Hands:
    """A clock that goes on when it is looked at."""

    def __init__(self):
        self.now_ms = 1_000

    def now(self):
        self.now_ms += 1
        return self.now_ms


async def until(is_so):
    with trio.fail_after(20):
        while not is_so():
            await trio.sleep(0.01)


async def test_what_is_said_again_is_said_in_other_bytes(solo, monkeypatch):
    monkeypatch.setattr(gossiping, "AGAIN_S", 0.01)
    one, wire = fact(genesis()), Wire()
    solo.pool.unspread = lambda: [one]
    batcher = Batcher(wire, solo.pool, Hands().now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        nursery.start_soon(batcher.run_again)
        await until(lambda: len(wire.published) >= 3)
        nursery.cancel_scope.cancel()
    assert {topic for topic, _ in wire.published} == {Topic.TRANSACTIONS}
    said = [data for _, data in wire.published]
    assert len(set(said)) == len(said)
    assert {decode(Spread, data).transactions for data in said} == {(one.encoded,)}


async def test_many_travel_together_as_far_as_a_batch_reaches(solo):
    ones, wire = [fact(genesis()) for _ in range(400)], Wire()
    batcher = Batcher(wire, solo.pool, Hands().now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        batcher.put(ones)
        await until(lambda: sum(len(decode(Spread, data).transactions) for _, data in wire.published) == 400)
        nursery.cancel_scope.cancel()
    batches = [decode(Spread, data).transactions for _, data in wire.published]
    assert [body for batch in batches for body in batch] == [one.encoded for one in ones]
    assert 1 < len(batches) < 10, [sum(map(len, batch)) for batch in batches]
    assert all(sum(map(len, batch)) <= BATCH_BYTES_MAX for batch in batches)


async def test_while_there_is_more_to_say_messages_keep_their_distance(solo, autojump_clock):
    wire, times = Wire(), []
    batcher = Batcher(wire, solo.pool, Hands().now)

    async def keep_saying():
        while True:
            batcher.put([fact(genesis())])
            await trio.sleep(0.005)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        nursery.start_soon(keep_saying)
        for _ in range(60):
            seen = len(wire.published)
            while len(wire.published) == seen:
                await trio.sleep(0.001)
            times.append(trio.current_time())
        nursery.cancel_scope.cancel()
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert max(gaps[: gossiping.BURST - 2]) < gossiping.GAP_MS / 1_000, "nothing was said before"
    late = gaps[3 * gossiping.BURST :]
    assert 0.9 < sum(late) / len(late) / (gossiping.GAP_MS / 1_000) < 1.1


async def test_what_comes_alone_waits_for_the_shortest_time_only(solo, autojump_clock):
    wire = Wire()
    batcher = Batcher(wire, solo.pool, Hands().now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        for said in range(1, 20):
            began = trio.current_time()
            batcher.put([fact(genesis())])
            while len(wire.published) < said:
                await trio.sleep(0.001)
            assert trio.current_time() - began < (gossiping.LINGER_MS + 4) / 1_000
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def test_who_came_alone_does_not_have_the_next_one_wait(solo, autojump_clock):
    wire, large = Wire(), fact(genesis())
    batcher = Batcher(wire, solo.pool, Hands().now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        for said in range(1, gossiping.BURST):
            began = trio.current_time()
            batcher.put([large])
            while len(wire.published) < said:
                await trio.sleep(0.0001)
            assert trio.current_time() - began < (gossiping.LINGER_MS + 0.5) / 1_000
            await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


async def test_where_there_is_much_to_say_company_is_waited_for_longer_but_not_after_a_silence(
    solo, autojump_clock
):
    wire, ones = Wire(), [fact(genesis()) for _ in range(100)]
    batcher = Batcher(wire, solo.pool, Hands().now)

    async def said_after(count):
        said, began = len(wire.published), trio.current_time()
        batcher.put(ones[:count])
        while len(wire.published) == said:
            await trio.sleep(0.001)
        return trio.current_time() - began

    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        assert await said_after(100) < (gossiping.LINGER_MS + 4) / 1_000
        assert await said_after(1) > 0.9 * gossiping.LINGER_MS_MAX / 1_000
        assert await said_after(1) < (gossiping.LINGER_MS + 15) / 1_000
        assert await said_after(100) < (gossiping.LINGER_MS + 15) / 1_000
        await trio.sleep(1)
        assert await said_after(1) < (gossiping.LINGER_MS + 4) / 1_000
        nursery.cancel_scope.cancel()


async def test_where_all_cores_are_taken_company_is_waited_for_longer_still_if_there_is_much_to_say(solo):
    batcher = Batcher(Wire(), solo.pool, Hands().now)
    sizes = 0, 500, gossiping.FEW_BYTES, gossiping.LARGE_BYTES // 2, gossiping.LARGE_BYTES
    free_ms = [batcher._linger_ms(said_bytes) for said_bytes in sizes]
    assert (free_ms[0], free_ms[-1]) == (gossiping.LINGER_MS, gossiping.LINGER_MS_MAX)
    solo.pool.cores.observe(elapsed_s=10.0, spent_s=1.0)
    taken_ms = [batcher._linger_ms(said_bytes) for said_bytes in sizes]
    assert taken_ms[:3] == free_ms[:3], "what comes alone waits no longer"
    assert free_ms[3] < taken_ms[3] < taken_ms[4]
    assert taken_ms[4] == free_ms[4] + gossiping.TAKEN_LINGER_MS_MAX


async def test_what_came_in_here_is_nobodys_before_it_was_said(solo):
    batcher = Batcher(solo.wire, solo.pool, solo.clock.now)
    (one,) = await solo.pool.submit([fact(solo.genesis).encoded])
    batcher.put([one])
    later = solo.clock.now() + 60_000
    assert solo.pool.mempool.candidates(10, 10**6, 10, later, ()) == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        await until(lambda: bool(solo.wire.published))
        nursery.cancel_scope.cancel()
    assert solo.pool.mempool.candidates(10, 10**6, 10, later, ()) == [one]
