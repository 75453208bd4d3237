"""What may be recorded, by whom, and what is refused."""

from dataclasses import replace

import cbor2
import pytest
from p2pledger.chain.payloads import (
    Action,
    CorrectionReason,
    DeviceEnroll,
    DeviceRetire,
    GatewayJoin,
    Item,
    RecordAppend,
    RecordBatch,
    RecordCorrect,
    SchemaField,
    SchemaPublish,
)
from p2pledger.chain.payloads.bodies import (
    AdminAct,
    AiAdvice,
    Digest,
    Field,
    FieldList,
    HumanDecision,
    Label,
    Number,
    field_classes,
)
from p2pledger.chain.schema import DAY_MS, SCHEMAS, FieldClass, SchemaClass, day_of
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.ledger.modules import records
from p2pledger.ledger.modules.sequence import Gap
from p2pledger.ledger.record import Record
from p2pledger.ledger.rules import IndexRows
from p2pledger.ledger.state import Changes, EmptyState
from p2pledger.types import Hash, PeerId
from tests.ledgers import GRANTED, START_MS, Ledger, signer, transaction
from tests.unit.ledger.modules.test_registry import invite
from tests.vectors.make import BODIES

METER, SCALE = b"meter".ljust(16), b"scale".ljust(16)
PEER = PeerId("city-gateway-peer")
ACT = RecordAppend(
    "admin.act/1", START_MS, None, None, Action.OBSERVE, (), "office-7", None, None, (), GRANTED, None
)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for name, device in (("meter", METER), ("scale", SCALE)):
        enroll = DeviceEnroll(device, signer(name).public_key, PEER, "meter", bytes(32))
        ledger.does(enroll, "city", "city gateway", name)
    return ledger


def fact(seq: int, device: bytes = METER, **changes) -> RecordAppend:
    one = RecordAppend(
        "sensor.reading/1", START_MS, device, seq, Action.OBSERVE, (Item("flow", -3, "MTQ"),),
        None, None, None, (), None, None,
    )  # fmt: skip
    return replace(one, **changes)


def batch(first: int, last: int, **changes) -> RecordBatch:
    count = last - first + 1
    one = RecordBatch("sensor.reading/1", METER, first, last, count, START_MS, START_MS, bytes(32))
    return replace(one, **changes)


def rows(ledger: Ledger, index: str) -> list[tuple[bytes, bytes]]:
    return [(row.key, row.value) for row in ledger.rows if row.name == index]


def test_a_record_stands_under_its_transactions_id(ledger):
    one = ledger.does(fact(0), "city", "meter")
    record = Record("sensor.reading/1", "city", METER, START_MS, ledger.height)
    assert ledger.reader.record(one.id) == record
    when = START_MS.to_bytes(8, "big") + one.id
    assert rows(ledger, records.BY_DEVICE) == [(METER + bytes(8), bytes(8) + one.id)]
    assert rows(ledger, records.BY_SCHEMA) == [(b"sensor.reading/1\0" + when, b"")]
    assert rows(ledger, records.BY_ORGANISATION) == [(b"city\0" + when, b"")]


def test_records_that_are_read_together_are_those_that_are_read_one_by_one(ledger):
    old = ledger.does(fact(0), "city", "meter")
    ledger.does(fact(1), "city", "meter")
    new = ledger.does(batch(2, 3), "city", "city gateway")
    asked = [new.id, bytes(32), old.id]
    one_by_one = {each: ledger.reader.record(each) for each in asked}
    assert ledger.reader.records(asked) == one_by_one
    assert [one_by_one[each].height for each in (old.id, new.id)] == [ledger.height - 2, ledger.height]
    changes = Changes(ledger.reader, ledger.height + 1, {})
    assert changes.read_records_ahead(asked) == [one_by_one[new.id], one_by_one[old.id]]
    assert [changes.record(each) for each in asked] == list(one_by_one.values())


def test_a_record_of_the_block_itself_is_found_though_it_was_not_there_when_it_was_read_ahead(ledger):
    made: dict[Hash, Transaction] = {}
    one = ledger.does(fact(0), "city", "meter")
    before = Changes(EmptyState(), ledger.height, made)
    assert before.read_records_ahead([one.id]) == [] and before.record(one.id) is None
    made[one.id] = one
    assert before.record(one.id) == ledger.reader.record(one.id)


