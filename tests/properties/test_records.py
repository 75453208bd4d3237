"""Records against the books of their judge: what it allows is accepted, and nothing else."""

from copy import deepcopy

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from p2pledger.chain.payloads import (
    Action,
    CorrectionReason,
    DeviceEnroll,
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
    SensorReading,
)
from p2pledger.chain.schema import DAY_MS, FieldClass, SchemaClass, day_of
from p2pledger.codec import encode
from p2pledger.errors import InvalidTransaction
from p2pledger.simulator.invariants.records import RecordsInvariants
from p2pledger.types import PeerId
from tests.asking import every
from tests.ledgers import START_MS, Ledger, genesis, signer, transaction
from tests.properties.effort import effort

GENESIS = genesis()
DEVICES = {"meter": b"meter".ljust(16), "scale": b"scale".ljust(16)}
DAY, _ = day_of(START_MS)
OWN = "water.quality/1"
FIELDS = (
    SchemaField("name", FieldClass.FORBIDDEN),
    SchemaField("operator", FieldClass.COMMIT),
    SchemaField("turbidity_mntu", FieldClass.PUBLIC),
)
VALUES = (Number(-3), Label("j"), Digest(bytes(32)))

fields = st.dictionaries(
    st.sampled_from(["name", "operator", "turbidity_mntu", "weather"]), st.sampled_from(VALUES), min_size=1
).map(lambda chosen: FieldList(tuple(Field(name, chosen[name]) for name in sorted(chosen))))
advice = st.sampled_from([None, *HumanDecision]).map(
    lambda decision: AiAdvice("m", bytes(32), (), bytes(32), decision, None if decision is None else "office")
)
bodies = st.one_of(
    st.none(), fields, advice, st.just(SensorReading("flow", "MTQ", 0, (1, 2))),
    st.just(AdminAct("office-7", "permit", "act-5-2", bytes(32), "granted", None)),
)  # fmt: skip
schemas = st.sampled_from([OWN, OWN, "sensor.reading/1", "personal.reading/1", "admin.act/1", "ai.advice/1"])
numbers = st.integers(0, 30)
times = st.sampled_from([START_MS, DAY, DAY + DAY_MS, START_MS + 120_050])
devices = st.sampled_from(sorted(DEVICES))
parties = st.sampled_from([("city", "city 1"), ("utility", "utility 1")])


