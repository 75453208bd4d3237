import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.genesis import Quota
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.quota import Charges, Usage, usage
from p2pledger.ledger.state import Changes, EmptyState

WINDOW_MS = 1_000


def charge(changes: Changes, organisation: str, quota: Quota, size_bytes: int, time_ms: int) -> None:
    """A block of one transaction."""
    charges = Charges(changes, time_ms, WINDOW_MS)
    charges.check(organisation, quota, size_bytes)
    charges.add(organisation, size_bytes)
    charges.settle()


@given(st.lists(st.tuples(st.integers(0, 700), st.lists(st.integers(1, 60), max_size=6)), max_size=20))
def test_no_window_holds_more_than_the_quota_and_none_refuses_what_fits(blocks):
    quota, changes, time_ms = Quota(5, 120), Changes(EmptyState()), 10_000
    accepted: dict[int, list[int]] = {}
    for wait_ms, sizes in blocks:
        time_ms += wait_ms
        window, charges = accepted.setdefault(time_ms // WINDOW_MS, []), Charges(changes, time_ms, WINDOW_MS)
        for size in sizes:
            fits = len(window) < 5 and sum(window) + size <= 120
            try:
                charges.check("city", quota, size)
            except InvalidTransaction as refusal:
                assert refusal.code == "over_quota" and not fits
            else:
                assert fits
                window.append(size)
                charges.add("city", size)
        charges.settle()
        expected = Usage(time_ms // WINDOW_MS, len(window), sum(window))
        assert usage(changes, "city", time_ms, WINDOW_MS) == expected


def test_what_was_only_checked_is_not_charged():
    changes = Changes(EmptyState())
    charges = Charges(changes, 0, WINDOW_MS)
    for _ in range(3):
        charges.check("city", Quota(1, 100), 10)
    charges.settle()
    assert changes.writes() == {}


def test_one_organisation_does_not_pay_for_another():
    changes = Changes(EmptyState())
    charge(changes, "city", Quota(1, 100), 10, 0)
    charge(changes, "utility", Quota(1, 100), 10, 0)
    with pytest.raises(InvalidTransaction, match="in 1000 ms"):
        charge(changes, "city", Quota(1, 100), 10, 0)


def test_a_new_window_starts_empty_without_a_write():
    changes = Changes(EmptyState())
    charge(changes, "city", Quota(1, 100), 10, 999)
    before = changes.writes()
    assert usage(changes, "city", 1_000, WINDOW_MS) == Usage(1, 0, 0)
    assert changes.writes() == before