def test_a_batch_is_a_record_from_its_first_number_to_its_last(ledger):
    one = ledger.does(batch(3, 6, first_ms=START_MS - 9), "city", "city gateway")
    record = Record("sensor.reading/1", "city", METER, START_MS - 9, ledger.height)
    assert ledger.reader.record(one.id) == record
    value = (6).to_bytes(8, "big") + one.id
    assert rows(ledger, records.BY_DEVICE) == [(METER + (3).to_bytes(8, "big"), value)]
    ledger.does(correct(one.id), "city", "city gateway")


def test_an_act_of_an_organisation_is_found_by_place(ledger):
    one = ledger.does(ACT, "city", "city 1")
    assert rows(ledger, records.BY_PLACE) == [(b"office-7\0" + START_MS.to_bytes(8, "big") + one.id, b"")]
    assert rows(ledger, records.BY_DEVICE) == []


def test_transactions_of_a_device_are_small(ledger):
    assert len(ledger.does(fact(70_000), "city", "meter").encoded) <= 260
    assert len(ledger.does(batch(100, 104), "city", "city gateway").encoded) <= 280


def test_a_devices_records_are_signed_by_it_or_its_gateway(ledger):
    ledger.does(fact(0), "city", "meter")
    ledger.does(fact(1), "city", "city gateway")
    ledger.does(batch(2, 3), "city", "meter")
    ledger.does(batch(4, 5), "city", "city gateway")
    assert ledger.refuses(fact(6), "city", "scale") == "missing_signature"
    assert ledger.refuses(batch(6, 7), "city", "scale") == "missing_signature"
    assert ledger.refuses(fact(6), "city", "city 1") == "not_entitled"
    assert ledger.refuses(batch(6, 7), "city", "city 1") == "not_entitled"


def test_another_gateway_does_not_speak_for_a_device(ledger):
    join = GatewayJoin(signer("new").public_key, PeerId("new-peer"), invite(ledger))
    ledger.does(join, "city", "new")
    assert ledger.refuses(batch(0, 1), "city", "new") == "missing_signature"


def test_another_organisation_does_not_pay_for_a_device(ledger):
    terms = invite(ledger, 7, "utility 1", organisation="utility")
    join = GatewayJoin(signer("new").public_key, PeerId("new-peer"), terms)
    ledger.does(join, "utility", "new")
    assert ledger.refuses(fact(0), "utility", "new") == "missing_signature"
    assert ledger.refuses(fact(0), "utility", "meter", "new") == "missing_signature"
    assert ledger.refuses(fact(0), "utility", "meter") == "not_entitled"


def test_an_unnumbered_record_is_not_a_devices_to_write(ledger):
    assert ledger.refuses(ACT, "city", "meter") == "not_entitled"


def test_no_number_twice_and_no_overlap(ledger):
    ledger.does(batch(10, 14), "city", "city gateway")
    for again in (fact(10), fact(14), batch(10, 14), batch(8, 10), batch(14, 20), batch(5, 20)):
        assert ledger.refuses(again, "city", "city gateway") == "duplicate"
    ledger.does(batch(5, 9), "city", "city gateway")
    ledger.does(fact(0, SCALE), "city", "scale")
    assert records.sequence(ledger.reader, METER).gaps == (Gap(0, 4),)
    assert records.sequence(ledger.reader, SCALE).gaps == ()


def test_too_many_gaps(ledger):
    ledger.block(*[transaction(ledger.genesis, fact(2 * n + 1), "city", "meter") for n in range(64)])
    assert ledger.refuses(fact(1_000), "city", "meter") == "too_many_gaps"
    ledger.does(fact(0), "city", "meter")
    ledger.does(fact(1_000), "city", "meter")


def test_a_leader_orders_a_devices_records_and_leaves_the_others_where_they_came(ledger):
    acts = [transaction(ledger.genesis, ACT, "city", "city 1") for _ in range(2)]
    meter = {n: transaction(ledger.genesis, fact(n), "city", "meter") for n in (5, 1, 3)}
    scale = {n: transaction(ledger.genesis, fact(n, SCALE), "city", "scale") for n in (9, 2)}
    arrived = [meter[5], acts[0], scale[9], meter[1], scale[2], acts[1], meter[3]]
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, arrived)
    assert built.transactions == (meter[1], acts[0], scale[2], meter[3], scale[9], acts[1], meter[5])
    assert built.refused == ()


