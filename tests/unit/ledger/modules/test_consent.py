"""Who may have whose data, on which basis, and until when it lies where."""

from dataclasses import fields, replace

import pytest
from p2pledger.chain.genesis import RESIDENTS, KeyRole
from p2pledger.chain.payloads import (
    AccessIntent,
    AccessRefused,
    AccessServed,
    DataRegister,
    DeviceEnroll,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    GrantRevoke,
    HoldPlace,
    KeyAdd,
    MandateEnd,
    Operation,
    Power,
    Purpose,
    RefusalReason,
)
from p2pledger.chain.schema import SCHEMAS
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.consent import is_entitled, sealed_accesses, uses
from p2pledger.ledger.modules.consent.accesses import SEALED_BLOCKS_MAX
from p2pledger.ledger.modules.consent.rows import DATA, GRANTS, HANDLES, INTENTS
from p2pledger.types import Hash, Height, Millis, PeerId
from tests.consents import (
    ADMINS,
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
)

NOBODY = Hash(bytes(32))
ORDER = Hash(b"order".ljust(32))


@pytest.fixture
def ledger() -> ConsentLedger:
    return ConsentLedger()


def revoke(grant: Hash) -> GrantRevoke:
    return GrantRevoke(grant)


def erase(data: Hash | None = None, handle: str | None = None) -> EraseRequest:
    return EraseRequest(None if handle is None else key(handle), data)


def hold(ledger, data: Hash | None = None, handle: str | None = None, **changes) -> HoldPlace:
    until_ms = Millis(ledger.time_ms + 50 * DAY_MS)
    of = None if handle is None else key(handle)
    return replace(HoldPlace(MANDATE, of, data, ORDER, until_ms), **changes)


def done(data: Hash) -> EraseDone:
    return EraseDone(data, ErasureMethod.CRYPTOGRAPHIC_ERASE)


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


# access.intent


def test_an_intent_under_a_grant_has_a_basis(ledger):
    data, grant = ledger.registers(), ledger.gives()
    intent = ledger.does(ask(data, grant, "k"), "utility", "utility 1").id
    row = INTENTS.get(ledger.reader, intent)
    assert (row.organisation, row.grant, row.height) == ("utility", grant, ledger.height)
    assert is_entitled(ledger.reader, intent, Height(ledger.height))
    assert not is_entitled(ledger.reader, intent, Height(ledger.height - 1))
    assert not is_entitled(ledger.reader, NOBODY, Height(ledger.height))
    assert uses(ledger.reader, grant) == 1


def test_an_intent_names_one_basis_and_seals_under_a_mandate_only():
    one = ask(NOBODY, NOBODY, "k")
    for changes in ({"grant": None}, {"mandate": MANDATE}, {"opens_height": Height(9)}):
        with pytest.raises(ValueError):
            replace(one, **changes)


def test_what_gives_no_basis(ledger):
    data, other, grant = ledger.registers(), ledger.registers("other"), ledger.gives()

    def code(payload: AccessIntent, sponsor: str = "utility") -> str:
        return ledger.refuses(payload, sponsor, ADMINS[sponsor])

    assert code(ask(NOBODY, grant, "k")) == "unknown_data"
    assert code(ask(data, NOBODY, "k")) == "unknown_grant"
    assert code(ask(data, None, "k")) == "unknown_mandate"
    assert code(ask(other, grant, "k")) == "outside_basis"
    assert code(ask(data, grant, "k"), "city") == "outside_basis"
    assert code(ask(data, grant, "k", purpose=Purpose.MARKETING)) == "outside_basis"
    assert ledger.refuses(ask(data, grant, "k"), "utility", "city 1") == "not_entitled"
    ledger.passes(10 * DAY_MS)
    assert code(ask(data, grant, "k")) == "not_in_force"
    again = ledger.gives()
    ledger.does(revoke(again), RESIDENTS, "handle", GATEWAY)
    assert code(ask(data, again, "k")) == "grant_revoked"


