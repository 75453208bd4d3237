"""What can be asked of the registry and the records, against what was written."""

from dataclasses import replace

import pytest
from p2pledger.chain.payloads import (
    CorrectionReason,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    RecordBatch,
    RecordCorrect,
)
from p2pledger.chain.payloads.bodies import AdminAct, HumanDecision
from p2pledger.chain.schema import SchemaClass
from p2pledger.codec import encode
from p2pledger.ledger.modules.registry.queries import SchemaFound
from p2pledger.ledger.modules.sequence import Gap
from tests.asking import code, every
from tests.ledgers import START_MS, Ledger, signer
from tests.unit.ledger.modules.test_records import ACT, METER, QUALITY, SCALE, advice, batch, fact
from tests.unit.ledger.modules.test_registry import NEW_PEER, PEER, invite, revoke


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for name, device in (("meter", METER), ("scale", SCALE)):
        enroll = DeviceEnroll(device, signer(name).public_key, PEER, "meter", bytes(32))
        ledger.does(enroll, "city", "city gateway", name)
    return ledger


def test_records_are_found_by_what_they_are_about_between_two_times(ledger):
    acts = [ledger.does(replace(ACT, time_ms=START_MS - back), "city", "city 1") for back in (10, 20, 20, 30)]
    ledger.does(replace(ACT, where="office-70"), "utility", "utility 1")
    ledger.does(fact(0, time_ms=START_MS - 20), "city", "meter")
    in_order = sorted((START_MS - back, one.id) for back, one in zip((10, 20, 20, 30), acts, strict=True))
    moment = {"from_ms": START_MS - 20, "to_ms": START_MS - 20}
    for limit in (1, 2, 3, 100):
        by_place = every(ledger, "records.by-place", limit, place="office-7")
        assert [(one.time_ms, one.transaction_id) for one in by_place] == in_order
        middle = every(ledger, "records.by-place", limit, place="office-7", **moment)
        assert [one.transaction_id for one in middle] == [one_id for _, one_id in in_order[1:3]]
    window = {"from_ms": START_MS - 20, "to_ms": START_MS - 10}
    assert len(every(ledger, "records.by-organisation", organisation="city", **window)) == 4
    readings = every(ledger, "records.by-schema", schema="sensor.reading/1", to_ms=START_MS)
    assert [one.time_ms for one in readings] == [START_MS - 20]
    assert every(ledger, "records.by-schema", schema="sensor.reading/1", to_ms=START_MS - 21) == []
    assert every(ledger, "records.by-place", place="office-7", to_ms=9) == []


def test_a_devices_records_by_number_and_its_gaps(ledger):
    one = ledger.does(fact(3), "city", "meter")
    many = ledger.does(batch(6, 9), "city", "city gateway")
    ledger.does(fact(0, SCALE), "city", "scale")
    listed = every(ledger, "records.by-device", 1, device=METER)
    assert [(item.transaction_id, item.from_seq, item.to_seq) for item in listed] == [
        (one.id, 3, 3),
        (many.id, 6, 9),
    ]
    for from_seq, first in ((4, [6]), (3, [3, 6])):
        found = every(ledger, "records.by-device", device=METER, from_seq=from_seq)
        assert [item.from_seq for item in found] == first
    [numbers] = every(ledger, "records.gaps", device=METER)
    assert numbers.gaps == (Gap(0, 2), Gap(4, 5)) and numbers.highest == 9


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_traces_go_through_references_and_through_the_acts_that_were_superseded(ledger, limit):
    root = ledger.does(ACT, "city", "city 1")
    left = ledger.does(replace(ACT, references=(root.id,)), "utility", "utility 1")
    right = ledger.does(replace(ACT, references=(root.id,)), "city", "city 1")
    body = encode(AdminAct("office-7", "permit", "a", bytes(32), "granted", right.id))
    end = ledger.does(replace(ACT, references=(left.id,), body=body), "city", "city 1")
    ledger.does(ACT, "city", "city 1")
    forward = every(ledger, "records.trace-forward", limit, record=root.id)
    back = every(ledger, "records.trace-back", limit, record=end.id)
    siblings = sorted([left.id, right.id])
    assert [(one.transaction_id, one.via, one.depth) for one in forward] == [
        way for one in siblings for way in ((one, root.id, 1), (end.id, one, 2))
    ]
    assert [(one.transaction_id, one.via, one.depth) for one in back] == [
        way for one in (left.id, right.id) for way in ((one, end.id, 1), (root.id, one, 2))
    ]
    assert every(ledger, "records.trace-back", limit, record=root.id) == []
    both = encode(AdminAct("office-7", "permit", "a", bytes(32), "granted", end.id))
    twice = ledger.does(replace(ACT, references=(end.id,), body=both), "city", "city 1")
    found = every(ledger, "records.trace-back", limit, record=twice.id, depth=1)
    assert [one.transaction_id for one in found] == [end.id], "named as both, it is one way"


