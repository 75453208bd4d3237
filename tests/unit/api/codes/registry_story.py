"""Refusals of the envelope and of the registry: keys, gateways, devices, organisations, schemas, lists."""

from collections.abc import Iterator
from dataclasses import replace

from p2pledger.chain.genesis import GATEWAYS_MAX, ORGANISATIONS_MAX, KeyRole, Quota
from p2pledger.chain.payloads import (
    DeviceEnroll,
    DeviceRetire,
    GatewayJoin,
    KeyAdd,
    OrgQuota,
    OrgRegister,
    StatusPurpose,
)
from p2pledger.chain.payloads.governance import GovSuspend
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import Code
from p2pledger.ledger.modules.registry import organisations, rows
from p2pledger.ledger.modules.registry.status import STATUS_SLOT_MS
from p2pledger.types import Height, Millis, PeerId, Signature
from tests import ledgers
from tests.consents import key
from tests.ledgers import quota
from tests.unit.api.codes.node_alone import Case, City, lowered
from tests.unit.ledger.modules.test_records import ACT
from tests.unit.ledger.modules.test_registry import (
    METER,
    NEW_PEER,
    PEER,
    add,
    enroll,
    invite,
    revoke,
    rotate,
)
from tests.unit.ledger.modules.test_schemas import QUALITY
from tests.unit.ledger.modules.test_status import NOTHING, version

OFF_CURVE = bytes([2]) + b"\xff" * 32
CLINIC = OrgRegister("clinic", "hospital", (key("clinic 1"), key("clinic 2")), 2, quota(3))


def of_kind(city: City, kind: str, payload: bytes) -> Transaction:
    expires_ms = city.time_ms + 60_000
    return ledgers.transaction(city.genesis, payload, "city", "city 1", expires_ms=expires_ms, kind=kind)


def envelope(city: City) -> Iterator[Case]:
    """What is wrong before any module looks."""
    good = city.one(ACT, "city", "city 1")
    yield Code.MALFORMED, good.encoded[:-1]
    yield Code.MALFORMED, of_kind(city, "record.append", b"\x80")
    yield Code.NOT_CANONICAL, good.encoded + b"\0"
    yield Code.NOT_CANONICAL, of_kind(city, "record.append", good.body.payload + b"\0")
    yield Code.TOO_LARGE, bytes(20_481)
    elsewhere = replace(city.genesis, chain_id="elsewhere")
    yield Code.WRONG_GENESIS, ledgers.transaction(elsewhere, ACT, "city", "city 1")
    yield Code.UNKNOWN_KIND, of_kind(city, "record.forget", good.body.payload)
    yield Code.BAD_SIGNATURE, Transaction(good.body, (Signature(bytes(63) + b"\1"),))
    now_ms, window_ms = city.next_round.time_ms, city.genesis.parameters.expiry_window_ms
    for code, expires_ms in (
        (Code.EXPIRED, now_ms - 1),
        (Code.EXPIRES_TOO_LATE, now_ms + window_ms + 1),
    ):
        yield code, ledgers.transaction(city.genesis, ACT, "city", "city 1", expires_ms=expires_ms)
    yield Code.REPLAYED, city.does(ACT, "city", "city 1")
    yield Code.UNKNOWN_SPONSOR, city.one(ACT, "nobody", "city 1")
    yield Code.NOT_ENTITLED, city.one(ACT, "city", "a stranger")
    wish = GovSuspend("utility", Millis(city.time_ms + 60_000))
    for caller in range(3):
        city.does(wish, f"authority-{caller}", f"admin {caller}")
    yield Code.SPONSOR_SUSPENDED, city.one(ACT, "utility", "utility 1")


def quotas(city: City) -> Iterator[Case]:
    """A sponsor has used up what it may, or so much of its waits."""
    city.enacts(CLINIC)
    city.enacts(OrgRegister("school", "school", (key("school 1"),), 1, quota(2)))
    for _ in range(3):
        city.does(ACT, "clinic", "clinic 1")
    yield Code.OVER_QUOTA, city.one(ACT, "clinic", "clinic 1")
    for _ in range(2):
        yield None, city.one(ACT, "school", "school 1")
    yield Code.TOO_MANY_PENDING, city.one(ACT, "school", "school 1")


