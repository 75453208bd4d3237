"""What private data is on the ledger, and who may let whom have it."""

from dataclasses import fields, replace

import pytest
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import (
    DataRegister,
    DeviceEnroll,
    MandateEnd,
    Operation,
    Power,
    Purpose,
)
from p2pledger.chain.schema import SCHEMAS, SchemaClass
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.consent import is_entitled, uses
from p2pledger.ledger.modules.consent.rows import DATA, GRANTS, HANDLES
from p2pledger.types import Hash, Height, Millis, PeerId
from tests.consents import (
    CUSTODIANS,
    DAY_MS,
    GATEWAY,
    MANDATE,
    ConsentLedger,
    ask,
    day,
    give,
    key,
    mandate,
    register,
    revoke,
)
from tests.unit.ledger.modules.test_schemas import QUALITY

NOBODY = Hash(bytes(32))


@pytest.fixture
def ledger() -> ConsentLedger:
    return ConsentLedger()


def refusal(act, *arguments) -> str:
    with pytest.raises(InvalidTransaction) as caught:
        act(*arguments)
    return caught.value.code


# data.register


def test_of_private_data_the_ledger_holds_a_commitment_a_handle_and_a_schema(ledger):
    data = ledger.registers()
    row = DATA.get(ledger.reader, data)
    assert (row.organisation, row.handle, row.schema) == ("city", key("handle"), "personal.reading/1")
    assert row.missing == row.custodians == CUSTODIANS and not row.is_erased
    assert HANDLES.get(ledger.reader, key("handle")).data == (data,)
    # Nothing of the payload can be named: these are all the fields that there are.
    assert {field.name for field in fields(DataRegister)} == {
        "commitment", "schema", "handle", "custodians", "threshold", "size_class", "retain_until_ms",
    }  # fmt: skip


def test_a_gateway_or_a_department_registers_a_device_does_not(ledger):
    ledger.does(register(), "city", GATEWAY)
    enroll = DeviceEnroll(bytes(16), key("meter"), PeerId("city-gateway-peer"), "meter", bytes(32))
    ledger.does(enroll, "city", GATEWAY, "meter")
    assert ledger.refuses(register(), "city", "meter") == "not_entitled"
    assert ledger.refuses(register(), "utility", GATEWAY) == "not_entitled"
    assert ledger.refuses(register(), RESIDENTS, GATEWAY) == "not_entitled"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"schema": "sensor.unknown/1"}, "unknown_schema"),
        ({"handle": bytes([2]) + b"\xff" * 32}, "invalid_key"),
        ({"handle": key("city 2")}, "key_taken"),
        ({"custodians": ("authority-0", "nobody")}, "unknown_organisation"),
        ({"custodians": ("authority-0", "residents")}, "unknown_organisation"),
        ({"retain_until_ms": Millis(day(3) + 1)}, "not_a_day"),
        ({"retain_until_ms": day(0)}, "until_passed"),
        ({"retain_until_ms": day(30 * 365 + 1)}, "until_too_far"),
    ],
)
def test_what_cannot_be_registered(ledger, changes, code):
    assert ledger.refuses(register(**changes), "city", "city 1") == code


def test_a_retention_may_end_within_a_day_only_where_nobody_is_behind_it(ledger):
    assert SCHEMAS["admin.act/1"].name == "PUBLIC"
    ledger.registers(schema="admin.act/1", retain_until_ms=Millis(day(3) + 1))


def test_data_may_be_of_a_schema_that_an_organisation_published(ledger):
    ledger.does(QUALITY, "city", "city 1")
    ledger.does(replace(QUALITY, id="care.visit/1", subject=SchemaClass.PERSONAL), "city", "city 1")
    within_a_day = Millis(day(3) + 1)
    ledger.registers(schema="water.quality/1", retain_until_ms=within_a_day)
    visit = register(schema="care.visit/1", retain_until_ms=within_a_day)
    assert ledger.refuses(visit, "city", "city 1") == "not_a_day"
    ledger.registers(schema="care.visit/1", retain_until_ms=day(3))


@pytest.mark.parametrize(
    ("custodians", "threshold"),
    [
        (("authority-0",), 2),
        (("authority-0", "authority-0"), 2),
        (("authority-1", "authority-0"), 2),
        (("authority-0", "authority-1"), 3),
        (("authority-0", "authority-1"), 1),
        (tuple(f"org-{i:02}" for i in range(17)), 2),
    ],
)
def test_custodians_are_two_to_sixteen_organisations_of_which_two_at_least_are_needed(
    ledger, custodians, threshold
):
    with pytest.raises(ValueError):
        ledger.one(register(custodians=custodians, threshold=threshold), "city", "city 1")


def test_a_handle_is_one_organisations(ledger):
    ledger.registers()
    ledger.registers()
    assert len(HANDLES.get(ledger.reader, key("handle")).data) == 2
    assert ledger.refuses(register(), "utility", "utility 1") == "handle_taken"


def test_a_handle_stands_for_32_data(ledger):
    ledger.block(*(ledger.one(register(), "city", "city 1") for _ in range(32)))
    assert ledger.refuses(register(), "city", "city 1") == "too_many_data"


# grant.give, grant.revoke


