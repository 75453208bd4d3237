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
from p2pledger.codec import to_json
from p2pledger.ledger.modules.consent import sealed_accesses
from p2pledger.ledger.queries import Found
from p2pledger.types import Hash, Height
from tests.asking import LedgerChain, every, page
from tests.consents import CUSTODIANS, DAY_MS, GATEWAY, MANDATE, ORDER, ConsentLedger, ask, day, key, mandate

LIMITS = pytest.mark.parametrize("limit", [1, 2, 100])


@pytest.fixture
def ledger() -> ConsentLedger:
    return ConsentLedger()


def shown(ledger: ConsentLedger, height: int, after: bytes = b"", limit: int = 100) -> Found:
    chain = LedgerChain(ledger, height=height)
    return page(chain, "consent.accesses-of", after, limit, handle=key("handle"))


def test_a_resident_sees_who_looked_why_and_when(ledger):
    data, grant = ledger.registers(), ledger.gives()
    first = ledger.does(ask(data, grant, "k1"), "utility", "utility 1").id
    ledger.does(AccessServed(first), "authority-0", "admin 0")
    ledger.does(AccessRefused(first, RefusalReason.UNAVAILABLE), "authority-1", "admin 1")
    second = ledger.one(ask(data, grant, "k2"), "utility", "utility 1")
    ledger.block(second, ledger.one(GrantRevoke(grant), RESIDENTS, "handle", GATEWAY))
    found = shown(ledger, ledger.height)
    assert found.next is None
    assert [(one.id, one.had_basis) for one in found.items] == [(first, True), (second.id, False)]
    why = found.items[0].intent
    assert (why.organisation, why.purpose, why.grant) == ("utility", Purpose.SERVICE_PROVISION, grant)
    assert [report.refusal for report in why.reports] == [None, RefusalReason.UNAVAILABLE]
    assert every(ledger, "consent.accesses-by", organisation="utility") == list(found.items)
    assert every(ledger, "consent.accesses-by", organisation="city") == []
    assert every(ledger, "consent.accesses-of", handle=key("other")) == []


def test_a_sealed_access_is_shown_from_its_height_on_without_anything_being_written(ledger):
    data, grant = ledger.registers(), ledger.gives()
    ledger.enact(mandate(ledger))
    opens = Height(ledger.height + 10)
    sealed = ledger.does(ask(data, None, "k1", opens_height=opens), "utility", "utility 1").id
    public = ledger.does(ask(data, grant, "k2"), "utility", "utility 1").id
    assert sealed_accesses(ledger.reader) == 1
    for height, expected in ((opens - 1, [public]), (opens, [sealed, public])):
        theirs = every(LedgerChain(ledger, height=height), "consent.accesses-by", organisation="utility")
        assert [one.id for one in shown(ledger, height).items] == expected
        assert [one.id for one in theirs] == expected


def test_no_page_tells_of_a_sealed_access(ledger):
    data, grant = ledger.registers(), ledger.gives()
    ledger.enact(mandate(ledger))
    open_ones = [ledger.does(ask(data, grant, f"k{n}"), "utility", "utility 1").id for n in range(2)]
    for n in range(3):
        payload = ask(data, None, f"s{n}", opens_height=Height(99))
        ledger.does(payload, "utility", "utility 1")
    first = shown(ledger, ledger.height, limit=1)
    assert [one.id for one in first.items] == open_ones[:1] and first.next[-32:] == open_ones[0]
    rest = shown(ledger, ledger.height, after=first.next, limit=1)
    assert [one.id for one in rest.items] == open_ones[1:] and rest.next is None


