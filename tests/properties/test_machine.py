"""A block is what its transactions are one by one: nothing that is done for many at once may show."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import (
    Action,
    CorrectionReason,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    Item,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    RecordAppend,
    RecordBatch,
    RecordCorrect,
    RevocationReason,
)
from p2pledger.chain.payloads.bodies import SensorReading
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger import work
from p2pledger.ledger.machine import IndexRow, Trial
from p2pledger.ledger.modules.records import FUTURE_MAX_MS
from p2pledger.ledger.modules.registry.rows import (
    DEVICES,
    KEYS,
    ORGANISATIONS,
    Device,
    Key,
    organisation,
)
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.state import Changes
from p2pledger.types import Height, Millis, PeerId
from tests.ledgers import GRANTED, START_MS, Effects, Ledger, genesis, quota, signer, transaction
from tests.properties.effort import effort
from tests.unit.ledger.modules.test_registry import NEW_PEER, invite

METERS = (b"meter-0".ljust(16), b"meter-1".ljust(16), b"meter-2".ljust(16))
NAMES = ("city 1", "city 2", "utility 1", "city gateway", "new", "meter 0", "meter 1", "meter 2", "a", "b")
GENESIS = genesis(quota=quota(transactions=9, size_bytes=2_900))
PEER = PeerId("city-gateway-peer")


METER = Device(signer("meter 0").public_key, "city", PEER, "meter", bytes(32), False)
ODD_DEVICES = {
    b"retired".ljust(16): replace(METER, is_retired=True),
    b"of the utility".ljust(16): replace(METER, organisation="utility"),
    b"of another one".ljust(16): replace(METER, gateway=NEW_PEER),
}
"""Devices that the city's gateway does not speak for."""
METER_KEY = Key("city", KeyRole.DEVICE, Height(0), None, None, METERS[0], None)
ODD_KEYS = {
    "ended": replace(METER_KEY, revoked_height=Height(1)),
    "to come": replace(METER_KEY, from_height=Height(99)),
    "of the utility": replace(METER_KEY, organisation="utility"),
    "of no machine": replace(METER_KEY, role=KeyRole.SERVICE),
    "of another gateway": replace(METER_KEY, role=KeyRole.GATEWAY, device=None, peer=NEW_PEER),
}
"""Keys that do not speak for the first device, each for a reason of its own."""


def begun() -> Ledger:
    """Three devices, one of which comes with the block; two organisations with a gateway; one suspended."""
    ledger = Ledger(GENESIS)
    ledger.does(GatewayJoin(key("new"), NEW_PEER, invite(ledger, 7, "utility 1", organisation="utility")),
                "utility", "new")  # fmt: skip
    for number in (0, 1):
        ledger.does(enroll(number), "city", "city gateway", f"meter {number}")
    ledger.does(record(METERS[0], 3), "city", "meter 0")
    changes = Changes(ledger.reader)
    suspended = replace(organisation(ledger.reader, "authority-3"), suspended_until_ms=START_MS + 60_000)
    ORGANISATIONS.put(changes, b"authority-3", suspended)
    for name, row in ODD_KEYS.items():
        KEYS.put(changes, key(name), row)
    for device, row in ODD_DEVICES.items():
        DEVICES.put(changes, device, row)
    ledger.reader = Overlay(ledger.reader, Effects(ledger.reader, changes.writes(), buckets=65_536))
    return ledger


def key(name):
    return signer(name).public_key


def enroll(number):
    return DeviceEnroll(METERS[number], key(f"meter {number}"), PEER, "meter", bytes(32))


def record(device, seq, where=None, references=(), time_ms=START_MS, schema="sensor.reading/1"):
    return RecordAppend(
        schema, time_ms, device, seq, Action.OBSERVE, (Item("flow", -3, "MTQ"),),
        where, None, None, references, None, None,
    )  # fmt: skip


def reading(value):
    return encode(SensorReading("flow", "MTQ", 0, (value,)))


