"""Consent by the table of queries: page by page of any size, at the height and the time of the last block."""

import pytest
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import AccessServed, EraseDone, EraseRequest, ErasureMethod, HoldPlace, Price
from p2pledger.codec import to_json
from p2pledger.types import Height
from tests.asking import every
from tests.consents import (
    CUSTODIANS,
    DAY_MS,
    GATEWAY,
    MANDATE,
    ORDER,
    ConsentLedger,
    ask,
    day,
    key,
    mandate,
)

LIMITS = pytest.mark.parametrize("limit", [1, 2, 100])


@pytest.fixture
def ledger() -> ConsentLedger:
    return ConsentLedger()


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
