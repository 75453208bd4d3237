"""Who looked, why and when; what lies where until when; what is overdue, sold or held."""

import pytest
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import (
    AccessRefused,
    AccessServed,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    GrantRevoke,
    HoldPlace,
    Price,
    Purpose,
    RefusalReason,
)
from p2pledger.ledger.modules.consent import sealed_accesses
from p2pledger.ledger.modules.consent.queries import (
    accesses_by,
    accesses_of,
    commercial_grants,
    grants_of,
    held_by,
    held_of,
    mandates_of,
    open_holds,
    overdue_erasures,
)
from p2pledger.types import Hash, Height, Millis
from tests.consents import CUSTODIANS, DAY_MS, GATEWAY, MANDATE, ConsentLedger, ask, day, key, mandate


@pytest.fixture
def ledger() -> ConsentLedger:
    return ConsentLedger()


def shown(ledger: ConsentLedger, height: int, **paging):
    return accesses_of(ledger.reader, ledger.scan, key("handle"), Height(height), **paging)


def test_a_resident_sees_who_looked_why_and_when(ledger):
    data, grant = ledger.registers(), ledger.gives()
    first = ledger.does(ask(data, grant, "k1"), "utility", "utility 1").id
    ledger.does(AccessServed(first), "authority-0", "admin 0")
    ledger.does(AccessRefused(first, RefusalReason.UNAVAILABLE), "authority-1", "admin 1")
    second = ledger.one(ask(data, grant, "k2"), "utility", "utility 1")
    ledger.block(second, ledger.one(GrantRevoke(grant), RESIDENTS, "handle", GATEWAY))
    page = shown(ledger, ledger.height)
    assert page.after is None
    assert [(one.id, one.had_basis) for one in page.items] == [(first, True), (second.id, False)]
    why = page.items[0].intent
    assert (why.organisation, why.purpose, why.grant) == ("utility", Purpose.SERVICE_PROVISION, grant)
    assert [report.refusal for report in why.reports] == [None, RefusalReason.UNAVAILABLE]
    theirs = accesses_by(ledger.reader, ledger.scan, "utility", Height(ledger.height))
    assert theirs.items == page.items
    assert accesses_by(ledger.reader, ledger.scan, "city", Height(ledger.height)).items == ()
    assert accesses_of(ledger.reader, ledger.scan, key("other"), Height(9)).items == ()


def test_a_sealed_access_is_shown_from_its_height_on_without_anything_being_written(ledger):
    data, grant = ledger.registers(), ledger.gives()
    ledger.enact(mandate(ledger))
    opens = Height(ledger.height + 10)
    sealed = ledger.does(ask(data, None, "k1", opens_height=opens), "utility", "utility 1").id
    public = ledger.does(ask(data, grant, "k2"), "utility", "utility 1").id
    assert sealed_accesses(ledger.reader) == 1
    for height, expected in ((opens - 1, [public]), (opens, [sealed, public])):
        theirs = accesses_by(ledger.reader, ledger.scan, "utility", Height(height))
        assert [one.id for one in shown(ledger, height).items] == expected
        assert [one.id for one in theirs.items] == expected


def test_no_page_tells_of_a_sealed_access(ledger):
    data, grant = ledger.registers(), ledger.gives()
    ledger.enact(mandate(ledger))
    open_ones = [ledger.does(ask(data, grant, f"k{n}"), "utility", "utility 1").id for n in range(2)]
    for n in range(3):
        payload = ask(data, None, f"s{n}", opens_height=Height(99))
        ledger.does(payload, "utility", "utility 1")
    first = shown(ledger, ledger.height, limit=1)
    assert [one.id for one in first.items] == open_ones[:1] and first.after[-32:] == open_ones[0]
    rest = shown(ledger, ledger.height, after=first.after, limit=1)
    assert [one.id for one in rest.items] == open_ones[1:] and rest.after is None


def test_what_is_held_where_until_when(ledger):
    late = ledger.registers(retain_until_ms=day(50))
    soon = ledger.registers(retain_until_ms=day(5), custodians=CUSTODIANS[:2])
    assert [one.id for one in held_of(ledger.reader, key("handle"))] == [late, soon]
    assert held_of(ledger.reader, key("other")) == ()

    def held(custodian: str) -> list[Hash]:
        return [one.id for one in held_by(ledger.reader, ledger.scan, custodian).items]

    assert [held(name) for name in CUSTODIANS] == [[soon, late], [soon, late], [late]]
    assert held_by(ledger.reader, ledger.scan, "authority-0").items[0].data.retain_until_ms == day(5)
    ledger.does(EraseRequest(None, late), RESIDENTS, "handle", GATEWAY)
    ledger.does(EraseDone(late, ErasureMethod.DESTROY), "authority-2", "admin 2")
    assert held("authority-2") == []


