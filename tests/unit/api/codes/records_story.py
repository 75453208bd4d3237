"""Refusals of records and of governance."""

from collections.abc import Iterator
from dataclasses import replace

from p2pledger.chain.payloads import RecordCorrect
from p2pledger.chain.payloads.bodies import Digest, Field, Label
from p2pledger.chain.payloads.governance import (
    AuthorityAdd,
    AuthorityRemove,
    GovPropose,
    GovVote,
    Parameter,
    ParameterSet,
    UpgradePlan,
)
from p2pledger.chain.payloads.records import CorrectionReason
from p2pledger.chain.schema import day_of
from p2pledger.codec import encode
from p2pledger.errors import Code
from p2pledger.ledger.modules.governance import authorities
from p2pledger.ledger.modules.governance.rows import CHANGES_MAX, PROPOSALS_MAX
from p2pledger.types import ZERO_HASH, Hash, Height, PeerId
from tests.ledgers import START_MS
from tests.unit.api.codes.node_alone import Case, City, lowered
from tests.unit.ledger.modules.test_governance import CITY, ready
from tests.unit.ledger.modules.test_records import ACT, QUALITY, batch, fact, quality
from tests.unit.ledger.modules.test_registry import enroll

NOBODY = Hash(bytes(32))


def records(city: City) -> Iterator[Case]:
    """What a device or an organisation may not record."""
    city.does(enroll(), "city", "city gateway", "meter")
    meter = "city", "meter"
    city.block(*(city.one(fact(2 * n + 1), *meter) for n in range(64)))
    yield Code.DUPLICATE, city.one(fact(1), *meter)
    yield Code.TOO_MANY_GAPS, city.one(fact(1_000), *meter)
    city.does(batch(0, 0), "city", "city gateway")
    yield Code.IN_FUTURE, city.one(fact(2, time_ms=city.time_ms + 120_002), *meter)
    day, _ = day_of(START_MS)
    personal = fact(2, schema="personal.reading/1", what=(), time_ms=day, commitment=bytes(32))
    yield Code.PERSONAL_IN_CLEAR, city.one(replace(personal, where="office-7"), *meter)
    yield Code.NOT_A_DAY, city.one(replace(personal, time_ms=day + 1), *meter)
    yield Code.UNKNOWN_DEVICE, city.one(fact(0, b"?" * 16), *meter)
    yield Code.UNKNOWN_RECORD, city.one(replace(ACT, references=(NOBODY,)), "city", "city 1")
    wrong = city.does(ACT, "city", "city 1").id
    correction = RecordCorrect(wrong, CorrectionReason.INCORRECT_DATA, ())
    city.does(correction, "city", "city 1")
    yield Code.ALREADY_CORRECTED, city.one(correction, "city", "city 1")
    city.does(QUALITY, "utility", "utility 1")
    yield Code.MALFORMED, city.one(fact(2, schema="water.quality/1", body=b"rain"), *meter)
    for field, code in (
        (Field("weather", Label("rain")), Code.UNDECLARED_FIELD),
        (Field("name", Digest(bytes(32))), Code.FORBIDDEN_FIELD),
        (Field("operator", Label("j")), Code.FIELD_IN_CLEAR),
    ):
        yield code, city.one(replace(quality(field), seq=2), *meter)


def votes(city: City) -> Iterator[Case]:
    """What nobody can propose or vote on."""
    by = "authority-0", "admin 0"
    yield Code.NOT_AN_AUTHORITY, city.one(GovVote(NOBODY, True), "city", "city 1")
    yield Code.UNKNOWN_PROPOSAL, city.one(GovVote(NOBODY, True), *by)
    at = Height(city.height + 20)
    odd = GovPropose("record.append", encode(ACT), at, "council:1", ZERO_HASH)
    yield Code.UNKNOWN_MEASURE, city.one(odd, *by)
    broken = GovPropose("authority.add", b"\x80", at, "council:1", ZERO_HASH)
    yield Code.MALFORMED, city.one(broken, *by)
    yield Code.BACKDATED, city.proposes(CITY, city.height + 1)
    yield Code.OUT_OF_RANGE, city.proposes(ParameterSet(Parameter.BLOCK_TRANSACTIONS_MAX, 0))
    city.adopts(UpgradePlan(2), city.height + 90)
    yield Code.NOT_LATER, city.proposes(UpgradePlan(2), city.height + 90)
    first = city.proposes(ParameterSet(Parameter.BLOCK_BYTES_MAX, 900_000), city.height + 60)
    city.block(first)
    city.does(GovVote(first.id, True), *by)
    yield Code.ALREADY_VOTED, city.one(GovVote(first.id, True), *by)
    for i in (1, 2):
        city.does(GovVote(first.id, True), f"authority-{i}", f"admin {i}")
    yield Code.VOTE_CLOSED, city.one(GovVote(first.id, True), "authority-3", "admin 3")
    wish = ParameterSet(Parameter.BLOCK_BYTES_MAX, 800_000)
    city.block(*(city.proposes(wish, city.height + 60 + n) for n in range(PROPOSALS_MAX)))
    yield Code.TOO_MANY_PROPOSALS, city.proposes(wish, city.height + 60)


def seats(city: City) -> Iterator[Case]:
    """Who cannot sit, or come to sit."""
    nobody = AuthorityAdd("nobody", CITY.key, CITY.peer)
    yield Code.UNKNOWN_ORGANISATION, city.proposes(nobody)
    yield Code.IS_AUTHORITY, city.proposes(replace(CITY, organisation="authority-1"))
    yield Code.NOT_AN_AUTHORITY, city.proposes(AuthorityRemove("utility"))
    yield Code.PEER_TAKEN, city.proposes(replace(CITY, peer=PeerId("authority-peer-1")))
    yield Code.UNKNOWN_KEY, city.one(ready(city, "city votes"), "city", "city 1")
    city.adopts(CITY, city.height + 60)
    forged = ready(city, "city votes", proof="city 1")
    yield Code.PROOF_INVALID, city.one(forged, "city", "city 1")
    ahead = ready(city, "city votes", height=city.height + 1)
    yield Code.NOT_RECENT, city.one(ahead, "city", "city 1")
    with lowered(authorities, "CHANGES_MAX", 1):
        yield Code.TOO_MANY_CANDIDATES, city.proposes(AuthorityRemove("authority-1"))
    assert CHANGES_MAX == 64


STORIES = (records, votes, seats)
