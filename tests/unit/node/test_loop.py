"""The loop, the storing of blocks and the exchange, on a ledger of one authority."""

import time
from dataclasses import replace

import pytest
import trio
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.message import BlocksRequest, BodiesRequest, Reply, Request
from p2pledger.chain.receipt import check_receipt
from p2pledger.chain.transaction import Batch, Outcome, Spread
from p2pledger.chain.vote import notarise
from p2pledger.codec import decode, encode
from p2pledger.consensus.events import Answered, AskFailed, Sign, SignatureRefused, Tick
from p2pledger.crypto import is_signed
from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.network.seam import Topic, Verdict
from p2pledger.types import Epoch, Hash, Height, View
from tests.ledgers import quota
from tests.unit.node.solo import PARAMETERS, Solo, fact, genesis


async def final(solo, *transactions):
    """Submit, and wait until all are final."""
    await solo.pool.submit([transaction.encoded for transaction in transactions])
    with trio.fail_after(20):
        return [await solo.pool.wait(transaction.id, 20_000) for transaction in transactions]


async def test_transactions_become_final_stored_and_provable(tmp_path):
    async with Solo(tmp_path).running() as solo:
        ones = [fact(solo.genesis) for _ in range(5)]
        assert {fate.outcome for fate in await final(solo, *ones)} == {Outcome.FINAL}
        for one in ones:
            receipt = solo.store.receipt(one.id)
            assert check_receipt(receipt, solo.genesis, is_signed) == one
        assert solo.count("chain_finalized_height") == solo.store.tip().height
        assert solo.count("txs_finalized_total", kind="other", result="final") == 5


async def test_a_vote_is_durable_before_it_counts(tmp_path):
    solo, seen = Solo(tmp_path), []
    sign, step = solo.signer.sign_vote, solo.core.step
    durable = set()

    def sign_and_note(ballot, *rest):
        vote = sign(ballot, *rest)
        durable.update(solo.signer.load().votes)
        return vote

    def step_and_look(event, now):
        output = step(event, now)
        for votes in solo.core.situation.voice.votes.values():
            seen.extend(vote in durable for vote in votes.values())
        return output

    solo.signer.sign_vote, solo.core.step = sign_and_note, step_and_look
    async with solo.running():
        await final(solo, fact(solo.genesis))
    assert seen and all(seen)


