"""The rate that is reported was sustained for as long as was asked, whatever was for a moment."""

from types import SimpleNamespace

import pytest
from p2pledger.bench.fleet import CannotMeasure
from p2pledger.bench.throughput import ADVANCE, SEARCH_S, WHOLE_MAX, _search

LONG_S = 60.0


class Nodes:
    """Stretches of nodes that sustain one rate for a moment and a lower one for long."""

    def __init__(self, briefly: float, long: float) -> None:
        self.briefly, self.long = briefly, long
        self.runs: list[tuple[float, float]] = []

    async def run(self, per_second: float, seconds: float, *, is_steady: bool) -> SimpleNamespace:
        assert is_steady, "what rises is not to be counted"
        self.runs.append((per_second, seconds))
        most = self.most(seconds)
        return SimpleNamespace(final_per_s=min(per_second, most), is_sustained=per_second <= most)

    def most(self, seconds: float) -> float:
        """What they sustain for so long."""
        return self.briefly if seconds <= SEARCH_S else self.long


@pytest.mark.parametrize("long", [800, 900, 940, 1_000])
async def test_the_highest_rate_that_holds_is_found_and_measured_for_as_long_as_asked(long) -> None:
    nodes = Nodes(1_000, long)
    loaded, tried = await _search(nodes, 300, LONG_S)
    brief, whole = nodes.runs[:-WHOLE_MAX], nodes.runs[-WHOLE_MAX:]
    assert {seconds for _, seconds in brief} == {SEARCH_S} and {seconds for _, seconds in whole} == {LONG_S}
    assert [rate for rate, _ in tried] == pytest.approx([rate for rate, _ in nodes.runs], abs=0.1)
    assert [held for _, held in tried] == [rate <= nodes.most(seconds) for rate, seconds in nodes.runs]
    assert loaded.is_sustained and loaded.final_per_s == max(rate for rate, _ in whole if rate <= long)
    assert min(rate for rate, _ in whole if rate > long) < ADVANCE * loaded.final_per_s + 1
    assert loaded.final_per_s >= 0.98 * long


class Disturbed(Nodes):
    """Nodes that somebody else disturbs in the first of the minutes."""

    async def run(self, per_second: float, seconds: float, *, is_steady: bool) -> SimpleNamespace:
        found = await super().run(per_second, seconds, is_steady=is_steady)
        if [seconds for _, seconds in self.runs].count(LONG_S) == 1:
            return SimpleNamespace(final_per_s=min(per_second, 0.8 * self.long), is_sustained=False)
        return found


async def test_what_failed_in_one_minute_is_tried_in_another() -> None:
    nodes = Disturbed(1_000, 950)
    loaded, _ = await _search(nodes, 300, LONG_S)
    first, *others = [rate for rate, seconds in nodes.runs if seconds == LONG_S]
    assert first < 950 and max(others) > first
    assert loaded.is_sustained and loaded.final_per_s >= 0.97 * 950


class Burdened(Nodes):
    """Nodes that do a tenth less than they can when they are offered too much."""

    async def run(self, per_second: float, seconds: float, *, is_steady: bool) -> SimpleNamespace:
        found = await super().run(per_second, seconds, is_steady=is_steady)
        if not found.is_sustained:
            found.final_per_s *= 0.9
        return found


async def test_nodes_that_do_less_of_too_much_are_told_by_a_tenth_too_little_at_most() -> None:
    nodes = Burdened(1_000, 900)
    loaded, _ = await _search(nodes, 300, LONG_S)
    assert loaded.is_sustained and 0.9 * 900 <= loaded.final_per_s <= 900


class Fading(Nodes):
    """Nodes that sustain nothing for long, however little it is."""

    async def run(self, per_second: float, seconds: float, *, is_steady: bool) -> SimpleNamespace:
        if seconds > SEARCH_S:
            self.long = per_second / 2
        return await super().run(per_second, seconds, is_steady=is_steady)


async def test_of_some_whole_ones_the_last_is_told_though_it_did_not_hold() -> None:
    nodes = Fading(1_000, 0)
    loaded, tried = await _search(nodes, 300, LONG_S)
    assert not loaded.is_sustained and loaded.final_per_s == nodes.long
    assert [seconds for _, seconds in nodes.runs].count(LONG_S) == WHOLE_MAX
    assert len(tried) == len(nodes.runs)


async def test_nodes_that_sustain_nothing_cannot_be_measured() -> None:
    with pytest.raises(CannotMeasure, match="not even"):
        await _search(Nodes(0, 0), 300, LONG_S)
