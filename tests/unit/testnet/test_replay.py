"""A full pass over the real data, held against a count over the files that shares no code with it.

The ledger is the real machine over the real (memory) store, one block per submission; only consensus and
the network are left out. `tests/net/test_testnet.py` replays through real nodes.
"""

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from p2pledger.chain.block import HEADER_VERSION, FinalBlock, Header, evidence_root, genesis_digest
from p2pledger.chain.payloads import DeviceEnroll, RecordAppend, RecordBatch
from p2pledger.chain.reading import check_reading
from p2pledger.chain.transaction import Outcome, Transaction, is_authentic
from p2pledger.client.readings import ReadingsFile
from p2pledger.codec import decode
from p2pledger.crypto import is_signed
from p2pledger.ledger.machine import Machine, Round
from p2pledger.storage.memory import MemoryStore
from p2pledger.testnet.directory import Directory, Plan, create_directory
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.replay import Ending, Replay
from p2pledger.testnet.sources import REPLAYS, data_directory
from p2pledger.testnet.tally import Tally
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, View
from tests.unit.testnet.counting import FILES, counted, numbers_on_the_ledger


class Ledger:
    """A chain that makes a block of each submission at once."""

    def __init__(self, directory: Directory) -> None:
        self.genesis = directory.genesis
        self.machine = Machine(self.genesis)
        self.store = MemoryStore(self.genesis, self.machine.start())
        self.listeners: list[trio.MemorySendChannel[Sequence[Hash]]] = []

    def submit(self, transactions: Sequence[Transaction]) -> dict[Hash, str | None]:
        """The code of the refusal, or None, by id."""
        assert all(is_authentic(transaction, is_signed) for transaction in transactions)
        tip = self.store.tip()
        now = Millis(max(transaction.body.expires_ms for transaction in transactions) - 60_000)
        at = Round(Epoch(0), Height(tip.height + 1), now)
        built = self.machine.build(self.store, tip.frontier, at, transactions)
        header = Header(
            version=HEADER_VERSION,
            genesis_hash=self.genesis.hash,
            epoch=Epoch(0),
            view=View(at.height),
            height=at.height,
            parent_digest=tip.header.digest if tip.header else genesis_digest(self.genesis),
            parent_view=View(at.height - 1),
            time_ms=Millis(max(now, tip.header.time_ms + 1)) if tip.header else now,
            tx_root=built.execution.tx_root,
            state_root=built.execution.state_root,
            receipts_root=built.execution.receipts_root,
            next_set_hash=ZERO_HASH,
            evidence_root=evidence_root(()),
            proposer=0,
        )
        ids = tuple(transaction.id for transaction in built.transactions)
        self.store.commit(FinalBlock(header, ids, (), None), built.transactions, built.execution)
        for listener in self.listeners:
            listener.send_nowait(ids)
        refused = {refusal.transaction_id: refusal.error.code for refusal in built.refused}
        return {transaction.id: refused.get(transaction.id) for transaction in transactions}

    def transactions(self) -> list[Transaction]:
        """All that is final, in order."""
        ids = [
            i
            for block in self.store.blocks(Height(1), self.store.tip().height)
            for i in block.transaction_ids
        ]
        return list(self.store.bodies(ids))


class DirectLink:
    """A `Link` to the ledger above. With `losses`, some submissions or their answers get lost."""

    def __init__(self, gateway: Gateway, ledger: Ledger, losses: random.Random | None = None) -> None:
        self.gateway = gateway
        self.ledger = ledger
        self.losses = losses
        self.seen: dict[Hash, str | None] = {}

    async def submit(self, transactions: Sequence[Transaction]) -> Sequence[Ending]:
        await trio.sleep(0.001)
        chance = self.losses.random() if self.losses else 1.0
        if chance < 0.1:
            return [Ending(Outcome.UNKNOWN)] * len(transactions)
        new = [transaction for transaction in transactions if transaction.id not in self.seen]
        if new:
            self.seen.update(self.ledger.submit(new))
        if chance < 0.2:
            return [Ending(Outcome.UNKNOWN)] * len(transactions)
        codes = [self.seen[transaction.id] for transaction in transactions]
        return [Ending(Outcome.REFUSED, code) if code else Ending(Outcome.PENDING) for code in codes]

    async def fate(self, transaction_id: Hash) -> Ending:
        if transaction_id not in self.seen:
            return Ending(Outcome.UNKNOWN)
        code = self.seen[transaction_id]
        return Ending(Outcome.REFUSED, code) if code else Ending(Outcome.FINAL)

    async def height(self) -> Height:
        return self.ledger.store.tip().height

    async def finals(self, after: Height) -> AsyncIterator[Sequence[Hash]]:
        sending, receiving = trio.open_memory_channel[Sequence[Hash]](10_000)
        self.ledger.listeners.append(sending)
        async with receiving:
            async for ids in receiving:
                # An event that does not come is what a cut connection looks like.
                yield [i for i in ids if not self.losses or self.losses.random() > 0.05]


