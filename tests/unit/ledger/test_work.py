"""Transactions that are carried out together, and those that are not."""

import pytest
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads import Action, DeviceEnroll, RecordAppend
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger import work
from p2pledger.ledger.modules import RULES
from p2pledger.ledger.modules.sequence import GAPS_MAX
from p2pledger.ledger.quota import usage
from p2pledger.types import PeerId
from tests.ledgers import START_MS, Ledger, signer, transaction

METER = b"meter".ljust(16)
WINDOW_MS = LAN.quota_window_ms


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    enroll = DeviceEnroll(METER, signer("meter").public_key, PeerId("city-gateway-peer"), "meter", bytes(32))
    ledger.does(enroll, "city", "city gateway", "meter")
    return ledger


@pytest.fixture
def alone(monkeypatch) -> list[Transaction]:
    """Those that were carried out each for itself."""
    found: list[Transaction] = []
    apply = work.Ground.apply

    def noted(ground, one, *rest):
        found.append(one)
        return apply(ground, one, *rest)

    monkeypatch.setattr(work.Ground, "apply", noted)
    return found


def record(ledger: Ledger, seq: int, schema: str = "sensor.reading/1", device: bytes = METER) -> Transaction:
    when = START_MS
    payload = RecordAppend(schema, when, device, seq, Action.OBSERVE, (), None, None, None, (), None, None)
    by_gateway = seq % 2 or device != METER
    return transaction(ledger.genesis, payload, "city", "city gateway" if by_gateway else "meter")


def test_records_of_devices_are_carried_out_together(ledger, alone):
    before = usage(ledger.reader, "city", START_MS, WINDOW_MS)
    some = [record(ledger, seq) for seq in range(2 * work.RUN_MAX + 1)]
    ledger.block(*some)
    assert alone == some[-1:], "a run of one is none"
    after = usage(ledger.reader, "city", START_MS, WINDOW_MS)
    assert after.transactions - before.transactions == len(some)
    assert after.size_bytes - before.size_bytes == sum(len(one.encoded) for one in some)


def devices_with_a_record_each(ledger: Ledger, count: int) -> list[Transaction]:
    records = []
    for number in range(count):
        name, device = f"meter {number}", str(number).encode().ljust(16)
        key = signer(name).public_key
        enroll = DeviceEnroll(device, key, PeerId("city-gateway-peer"), "meter", bytes(32))
        ledger.does(enroll, "city", "city gateway", name)
        records.append(record(ledger, 0, device=device))
    return records


def test_records_of_different_devices_are_tried_together(ledger, alone):
    some = devices_with_a_record_each(ledger, 4)
    trial = ledger.machine.trial(ledger.reader, ledger.next_round)
    alone.clear()
    assert trial.check_all(some) == trial.quota_all(some) == [trial.quota(some[0])] * len(some)
    assert alone == []
    usual = trial.check_all([*some, record(ledger, 0)])
    odd = trial.check_all([*some, record(ledger, 0, schema="none/1")])
    assert odd[:-1] == usual[:-1] and odd[-1].code == "unknown_schema"
    assert alone[:4] == some, "where one is odd, each is tried alone"


def test_no_record_of_a_device_is_good_for_another_ones_sake(ledger, alone):
    ledger.block(*[record(ledger, seq) for seq in range(1, 2 * GAPS_MAX + 1, 2)])
    some = [record(ledger, 2 * GAPS_MAX + more) for more in range(2)]
    trial = ledger.machine.trial(ledger.reader, ledger.next_round)
    alone.clear()
    first, second = trial.check_all(some)
    assert first == trial.quota(some[0]) and second.code == "too_many_gaps"
    assert alone == some
    ledger.block(*some)


def test_one_that_is_odd_leaves_other_runs_as_they_are(ledger, alone):
    some = [record(ledger, seq) for seq in range(2 * work.RUN_MAX)]
    some[3] = record(ledger, 3, schema="none/1")
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, some)
    assert alone == some[: work.ALONE_MAX], "the others are carried out by ever larger quarters"
    assert [(refusal.transaction_id, refusal.error.code) for refusal in built.refused] == [
        (some[3].id, "unknown_schema")
    ]
    assert list(built.transactions) == some[:3] + some[4:]


def test_what_is_not_carried_out_together_is_read_together(ledger, alone, monkeypatch):
    read: list[tuple[Transaction, ...]] = []
    read_ahead = work.Ground.read_ahead

    def noted(ground, some, opened):
        read.append(tuple(some))
        read_ahead(ground, some, opened)

    monkeypatch.setattr(work.Ground, "read_ahead", noted)
    some = [record(ledger, seq) for seq in range(2 * work.RUN_MAX)]
    ledger.block(*some)
    assert (alone, read) == ([], [])
    some = [record(ledger, seq) for seq in range(len(some), len(some) + 2 * work.RUN_MAX + 1)]
    ledger.block(*some)
    assert (alone, read) == (some[-1:], [tuple(some)])


def test_one_that_comes_again_is_refused_whatever_run_it_comes_in(ledger):
    first = record(ledger, 0)
    some = [first, *(record(ledger, seq) for seq in range(1, work.RUN_MAX)), first]
    for again in (some, [*some, first], [first, first]):
        with pytest.raises(InvalidTransaction) as refused:
            ledger.machine.execute(ledger.reader, ledger.execution.frontier, ledger.next_round, again)
        assert refused.value.code == "replayed"


def test_what_does_not_fit_a_block_is_chosen_one_by_one(ledger, alone):
    some = [record(ledger, seq) for seq in range(10)]
    for limits in ((4, 2**20), (100, sum(len(one.encoded) for one in some[:4]))):
        at, frontier = ledger.next_round, ledger.execution.frontier
        built = ledger.machine.build(ledger.reader, frontier, at, some, limits)
        assert list(built.transactions) == some[:4] and built.refused == ()
    assert alone == 2 * some[:4]


def test_what_cannot_be_opened_is_met_after_what_is_refused_before_it(ledger):
    unknown = transaction(ledger.genesis, b"\x80", "city", "city 1", kind="no.kind")
    for some, code in (
        ([record(ledger, 0), unknown, record(ledger, 0)], "unknown_kind"),
        ([record(ledger, 0), record(ledger, 0), unknown], "duplicate"),
    ):
        with pytest.raises(InvalidTransaction) as refused:
            ledger.block(*some)
        assert refused.value.code == code


def test_no_rule_takes_many_at_once_of_which_some_are_urgent():
    assert [
        rule.kind for rule in RULES.values() if (rule.apply_run or rule.check_run) and rule.is_urgent
    ] == []
    assert RULES[RecordAppend.KIND].apply_run is not None


def test_runs_are_of_one_rule_each():
    first, second = object(), object()
    opened = [(None, rule, number) for number, rule in enumerate([first, first, second, first])]
    assert [[one[2] for one in run] for run in work.runs(opened)] == [[0, 1], [2], [3]]


def test_rows_are_passed_on_from_block_to_block_but_no_more_than_they_are_worth(ledger, monkeypatch):
    known = ledger.execution.rows
    assert ledger.block().rows is known, "an empty block copies nothing"
    passed_on = ledger.block(record(ledger, 1)).rows
    assert known and known.keys() <= passed_on.keys()
    for name in ("ROWS_PASSED_ON_EACH", "ROWS_PASSED_ON_MAX"):
        monkeypatch.setattr(work, name, 1)
        needed = ledger.block(record(ledger, ledger.height)).rows
        assert needed.keys() < passed_on.keys()
        monkeypatch.undo()
        passed_on = ledger.block(record(ledger, ledger.height)).rows