LEDGER = begun()
OLD = [one.id for one in LEDGER.execution.transactions.values()]
devices, numbers = st.sampled_from(METERS), st.integers(0, 6)
names = st.sampled_from(NAMES)
heights = st.sampled_from([0, 0, LEDGER.height, LEDGER.height + 1, LEDGER.height + 2]).map(Height)
references = st.lists(st.sampled_from([*OLD, bytes(32)]), max_size=2, unique=True).map(tuple)
payloads = st.one_of(
    st.builds(
        record,
        devices,
        numbers,
        st.sampled_from([None, "bridge"]),
        references,
        st.sampled_from([START_MS, START_MS + 120_003, START_MS - 5]),
        st.sampled_from(["sensor.reading/1", "sensor.reading/1", "sensor.reading/1", "none/1"]),
    ),
    st.builds(lambda device, seq: record(device, seq), devices, numbers),
    st.builds(lambda device, seq: record(device, seq), devices, numbers),
    st.builds(lambda act: replace(record(None, None), body=reading(act)), st.integers(0, 9)),
    st.builds(
        lambda device, first, count: RecordBatch(
            "sensor.reading/1", device, first, first + count, count + 1, START_MS, START_MS, bytes(32)
        ),
        devices,
        numbers,
        st.integers(0, 3),
    ),
    st.builds(lambda of: RecordCorrect(of, CorrectionReason.DID_NOT_OCCUR, ()), st.sampled_from(OLD)),
    st.builds(lambda number: enroll(number), st.integers(0, 2)),
    st.builds(lambda device: DeviceRetire(device, bytes(32)), devices),
    st.builds(lambda device, peer: DeviceTransfer(device, peer, bytes(32)), devices,
              st.sampled_from([PEER, NEW_PEER])),
    st.builds(lambda name, height: KeyAdd(key(name), KeyRole.SERVICE, None, height), names, heights),
    st.builds(lambda old, new, height: KeyRotate(key(old), key(new), None, height), names, names, heights),
    st.builds(lambda name, height: KeyRevoke(key(name), RevocationReason.CEASED, height), names, heights),
)  # fmt: skip
UNENTITLED = ("unknown_sponsor", "sponsor_suspended", "not_entitled")
SIGNED_BY = dict(zip(METERS, ("meter 0", "meter 1", "meter 2"), strict=True))


def mostly(usual, *others):
    """The usual one nine times of ten, or one of the others."""
    return st.sampled_from([usual] * 9 * len(others) + list(others))


@st.composite
def transactions(draw) -> Transaction:
    """One that is good more often than not; each draw makes another one."""
    payload = draw(payloads)
    match payload:
        case RecordAppend(device=device) | RecordBatch(device=device) | DeviceRetire(device):
            signers = {SIGNED_BY.get(device, "city 1"), "city gateway"}
        case DeviceEnroll(device) | DeviceTransfer(device):
            signers = {SIGNED_BY[device], "city gateway", "new"}
        case _:
            signers = {"city 1", *NAMES[:6], "a", "b"}
    usual = "utility" if getattr(payload, "gateway", None) == NEW_PEER else "city"
    signers = draw(mostly(signers, {"a"}, {"utility 1"}, {"meter 1"}, {"city 2"}))
    sponsor = draw(mostly(usual, "city", "utility", "authority-3", "nobody"))
    late_ms = draw(mostly(60_000, -1, 10**9))
    return transaction(GENESIS, payload, sponsor, *signers, expires_ms=START_MS + late_ms)


@st.composite
def blocks(draw) -> list[Transaction]:
    """Candidates, of which some come twice."""
    some = draw(st.lists(transactions(), min_size=4, max_size=24))
    again = draw(st.lists(st.sampled_from(some), max_size=2))
    return draw(st.permutations([*some, *again])) if again else some


ODDITIES = [
    {"schema": "epcis.object/1"},
    {"schema": "personal.reading/1", "body": None},
    {"schema": "ai.advice/1", "body": None},
    {"schema": "admin.act/1", "body": GRANTED},
    {"schema": "none/1"},
    {"time_ms": Millis(LEDGER.next_round.time_ms + FUTURE_MAX_MS)},
    {"time_ms": Millis(LEDGER.next_round.time_ms + FUTURE_MAX_MS + 1)},
    {"seq": 0},
    {"seq": 30},
    {"device": METERS[2]},
    {"device": None, "seq": None},
    *({"device": device, "by": ("city gateway",)} for device in ODD_DEVICES),
    {"where": "bridge"},
    {"references": (OLD[0],)},
    {"references": (bytes(32),)},
    {"body": None},
    {"body": b"rubbish"},
    *({"by": (name,)} for name in ("meter 0", "meter 1", "new", "city 1", "a", *ODD_KEYS)),
    {"by": ("meter 0", "meter 1")},
    {"sponsor": "utility"},
    {"sponsor": "authority-3"},
    {"late_ms": -1},
]
"""What makes a record one that is not as most are: some are refused for it."""