async def test_a_failed_disk_stops_the_loop_before_anything_is_said(tmp_path):
    solo = Solo(tmp_path)

    def fail(*_):
        raise Fatal("the disk is gone")

    solo.signer.sign_vote = fail
    with pytest.RaisesGroup(Fatal, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(solo.loop.run)
            await solo.pool.submit([fact(solo.genesis).encoded])
    assert solo.wire.sent == [] and solo.wire.published == []
    solo.signer.close()


async def test_it_goes_on_after_a_restart_from_what_is_on_disk(tmp_path):
    async with Solo(tmp_path).running() as solo:
        await final(solo, fact(solo.genesis))
    before = solo.store.tip()
    async with Solo(tmp_path, solo.genesis, solo.store).running() as again:
        one = fact(solo.genesis)
        assert (await final(again, one))[0].height > before.height
        assert again.store.block(before.height).header == before.header


async def test_an_epoch_begins_with_its_list_on_disk_however_slow_that_is(tmp_path):
    of = genesis(replace(PARAMETERS, epoch_blocks=2))
    solo = Solo(tmp_path, of)
    commit = solo.store.commit

    def commit_slowly(*arguments):
        time.sleep(0.1)
        commit(*arguments)

    solo.store.commit = commit_slowly
    async with solo.running():
        with trio.fail_after(20):
            while solo.store.tip().height < 9:  # blocks are made while those before are being stored
                await solo.pool.submit([fact(of).encoded])
                await trio.sleep(0.02)
        assert solo.count("signer_refusals_total", reason="not_a_member") == 0


async def test_final_blocks_are_told_in_order_and_relayed(tmp_path):
    async with Solo(tmp_path).running() as solo:
        heights = []
        async with trio.open_nursery() as nursery:

            async def listen():
                async for event in solo.finals.subscribe():
                    heights.append(event.height)

            nursery.start_soon(listen)
            for _ in range(3):
                await final(solo, fact(solo.genesis))
            nursery.cancel_scope.cancel()
        assert heights == list(range(heights[0], heights[0] + len(heights))) and len(heights) >= 3
        blocks = [decode(FinalBlock, data) for topic, data in solo.wire.published if topic is Topic.BLOCKS]
        assert {block.header.height for block in blocks} >= set(heights)


async def test_blocks_and_bodies_are_served(tmp_path):
    async with Solo(tmp_path).running() as solo:
        one = fact(solo.genesis)
        await final(solo, one)
        asked = encode(BlocksRequest(Height(1), 50), Request)
        blocks = [decode(Reply, data) async for data in solo.exchange.serve("peer", asked)]
        assert [block.header.height for block in blocks] == list(range(1, solo.store.tip().height + 1))
        asked = encode(BodiesRequest((one.id, bytes(32))), Request)
        batches = [decode(Reply, data) async for data in solo.exchange.serve("peer", asked)]
        assert batches == [Batch((one.encoded,))]
        with pytest.raises(InvalidMessage):
            [_ async for _ in solo.exchange.serve("peer", b"\x00")]


async def test_gossip_is_accepted_only_when_whoever_forwards_can_vouch_for_it(tmp_path):
    async with Solo(tmp_path).running() as solo:
        one = fact(solo.genesis)
        batch = encode(Spread(solo.clock.now(), (one.encoded,)))
        bad = bytearray(batch)
        bad[-1] ^= 1
        check = solo.exchange.check_gossip
        take = await check(Topic.TRANSACTIONS, "peer", batch)
        assert await check(Topic.TRANSACTIONS, "peer", bytes(bad)) is Verdict.REJECT
        assert await check(Topic.TRANSACTIONS, "peer", batch + b"\x00") is Verdict.REJECT
        foreign = encode(Spread(solo.clock.now(), (fact(genesis(quota=quota(3))).encoded,)))
        assert await check(Topic.TRANSACTIONS, "peer", foreign) is Verdict.REJECT
        for topic in Topic:
            assert await check(topic, "peer", b"") is Verdict.REJECT
        await take()
        assert (await solo.pool.wait(one.id, 20_000)).outcome is Outcome.FINAL
        block = solo.store.block(solo.store.tip().height)
        assert callable(await check(Topic.BLOCKS, "peer", encode(block)))
        forged = FinalBlock(block.header, block.transaction_ids, block.evidence, None)
        assert await check(Topic.BLOCKS, "peer", encode(forged)) is Verdict.REJECT


async def test_a_peer_that_does_not_begin_to_answer_is_given_up_and_the_next_ones_get_longer(tmp_path):
    solo = Solo(tmp_path)
    request, waits = BlocksRequest(Height(1), 1), []

    async def never(peer, request, *, timeout_ms):
        await trio.sleep_forever()
        yield b""

    async def nothing(peer, request, *, timeout_ms):
        for reply in ():
            yield reply

    solo.wire.ask = never
    solo.loop._patience_ms = solo.loop._patience_ms_min = 50
    for _ in range(3):
        before = trio.current_time()
        await solo.loop._ask("key", 0, request)
        waits.append(trio.current_time() - before)
        assert await solo.inbox.take() == AskFailed("key", 0)
    assert waits[1] >= 0.1 and waits[2] >= 0.2
    solo.wire.ask = nothing
    await solo.loop._ask("key", 0, request)
    assert await solo.inbox.take() == Answered("key", 0, ())
    assert solo.loop._patience_ms == solo.loop._patience_ms_min
    solo.signer.close()


async def test_a_vote_that_the_signer_refuses_is_counted_with_its_reason(tmp_path):
    solo = Solo(tmp_path)
    of_no_epoch = Sign(notarise(Epoch(99), View(1), Hash(b"x" * 32)), 0, (), None)
    answer = await solo.loop._sign(of_no_epoch)
    assert isinstance(answer, SignatureRefused)
    assert solo.count("signer_refusals_total", reason=answer.reason) == 1
    solo.signer.close()


def test_a_final_block_that_our_own_execution_contradicts_is_counted_and_ends_the_node(tmp_path):
    solo = Solo(tmp_path)

    def contradicted(event, now):
        raise Fatal("a final block is not what executing it gives")

    solo.core.step = contradicted
    with pytest.raises(Fatal):
        solo.loop._step(Tick())
    assert solo.count("divergence_total") == 1
    solo.signer.close()