def keys(city: City) -> Iterator[Case]:
    """Who may sign for an organisation."""
    yield Code.MISSING_SIGNATURE, city.one(add("x"), "city", "city 1")
    yield Code.INVALID_KEY, city.one(KeyAdd(OFF_CURVE, KeyRole.SERVICE, None, Height(0)), "city", "city 1")
    yield Code.UNKNOWN_KEY, city.one(revoke("stranger"), "city", "city 1")
    yield Code.ADMINS_LOCKED_OUT, city.one(revoke("utility 1"), "utility", "utility 1")
    city.does(add("service"), "city", "city 1", "service")
    yield Code.KEY_TAKEN, city.one(add("service"), "utility", "utility 1", "service")
    yield Code.BACKDATED, city.one(add("x", from_height=city.height), "city", "city 1", "x")
    city.does(revoke("service", from_height=city.height + 100), "city", "city 1")
    yield Code.KEY_REVOKED, city.one(rotate("service", "x"), "city", "city 1", "x")
    city.enacts(CLINIC)
    yield Code.TOO_FEW_ADMINS, city.one(add("x"), "clinic", "clinic 1", "x")
    for n in range(3, 17):
        city.does(add(f"city {n}", KeyRole.ADMIN), "city", "city 1", f"city {n}")
    yield Code.TOO_MANY_ADMINS, city.one(add("city 17", KeyRole.ADMIN), "city", "city 1", "city 17")


def machines(city: City) -> Iterator[Case]:
    """Gateways and devices."""

    def join(name: str, peer: PeerId = NEW_PEER, **changes) -> Transaction:
        return city.one(GatewayJoin(key(name), peer, invite(city, **changes)), "city", name)

    yield Code.INVITE_INVALID, join("new", issuer="stranger")
    yield Code.INVITE_EXPIRED, join("new", expires_ms=Millis(city.time_ms))
    yield Code.PEER_TAKEN, join("new", PEER)
    with lowered(rows, "GATEWAYS_MAX", 2):
        yield Code.TOO_MANY_GATEWAYS, join("new")
    assert GATEWAYS_MAX == 16_384
    city.block(join("new"))
    yield Code.INVITE_USED, join("third", PeerId("third-peer"))
    elsewhere = enroll(peer=PeerId("nobody"))
    yield Code.UNKNOWN_GATEWAY, city.one(elsewhere, "city", "city gateway", "meter")
    retire = DeviceRetire(METER, bytes(32))
    yield Code.UNKNOWN_DEVICE, city.one(retire, "city", "city gateway", "meter")
    city.does(enroll(), "city", "city gateway", "meter")
    other = DeviceEnroll(METER, key("other"), PEER, "meter", bytes(32))
    yield Code.DEVICE_TAKEN, city.one(other, "city", "city gateway", "other")
    city.does(retire, "city", "city gateway", "meter")
    yield Code.DEVICE_RETIRED, city.one(retire, "city", "city gateway", "meter")


def registered(city: City) -> Iterator[Case]:
    """Organisations, their schemas and their status lists."""
    taken = OrgRegister("city", "department", (key("new"),), 1, quota())
    yield Code.ORGANISATION_TAKEN, city.proposes(taken)
    with lowered(organisations, "ORGANISATIONS_MAX", len(city.genesis.organisations)):
        yield Code.TOO_MANY_ORGANISATIONS, city.proposes(CLINIC)
    assert ORGANISATIONS_MAX == 4_096
    for _ in range(8):
        city.adopts(OrgQuota("utility", Quota(1, 100)), city.height + 200)
    yield Code.TOO_MANY_CHANGES, city.proposes(OrgQuota("utility", quota()), city.height + 400)
    yield Code.UNKNOWN_SCHEMA, city.one(replace(QUALITY, id="water.quality/2"), "city", "city 1")
    city.does(QUALITY, "city", "city 1")
    yield Code.SCHEMA_TAKEN, city.one(QUALITY, "utility", "utility 1")
    yield Code.STATUS_BITS, city.one(version(1, compressed=bytes(18)), "city", "city 1")
    yield Code.STATUS_VERSION, city.one(version(2), "city", "city 1")
    city.does(version(1), "city", "city 1")
    yield Code.STATUS_TOO_EARLY, city.one(version(2), "city", "city 1")
    city.time_ms += STATUS_SLOT_MS
    changed = version(2, NOTHING, purpose=StatusPurpose.SUSPENSION)
    yield Code.STATUS_CHANGED, city.one(changed, "city", "city 1")


STORIES = (envelope, quotas, keys, machines, registered)
