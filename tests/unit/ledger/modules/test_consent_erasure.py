"""Until when data lies where, how it goes, and what keeps it."""

from dataclasses import replace

import pytest
from p2pledger.chain.genesis import RESIDENTS, KeyRole
from p2pledger.chain.payloads import (
    AccessServed,
    EraseRequest,
    HoldPlace,
    KeyAdd,
    Power,
)
from p2pledger.ledger.modules.consent import is_entitled, uses
from p2pledger.ledger.modules.consent.rows import DATA
from p2pledger.types import Hash, Height, Millis
from tests.consents import (
    CUSTODIANS,
    DAY_MS,
    GATEWAY,
    MANDATE,
    ORDER,
    ConsentLedger,
    ask,
    day,
    done,
    erase,
    give,
    hold,
    key,
    mandate,
    register,
)

NOBODY = Hash(bytes(32))


@pytest.fixture
def ledger() -> ConsentLedger:
    return ConsentLedger()


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