def test_a_reversed_flood_does_not_run_out_of_gaps(ledger):
    flood = [transaction(ledger.genesis, fact(n), "city", "meter") for n in reversed(range(0, 400, 2))]
    inside = [transaction(ledger.genesis, fact(n), "city", "meter") for n in reversed(range(1, 400, 2))]
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, flood + inside)
    assert built.refused == () and len(built.transactions) == 400


def test_an_event_lies_at_most_120_s_ahead(ledger):
    limit_ms = ledger.next_round.time_ms + 120_000
    assert ledger.refuses(fact(0, time_ms=limit_ms + 1), "city", "meter") == "in_future"
    late = batch(0, 1, first_ms=START_MS, last_ms=limit_ms + 1)
    assert ledger.refuses(late, "city", "meter") == "in_future"
    ledger.does(fact(0, time_ms=limit_ms), "city", "meter")


def test_an_event_may_lie_long_past(ledger):
    ledger.does(batch(0, 1, first_ms=0, last_ms=0), "city", "meter")


def test_an_unknown_schema_or_device(ledger):
    assert ledger.refuses(fact(0, schema="moon.dust/1"), "city", "meter") == "unknown_schema"
    assert ledger.refuses(batch(0, 1, schema="sensor.reading/2"), "city", "meter") == "unknown_schema"
    assert ledger.refuses(fact(0, b"?" * 16), "city", "meter") == "unknown_device"


def test_a_personal_batch_names_its_day_and_nothing_finer(ledger):
    first, last = day_of(START_MS)

    def personal(first_ms: int, last_ms: int) -> RecordBatch:
        return batch(0, 1, schema="personal.reading/1", first_ms=first_ms, last_ms=last_ms)

    assert last > ledger.time_ms + 120_000, "the day is not over, and its batch may be written"
    for bad in (
        (first, first),
        (first + 1, last + 1),
        (first, last + 1),
        (first, last - 1),
        (first, last + DAY_MS),
    ):
        assert ledger.refuses(personal(*bad), "city", "meter") == "not_a_day"
    tomorrow = personal(first + DAY_MS, last + DAY_MS)
    assert ledger.refuses(tomorrow, "city", "meter") == "in_future"
    ledger.does(personal(first, last), "city", "meter")


def test_a_personal_record_holds_a_commitment_and_nothing_in_clear(ledger):
    day, _ = day_of(START_MS)
    good = fact(0, schema="personal.reading/1", what=(), time_ms=day, commitment=bytes(32))
    for change in ({"body": b"1234", "commitment": None}, {"what": (Item("x", 1, "WHR"),)}, {"where": "x"}):
        assert ledger.refuses(replace(good, **change), "city", "meter") == "personal_in_clear"
    assert ledger.refuses(replace(good, time_ms=day + 1), "city", "meter") == "not_a_day"
    ledger.does(good, "city", "meter")


def test_a_retired_device_records_nothing_even_through_its_gateway(ledger):
    ledger.does(DeviceRetire(METER, bytes(32)), "city", "city gateway", "meter")
    assert ledger.refuses(fact(0), "city", "city gateway") == "device_retired"


def test_references_are_traced_forward(ledger):
    one = ledger.does(ACT, "city", "city 1")
    other = ledger.does(replace(ACT, references=(one.id,)), "utility", "utility 1")
    assert rows(ledger, records.BY_REFERENCE) == [(one.id + other.id, b"")]
    assert ledger.refuses(replace(ACT, references=(bytes(32),)), "city", "city 1") == "unknown_record"


def correct(target: bytes, *replacements: bytes) -> RecordCorrect:
    return RecordCorrect(target, CorrectionReason.INCORRECT_DATA, replacements)


def test_a_correction_marks_and_never_edits(ledger):
    wrong, right = (ledger.does(ACT, "city", "city 1") for _ in range(2))
    before = ledger.reader.record(wrong.id)
    assert records.corrected_by(ledger.reader, wrong.id) is None
    correction = ledger.does(correct(wrong.id, right.id), "city", "city 2")
    assert records.corrected_by(ledger.reader, wrong.id) == correction.id
    assert ledger.reader.record(wrong.id) == before
    assert rows(ledger, records.CORRECTIONS) == [(wrong.id, correction.id)]
    assert ledger.refuses(correct(wrong.id), "city", "city 1") == "already_corrected"