def made(
    number: int, by: tuple[str, ...], sponsor: str = "city", late_ms: int = 60_000, **changes
) -> Transaction:
    plain = replace(record(METERS[number % 2], number), what=(), body=reading(7))
    return transaction(GENESIS, replace(plain, **changes), sponsor, *by, expires_ms=START_MS + late_ms)


@st.composite
def runs(draw) -> list[Transaction]:
    """Records as most are, which follow each other; often one is odd, or something else is among them."""
    some, odd = [], draw(st.integers(0, 12))
    for number in range(4, 4 + draw(st.integers(2, 9))):
        usual = {"by": (draw(st.sampled_from([f"meter {number % 2}", "city gateway"])),)}
        some.append(made(number, **(usual | draw(st.sampled_from(ODDITIES)) if number == odd else usual)))
    for other in draw(st.lists(transactions(), max_size=1)):
        some.insert(draw(st.integers(0, len(some))), other)
    return some


@pytest.fixture(params=[(256, 16), (256, 4), (3, 4)], ids=lambda most: "runs of {}, alone {}".format(*most))
def run_lengths(request, monkeypatch) -> None:
    """How many are carried out together at most, and of how many each by itself where one is refused."""
    monkeypatch.setattr(work, "RUN_MAX", request.param[0])
    monkeypatch.setattr(work, "ALONE_MAX", request.param[1])


@dataclass
class Outcome:
    """What became of candidates, each in a block of its own at the same place in the chain.

    `refused`: a candidate, how many were taken before it, and the code.
    """

    taken: list[Transaction] = field(default_factory=list)
    refused: list[tuple[Transaction, int, str]] = field(default_factory=list)
    rows: list[IndexRow] = field(default_factory=list)
    state_root: bytes = LEDGER.reader.crown.root


def one_by_one(candidates) -> Outcome:
    reader, frontier, outcome = LEDGER.reader, LEDGER.execution.frontier, Outcome()
    for one in candidates:
        try:
            execution = LEDGER.machine.execute(reader, frontier, LEDGER.next_round, [one])
        except InvalidTransaction as error:
            outcome.refused.append((one, len(outcome.taken), error.code))
            continue
        outcome.taken.append(one)
        outcome.rows += execution.index_rows
        outcome.state_root = execution.state_root
        reader, frontier = Overlay(reader, execution), execution.frontier
    return outcome


def check_block(candidates) -> None:
    """A block of these is what they are one by one, and those that it refuses are refused in it, too."""
    at, frontier, outcome = LEDGER.next_round, LEDGER.execution.frontier, one_by_one(candidates)
    execution = LEDGER.machine.execute(LEDGER.reader, frontier, at, outcome.taken)
    assert execution.state_root == outcome.state_root
    assert list(execution.index_rows) == outcome.rows
    # The journal has indexes in the order in which they first get a row.
    assert list(execution.index_rows.columns) == list(dict.fromkeys(row.name for row in outcome.rows))
    assert [result.transaction_id for result in execution.results] == [one.id for one in outcome.taken]
    assert [result.position for result in execution.results] == list(range(len(outcome.taken)))
    assert execution.kinds == Counter(one.body.kind for one in outcome.taken)
    for one, before, code in outcome.refused:
        with pytest.raises(InvalidTransaction) as refused:
            LEDGER.machine.execute(LEDGER.reader, frontier, at, [*outcome.taken[:before], one])
        assert refused.value.code == code


@pytest.mark.usefixtures("run_lengths")
@effort(200)
@given(st.one_of(blocks(), runs()))
def test_a_block_is_what_its_transactions_are_one_by_one(candidates):
    check_block(candidates)