def test_what_is_held_where_until_when(ledger):
    late = ledger.registers(retain_until_ms=day(50))
    soon = ledger.registers(retain_until_ms=day(5), custodians=CUSTODIANS[:2])
    assert [one.id for one in every(ledger, "consent.held-of", handle=key("handle"))] == [late, soon]
    assert every(ledger, "consent.held-of", handle=key("other")) == []

    def held(custodian: str) -> list[Hash]:
        return [one.id for one in every(ledger, "consent.held-by", 1, custodian=custodian)]

    assert [held(name) for name in CUSTODIANS] == [[soon, late], [soon, late], [late]]
    assert every(ledger, "consent.held-by", custodian="authority-0")[0].data.retain_until_ms == day(5)
    ledger.does(EraseRequest(None, late), RESIDENTS, "handle", GATEWAY)
    ledger.does(EraseDone(late, ErasureMethod.DESTROY), "authority-2", "admin 2")
    assert held("authority-2") == []


def test_what_is_overdue_is_listed_with_who_has_not_reported(ledger):
    first, second = ledger.registers(retain_until_ms=day(5)), ledger.registers()
    ledger.does(EraseRequest(None, second), RESIDENTS, "handle", GATEWAY)
    asked_ms = ledger.time_ms
    ledger.does(EraseDone(second, ErasureMethod.CLEAR), "authority-1", "admin 1")

    def overdue(time_ms: int):
        found = every(LedgerChain(ledger, time_ms=time_ms), "consent.overdue-erasures", 1)
        return [(one.id, one.erase_by_ms, one.missing) for one in found]

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
        found = every(LedgerChain(ledger, time_ms=time_ms), "consent.overdue-erasures", 1)
        return [one.id for one in found]

    assert [overdue(day(days) + 1) for days in (35, 89, 90, 400)] == [[], [], [data], [data]]
    for time_ms, count in ((ledger.time_ms, 1), (day(60) - 1, 1), (day(60), 0)):
        holds = every(LedgerChain(ledger, time_ms=time_ms), "consent.open-holds", 1)
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
    sold = every(ledger, "consent.commercial-grants", buyer="utility")
    assert [(one.id, one.grant.price, one.grant.revoked_height) for one in sold] == [
        (paid, Price(1_999, "EUR"), ledger.height),
        (gain, None, None),
    ]
    given = every(ledger, "consent.grants", handle=key("handle"))
    assert [one.id for one in given][:3] == [free, paid, gain] and len(given) == 4


def test_mandates_are_listed_with_their_law(ledger):
    for n in (2, 1):
        ledger.enact(mandate(ledger, id=bytes([n]) * 16))
    found = every(ledger, "consent.mandates", organisation="utility")
    assert [one.id for one in found] == [bytes([n]) * 16 for n in (1, 2)]
    assert found[0].mandate.legal_reference == "eli:act:12"
    assert every(ledger, "consent.mandates", organisation="city") == []


def test_pages_go_on_where_the_last_one_ended(ledger):
    data, grant = ledger.registers(), ledger.gives(max_uses=9)
    asked = [ledger.does(ask(data, grant, f"k{n}"), "utility", "utility 1").id for n in range(5)]
    seen, after = [], b""
    while after is not None:
        found = shown(ledger, ledger.height, after, 2)
        seen += [one.id for one in found.items]
        assert len(found.items) <= 2
        after = found.next
    assert seen == asked


# page by page of any size, at the height and the time of the last block


