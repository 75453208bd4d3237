"""The load generator, against a small ledger behind a real server: it counts what the node answers."""

import trio
from p2pledger.bench.load import Generator, Load
from p2pledger.bench.presigned import Parcel
from p2pledger.chain.transaction import Batch
from p2pledger.codec import encode
from tests.unit.api.small_ledger import SmallLedger, make_transaction


def parcel(*transactions) -> Parcel:
    body = encode(Batch(tuple(transaction.encoded for transaction in transactions)))
    return Parcel(body, tuple(transaction.id for transaction in transactions))


async def finalise(ledger, count):
    while len(ledger.mempool) < count:
        await trio.sleep(0.01)
    ledger.finalise()


async def test_what_is_taken_is_timed_until_it_is_final(serve, nursery):
    ledger = SmallLedger()
    url = await serve(ledger)
    made = [make_transaction(ledger.genesis, salt) for salt in range(4)]
    load = Load(ledger.genesis, (url,), 1, [parcel(*made[:2]), parcel(*made[2:])], per_second=100.0)
    starts = []
    nursery.start_soon(finalise, ledger, 4)
    loaded = await Generator(load, starts.append).run()
    assert set(loaded.taken) == {transaction.id for transaction in made}
    assert len(loaded.latencies_ms) == 4 and min(loaded.latencies_ms) > 0 and not loaded.awaited
    assert len(loaded.finals_ms) == len(ledger.blocks)
    assert len(starts) == 1 and loaded.drained_s > starts[0]


async def test_a_refusal_is_counted_by_its_code_and_not_waited_for(serve, nursery):
    ledger = SmallLedger()
    url = await serve(ledger)
    ledger.codes[b"\x81\x01"] = "no_such_thing"
    good, bad = make_transaction(ledger.genesis), make_transaction(ledger.genesis, payload=b"\x81\x01")
    nursery.start_soon(finalise, ledger, 1)
    load = Load(ledger.genesis, (url,), 1, [parcel(good, bad), Parcel(b"\x81", (bad.id,))], per_second=100.0)
    loaded = await Generator(load, lambda start_s: None).run()
    assert loaded.taken == [good.id] and len(loaded.latencies_ms) == 1
    assert loaded.refused["no_such_thing"] == 1 and loaded.refused.total() == 2


async def test_parcels_go_round_and_only_followed_nodes_are_timed(serve, nursery):
    one, other = SmallLedger(), SmallLedger()
    made = [make_transaction(one.genesis, salt) for salt in range(3)]
    urls = (await serve(one), await serve(other))
    nursery.start_soon(finalise, one, 2)
    load = Load(one.genesis, urls, 1, [parcel(each) for each in made], per_second=100.0)
    loaded = await Generator(load, lambda start_s: None).run()
    assert set(loaded.taken) == {transaction.id for transaction in made}
    assert list(other.mempool) == [made[1].id] and len(loaded.latencies_ms) == 2


async def test_what_there_was_no_room_for_is_sent_again_when_the_load_is_over(serve, nursery):
    ledger = SmallLedger(busy=1)
    url = await serve(ledger)
    made = [make_transaction(ledger.genesis, salt) for salt in range(4)]
    nursery.start_soon(finalise, ledger, 3)
    load = Load(ledger.genesis, (url,), 1, [parcel(*made[:2]), parcel(*made[2:])], per_second=100.0)
    loaded = await Generator(load, lambda start_s: None).run()
    assert loaded.taken == [one.id for one in made[1:]] and len(loaded.latencies_ms) == 3
    assert loaded.refused.total() == 1 and loaded.taken_again == [made[0].id]


async def test_a_node_that_does_not_answer_is_asked_again_for_a_time_only(autojump_clock):
    genesis = SmallLedger().genesis
    made = parcel(make_transaction(genesis))
    load = Load(genesis, ("http://127.0.0.1:1",), 0, [made], per_second=100.0)
    loaded = await Generator(load, lambda start_s: None).run()
    assert loaded.refused == {"unavailable": 1} and not loaded.taken and not loaded.taken_again
