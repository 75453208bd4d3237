"""A gateway at work against a small ledger: what it sends is on its disk already, what ends is counted."""

from contextlib import closing

import pytest
import trio
from p2pledger.bench import gateway
from p2pledger.bench.gateway import Duty, Gateway
from p2pledger.chain.payloads import RecordBatch
from p2pledger.chain.reading import check_reading
from p2pledger.chain.transaction import decode_transaction
from p2pledger.client.readings import ReadingsFile
from p2pledger.codec import decode
from p2pledger.errors import InvalidTransaction
from p2pledger.testnet.directory import Plan, create_directory
from tests.unit.api.small_ledger import SmallLedger


class Watching(SmallLedger):
    """Looks into the gateway's file before it takes a batch, and refuses what `refuses` says."""

    def __init__(self, genesis, kept, refuses=lambda number: False) -> None:
        super().__init__(genesis)
        self.kept, self.refuses = kept, refuses
        self.batches = {}

    async def submit(self, encoded):
        with closing(ReadingsFile(self.kept)) as file:
            for transaction in map(decode_transaction, encoded):
                batch = decode(RecordBatch, transaction.body.payload)
                transaction_id, reading, path = file.prove(batch.device, batch.to_seq)
                assert transaction_id == transaction.id
                check_reading(reading, path, batch)
                self.batches[transaction.id] = batch
        answers = await super().submit(encoded)
        refusal = InvalidTransaction("duplicate", "it is final already")
        return [refusal if self.refuses(n) else answer for n, answer in enumerate(answers)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return create_directory(tmp_path_factory.mktemp("net"), Plan(1, 1, 7_100))


async def finalise_on(ledger):
    while True:
        await trio.sleep(0.02)
        if ledger.mempool:
            ledger.finalise()


async def test_batches_are_on_disk_before_they_are_sent_and_counted_when_they_are_final(
    directory, tmp_path, serve, nursery
):
    ledger = Watching(directory.genesis, tmp_path / "readings.db")
    duty = Duty(0, directory, await serve(ledger), ledger.kept, seconds=0.2)
    nursery.start_soon(finalise_on, ledger)
    done = await Gateway(duty).run()
    assert done.final == {i: (batch.device, batch.from_seq) for i, batch in ledger.batches.items()}
    assert len(done.latencies_ms) == len(done.final) > 0 == done.awaited and not done.refused
    assert done.ended_s > done.began_s
    assert all(batch.count == 4_096 for batch in ledger.batches.values())


async def test_what_is_refused_or_does_not_become_final_is_told(directory, tmp_path, serve, monkeypatch):
    monkeypatch.setattr(gateway, "DRAIN_S", 3.0)  # long enough for the last answer on a busy machine
    ledger = Watching(directory.genesis, tmp_path / "readings.db", refuses=lambda number: number == 1)
    duty = Duty(0, directory, await serve(ledger), ledger.kept, seconds=0.1)
    done = await Gateway(duty).run()
    groups = len(ledger.batches) // gateway.TOGETHER
    assert done.refused == {"duplicate": groups} and not done.final
    assert done.awaited == groups * (gateway.TOGETHER - 1) > 0