def test_what_a_mandate_does_not_cover(ledger):
    data, public = ledger.registers(), ledger.registers(schema="admin.act/1")
    ledger.enact(mandate(ledger))
    ledger.enact(mandate(ledger, id=b"2" * 16, powers=(Power.HOLD,)))
    ledger.enact(mandate(ledger, id=b"3" * 16, powers=(Power.ACCESS,)))

    def code(payload: AccessIntent, sponsor: str = "utility") -> str:
        return ledger.refuses(payload, sponsor, ADMINS[sponsor])

    assert code(ask(data, None, "k"), "city") == "outside_basis"
    assert code(ask(data, None, "k", purpose=Purpose.SERVICE_PROVISION)) == "outside_basis"
    assert code(ask(public, None, "k")) == "outside_basis"
    assert code(ask(data, None, "k", mandate=b"2" * 16)) == "outside_basis"
    assert code(ask(data, None, "k", mandate=b"3" * 16, opens_height=Height(99))) == "outside_basis"
    ledger.does(ask(data, None, "k", mandate=b"3" * 16), "utility", "utility 1")


def test_a_one_time_key_is_a_point_and_used_once(ledger):
    data, grant = ledger.registers(), ledger.gives()
    bad = ask(data, grant, "k", encryption_key=bytes([2]) + b"\xff" * 32)
    assert ledger.refuses(bad, "utility", "utility 1") == "invalid_key"
    assert ledger.refuses(ask(data, grant, "city 2"), "utility", "utility 1") == "key_taken"
    assert ledger.refuses(ask(data, grant, "handle"), "utility", "utility 1") == "key_used"
    ledger.does(ask(data, grant, "k"), "utility", "utility 1")
    assert ledger.refuses(ask(data, grant, "k"), "utility", "utility 1") == "key_used"


def test_uses_end_at_the_maximum_also_within_a_block(ledger):
    data, grant = ledger.registers(), ledger.gives(max_uses=3)
    ledger.does(ask(data, grant, "k0"), "utility", "utility 1")
    three = [ledger.one(ask(data, grant, f"k{n}"), "utility", "utility 1") for n in (1, 2, 3)]
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, three)
    assert [one.error.code for one in built.refused] == ["uses_exhausted"]
    ledger.block(*three[:2])
    assert uses(ledger.reader, grant) == 3
    assert ledger.refuses(ask(data, grant, "k4"), "utility", "utility 1") == "uses_exhausted"


def test_an_intent_that_shares_a_block_with_the_revocation_has_no_basis_and_is_no_use(ledger):
    data, grant = ledger.registers(), ledger.gives()
    before = ledger.does(ask(data, grant, "k0"), "utility", "utility 1").id
    asked = ledger.one(ask(data, grant, "k1"), "utility", "utility 1")
    ledger.block(asked, ledger.one(revoke(grant), RESIDENTS, "handle", GATEWAY))
    height = ledger.height
    assert not is_entitled(ledger.reader, asked.id, Height(height))
    assert uses(ledger.reader, grant) == 1
    # What was asked before is served no more from here on, and had its basis all the same.
    assert [h for h in range(height + 3) if is_entitled(ledger.reader, before, Height(h))] == [height - 1]
    assert ledger.refuses(AccessServed(before), "authority-0", "admin 0") == "no_basis"
    assert ledger.refuses(AccessServed(asked.id), "authority-0", "admin 0") == "no_basis"
    ledger.does(AccessRefused(asked.id, RefusalReason.NO_BASIS), "authority-0", "admin 0")


def test_an_intent_that_shares_a_block_with_the_erasure_of_its_data_is_no_use(ledger):
    data, kept, grant = ledger.registers(), ledger.registers(), ledger.gives(max_uses=2)
    asked = [ledger.one(ask(one, grant, one.hex()), "utility", "utility 1") for one in (data, kept)]
    ledger.block(*asked, ledger.one(erase(data), RESIDENTS, "handle", GATEWAY))
    height = Height(ledger.height)
    assert [is_entitled(ledger.reader, one.id, height) for one in asked] == [False, True]
    assert uses(ledger.reader, grant) == 1
    ledger.does(ask(kept, grant, "k"), "utility", "utility 1")
    assert uses(ledger.reader, grant) == 2
    assert ledger.refuses(ask(kept, grant, "k2"), "utility", "utility 1") == "uses_exhausted"