def test_what_is_overdue_is_listed_with_who_has_not_reported(ledger):
    first, second = ledger.registers(retain_until_ms=day(5)), ledger.registers()
    ledger.does(EraseRequest(None, second), RESIDENTS, "handle", GATEWAY)
    asked_ms = ledger.time_ms
    ledger.does(EraseDone(second, ErasureMethod.CLEAR), "authority-1", "admin 1")

    def overdue(time_ms: int):
        page = overdue_erasures(ledger.reader, ledger.scan, Millis(time_ms))
        return [(one.id, one.erase_by_ms, one.missing) for one in page.items]

    late = (second, asked_ms + 30 * DAY_MS, ("authority-0", "authority-2"))
    assert overdue(asked_ms + 30 * DAY_MS) == []
    assert overdue(asked_ms + 30 * DAY_MS + 1) == [late]
    assert overdue(day(35) + 1) == [late, (first, day(35), CUSTODIANS)]
    for i in (0, 2):
        ledger.does(EraseDone(second, ErasureMethod.CLEAR), f"authority-{i}", f"admin {i}")
    assert [one[0] for one in overdue(day(999))] == [first]


def test_a_hold_puts_off_what_is_due_and_is_listed_while_it_lasts(ledger):
    data = ledger.registers(retain_until_ms=day(5))
    ledger.enact(mandate(ledger))
    order = Hash(bytes(32))
    for days in (90, 60):  # the second one takes the first one's place
        payload = HoldPlace(MANDATE, None, data, order, day(days))
        ledger.does(payload, "utility", "utility 1")

    def overdue(time_ms: int) -> list[Hash]:
        return [one.id for one in overdue_erasures(ledger.reader, ledger.scan, Millis(time_ms)).items]

    assert [overdue(day(days) + 1) for days in (35, 89, 90, 400)] == [[], [], [data], [data]]
    for time_ms, count in ((ledger.time_ms, 1), (day(60) - 1, 1), (day(60), 0)):
        holds = open_holds(ledger.reader, ledger.scan, Millis(time_ms)).items
        assert [(one.id, one.hold.until_ms, one.hold.order_hash) for one in holds] == [
            (data, day(60), order)
        ] * count


def test_what_is_sold_to_whom_is_public(ledger):
    ledger.registers()
    free = ledger.gives()
    paid = ledger.gives(price=Price(1_999, "EUR"))
    gain = ledger.gives(purpose=Purpose.MARKETING)
    ledger.gives(grantee="city", price=Price(1, "EUR"))
    ledger.does(GrantRevoke(paid), RESIDENTS, "handle", GATEWAY)
    sold = commercial_grants(ledger.reader, ledger.scan, "utility").items
    assert [(one.id, one.grant.price, one.grant.revoked_height) for one in sold] == [
        (paid, Price(1_999, "EUR"), ledger.height),
        (gain, None, None),
    ]
    given = grants_of(ledger.reader, ledger.scan, key("handle")).items
    assert [one.id for one in given][:3] == [free, paid, gain] and len(given) == 4


def test_mandates_are_listed_with_their_law(ledger):
    for n in (2, 1):
        ledger.enact(mandate(ledger, id=bytes([n]) * 16))
    found = mandates_of(ledger.reader, ledger.scan, "utility").items
    assert [one.id for one in found] == [bytes([n]) * 16 for n in (1, 2)]
    assert found[0].mandate.legal_reference == "eli:act:12"
    assert mandates_of(ledger.reader, ledger.scan, "city").items == ()


def test_pages_go_on_where_the_last_one_ended(ledger):
    data, grant = ledger.registers(), ledger.gives(max_uses=9)
    asked = [ledger.does(ask(data, grant, f"k{n}"), "utility", "utility 1").id for n in range(5)]
    seen, after = [], b""
    while after is not None:
        page = shown(ledger, ledger.height, after=after, limit=2)
        seen += [one.id for one in page.items]
        assert len(page.items) <= 2
        after = page.after
    assert seen == asked
    assert [len(shown(ledger, 99, limit=limit).items) for limit in (0, 5, 10**9)] == [1, 5, 5]
