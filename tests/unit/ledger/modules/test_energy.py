"""The engine for energy: shares that add up, and a real meter's register."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.period import Period, period_at
from p2pledger.ledger.modules.programs.energy import Register, intervals, share, surplus_of
from p2pledger.testnet.sources import SOURCES
from tests.properties.effort import effort

DATA = Path(__file__).parents[4] / "testnet" / "data"
weights = st.lists(st.integers(0, 2**40), min_size=1, max_size=40)


def test_a_surplus_is_what_is_beyond_consumption():
    assert (surplus_of(5, 3), surplus_of(3, 3), surplus_of(3, 5)) == (2, 0, 0)


def test_what_is_left_goes_to_the_largest_remainders():
    # 10 * 7/20 = 3.5, 10 * 6/20 = 3.0, 10 * 7/20 = 3.5: one Wh is left, and the first account gets it.
    assert share(10, [(b"c", 7), (b"b", 6), (b"a", 7)]) == {b"a": 4, b"b": 3, b"c": 3}
    assert share(11, [(b"c", 7), (b"b", 6), (b"a", 7)]) == {b"a": 4, b"b": 3, b"c": 4}
    assert share(2, [(b"c", 1), (b"a", 1), (b"b", 1)]) == {b"a": 1, b"b": 1, b"c": 0}


def test_nobody_fed_in_nothing():
    assert share(0, [(b"a", 0)]) == {b"a": 0}
    with pytest.raises(ValueError, match="somebody"):
        share(1, [(b"a", 0)])


@effort(200)
@given(st.integers(0, 2**48), weights)
def test_credits_are_the_surplus_exactly_and_fair(surplus, energies):
    rows = [(i.to_bytes(2, "big"), energy) for i, energy in enumerate(energies)]
    total = sum(energies)
    if not total and surplus:
        return
    credits_wh = share(surplus, rows)
    assert sum(credits_wh.values()) == surplus
    assert credits_wh == share(surplus, rows[::-1]), "the order of the rows decides nothing"
    for account, energy in rows:
        exact = Fraction(surplus * energy, total) if total else 0
        assert abs(credits_wh[account] - exact) < 1


def test_intervals_are_differences():
    assert intervals([Register(0, 5), Register(1, 5), Register(9, 8)]) == [0, 3]
    assert intervals([Register(0, 5)]) == []
    for second in (Register(0, 6), Register(1, 4)):
        with pytest.raises(ValueError, match=r"follow|back"):
            intervals([Register(0, 5), second])


@pytest.mark.parametrize("name", ["meter-a", "meter-b"])
def test_a_real_meters_months_add_up_although_readings_are_missing(name):
    source = next(source for source in SOURCES if source.name == name)
    register = {row.time_ms: row.values[0] for row in source.rows(DATA) if not row.is_repeat}
    readings = [Register(time_ms, register[time_ms]) for time_ms in sorted(register)]
    found = intervals(readings)
    assert sum(found) == readings[-1].energy_wh - readings[0].energy_wh
    months: dict[int, int] = {}
    for reading, energy_wh in zip(readings[1:], found, strict=True):
        month = period_at(Period.MONTH, reading.time_ms)
        months[month] = months.get(month, 0) + energy_wh
    last = {period_at(Period.MONTH, reading.time_ms): reading.energy_wh for reading in readings}
    ends = [readings[0].energy_wh, *last.values()]
    plain = {month: after - before for month, before, after in zip(last, ends, ends[1:], strict=False)}
    assert {month: energy for month, energy in plain.items() if energy or month in months} == months