class Records(RuleBasedStateMachine):
    """Hands in what the signers are entitled to say, and asks the judge whether it may stand."""

    def __init__(self):
        super().__init__()
        self.ledger, self.judge = Ledger(GENESIS), RecordsInvariants()
        self.ids: list[bytes] = []
        for name, device in DEVICES.items():
            enroll = DeviceEnroll(
                device, signer(name).public_key, PeerId("city-gateway-peer"), "meter", bytes(32)
            )
            self.submit(enroll, "city", "city gateway", name)

    def submit(self, payload, sponsor, *signers):
        one = transaction(GENESIS, payload, sponsor, *signers, expires_ms=self.ledger.time_ms + 60_000)
        books, at = deepcopy(self.judge), self.ledger.next_round
        try:
            books.apply(one, at.height, at.time_ms)
        except ValueError as error:
            with pytest.raises(InvalidTransaction):
                self.ledger.block(one)
                raise AssertionError(f"accepted: {error}")
            return
        self.ledger.block(one)
        self.judge = books
        if one.id in books.written:
            self.ids.append(one.id)

    def some(self, places) -> tuple[bytes, ...]:
        known = [*self.ids, bytes(32)]
        return tuple(dict.fromkeys(known[place % len(known)] for place in places))

    @rule(schema=schemas, body=bodies, device=devices, seq=numbers, time_ms=times, is_plain=st.booleans())
    def append(self, schema, body, device, seq, time_ms, is_plain):
        what = () if is_plain else (Item("flow", 1, "MTQ"),)
        data = None if body is None else encode(body)
        payload = RecordAppend(
            schema, time_ms, DEVICES[device], seq, Action.OBSERVE, what, None, None, None, (), data, None
        )
        self.submit(payload, "city", device)

    @rule(schema=schemas, body=bodies, party=parties, places=st.lists(st.integers(0, 99), max_size=2))
    def state(self, schema, body, party, places):
        data = None if body is None else encode(body)
        payload = RecordAppend(
            schema, START_MS, None, None, Action.OBSERVE, (), None, None, None, self.some(places), data, None
        )
        self.submit(payload, *party)

    @precondition(lambda self: self.ids)
    @rule(body=advice | st.none(), party=parties, places=st.lists(st.integers(0, 99), max_size=2))
    def advise_and_decide(self, body, party, places):
        self.state(schema="ai.advice/1", body=body, party=party, places=places)

    @rule(schema=st.just(OWN), body=fields, device=devices, seq=numbers)
    def append_own(self, schema, body, device, seq):
        self.append(schema=schema, body=body, device=device, seq=seq, time_ms=START_MS, is_plain=True)

    @precondition(lambda self: self.open())
    @rule(party=parties, place=st.integers(0, 99))
    def decide_on_advice(self, party, place):
        choices = self.open()
        self.decide(party=party, old=choices[place % len(choices)], is_referred=True)

    def open(self) -> list[bytes]:
        return sorted(self.judge.open_advice("city") | self.judge.open_advice("utility"))

    @rule(party=parties, place=st.integers(0, 99))
    def supersede(self, party, place):
        self.decide(party=party, old=self.some([place])[0], is_referred=False)

    def decide(self, party, old, is_referred):
        act = AdminAct("office-7", "permit", "act-5-2", bytes(32), "granted", None if is_referred else old)
        references, body = (old,) if is_referred else (), encode(act)
        payload = RecordAppend(
            "admin.act/1", START_MS, None, None, Action.OBSERVE, (), None, None, None, references, body, None
        )  # fmt: skip
        self.submit(payload, *party)

    @rule(schema=schemas, device=devices, first=numbers, count=st.integers(1, 6), first_ms=times,
          lasts_ms=st.sampled_from([0, DAY_MS - 1]))  # fmt: skip
    def batch(self, schema, device, first, count, first_ms, lasts_ms):
        payload = RecordBatch(
            schema, DEVICES[device], first, first + count - 1, count, first_ms, first_ms + lasts_ms, bytes(32)
        )
        self.submit(payload, "city", "city gateway")

    @rule(party=parties, place=st.integers(0, 99), other=st.integers(0, 99))
    def correct(self, party, place, other):
        (target,) = self.some([place])
        replacements = tuple(one for one in self.some([other]) if one != target)
        self.submit(RecordCorrect(target, CorrectionReason.INCORRECT_DATA, replacements), *party)

    @initialize(subject=st.sampled_from([SchemaClass.PUBLIC, SchemaClass.PUBLIC, SchemaClass.PERSONAL]))
    def publish(self, subject):
        self.submit(SchemaPublish(OWN, subject, bytes(32), FIELDS), "city", "city 1")

    @invariant()
    def the_queries_tell_what_the_books_do(self):
        for device in DEVICES.values():
            [numbers] = every(self.ledger, "records.gaps", device=device)
            assert [(gap.first, gap.last) for gap in numbers.gaps] == self.judge.gaps(device)
            listed = every(self.ledger, "records.by-device", device=device)
            held = [number for one in listed for number in range(one.from_seq, one.to_seq + 1)]
            assert held == sorted(self.judge.taken.get(device, ()))
        for organisation in ("city", "utility"):
            found = every(self.ledger, "records.open-advice", 1, organisation=organisation)
            assert {one.transaction_id for one in found} == self.judge.open_advice(organisation)
            listed = every(self.ledger, "records.by-organisation", organisation=organisation)
            written = {i for i, row in self.judge.written.items() if row.organisation == organisation}
            assert {one.transaction_id for one in listed} == written


TestRecords = Records.TestCase
TestRecords.settings = effort(40, steps=40)