@LIMITS
def test_who_looked_why_and_when(ledger, limit):
    data, grant = ledger.registers(), ledger.gives()
    ledger.enact(mandate(ledger))
    opens = Height(ledger.height + 6)
    first = ledger.does(ask(data, grant, "k1"), "utility", "utility 1").id
    ledger.does(AccessServed(first), "authority-0", "admin 0")
    sealed = ledger.does(ask(data, None, "k2", opens_height=opens), "utility", "utility 1").id
    last = ledger.does(ask(data, grant, "k3"), "utility", "utility 1").id

    def shown() -> list[bytes]:
        of = every(ledger, "consent.accesses-of", limit, handle=key("handle"))
        assert of == every(ledger, "consent.accesses-by", limit, organisation="utility")
        return [one.id for one in of]

    assert shown() == [first, last]
    while ledger.height < opens:
        assert sealed not in shown()
        ledger.block()
    assert shown() == [first, sealed, last]
    one = every(ledger, "consent.accesses-of", limit, handle=key("handle"))[0]
    view = to_json(one)
    assert view["intent"]["purpose"] == "service_provision" and view["had_basis"]
    assert [report.custodian for report in one.intent.reports] == ["authority-0"]
    assert every(ledger, "consent.accesses-of", limit, handle=key("other")) == []
    for organisation, count in (("", 1), ("utility", 1), ("city", 0)):
        [found] = every(ledger, "consent.sealed-accesses", limit, organisation=organisation)
        assert (found.organisation, found.count) == (organisation, count)


@LIMITS
def test_what_is_held_and_what_is_overdue(ledger, limit):
    late = ledger.registers(retain_until_ms=day(50))
    soon = ledger.registers(retain_until_ms=day(5), custodians=CUSTODIANS[:2])
    last = ledger.registers(retain_until_ms=day(60), custodians=CUSTODIANS[:2])
    of = every(ledger, "consent.held-of", limit, handle=key("handle"))
    assert [one.id for one in of] == [late, soon, last]
    assert every(ledger, "consent.held-of", limit, handle=key("other")) == []
    for name, expected in zip(CUSTODIANS, ([soon, late, last], [soon, late, last], [late]), strict=True):
        assert [one.id for one in every(ledger, "consent.held-by", limit, custodian=name)] == expected
    ledger.does(EraseRequest(None, late), RESIDENTS, "handle", GATEWAY)
    ledger.does(EraseDone(late, ErasureMethod.CLEAR), "authority-1", "admin 1")
    assert late not in [one.id for one in every(ledger, "consent.held-by", limit, custodian="authority-1")]
    assert every(ledger, "consent.overdue-erasures", limit) == []
    ledger.passes(40 * DAY_MS)
    ledger.block()
    overdue = every(ledger, "consent.overdue-erasures", limit)
    assert [(one.id, one.missing) for one in overdue] == [
        (late, ("authority-0", "authority-2")),
        (soon, CUSTODIANS[:2]),
    ]
    assert to_json(overdue[0])["missing"] == ["authority-0", "authority-2"]


@LIMITS
def test_what_was_granted_and_sold(ledger, limit):
    ledger.registers()
    free, paid = ledger.gives(), ledger.gives(price=Price(1_999, "EUR"))
    other = ledger.gives(grantee="city", price=Price(1, "EUR"))
    [sold] = every(ledger, "consent.commercial-grants", limit, buyer="utility")
    assert (sold.id, sold.grant.price, sold.uses) == (paid, Price(1_999, "EUR"), 0)
    given = every(ledger, "consent.grants", limit, handle=key("handle"))
    assert [one.id for one in given] == [free, paid, other]
    assert to_json(given[1])["grant"]["price"] == {"amount_minor": 1_999, "currency": "EUR"}


@LIMITS
def test_mandates_and_holds(ledger, limit):
    data = ledger.registers(retain_until_ms=day(5))
    ledger.enact(mandate(ledger))
    [given] = every(ledger, "consent.mandates", limit, organisation="utility")
    assert (given.id, given.mandate.legal_reference) == (MANDATE, "eli:act:12")
    assert every(ledger, "consent.mandates", limit, organisation="city") == []
    ledger.does(HoldPlace(MANDATE, None, data, ORDER, day(60)), "utility", "utility 1")
    [held] = every(ledger, "consent.open-holds", limit)
    assert (held.id, held.hold.order_hash, held.hold.until_ms) == (data, ORDER, day(60))
    ledger.passes(61 * DAY_MS)
    ledger.block()
    assert every(ledger, "consent.open-holds", limit) == []
