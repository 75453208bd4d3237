"""Refusals of consent: data, grants, mandates, intents, erasures, holds."""

from collections.abc import Iterator

from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import AccessServed, MandateEnd, Purpose
from p2pledger.errors import Code
from p2pledger.ledger.modules.consent.accesses import SEALED_BLOCKS_MAX
from p2pledger.types import Hash, Height, Millis
from tests.consents import (
    CUSTODIANS,
    DAY_MS,
    GATEWAY,
    ask,
    day,
    done,
    erase,
    give,
    hold,
    mandate,
    register,
    revoke,
)
from tests.unit.api.codes.node_alone import Case, City

NOBODY = Hash(bytes(32))
CITY, UTILITY, RESIDENT = ("city", "city 1"), ("utility", "utility 1"), (RESIDENTS, "handle", GATEWAY)


def granted(city: City) -> Iterator[Case]:
    """What cannot be registered, granted, or asked for under a grant."""
    yield Code.UNTIL_PASSED, city.one(register(retain_until_ms=day(0)), *CITY)
    yield Code.UNTIL_TOO_FAR, city.one(register(retain_until_ms=day(30 * 365 + 1)), *CITY)
    yield Code.UNKNOWN_HANDLE, city.one(give(city), *RESIDENT)
    data = city.registers()
    yield Code.HANDLE_TAKEN, city.one(register(), *UTILITY)
    city.block(*(city.one(register("full"), *CITY) for _ in range(32)))
    yield Code.TOO_MANY_DATA, city.one(register("full"), *CITY)
    yield Code.UNKNOWN_GRANT, city.one(revoke(NOBODY), *RESIDENT)
    grant, once = city.gives(), city.gives(max_uses=1)
    yield Code.UNKNOWN_DATA, city.one(ask(NOBODY, grant, "k"), *UTILITY)
    yield Code.OUTSIDE_BASIS, city.one(ask(data, grant, "k", purpose=Purpose.MARKETING), *UTILITY)
    asked = city.does(ask(data, once, "k"), *UTILITY).id
    yield Code.KEY_USED, city.one(ask(data, grant, "k"), *UTILITY)
    yield Code.USES_EXHAUSTED, city.one(ask(data, once, "k2"), *UTILITY)
    yield Code.UNKNOWN_INTENT, city.one(AccessServed(NOBODY), "authority-0", "admin 0")
    yield Code.NOT_CUSTODIAN, city.one(AccessServed(asked), "authority-3", "admin 3")
    city.does(AccessServed(asked), "authority-0", "admin 0")
    yield Code.ALREADY_REPORTED, city.one(AccessServed(asked), "authority-0", "admin 0")
    city.does(revoke(once), *RESIDENT)
    yield Code.GRANT_REVOKED, city.one(ask(data, once, "k2"), *UTILITY)
    yield Code.NO_BASIS, city.one(AccessServed(asked), "authority-1", "admin 1")
    city.passes(DAY_MS)
    yield Code.INTENT_OVER, city.one(AccessServed(asked), "authority-1", "admin 1")
    city.passes(10 * DAY_MS)
    yield Code.NOT_IN_FORCE, city.one(ask(data, grant, "k2"), *UTILITY)


def mandated(city: City) -> Iterator[Case]:
    """What no mandate is there for, and what keeps data and lets go of it."""
    data = city.registers()
    yield Code.UNKNOWN_MANDATE, city.one(ask(data, None, "k"), *UTILITY)
    city.enacts(mandate(city, until_ms=Millis(city.time_ms + 300 * DAY_MS)))
    yield Code.MANDATE_TAKEN, city.proposes(mandate(city))
    opens = Height(city.height + SEALED_BLOCKS_MAX + 2)
    yield Code.SEAL_TOO_LONG, city.one(ask(data, None, "k", opens_height=opens), *UTILITY)
    yield Code.ERASURE_NOT_ASKED, city.one(done(data), "authority-0", "admin 0")
    city.does(erase(data), *RESIDENT)
    yield Code.ERASURE_ASKED, city.one(erase(data), *RESIDENT)
    city.does(hold(city, data, until_ms=Millis(city.time_ms + DAY_MS)), *UTILITY)
    yield Code.HELD, city.one(done(data), "authority-0", "admin 0")
    for n in range(7):
        city.does(hold(city, data, order_hash=bytes([n]) * 32), *UTILITY)
    yield Code.TOO_MANY_HOLDS, city.one(hold(city, data, order_hash=bytes([7]) * 32), *UTILITY)
    city.passes(51 * DAY_MS)
    for i, name in enumerate(CUSTODIANS):
        city.does(done(data), name, f"admin {i}")
    yield Code.ERASED, city.one(hold(city, data), *UTILITY)
    city.enacts(MandateEnd(mandate(city).id))
    yield Code.NOT_IN_FORCE, city.one(hold(city, data), *UTILITY)


STORIES = (granted, mandated)