def test_advice_without_a_human_decision(ledger):
    def still_open(limit: int = 1) -> set[bytes]:
        found = every(ledger, "records.open-advice", limit, organisation="city")
        assert all(one.schema == "ai.advice/1" and one.organisation == "city" for one in found)
        return {one.transaction_id for one in found}

    assert still_open() == set()
    first, second, third = (ledger.does(advice(), "city", "city 1") for _ in range(3))
    ledger.does(advice(HumanDecision.ACCEPTED), "city", "city 1")
    ledger.does(advice(), "utility", "utility 1")
    assert still_open() == {first.id, second.id, third.id}
    decision = ledger.does(advice(HumanDecision.REJECTED, references=(first.id,)), "city", "city 1")
    ledger.does(RecordCorrect(second.id, CorrectionReason.DID_NOT_OCCUR, ()), "city", "city 1")
    assert still_open() == still_open(50) == {third.id}
    ledger.does(RecordCorrect(decision.id, CorrectionReason.INCORRECT_DATA, ()), "city", "city 1")
    assert still_open() == {first.id, third.id}


def test_a_human_decision_stands_when_a_later_one_on_the_same_advice_was_corrected(ledger):
    def is_open(one, dropped=()) -> bool:
        found = every(ledger, "records.open-advice", organisation="city", dropped=dropped)
        return one.id in {each.transaction_id for each in found}

    def correct(one) -> None:
        ledger.does(RecordCorrect(one.id, CorrectionReason.DID_NOT_OCCUR, ()), "city", "city 1")

    asked = ledger.does(advice(), "city", "city 1")
    referring = (asked.id,)
    for remark in (replace(ACT, references=referring), advice(HumanDecision.REJECTED, references=referring)):
        ledger.does(remark, "utility", "utility 1")
    ledger.does(advice(references=referring), "city", "city 1")
    ledger.does(fact(0, references=referring), "city", "meter")
    rejected = ledger.does(advice(HumanDecision.REJECTED, references=referring), "city", "city 1")
    acts = [ledger.does(replace(ACT, references=referring), "city", "city 1") for _ in range(2)]
    for act in acts:
        correct(act)
        assert not is_open(asked)
    assert is_open(asked, dropped=(rejected.id,)), "a node that dropped its body cannot tell"
    correct(rejected)
    assert is_open(asked)
    at_once = ledger.does(advice(HumanDecision.ACCEPTED), "city", "city 1")
    correct(ledger.does(replace(ACT, references=(at_once.id,)), "city", "city 1"))
    assert not is_open(at_once)


def test_devices_that_were_silent_for_longer_than_asked(ledger):
    def silent(silent_ms: int) -> set[bytes]:
        found = every(ledger, "registry.silent-devices", 1, organisation="city", silent_ms=silent_ms)
        return {one.device for one in found}

    assert silent(10_000) == {METER, SCALE}, "nothing was ever heard of them"
    ledger.does(fact(0, time_ms=0), "city", "meter")
    heard_ms = ledger.time_ms
    assert every(ledger, "registry.device", device=METER)[0].heard_ms == heard_ms
    assert silent(10_000) == {SCALE}
    ledger.does(RecordBatch("sensor.reading/1", SCALE, 0, 0, 1, 0, 0, bytes(32)), "city", "scale")
    ledger.time_ms = heard_ms + 10_000
    assert silent(10_000) == set() and silent(9_999) == {METER}
    ledger.does(fact(9, time_ms=0), "city", "meter")
    ledger.does(fact(5, time_ms=0), "city", "meter")
    assert silent(9_998) == {SCALE}, "late data is heard when it comes"
    ledger.does(DeviceRetire(SCALE, bytes(32)), "city", "city gateway", "scale")
    assert silent(9_998) == set()
    assert (
        code(ledger, "registry.silent-devices", organisation="nobody", silent_ms=0) == "unknown_organisation"
    )


def test_devices_and_gateways_are_listed(ledger):
    terms = invite(ledger, 7, "utility 1", organisation="utility")
    ledger.does(GatewayJoin(signer("new").public_key, NEW_PEER, terms), "utility", "new")
    ledger.does(DeviceTransfer(SCALE, NEW_PEER, bytes(32)), "utility", "new", "scale")
    for organisation, device in (("city", METER), ("utility", SCALE)):
        listed = every(ledger, "registry.devices", 1, organisation=organisation)
        assert [(one.device, one.organisation) for one in listed] == [(device, organisation)]
    ledger.does(revoke("city gateway"), "city", "city 1")
    found = every(ledger, "registry.gateways", 1)
    assert {one.peer: one.revoked_height for one in found} == {PEER: ledger.height + 1, NEW_PEER: None}


def test_a_key_at_a_height_and_the_schemas_that_were_published(ledger):
    begun = ledger.height
    ledger.does(revoke("city 2"), "city", "city 1")
    key = signer("city 2").public_key
    found = [every(ledger, "registry.key", key=key, height=h) for h in (1, begun, begun + 1, begun + 2)]
    assert [one.is_valid for [one] in found] == [True, True, True, False]
    ledger.does(QUALITY, "city", "city 1")
    ledger.does(replace(QUALITY, id="air.quality/1", subject=SchemaClass.PERSONAL), "utility", "utility 1")
    listed = every(ledger, "registry.schemas", 1)
    assert [one.schema for one in listed] == ["air.quality/1", "water.quality/1"]
    assert listed[1] == SchemaFound("water.quality/1", "city", SchemaClass.PUBLIC, bytes(32), QUALITY.fields)