def test_a_sealed_access_states_its_height_and_is_counted(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger))
    at = ledger.next_round.height
    for height, code in ((at, "backdated"), (at + SEALED_BLOCKS_MAX + 1, "seal_too_long")):
        payload = ask(data, None, "k", opens_height=Height(height))
        assert ledger.refuses(payload, "utility", "utility 1") == code
    assert sealed_accesses(ledger.reader) == 0
    payload = ask(data, None, "k", opens_height=Height(at + SEALED_BLOCKS_MAX))
    intent = ledger.does(payload, "utility", "utility 1").id
    assert is_entitled(ledger.reader, intent, Height(at))
    counts = [sealed_accesses(ledger.reader, name) for name in ("", "utility", "city")]
    assert counts == [1, 1, 0]


# access.served, access.refused


def test_custodians_report_once_each_after_the_intents_block(ledger):
    data, grant = ledger.registers(), ledger.gives()
    asked = ledger.one(ask(data, grant, "k"), "utility", "utility 1")
    early = ledger.one(AccessServed(asked.id), "authority-0", "admin 0")
    built = ledger.machine.build(ledger.reader, ledger.execution.frontier, ledger.next_round, [asked, early])
    assert [one.error.code for one in built.refused] == ["intent_not_final"]
    ledger.block(asked)
    assert ledger.refuses(AccessServed(NOBODY), "authority-0", "admin 0") == "unknown_intent"
    assert ledger.refuses(AccessServed(asked.id), "authority-3", "admin 3") == "not_custodian"
    ledger.does(AccessServed(asked.id), "authority-0", "admin 0")
    ledger.does(AccessRefused(asked.id, RefusalReason.UNAVAILABLE), "authority-1", "admin 1")
    for name in ("authority-0", "authority-1"):
        again = AccessRefused(asked.id, RefusalReason.UNLAWFUL)
        assert ledger.refuses(again, name, ADMINS[name]) == "already_reported"
    reports = INTENTS.get(ledger.reader, asked.id).reports
    assert [(one.custodian, one.refusal) for one in reports] == [
        ("authority-0", None),
        ("authority-1", RefusalReason.UNAVAILABLE),
    ]


def test_intents_are_not_for_keeping(ledger):
    data, grant = ledger.registers(), ledger.gives()
    asked = ledger.does(ask(data, grant, "k"), "utility", "utility 1").id
    ledger.passes(DAY_MS - 1)
    ledger.does(AccessServed(asked), "authority-0", "admin 0")
    assert ledger.refuses(AccessServed(asked), "authority-1", "admin 1") == "intent_over"


# erase.request, erase.done


def test_an_erasure_is_complete_when_every_custodian_has_reported(ledger):
    data, grant = ledger.registers(), ledger.gives()
    assert ledger.refuses(done(data), "authority-0", "admin 0") == "erasure_not_asked"
    assert ledger.refuses(erase(data), RESIDENTS, "stranger", GATEWAY) == "missing_signature"
    assert ledger.refuses(erase(data), "city", "city 1") == "not_entitled"
    assert ledger.refuses(erase(NOBODY), RESIDENTS, "handle", GATEWAY) == "unknown_data"
    ledger.does(erase(data), RESIDENTS, "handle", GATEWAY)
    assert ledger.refuses(erase(data), RESIDENTS, "handle", GATEWAY) == "erasure_asked"
    assert ledger.refuses(ask(data, grant, "k"), "utility", "utility 1") == "erasure_asked"
    assert ledger.refuses(done(data), "authority-3", "admin 3") == "not_custodian"
    for i, name in enumerate(CUSTODIANS):
        assert not DATA.get(ledger.reader, data).is_erased
        ledger.does(done(data), name, f"admin {i}")
        assert ledger.refuses(done(data), name, f"admin {i}") == "already_reported"
    assert DATA.get(ledger.reader, data).is_erased
    assert ledger.refuses(erase(data), RESIDENTS, "handle", GATEWAY) == "erased"
    assert ledger.refuses(ask(data, grant, "k"), "utility", "utility 1") == "erased"


def test_an_erasure_stops_what_was_asked_before(ledger):
    data, grant = ledger.registers(), ledger.gives()
    asked = ledger.does(ask(data, grant, "k"), "utility", "utility 1").id
    ledger.does(erase(data), RESIDENTS, "handle", GATEWAY)
    assert ledger.refuses(AccessServed(asked), "authority-0", "admin 0") == "no_basis"
    assert uses(ledger.reader, grant) == 1