@pytest.mark.parametrize("oddity", ODDITIES, ids=str)
def test_what_a_record_says_counts_among_others_as_it_does_alone(oddity):
    for odd in range(4, 8):
        plain = {"by": {f"meter {odd % 2}"}}
        check_block(
            [made(n, **({"by": {"city gateway"}} if n != odd else plain | oddity)) for n in range(4, 8)]
        )


@pytest.mark.usefixtures("run_lengths")
@effort(200)
@given(st.one_of(blocks(), runs()))
def test_what_is_built_is_executed_by_others_to_the_same_end(candidates):
    at, frontier = LEDGER.next_round, LEDGER.execution.frontier
    built = LEDGER.machine.build(LEDGER.reader, frontier, at, candidates)
    assert LEDGER.machine.execute(LEDGER.reader, frontier, at, built.transactions) == built.execution
    assert len(built.transactions) + len(built.refused) == len(candidates)
    outcome = one_by_one(built.transactions)
    assert (tuple(outcome.taken), outcome.refused) == (built.transactions, [])
    assert outcome.rows == list(built.execution.index_rows)
    assert built.transactions == () or outcome.state_root == built.execution.state_root


def said(trial: Trial, candidates) -> list[object]:
    """What a trial says of each, asked for each by itself: both of its answers, or the code."""
    answers: list[object] = []
    for one in candidates:
        try:
            answers.append((trial.quota(one), trial.check(one)))
        except InvalidTransaction as error:
            answers.append(error.code)
    return answers


def said_together(trial: Trial, candidates) -> list[object]:
    """The same, asked for all of them at once; the code is then of whichever raised."""
    pairs = zip(trial.quota_all(candidates), trial.check_all(candidates), strict=True)
    return [next((one.code for one in pair if isinstance(one, InvalidTransaction)), pair) for pair in pairs]


@effort(150)
@given(st.one_of(blocks(), runs()))
def test_a_trial_says_of_each_what_a_block_of_it_alone_would(candidates):
    trial, together = (LEDGER.machine.trial(LEDGER.reader, LEDGER.next_round) for _ in range(2))
    for one in candidates:
        outcome, quota = one_by_one([one]), trial.quota(one)
        assert quota is None or not any(code in UNENTITLED for _, _, code in outcome.refused)
        try:
            assert trial.check(one) == quota
        except InvalidTransaction as error:
            assert [code for _, _, code in outcome.refused] == [error.code]
        else:
            assert outcome.taken == [one]
    assert said_together(together, candidates) == said(trial, candidates)


@effort(60)
@given(
    chain=st.lists(st.tuples(blocks(), st.integers(0, 2)), min_size=2, max_size=5), each=st.integers(0, 99)
)
def test_what_the_parent_knows_decoded_changes_nothing(chain, each):
    """A tree of blocks, each on one of the last three: with their rows, and with each row read anew."""
    parents = [(LEDGER.reader, LEDGER.reader, LEDGER.execution.frontier, LEDGER.next_round)]
    for candidates, back in chain:
        knowing, unknowing, frontier, at = parents[-1 - back % len(parents)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(work, "ROWS_PASSED_ON_EACH", each)
            built = LEDGER.machine.build(knowing, frontier, at, candidates)
            executed = LEDGER.machine.execute(knowing, frontier, at, built.transactions)
        anew = LEDGER.machine.build(unknowing, frontier, at, candidates)
        assert built.transactions == anew.transactions and built.execution == anew.execution == executed
        assert [(one.transaction_id, one.error.code) for one in built.refused] == [
            (one.transaction_id, one.error.code) for one in anew.refused
        ]
        trials = [LEDGER.machine.trial(reader, at) for reader in (knowing, unknowing)]
        assert said_together(trials[0], candidates) == said_together(trials[1], candidates)
        after, plain = Overlay(knowing, executed), Overlay(unknowing, replace(anew.execution, rows={}))
        for reader, execution in ((after, executed), (Overlay(knowing, built.execution), built.execution)):
            for key, row in execution.rows.items():
                assert reader.get(key) == plain.get(key) == (None if row is None else encode(row))
        at = replace(at, height=Height(at.height + 1), time_ms=at.time_ms + 1)
        parents.append((after, plain, executed.frontier, at))
