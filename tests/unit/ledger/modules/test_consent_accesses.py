"""Who asks for whose data, on which basis, and what custodians may do about it."""

from dataclasses import replace

import pytest
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import (
    AccessIntent,
    AccessRefused,
    AccessServed,
    Power,
    Purpose,
    RefusalReason,
)
from p2pledger.ledger.modules.consent import is_entitled, sealed_accesses, uses
from p2pledger.ledger.modules.consent.accesses import SEALED_BLOCKS_MAX
from p2pledger.ledger.modules.consent.rows import INTENTS
from p2pledger.types import Hash, Height
from tests.consents import (
    ADMINS,
    DAY_MS,
    GATEWAY,
    MANDATE,
    ConsentLedger,
    ask,
    erase,
    mandate,
    revoke,
)

NOBODY = Hash(bytes(32))


@pytest.fixture
def ledger() -> ConsentLedger:
    return ConsentLedger()


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