def test_a_handle_ends_with_all_its_data(ledger):
    first, second = ledger.registers(), ledger.registers()
    ledger.does(erase(first), RESIDENTS, "handle", GATEWAY)
    assert ledger.refuses(erase(handle="stranger"), RESIDENTS, "stranger", GATEWAY) == "unknown_handle"
    assert ledger.refuses(erase(handle="handle"), RESIDENTS, GATEWAY) == "missing_signature"
    ledger.does(erase(handle="handle"), RESIDENTS, "handle", GATEWAY)
    heights = [DATA.get(ledger.reader, data).request.height for data in (first, second)]
    assert heights == [ledger.height - 1, ledger.height]
    assert ledger.refuses(erase(handle="handle"), RESIDENTS, "handle", GATEWAY) == "erasure_asked"
    assert ledger.refuses(register(), "city", "city 1") == "erasure_asked"
    assert ledger.refuses(give(ledger), RESIDENTS, "handle", GATEWAY) == "erasure_asked"


def test_the_end_of_the_retention_counts_as_a_request(ledger):
    data = ledger.registers(retain_until_ms=day(2))
    grant = ledger.gives()
    ledger.passes(day(2) - ledger.time_ms - 2)
    assert ledger.refuses(done(data), "authority-0", "admin 0") == "erasure_not_asked"
    asked = ledger.does(ask(data, grant, "k"), "utility", "utility 1").id
    assert ledger.time_ms == day(2) - 1
    assert ledger.refuses(ask(data, grant, "k2"), "utility", "utility 1") == "erasure_asked"
    assert ledger.refuses(AccessServed(asked), "authority-0", "admin 0") == "no_basis"
    ledger.does(done(data), "authority-0", "admin 0")


@pytest.mark.parametrize(
    "kind", [EraseRequest, lambda *target: HoldPlace(MANDATE, *target, ORDER, Millis(1))]
)
def test_a_target_is_a_handle_or_data(kind):
    for target in ((None, None), (key("handle"), NOBODY)):
        with pytest.raises(ValueError):
            kind(*target)


# hold.place


def test_a_hold_blocks_the_erasure_until_it_ends(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger))
    ledger.does(erase(data), RESIDENTS, "handle", GATEWAY)
    ledger.does(done(data), "authority-1", "admin 1")
    ledger.does(hold(ledger, data), "utility", "utility 1")
    until_ms = DATA.get(ledger.reader, data).holds[0].until_ms
    assert DATA.get(ledger.reader, data).erase_by_ms == until_ms + 30 * DAY_MS
    assert ledger.refuses(done(data), "authority-0", "admin 0") == "held"
    ledger.passes(until_ms - ledger.time_ms - 2)
    assert ledger.refuses(done(data), "authority-0", "admin 0") == "held"
    ledger.passes(1)
    ledger.does(done(data), "authority-0", "admin 0")


def test_who_may_hold_what(ledger):
    data, public = ledger.registers(), ledger.registers("other", schema="admin.act/1")
    assert ledger.refuses(hold(ledger, data), "utility", "utility 1") == "unknown_mandate"
    ledger.enact(mandate(ledger))
    ledger.enact(mandate(ledger, id=b"2" * 16, powers=(Power.ACCESS,)))
    assert ledger.refuses(hold(ledger, data), "city", "city 1") == "outside_basis"
    no_power = hold(ledger, data, mandate=b"2" * 16)
    assert ledger.refuses(no_power, "utility", "utility 1") == "outside_basis"
    assert ledger.refuses(hold(ledger, public), "utility", "utility 1") == "outside_basis"
    assert ledger.refuses(hold(ledger, handle="other"), "utility", "utility 1") == "outside_basis"
    assert ledger.refuses(hold(ledger, handle="stranger"), "utility", "utility 1") == "unknown_handle"
    assert ledger.refuses(hold(ledger, NOBODY), "utility", "utility 1") == "unknown_data"
    at_ms = ledger.next_round.time_ms
    for lasts_ms, code in ((0, "until_passed"), (365 * DAY_MS + 1, "until_too_far")):
        payload = hold(ledger, data, until_ms=Millis(at_ms + lasts_ms))
        assert ledger.refuses(payload, "utility", "utility 1") == code
    ledger.does(hold(ledger, data, until_ms=Millis(at_ms + 365 * DAY_MS)), "utility", "utility 1")


