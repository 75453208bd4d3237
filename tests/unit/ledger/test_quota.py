import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.genesis import Quota
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.quota import Usage, apply_charge, usage
from p2pledger.ledger.state import Changes, EmptyState

WINDOW_MS = 1_000


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(1, 60)), max_size=60))
def test_no_window_holds_more_than_the_quota_and_none_refuses_what_fits(charges):
    quota, changes, time_ms = Quota(5, 120), Changes(EmptyState()), 10_000
    accepted: dict[int, list[int]] = {}
    for wait_ms, size in charges:
        time_ms += wait_ms
        window = accepted.setdefault(time_ms // WINDOW_MS, [])
        fits = len(window) < 5 and sum(window) + size <= 120
        mark = changes.mark()
        try:
            apply_charge(changes, "city", quota, size, time_ms, WINDOW_MS)
        except InvalidTransaction as refusal:
            assert refusal.code == "over_quota" and not fits
            changes.undo(mark)
        else:
            assert fits
            window.append(size)
        expected = Usage(time_ms // WINDOW_MS, len(window), sum(window))
        assert usage(changes, "city", time_ms, WINDOW_MS) == expected


def test_one_organisation_does_not_pay_for_another():
    changes = Changes(EmptyState())
    apply_charge(changes, "city", Quota(1, 100), 10, 0, WINDOW_MS)
    apply_charge(changes, "utility", Quota(1, 100), 10, 0, WINDOW_MS)
    with pytest.raises(InvalidTransaction, match="in 1000 ms"):
        apply_charge(changes, "city", Quota(1, 100), 10, 0, WINDOW_MS)


def test_a_new_window_starts_empty_without_a_write():
    changes = Changes(EmptyState())
    apply_charge(changes, "city", Quota(1, 100), 10, 999, WINDOW_MS)
    before = changes.writes()
    assert usage(changes, "city", 1_000, WINDOW_MS) == Usage(1, 0, 0)
    assert changes.writes() == before
