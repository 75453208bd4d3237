"""The judge of consent tells what is wrong: each fault that no rule would let through is put before it."""

from dataclasses import replace

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
    MandateEnd,
    Purpose,
    RefusalReason,
)
from p2pledger.simulator.invariants.consent import ConsentInvariants
from p2pledger.types import Hash, Height, Millis
from tests.consents import DAY_MS, GATEWAY, MANDATE, ConsentLedger, ask, day, give, key, mandate, register
from tests.ledgers import START_MS

LEDGER = ConsentLedger()
ORDER = Hash(bytes(32))
UNTIL_MS = Millis(START_MS + DAY_MS)


class Books(ConsentInvariants):
    """Two data, a grant of two uses, a mandate, and an intent under the grant at height 2."""

    def __init__(self) -> None:
        super().__init__()
        self.one = self.take(1, register(), "city", "city 1")
        self.other = self.take(1, register("other"), "city", "city 1")
        self.grant = self.take(1, give(LEDGER, max_uses=2), RESIDENTS, "handle", GATEWAY)
        self.enact(mandate(LEDGER), 1, START_MS)
        self.intent = self.take(2, ask(self.one, self.grant, "k"), "utility", "utility 1")

    def take(self, height: int, payload, sponsor: str, *names: str, days: int = 0) -> Hash:
        transaction = LEDGER.one(payload, sponsor, *names)
        self.apply(transaction, height, START_MS + days * DAY_MS)
        return transaction.id


def revoke(books: Books) -> None:
    books.take(5, GrantRevoke(books.grant), RESIDENTS, "handle", GATEWAY)


def request(books: Books) -> None:
    books.take(5, EraseRequest(None, books.one), RESIDENTS, "handle", GATEWAY)


def hold(books: Books) -> None:
    books.take(5, HoldPlace(MANDATE, None, books.one, ORDER, UNTIL_MS), "utility", "utility 1")


def serve(books: Books, custodian: int = 0) -> None:
    books.take(5, AccessServed(books.intent), f"authority-{custodian}", f"admin {custodian}")


def done(books: Books, custodian: int = 0) -> None:
    payload = EraseDone(books.one, ErasureMethod.PURGE)
    books.take(5, payload, f"authority-{custodian}", f"admin {custodian}")


def intent(books: Books, name: str = "fresh", **changes) -> None:
    sponsor = changes.pop("sponsor", "utility")
    days = changes.pop("days", 0)
    payload = replace(ask(books.one, books.grant, name), **changes)
    books.take(5, payload, sponsor, "utility 1", days=days)


def mandated(books: Books, name: str = "fresh", **changes) -> None:
    payload = replace(ask(books.one, None, name), **changes)
    books.take(5, payload, "utility", "utility 1")


FAULTS = {
    "a handle of two": lambda b: b.take(5, register(), "utility", "utility 1"),
    "a retention within a day": lambda b: b.take(
        5, register("new", retain_until_ms=Millis(day(3) + 1)), "city", "city 1"
    ),
    "a grant of 366 days": lambda b: b.take(
        5, give(LEDGER, until_ms=Millis(START_MS + 366 * DAY_MS)), RESIDENTS, "handle", GATEWAY
    ),
    "a grant without the resident": lambda b: b.take(5, give(LEDGER), RESIDENTS, "other", GATEWAY),
    "a grant to nobody": lambda b: b.take(5, give(LEDGER, grantee="residents"), RESIDENTS, "handle", GATEWAY),
    "a revocation by another": lambda b: b.take(5, GrantRevoke(b.grant), RESIDENTS, "other", GATEWAY),
    "a second revocation": lambda b: (revoke(b), revoke(b)),
    "a mandate of 366 days": lambda b: b.enact(
        mandate(LEDGER, id=bytes(16), until_ms=Millis(START_MS + 366 * DAY_MS)), 5, START_MS
    ),
    "a mandate's id again": lambda b: b.enact(mandate(LEDGER), 5, START_MS),
    "a key again": lambda b: intent(b, "k"),
    "another's grant": lambda b: intent(b, sponsor="city"),
    "another purpose": lambda b: intent(b, purpose=Purpose.MARKETING),
    "another handle's data": lambda b: intent(b, data=b.other),
    "a grant that is over": lambda b: intent(b, days=11),
    "a grant that is revoked": lambda b: (revoke(b), intent(b)),
    "a use too many": lambda b: (intent(b), intent(b, "second")),
    "data that is to be erased": lambda b: (request(b), intent(b)),
    "another purpose than the mandate's": lambda b: mandated(b, purpose=Purpose.MARKETING),
    "a mandate that is over": lambda b: (b.enact(MandateEnd(MANDATE), 5), mandated(b)),
    "a seal without end": lambda b: mandated(b, opens_height=Height(2**20 + 6)),
    "a release after the revocation": lambda b: (revoke(b), serve(b)),
    "a release after the request to erase": lambda b: (request(b), serve(b)),
    "a release by a stranger": lambda b: serve(b, 3),
    "a second report": lambda b: (
        serve(b),
        b.take(5, AccessRefused(b.intent, RefusalReason.UNLAWFUL), "authority-0", "admin 0"),
    ),
    "a report in the intent's block": lambda b: b.take(2, AccessServed(b.intent), "authority-0", "admin 0"),
    "a request by another": lambda b: b.take(5, EraseRequest(None, b.one), RESIDENTS, "other", GATEWAY),
    "an erasure that nobody asked for": done,
    "an erasure by a stranger": lambda b: (request(b), done(b, 3)),
    "a second erasure": lambda b: (request(b), done(b), done(b)),
    "an erasure of what is held": lambda b: (request(b), hold(b), done(b)),
    "a hold of 366 days": lambda b: b.take(
        5,
        HoldPlace(MANDATE, key("handle"), None, ORDER, Millis(START_MS + 366 * DAY_MS)),
        "utility",
        "utility 1",
    ),
    "a hold without a mandate": lambda b: b.take(
        5, HoldPlace(MANDATE, None, b.one, ORDER, UNTIL_MS), "city", "city 1"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    books = Books()
    with pytest.raises(ValueError):
        FAULTS[fault](books)


def test_what_is_right_is_let_by():
    books = Books()
    serve(books)
    intent(books)
    mandated(books, "sealed", opens_height=Height(99))
    hold(books)
    revoke(books)
    request(books)
    assert [books.is_entitled(books.intent, height) for height in (1, 2, 4, 5)] == [False, True, True, False]
    assert (books.uses(books.grant), books.sealed(), books.sealed("city")) == (1, 1, 0)
    assert len(books.shown(98)) == 2 and len(books.shown(99)) == 3
    assert [one[0] for one in books.open_holds(START_MS)] == [UNTIL_MS]
    assert [one[1] for one in books.overdue(UNTIL_MS + 30 * DAY_MS + 1)] == [books.one]
