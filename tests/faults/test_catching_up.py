"""Nodes that were away while epochs passed come back by sync; receipts and readings hold anywhere."""

import json
from collections.abc import Iterator

import pytest
import trio
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import RecordBatch
from p2pledger.chain.reading import EncodedReadings, Reading, check_reading, prove_reading
from p2pledger.chain.receipt import Receipt, check_receipt
from p2pledger.chain.schema import day_of
from p2pledger.chain.transaction import Transaction
from p2pledger.client import AsyncClient
from p2pledger.codec import decode, from_json
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage
from p2pledger.testnet.directory import GENESIS
from p2pledger.testnet.fleet import batch, enrolment, new_device
from p2pledger.testnet.sources import SOURCES
from p2pledger.types import Millis
from tests.faults.fleet import Fleet, running, until, with_parameters
from tests.faults.oracle import blocks_of, check_no_contradiction, places_of, signers_of, votes_of
from tests.faults.wishes import keep_writing, now_ms, see_final

EPOCH_BLOCKS = 15
METER = SOURCES[0]
READINGS = 5


@pytest.fixture
def fleet(tmp_path) -> Iterator[Fleet]:
    change = with_parameters(epoch_blocks=EPOCH_BLOCKS, idle_interval_ms=1_000)
    with running(tmp_path / "net", change) as fleet:
        yield fleet


async def test_a_gateway_and_an_authority_that_missed_epochs_catch_up(fleet: Fleet) -> None:
    taken: list[Transaction] = []
    async with fleet.client("gateway-1", "authority-1") as client, trio.open_nursery() as nursery:
        nursery.start_soon(keep_writing, fleet, client, taken)
        batches = [await batch_of(fleet, client) for _ in range(2)]
        fleet.kill("gateway-1", "authority-4")
        missed_from = await fleet.height("authority-1")
        await fleet.until_height(missed_from + 2 * EPOCH_BLOCKS)
        await fleet.start("gateway-1", "authority-4")
        back_at = await fleet.height("authority-1")
        await fleet.until_height(back_at)

        async def votes_again() -> bool:
            return 3 in signers_of(blocks_of(fleet, "authority-1")[back_at:])

        await until(votes_again)
        final = places_of(blocks_of(fleet, "authority-1"))
        for wish in list(taken):  # what the gateway had not passed on yet when it was killed goes again
            if wish.id not in final:
                await client.send(wish)
        nursery.cancel_scope.cancel()
    await see_final(fleet, taken)
    assert await fleet.check_agreement() > missed_from + 2 * EPOCH_BLOCKS
    epochs = {block.header.epoch for block in blocks_of(fleet, "gateway-1")}
    assert len(epochs) >= 3 and epochs == set(range(len(epochs)))
    check_no_contradiction(set().union(*(votes_of(fleet, name) for name in fleet.nodes)))
    # What the gateway took in and then slept over is proved by what other nodes have, and the reverse.
    for readings, wish in batches:
        await check_provable(fleet, "authority-2", readings, wish)
    for name in fleet.nodes:
        await check_proved(fleet, name, taken[-1])


async def batch_of(fleet: Fleet, client: AsyncClient) -> tuple[list[Reading], Transaction]:
    """The readings of a new meter, and their batch, final."""
    device = new_device(METER, fleet.gateway)
    await client.send(enrolment(fleet.genesis, device))
    start_ms = day_of(now_ms())[0]
    readings = [Reading(n, Millis(start_ms + n), (n * 1_000,), bytes([n]) * 16) for n in range(READINGS)]
    wish = batch(
        fleet.genesis, device, EncodedReadings.of(readings), readings[0].time_ms, readings[-1].time_ms
    )
    await client.send(wish)
    return readings, wish


async def check_proved(fleet: Fleet, name: str, wish: Transaction) -> Transaction:
    """Fetch a receipt from one node and verify it with nothing but the genesis file."""
    genesis: Genesis = from_json(Genesis, json.loads((fleet.directory.path / GENESIS).read_text()))
    receipt: Receipt = decode(Receipt, await fleet.receipt(name, wish.id))
    proved = check_receipt(receipt, genesis, is_signed)
    assert proved.encoded == wish.encoded
    assert receipt.boundaries == () or receipt.headers[-1].epoch == len(receipt.boundaries)
    return proved


async def check_provable(fleet: Fleet, name: str, readings: list[Reading], wish: Transaction) -> None:
    """Prove each reading from the root that a node holds, and nothing that was not measured."""
    proved = await check_proved(fleet, name, wish)
    on_ledger: RecordBatch = decode(RecordBatch, proved.body.payload)
    assert on_ledger.count == len(readings) == READINGS
    for reading in readings:
        path = prove_reading(readings, reading.seq)
        check_reading(reading, path, on_ledger)
        forged = Reading(reading.seq, reading.time_ms, (reading.values[0] + 1,), reading.salt)
        with pytest.raises(InvalidMessage):
            check_reading(forged, path, on_ledger)