def test_a_hold_on_a_handle_is_one_on_all_its_data_that_the_mandate_covers(ledger):
    first, public, second = ledger.registers(), ledger.registers(schema="admin.act/1"), ledger.registers()
    ledger.enact(mandate(ledger))
    ledger.does(hold(ledger, handle="handle"), "utility", "utility 1")
    counts = [len(DATA.get(ledger.reader, data).holds) for data in (first, public, second)]
    assert counts == [1, 0, 1]


def test_what_is_erased_is_not_held(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger))
    ledger.does(erase(data), RESIDENTS, "handle", GATEWAY)
    for i, name in enumerate(CUSTODIANS):
        ledger.does(done(data), name, f"admin {i}")
    assert ledger.refuses(hold(ledger, data), "utility", "utility 1") == "erased"


def test_a_hold_is_prolonged_and_lifted_by_its_order(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger))
    for days in (5, 9, 1):
        until_ms = Millis(ledger.time_ms + days * DAY_MS)
        ledger.does(hold(ledger, data, until_ms=until_ms), "utility", "utility 1")
        assert [one.until_ms for one in DATA.get(ledger.reader, data).holds] == [until_ms]


def test_eight_holds_at_once_and_those_that_ended_make_room(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger))
    for n in range(8):
        until_ms = Millis(ledger.time_ms + (n + 1) * DAY_MS)
        payload = hold(ledger, data, order_hash=bytes([n]) * 32, until_ms=until_ms)
        ledger.does(payload, "utility", "utility 1")
    assert ledger.refuses(hold(ledger, data), "utility", "utility 1") == "too_many_holds"
    ledger.passes(DAY_MS)
    ledger.does(hold(ledger, data), "utility", "utility 1")
    assert len(DATA.get(ledger.reader, data).holds) == 8


def test_the_end_of_a_hold_that_made_room_still_counts_for_what_is_due(ledger):
    data = ledger.registers(retain_until_ms=day(2))
    ledger.enact(mandate(ledger))
    ledger.does(hold(ledger, data, until_ms=day(20)), "utility", "utility 1")
    ledger.passes(day(25) - ledger.time_ms)
    other = hold(ledger, data, order_hash=NOBODY, until_ms=day(40))
    ledger.does(other, "utility", "utility 1")
    ledger.does(replace(other, until_ms=day(26)), "utility", "utility 1")
    assert DATA.get(ledger.reader, data).erase_by_ms == day(56)
    assert DATA.get(ledger.reader, data).held_until_ms == day(20)


def test_held_data_is_there_for_who_holds_it_and_for_nobody_else(ledger):
    data, grant = ledger.registers(), ledger.gives()
    ledger.enact(mandate(ledger))
    ledger.enact(mandate(ledger, id=b"2" * 16))
    ledger.does(hold(ledger, data), "utility", "utility 1")
    ledger.does(erase(data), RESIDENTS, "handle", GATEWAY)
    assert ledger.refuses(ask(data, grant, "k"), "utility", "utility 1") == "erasure_asked"
    other = ask(data, None, "k", mandate=b"2" * 16)
    assert ledger.refuses(other, "utility", "utility 1") == "erasure_asked"
    asked = ledger.does(ask(data, None, "k"), "utility", "utility 1").id
    assert is_entitled(ledger.reader, asked, Height(ledger.height))
    ledger.does(AccessServed(asked), "authority-0", "admin 0")
    ledger.does(hold(ledger, data, until_ms=Millis(ledger.time_ms + 2)), "utility", "utility 1")
    assert ledger.refuses(AccessServed(asked), "authority-1", "admin 1") == "no_basis"


def test_who_has_erased_serves_no_more(ledger):
    data = ledger.registers()
    ledger.enact(mandate(ledger))
    ledger.does(erase(data), RESIDENTS, "handle", GATEWAY)
    ledger.does(done(data), "authority-0", "admin 0")
    ledger.does(hold(ledger, data), "utility", "utility 1")
    asked = ledger.does(ask(data, None, "k"), "utility", "utility 1").id
    assert ledger.refuses(AccessServed(asked), "authority-0", "admin 0") == "erased"
    ledger.does(AccessServed(asked), "authority-1", "admin 1")


def test_a_service_key_acts_for_its_organisation(ledger):
    data = ledger.registers()
    ledger.does(KeyAdd(key("service"), KeyRole.SERVICE, None, Height(0)), "utility", "utility 1", "service")
    grant = ledger.gives()
    ledger.does(ask(data, grant, "k"), "utility", "service")