def test_a_correction_is_of_the_own_records_only(ledger):
    theirs = ledger.does(ACT, "utility", "utility 1")
    ours = ledger.does(ACT, "city", "city 1")
    assert ledger.refuses(correct(theirs.id), "city", "city 1") == "unknown_record"
    assert ledger.refuses(correct(ours.id, theirs.id), "city", "city 1") == "unknown_record"
    assert ledger.refuses(correct(bytes(32)), "city", "city 1") == "unknown_record"


def test_a_device_corrects_what_it_wrote(ledger):
    mine = ledger.does(fact(0), "city", "meter")
    act = ledger.does(ACT, "city", "city 1")
    assert ledger.refuses(correct(mine.id), "city", "scale") == "missing_signature"
    assert ledger.refuses(correct(act.id), "city", "meter") == "missing_signature"
    ledger.does(correct(mine.id), "city", "meter")


def test_every_shipped_schema_is_taken(ledger):
    day, _ = day_of(START_MS)
    old = ledger.does(ACT, "city", "city 1")
    for schema, kind in SCHEMAS.items():
        body = BODIES.get(schema)
        if isinstance(body, AdminAct):
            body = replace(body, supersedes=old.id)
        clear = {"body": None, "where": None, "commitment": bytes(32), "time_ms": day}
        fields = clear if kind is SchemaClass.PERSONAL else {"body": encode(body)}
        ledger.does(replace(ACT, schema=schema, **fields), "city", "city 1")


def test_a_shipped_schemas_body_is_its_fields_and_nothing_else(ledger):
    for schema, body in BODIES.items():
        if schema not in SCHEMAS:
            continue
        more = cbor2.dumps([*cbor2.loads(encode(body)), "name"])
        fewer = cbor2.dumps(cbor2.loads(encode(body))[:-1])
        other = encode(next(one for name, one in BODIES.items() if name != schema))
        for bad in (b"granted", more, fewer, other, encode(body) + b"0", cbor2.dumps({"office": "office-7"})):
            act = replace(ACT, schema=schema, body=bad)
            assert ledger.refuses(act, "city", "city 1") == "undeclared_field"


def test_a_document_is_named_by_a_commitment_only(ledger):
    plain = cbor2.dumps(["office-7", "permit", "act-5-2", "the application", "granted", None])
    assert ledger.refuses(replace(ACT, body=plain), "city", "city 1") == "undeclared_field"
    assert field_classes(AdminAct)["document_hash"] is FieldClass.COMMIT
    assert field_classes(AdminAct)["office"] is FieldClass.PUBLIC
    assert field_classes(AiAdvice)["output_commitment"] is FieldClass.COMMIT


def test_an_act_supersedes_an_act_of_its_own_organisation(ledger):
    ours, theirs = ledger.does(ACT, "city", "city 1"), ledger.does(ACT, "utility", "utility 1")
    reading = ledger.does(fact(0), "city", "meter")

    def after(old: bytes) -> RecordAppend:
        return replace(ACT, body=encode(AdminAct("office-7", "permit", "a", bytes(32), "granted", old)))

    for old in (theirs.id, reading.id, bytes(32)):
        assert ledger.refuses(after(old), "city", "city 1") == "unknown_record"
    new = ledger.does(after(ours.id), "city", "city 1")
    assert rows(ledger, records.BY_REFERENCE) == [(ours.id + new.id, b"")]


def advice(decision: HumanDecision | None = None, **changes) -> RecordAppend:
    office = None if decision is None else "office-7"
    body = AiAdvice("model-3", bytes(32), (), bytes(32), decision, office)
    return replace(ACT, **{"schema": "ai.advice/1", "body": encode(body), **changes})


def test_advice_is_open_until_a_human_of_its_organisation_decides(ledger):
    def decided() -> dict[bytes, bytes]:
        return {key[-32:]: value for key, value in rows(ledger, records.ADVICE)}

    first, second = ledger.does(advice(), "city", "city 1"), ledger.does(advice(), "city", "city 1")
    hidden = ledger.does(advice(body=None, commitment=bytes(32)), "city", "city 1")
    at_once = ledger.does(advice(HumanDecision.ACCEPTED), "city", "city 1")
    batched = ledger.does(batch(0, 1, schema="ai.advice/1"), "city", "city gateway")
    assert decided() == {
        first.id: b"",
        second.id: b"",
        hidden.id: b"",
        at_once.id: at_once.id,
        batched.id: b"",
    }
    ledger.does(replace(ACT, references=(first.id,)), "utility", "utility 1")
    ledger.does(advice(references=(first.id,)), "city", "city 1")
    assert decided()[first.id] == b""
    act = ledger.does(replace(ACT, references=(first.id, hidden.id)), "city", "city 1")
    human = ledger.does(advice(HumanDecision.REJECTED, references=(second.id,)), "city", "city 1")
    assert (decided()[first.id], decided()[hidden.id], decided()[second.id]) == (act.id, act.id, human.id)


