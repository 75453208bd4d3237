"""What the authorities decide about organisations: one more, and another quota."""

import pytest
from p2pledger.chain.genesis import ORGANISATIONS_MAX, KeyRole, Quota
from p2pledger.chain.payloads import KeyAdd, OrgQuota, OrgRegister
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.registry import MEASURES, live_key, organisation
from p2pledger.ledger.modules.registry.organisations import OrganisationCount
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes
from p2pledger.types import Height
from tests.ledgers import Effects, Ledger, quota, signer
from tests.unit.ledger.modules.test_registry import ACT, add, key, revoke

CLINIC = OrgRegister("clinic", "hospital", (key("clinic 1"), key("clinic 2")), 2, quota(3))
BY_KIND = {measure.kind: measure for measure in MEASURES}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def enact(ledger: Ledger, payload, from_height: int, onto: Changes | None = None) -> None:
    """Carry a measure out in the next block's place, and go on from there."""
    changes = onto or Changes(ledger.reader)
    context = Context(ledger.genesis, ledger.next_round, lambda *_: True)
    BY_KIND[payload.KIND].enact(changes, context, payload, Height(from_height))
    if onto is None:
        ledger.reader = Overlay(ledger.reader, Effects(ledger.reader, changes.writes(), buckets=65_536))


def refused(ledger: Ledger, payload, onto: Changes | None = None) -> str:
    with pytest.raises(InvalidTransaction) as refusal:
        enact(ledger, payload, ledger.height + 2, onto or Changes(ledger.reader))
    return refusal.value.code


def test_an_organisation_is_unknown_until_its_height(ledger):
    start = ledger.height + 4
    enact(ledger, CLINIC, start)
    for _ in range(2):
        assert ledger.refuses(ACT, "clinic", "clinic 1") == "unknown_sponsor"
        ledger.block()
    assert ledger.refuses(ACT, "clinic", "clinic 1") == "unknown_sponsor"
    assert live_key(ledger.reader, key("clinic 1"), Height(start - 1)) is None
    assert live_key(ledger.reader, key("clinic 1"), Height(start)).role is KeyRole.ADMIN
    ledger.block()
    ledger.does(ACT, "clinic", "clinic 1")
    assert ledger.height == start


def test_its_admins_act_by_their_threshold_and_its_quota_counts(ledger):
    enact(ledger, CLINIC, ledger.height + 1)
    assert ledger.refuses(add("x"), "clinic", "clinic 1", "x") == "too_few_admins"
    ledger.does(add("x"), "clinic", "clinic 1", "clinic 2", "x")
    ledger.does(ACT, "clinic", "x")
    ledger.does(ACT, "clinic", "x")
    assert ledger.refuses(ACT, "clinic", "x") == "over_quota"
    ledger.block()


def test_a_name_and_a_key_are_one_organisations_for_ever(ledger):
    assert (
        refused(ledger, OrgRegister("city", "department", (key("new"),), 1, quota())) == "organisation_taken"
    )
    for name in ("city 1", "city gateway", "authority 2"):
        taken = OrgRegister("clinic", "hospital", (key("new"), key(name)), 1, quota())
        assert refused(ledger, taken) == "key_taken"
    off_curve = OrgRegister("clinic", "hospital", (bytes([2]) + b"\xff" * 32,), 1, quota())
    assert refused(ledger, off_curve) == "invalid_key"
    enact(ledger, CLINIC, ledger.height + 99)
    assert refused(ledger, CLINIC) == "organisation_taken"
    assert ledger.refuses(KeyAdd(key("clinic 1"), KeyRole.SERVICE, None, Height(0)),
                          "city", "city 1", "clinic 1") == "key_taken"  # fmt: skip
    assert ledger.refuses(revoke("clinic 1"), "city", "city 1") == "unknown_key"


def test_organisations_are_bounded(ledger):
    changes = Changes(ledger.reader)
    room = ORGANISATIONS_MAX - len(ledger.genesis.organisations)
    changes.put(b"organisation-count/", OrganisationCount(room - 1))
    enact(ledger, CLINIC, 9, changes)
    other = OrgRegister("other", "hospital", (key("other"),), 1, quota())
    assert refused(ledger, other, changes) == "too_many_organisations"


def test_what_no_organisation_can_be():
    for changes in (
        ("residents", (key("a"),), 1),
        ("clinic", (key("a"), key("a")), 1),
        ("clinic", (key("a"),), 2),
    ):
        name, keys, threshold = changes
        with pytest.raises(ValueError):
            OrgRegister(name, "hospital", keys, threshold, quota())


def test_a_quota_stays_until_the_height_of_its_change(ledger):
    before = organisation(ledger.reader, "utility").quota
    start = ledger.height + 3
    enact(ledger, OrgQuota("utility", Quota(1, 10_000)), start)
    row = organisation(ledger.reader, "utility")
    assert [row.quota_at(Height(h)).transactions for h in (start - 1, start)] == [before.transactions, 1]
    ledger.does(ACT, "utility", "utility 1")
    ledger.does(ACT, "utility", "utility 1")
    assert ledger.refuses(ACT, "utility", "utility 1") == "over_quota"
    assert ledger.next_round.height == start


def test_a_decision_takes_the_place_of_those_for_later_heights_only(ledger):
    enact(ledger, OrgQuota("utility", Quota(6, 6)), ledger.height + 1)
    ledger.block()
    begun = ledger.height
    for ahead, size in ((9, 9), (3, 3), (5, 5), (7, 7), (5, 50)):
        enact(ledger, OrgQuota("utility", Quota(size, size)), begun + ahead)
    row = organisation(ledger.reader, "utility")
    found = [row.quota_at(Height(begun + ahead)).transactions for ahead in (1, 2, 3, 4, 5, 9)]
    assert found == [6, 6, 3, 3, 50, 50]


def test_so_many_changes_are_still_to_come_at_most(ledger):
    changes = Changes(ledger.reader)
    for ahead in range(8):
        enact(ledger, OrgQuota("utility", Quota(1, 1)), ledger.height + 10 + ahead, changes)
    with pytest.raises(InvalidTransaction) as refusal:
        enact(ledger, OrgQuota("utility", Quota(1, 1)), ledger.height + 99, changes)
    assert refusal.value.code == "too_many_changes"
    enact(ledger, OrgQuota("utility", Quota(2, 2)), ledger.height + 17, changes)
    assert len(organisation(changes, "utility").coming_quotas) == 8


def test_a_quota_is_somebodys(ledger):
    assert refused(ledger, OrgQuota("nobody", quota())) == "unknown_sponsor"
    enact(ledger, OrgQuota("residents", Quota(7, 7)), 1)
    assert organisation(ledger.reader, "residents").quota_at(Height(1)) == Quota(7, 7)


def test_measures_are_the_registrys():
    assert set(BY_KIND) == {"org.register", "org.quota"}
    assert signer("clinic 1").public_key == key("clinic 1")
