"""What can be asked of the registry and the records, against what was written."""

from dataclasses import replace

import pytest
from p2pledger.chain.payloads import (
    Action,
    CorrectionReason,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    RecordAppend,
    RecordBatch,
    RecordCorrect,
)
from p2pledger.chain.payloads.bodies import AdminAct, HumanDecision
from p2pledger.chain.schema import SchemaClass
from p2pledger.codec import encode
from p2pledger.ledger.modules.records import queries as records
from p2pledger.ledger.modules.registry import lookups as registry
from p2pledger.ledger.modules.registry.schemas import PublishedSchema
from p2pledger.ledger.modules.sequence import Gap
from p2pledger.types import Height, PeerId
from tests.ledgers import START_MS, Ledger, signer
from tests.unit.ledger.modules.test_records import ACT, METER, QUALITY, SCALE, advice, batch, fact
from tests.unit.ledger.modules.test_registry import NEW_PEER, PEER, invite, revoke


class Asked(Ledger):
    """A ledger whose rows and transactions can be asked for, as a store's can."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = {}

    def does(self, payload, sponsor, *names):
        one = super().does(payload, sponsor, *names)
        self.sent[one.id] = one
        return one

    def scan(self, index, prefix, after, limit):
        rows = {row.key: row.value for row in self.rows if row.name == index}
        return [(key, rows[key]) for key in sorted(rows) if key.startswith(prefix) and key > after][:limit]

    def find(self, transaction_id):
        return self.sent.get(transaction_id)


@pytest.fixture
def ledger() -> Asked:
    ledger = Asked()
    for name, device in (("meter", METER), ("scale", SCALE)):
        enroll = DeviceEnroll(device, signer(name).public_key, PEER, "meter", bytes(32))
        ledger.does(enroll, "city", "city gateway", name)
    return ledger


def every(query) -> list:
    """The items of all pages."""
    found, after = [], b""
    while after is not None:
        page = query(after)
        found += page.items
        after = page.after
    return found


def test_records_are_found_by_what_they_are_about_between_two_times(ledger):
    acts = [ledger.does(replace(ACT, time_ms=START_MS - back), "city", "city 1") for back in (10, 20, 20, 30)]
    ledger.does(replace(ACT, where="office-70"), "utility", "utility 1")
    ledger.does(fact(0, time_ms=START_MS - 20), "city", "meter")
    in_order = sorted((START_MS - back, one.id) for back, one in zip((10, 20, 20, 30), acts, strict=True))
    for limit in (1, 2, 3, 100):
        by_place = every(
            lambda after: records.records_by_place(ledger.scan, "office-7", 0, 2**63, after, limit)
        )
        assert [(one.time_ms, one.id) for one in by_place] == in_order
        middle = every(
            lambda after: records.records_by_place(
                ledger.scan, "office-7", START_MS - 20, START_MS - 20, after, limit
            )
        )
        assert [one.id for one in middle] == [one_id for _, one_id in in_order[1:3]]
    of_city = records.records_by_organisation(ledger.scan, "city", START_MS - 20, START_MS - 10, b"", 99)
    assert len(of_city.items) == 4 and of_city.after is None
    readings = records.records_by_schema(ledger.scan, "sensor.reading/1", 0, START_MS, b"", 99)
    assert [one.time_ms for one in readings.items] == [START_MS - 20]
    assert records.records_by_schema(ledger.scan, "sensor.reading/1", 0, START_MS - 21, b"", 99).items == ()


def test_a_devices_records_by_number_and_its_gaps(ledger):
    one = ledger.does(fact(3), "city", "meter")
    many = ledger.does(batch(6, 9), "city", "city gateway")
    ledger.does(fact(0, SCALE), "city", "scale")
    listed = every(lambda after: records.records_by_device(ledger.scan, METER, 0, after, 1))
    assert [(item.id, item.first, item.last) for item in listed] == [(one.id, 3, 3), (many.id, 6, 9)]
    assert [item.first for item in records.records_by_device(ledger.scan, METER, 4, b"", 9).items] == [6]
    assert [item.first for item in records.records_by_device(ledger.scan, METER, 3, b"", 9).items] == [3, 6]
    assert records.gaps(ledger.reader, METER) == (Gap(0, 2), Gap(4, 5))


def test_traces_go_both_ways_and_say_when_they_were_cut(ledger):
    root = ledger.does(ACT, "city", "city 1")
    left = ledger.does(replace(ACT, references=(root.id,)), "utility", "utility 1")
    right = ledger.does(replace(ACT, references=(root.id,)), "city", "city 1")
    body = encode(AdminAct("office-7", "permit", "a", bytes(32), "granted", right.id))
    end = ledger.does(replace(ACT, references=(left.id,), body=body), "city", "city 1")
    ledger.does(ACT, "city", "city 1")
    forward, back = records.trace_forward(ledger.scan, root.id, 9), records.trace_back(ledger.find, end.id, 9)
    assert set(forward.ids[:2]) == {left.id, right.id} and forward.ids[2:] == (end.id,) and forward.is_whole
    assert back.ids == (left.id, right.id, root.id) and back.is_whole
    cut = records.trace_back(ledger.find, end.id, 2)
    assert cut.ids == (left.id, right.id) and not cut.is_whole
    assert len(records.trace_forward(ledger.scan, root.id, 1).ids) == 1
    assert records.trace_back(ledger.find, bytes(32), 9).ids == ()
    assert records.trace_back(ledger.find, root.id, 9) == records.Trace((), is_whole=True)


def test_advice_without_a_human_decision(ledger):
    def still_open(limit: int = 1) -> set[bytes]:
        return {
            one.id
            for one in every(
                lambda after: records.open_advice(ledger.reader, ledger.scan, "city", after, limit)
            )
        }

    first, second, third = (ledger.does(advice(), "city", "city 1") for _ in range(3))
    ledger.does(advice(HumanDecision.ACCEPTED), "city", "city 1")
    ledger.does(advice(), "utility", "utility 1")
    assert still_open() == {first.id, second.id, third.id}
    decision = ledger.does(advice(HumanDecision.REJECTED, references=(first.id,)), "city", "city 1")
    ledger.does(RecordCorrect(second.id, CorrectionReason.DID_NOT_OCCUR, ()), "city", "city 1")
    assert still_open() == still_open(50) == {third.id}
    ledger.does(RecordCorrect(decision.id, CorrectionReason.INCORRECT_DATA, ()), "city", "city 1")
    assert still_open() == {first.id, third.id}


def test_devices_that_were_silent_for_longer_than_asked(ledger):
    def silent(silent_ms: int) -> set[bytes]:
        pages = every(
            lambda after: registry.silent_devices(
                ledger.reader, ledger.scan, "city", ledger.time_ms, silent_ms, after, 1
            )
        )
        return {one.id for one in pages}

    assert silent(10_000) == {METER, SCALE}, "nothing was ever heard of them"
    ledger.does(fact(0, time_ms=0), "city", "meter")
    heard_ms = ledger.time_ms
    assert silent(10_000) == {SCALE}
    ledger.does(RecordBatch("sensor.reading/1", SCALE, 0, 0, 1, 0, 0, bytes(32)), "city", "scale")
    ledger.time_ms = heard_ms + 10_000
    assert silent(10_000) == set() and silent(9_999) == {METER}
    ledger.does(fact(9, time_ms=0), "city", "meter")
    ledger.does(fact(5, time_ms=0), "city", "meter")
    assert silent(9_998) == {SCALE}, "late data is heard when it comes"
    ledger.does(DeviceRetire(SCALE, bytes(32)), "city", "city gateway", "scale")
    assert silent(9_998) == set()


def test_devices_and_gateways_are_listed(ledger):
    terms = invite(ledger, 7, "utility 1", organisation="utility")
    ledger.does(GatewayJoin(signer("new").public_key, NEW_PEER, terms), "utility", "new")
    ledger.does(DeviceTransfer(SCALE, NEW_PEER, bytes(32)), "utility", "new", "scale")
    for organisation, device in (("city", METER), ("utility", SCALE)):
        listed = every(lambda after: registry.devices(ledger.reader, ledger.scan, organisation, after, 1))
        assert [(one.id, one.device.organisation) for one in listed] == [(device, organisation)]
    ledger.does(revoke("city gateway"), "city", "city 1")
    height = Height(ledger.height)
    for at, live in ((height, [True, True]), (Height(height + 1), [False, True])):
        found = every(lambda after: registry.gateways(ledger.reader, at, after, 1))
        assert [one.gateway.peer for one in found] == [PEER, NEW_PEER]
        assert [one.is_live for one in found] == live


def test_a_key_at_a_height_and_the_schemas_that_were_published(ledger):
    begun = ledger.height
    ledger.does(revoke("city 2"), "city", "city 1")
    key = signer("city 2").public_key
    found = [
        registry.key_at(ledger.reader, key, Height(h)) is not None for h in (0, begun, begun + 1, begun + 2)
    ]
    assert found == [True, True, True, False]
    ledger.does(QUALITY, "city", "city 1")
    ledger.does(replace(QUALITY, id="air.quality/1", subject=SchemaClass.PERSONAL), "utility", "utility 1")
    listed = every(lambda after: registry.schemas(ledger.scan, after, 1))
    water = PublishedSchema("city", SchemaClass.PUBLIC, bytes(32), QUALITY.fields)
    assert [name for name, _ in listed] == ["air.quality/1", "water.quality/1"] and listed[1][1] == water


def test_nothing_is_found_where_nothing_is(ledger):
    assert records.records_by_place(ledger.scan, "office-7", 0, 9, b"", 9).items == ()
    assert records.open_advice(ledger.reader, ledger.scan, "city", b"", 9).items == ()
    assert registry.key_at(ledger.reader, signer("nobody").public_key, Height(0)) is None
    act = RecordAppend(
        "admin.act/1", START_MS, None, None, Action.OBSERVE, (), None, None, None, (), None, None
    )
    one = ledger.does(act, "city", "city 1")
    assert records.referred(ledger.find, one.id) == ()
    assert registry.devices(ledger.reader, ledger.scan, "nobody", b"", 9).items == ()
    assert PeerId("nobody") not in {
        one.gateway.peer for one in registry.gateways(ledger.reader, Height(0), b"", 9).items
    }