def test_a_grant_is_signed_by_the_handle_and_handed_in_by_a_gateway(ledger):
    ledger.registers()
    assert ledger.refuses(give(ledger), RESIDENTS, GATEWAY) == "missing_signature"
    assert ledger.refuses(give(ledger), RESIDENTS, "handle") == "not_entitled"
    assert ledger.refuses(give(ledger), RESIDENTS, "handle", "city 1") == "not_entitled"
    assert ledger.refuses(give(ledger), "utility", "handle", GATEWAY) == "not_entitled"
    ledger.gives()
    grant = ledger.does(give(ledger), "city", "handle", GATEWAY).id
    assert GRANTS.get(ledger.reader, grant).grantee == "utility"
    assert uses(ledger.reader, grant) == uses(ledger.reader, NOBODY) == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grantee": "nobody"}, "unknown_organisation"),
        ({"grantee": "residents"}, "unknown_organisation"),
        ({"handle": key("stranger")}, "unknown_handle"),
    ],
)
def test_what_cannot_be_granted(ledger, changes, code):
    ledger.registers()
    payload = give(ledger, **changes)
    assert ledger.refuses(payload, RESIDENTS, "handle", "stranger", GATEWAY) == code


def test_there_is_no_wildcard(ledger):
    ledger.registers()
    for changes in ({"grantee": "*"}, {"purpose": "*"}, {"operations": ()}, {"max_uses": 0}):
        with pytest.raises(ValueError):
            ledger.one(give(ledger, **changes), RESIDENTS, "handle", GATEWAY)
    words = {word.name for kind in (Purpose, Operation, Power) for word in kind}
    assert not words & {
        "ANY",
        "ALL",
        "PURPOSE",
        "PROCESSING",
        "OTHER",
        "PUBLIC_BENEFIT",
        "COMMERCIAL_PURPOSE",
    }
    with pytest.raises(ValueError):
        give(ledger, operations=(Operation.USE, Operation.CONSULT))


def test_a_grant_lasts_365_days_at_most(ledger):
    ledger.registers()
    at_ms = ledger.next_round.time_ms
    for lasts_ms, code in ((0, "until_passed"), (-1, "until_passed"), (365 * DAY_MS + 1, "until_too_far")):
        payload = give(ledger, until_ms=Millis(at_ms + lasts_ms))
        assert ledger.refuses(payload, RESIDENTS, "handle", GATEWAY) == code
    ledger.gives(until_ms=Millis(at_ms + 365 * DAY_MS))


def test_only_the_resident_revokes_and_once(ledger):
    ledger.registers()
    grant = ledger.gives()
    assert ledger.refuses(revoke(grant), RESIDENTS, "stranger", GATEWAY) == "missing_signature"
    assert ledger.refuses(revoke(grant), RESIDENTS, "handle") == "not_entitled"
    assert ledger.refuses(revoke(NOBODY), RESIDENTS, "handle", GATEWAY) == "unknown_grant"
    ledger.does(revoke(grant), RESIDENTS, "handle", GATEWAY)
    assert ledger.refuses(revoke(grant), RESIDENTS, "handle", GATEWAY) == "grant_revoked"


# mandate.give, mandate.end


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"organisation": "nobody"}, "unknown_organisation"),
        ({"organisation": "residents"}, "unknown_organisation"),
        ({"schemas": ("sensor.unknown/1",)}, "unknown_schema"),
        ({"until_ms": Millis(1)}, "until_passed"),
    ],
)
def test_what_cannot_be_mandated(ledger, changes, code):
    assert refusal(ledger.enact, mandate(ledger, **changes)) == code


def test_a_mandate_lasts_365_days_at_most_and_its_id_is_used_once(ledger):
    late = mandate(ledger)
    assert refusal(ledger.enact, replace(late, until_ms=Millis(late.until_ms + 1))) == "until_too_far"
    ledger.enact(late)
    assert refusal(ledger.enact, late) == "mandate_taken"
    with pytest.raises(ValueError):
        mandate(ledger, schemas=("b/1", "a/1"))
    with pytest.raises(ValueError):
        mandate(ledger, powers=(Power.HOLD, Power.ACCESS))


def test_a_mandate_is_in_force_between_its_heights(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger), from_height=4)
    assert ledger.refuses(ask(data, None, "k"), "utility", "utility 1") == "not_in_force"
    while ledger.height < 3:
        ledger.block()
    first = ledger.does(ask(data, None, "k"), "utility", "utility 1").id
    ledger.enact(MandateEnd(MANDATE), from_height=6)
    second = ledger.does(ask(data, None, "k2"), "utility", "utility 1").id
    assert ledger.refuses(ask(data, None, "k3"), "utility", "utility 1") == "not_in_force"
    entitled = [[h for h in range(9) if is_entitled(ledger.reader, i, Height(h))] for i in (first, second)]
    assert entitled == [[4, 5], [5]]
    assert refusal(ledger.enact, MandateEnd(MANDATE), 6) == "not_in_force"
    assert refusal(ledger.enact, MandateEnd(b"x" * 16), 6) == "unknown_mandate"


def test_a_mandates_time_ends_by_itself(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger, until_ms=Millis(ledger.time_ms + 1_000)))
    ledger.passes(998)
    ledger.does(ask(data, None, "k"), "utility", "utility 1")
    assert ledger.refuses(ask(data, None, "k2"), "utility", "utility 1") == "not_in_force"
