"""Weeks and months as the calendar has them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.period import Period, period_at, period_bounds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
instants = st.integers(0, (datetime(2400, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1))


@given(instants)
def test_a_time_lies_in_its_month_and_its_week(time_ms):
    at = EPOCH + timedelta(milliseconds=time_ms)
    month = period_at(Period.MONTH, time_ms)
    assert month == (at.year - 1970) * 12 + at.month - 1
    first = EPOCH + timedelta(milliseconds=period_bounds(Period.MONTH, month)[0])
    assert (first.year, first.month, first.day, first.hour) == (at.year, at.month, 1, 0)
    week = EPOCH + timedelta(milliseconds=period_bounds(Period.WEEK, period_at(Period.WEEK, time_ms))[0])
    assert week in (at.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(at.weekday()), EPOCH)


@pytest.mark.parametrize("kind", Period)
def test_periods_follow_each_other_without_a_gap(kind):
    for number in range(5_000):
        first, last = period_bounds(kind, number)
        assert (period_at(kind, first), period_at(kind, last)) == (number, number)
        assert period_bounds(kind, number + 1)[0] == last + 1