async def replayed(
    ledger: Ledger, directory: Directory, readings: Path, name: str, losses: random.Random | None = None
) -> tuple[Replay, ReadingsFile]:
    (gateway,) = directory.gateways()
    file = ReadingsFile(readings / "readings.db")
    replay = Replay(
        ledger.genesis, [(DirectLink(gateway, ledger, losses), file)], REPLAYS[name], 20_000, Tally()
    )
    await replay.run(trio.Event(), passes=1)
    return replay, file


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return create_directory(tmp_path_factory.mktemp("net"), Plan(1, 1, 7_100))


async def test_a_full_pass_loses_nothing_and_doubles_nothing(
    directory: Directory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ledger = Ledger(directory)
    replay, file = await replayed(ledger, directory, tmp_path, "all")
    numbers = numbers_on_the_ledger(ledger.transactions())
    expected_readings, expected_repeats = 0, 0
    for device in replay.devices:
        name, interval_s, stamp_s, repeats, gaps = FILES[device.source.name]
        expected, found_repeats = counted(name, interval_s, stamp_s)
        assert sorted(numbers[device.id]) == sorted(expected), device.source.name
        assert found_repeats == repeats
        assert sum(1 for n in expected if n - 1 not in expected) - 1 == gaps
        expected_readings += len(expected)
        expected_repeats += repeats
    assert replay.tally.refused == {"duplicate": expected_repeats}
    assert replay.tally.readings_final == expected_readings
    assert replay.tally.transactions_final == len(ledger.transactions())
    check_that_readings_can_be_proved(replay, file, ledger)
    check_that_nothing_personal_is_told(replay, ledger)
    file.close()


def check_that_readings_can_be_proved(replay: Replay, file: ReadingsFile, ledger: Ledger) -> None:
    chance = random.Random(2)
    bodies = {transaction.id: transaction.body for transaction in ledger.transactions()}
    for device in replay.devices:
        if device.source.readings_per_batch == 1:
            continue
        rows = [row for row in device.source.rows(data_directory()) if not row.is_repeat]
        for row in chance.sample(rows, 100):
            transaction_id, reading, path = file.prove(device.id, row.seq)
            assert (reading.time_ms, reading.values) == (row.time_ms, row.values)
            check_reading(reading, path, decode(RecordBatch, bodies[transaction_id].payload))


def check_that_nothing_personal_is_told(replay: Replay, ledger: Ledger) -> None:
    personal = {d.id: d.source for d in replay.devices if d.source.schema == "personal.reading/1"}
    assert {source.name for source in personal.values()} == {"meter-a", "meter-b", "ride"}
    for transaction in ledger.transactions():
        if transaction.body.kind == RecordBatch.KIND:
            batch = decode(RecordBatch, transaction.body.payload)
            assert batch.device in personal
            assert batch.first_ms % 86_400_000 == 0
            assert batch.last_ms - batch.first_ms == 86_399_999
        elif transaction.body.kind == RecordAppend.KIND:
            assert decode(RecordAppend, transaction.body.payload).device not in personal
        else:
            assert transaction.body.kind == DeviceEnroll.KIND


async def test_what_gets_lost_on_the_way_is_sent_again_and_never_doubled(
    directory: Directory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ledger = Ledger(directory)
    replay, file = await replayed(ledger, directory, tmp_path, "ride", random.Random(7))
    name, interval_s, stamp_s, repeats, _ = FILES["ride"]
    (device,) = replay.devices
    assert sorted(numbers_on_the_ledger(ledger.transactions())[device.id]) == sorted(
        counted(name, interval_s, stamp_s)[0]
    )
    assert replay.tally.refused == {"duplicate": repeats}
    file.close()


async def test_a_further_pass_is_of_other_devices(
    directory: Directory, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ledger = Ledger(directory)
    (gateway,) = directory.gateways()
    file = ReadingsFile(tmp_path / "readings.db")
    replay = Replay(ledger.genesis, [(DirectLink(gateway, ledger), file)], REPLAYS["water"], 20_000, Tally())
    await replay.run(trio.Event(), passes=2)
    numbers = numbers_on_the_ledger(ledger.transactions())
    assert len(numbers) == 2
    assert {len(found) for found in numbers.values()} == {1_268}
    file.close()