def test_a_decision_names_the_office_that_made_it():
    with pytest.raises(ValueError):
        AiAdvice("model-3", bytes(32), (), bytes(32), HumanDecision.ACCEPTED, None)
    with pytest.raises(ValueError):
        AiAdvice("model-3", bytes(32), (), bytes(32), None, "office-7")


QUALITY = SchemaPublish(
    "water.quality/1",
    SchemaClass.PUBLIC,
    bytes(32),
    (
        SchemaField("name", FieldClass.FORBIDDEN),
        SchemaField("operator", FieldClass.COMMIT),
        SchemaField("turbidity_mntu", FieldClass.PUBLIC),
    ),
)


def quality(*fields: Field) -> RecordAppend:
    return fact(0, schema="water.quality/1", body=encode(FieldList(fields)) if fields else None)


def test_a_published_schemas_fields_are_as_it_declares_them(ledger):
    turbid, by = Field("turbidity_mntu", Number(12)), Field("operator", Digest(bytes(32)))
    assert ledger.refuses(quality(turbid), "city", "meter") == "unknown_schema"
    ledger.does(QUALITY, "utility", "utility 1")
    for fields, code in (
        ((turbid, Field("weather", Label("rain"))), "undeclared_field"),
        ((Field("name", Label("j")),), "forbidden_field"),
        ((Field("name", Digest(bytes(32))),), "forbidden_field"),
        ((Field("operator", Label("j")),), "field_in_clear"),
        ((Field("operator", Number(7)),), "field_in_clear"),
    ):
        fields = tuple(sorted(fields, key=lambda field: field.name))
        assert ledger.refuses(quality(*fields), "city", "meter") == code
    for bad in (b"rain", cbor2.dumps([[["operator", [3, b"short"]]]])):
        act = fact(0, schema="water.quality/1", body=bad)
        assert ledger.refuses(act, "city", "meter") == "malformed"
    ledger.does(quality(by, turbid), "city", "meter")
    ledger.does(batch(1, 2, schema="water.quality/1"), "city", "city gateway")
    assert records.count_by_schema(IndexRows.of(ledger.rows)) == {records.PUBLISHED: 2}


def test_fields_stand_in_one_order():
    one, other = Field("a", Number(1)), Field("b", Number(1))
    for fields in ((other, one), (one, one)):
        with pytest.raises(ValueError):
            FieldList(fields)


def test_a_published_personal_schema_keeps_its_records_off_the_ledger(ledger):
    ledger.does(replace(QUALITY, subject=SchemaClass.PERSONAL), "city", "city 1")
    clear = quality(Field("turbidity_mntu", Number(12)))
    assert ledger.refuses(clear, "city", "meter") == "personal_in_clear"
    assert ledger.refuses(batch(0, 1, schema="water.quality/1"), "city", "meter") == "not_a_day"
    day, _ = day_of(START_MS)
    ledger.does(replace(clear, what=(), body=None, commitment=bytes(32), time_ms=day), "city", "meter")


def test_a_record_of_the_same_block_can_be_referred_to_and_one_of_a_refused_transaction_cannot(ledger):
    first = transaction(ledger.genesis, ACT, "city", "city 1")
    second = transaction(ledger.genesis, replace(ACT, references=(first.id,)), "utility", "utility 1")
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, [first, second])
    assert built.transactions == (first, second)
    unknown = transaction(ledger.genesis, replace(ACT, references=(bytes(32),)), "city", "city 1")
    onto = transaction(ledger.genesis, replace(ACT, references=(unknown.id,)), "utility", "utility 1")
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, [unknown, onto])
    assert [refusal.error.code for refusal in built.refused] == ["unknown_record", "unknown_record"]


def test_what_is_no_record_is_none(ledger):
    enrolled = ledger.does(
        DeviceEnroll(b"other".ljust(16), signer("other").public_key, PEER, "meter", bytes(32)),
        "city", "city gateway", "other",
    )  # fmt: skip
    assert ledger.reader.record(enrolled.id) is None
    assert ledger.refuses(replace(ACT, references=(enrolled.id,)), "city", "city 1") == "unknown_record"
