"""The rate that is reported was sustained for as long as was asked, whatever was for a moment."""

from types import SimpleNamespace

import pytest
from p2pledger.bench.fleet import CannotMeasure
from p2pledger.bench.throughput import SEARCH_S, SEARCH_WITHIN, WHOLE_MAX, _search

LONG_S = 60.0


class Nodes:
    """Stretches of nodes that sustain one rate for a moment and a lower one for long."""

    def __init__(self, briefly: float, long: float) -> None:
        self.briefly, self.long = briefly, long
        self.runs: list[tuple[float, float]] = []

    async def run(self, per_second: float, seconds: float) -> SimpleNamespace:
        self.runs.append((per_second, seconds))
        most = self.briefly if seconds <= SEARCH_S else self.long
        return SimpleNamespace(final_per_s=min(per_second, most), is_sustained=per_second <= most)


async def test_the_highest_rate_that_holds_is_found_and_measured_for_as_long_as_asked() -> None:
    nodes = Nodes(1_000, 1_000)
    loaded, tried = await _search(nodes, 300, LONG_S)
    assert loaded.is_sustained and 1_000 / SEARCH_WITHIN <= loaded.final_per_s <= 1_000
    assert nodes.runs[-1] == (pytest.approx(tried[-1][0], abs=0.1), LONG_S)
    assert [seconds for _, seconds in nodes.runs[:-1]] == [SEARCH_S] * (len(tried) - 1)
    assert {is_sustained for rate, is_sustained in tried if rate > 1_000} == {False}


@pytest.mark.parametrize("long", [800, 900, 940])
async def test_what_held_for_a_moment_only_is_given_up_for_the_most_that_holds(long) -> None:
    nodes = Nodes(1_000, long)
    loaded, _ = await _search(nodes, 300, LONG_S)
    whole = [rate for rate, seconds in nodes.runs if seconds == LONG_S]
    assert whole[0] > long and 1 < len(whole) <= WHOLE_MAX
    assert loaded.is_sustained and loaded.final_per_s == max(rate for rate in whole if rate <= long)
    assert min(rate for rate in whole if rate > long) < 1.1 * loaded.final_per_s
    assert loaded.final_per_s >= 0.97 * long


class Burdened(Nodes):
    """Nodes that do a tenth less than they can when they are offered too much."""

    async def run(self, per_second: float, seconds: float) -> SimpleNamespace:
        found = await super().run(per_second, seconds)
        if not found.is_sustained:
            found.final_per_s *= 0.9
        return found


async def test_nodes_that_do_less_of_too_much_are_told_by_a_tenth_too_little_at_most() -> None:
    nodes = Burdened(1_000, 900)
    loaded, _ = await _search(nodes, 300, LONG_S)
    assert loaded.is_sustained and 0.9 * 900 <= loaded.final_per_s <= 900


class Fading(Nodes):
    """Nodes that sustain nothing for long, however little it is."""

    async def run(self, per_second: float, seconds: float) -> SimpleNamespace:
        if seconds > SEARCH_S:
            self.long = per_second / 2
        return await super().run(per_second, seconds)


async def test_of_some_whole_ones_the_last_is_told_though_it_did_not_hold() -> None:
    nodes = Fading(1_000, 0)
    loaded, tried = await _search(nodes, 300, LONG_S)
    assert not loaded.is_sustained and loaded.final_per_s == nodes.long
    assert [seconds for _, seconds in nodes.runs].count(LONG_S) == WHOLE_MAX
    assert len(tried) == len(nodes.runs)


async def test_nodes_that_sustain_nothing_cannot_be_measured() -> None:
    with pytest.raises(CannotMeasure, match="not even"):
        await _search(Nodes(0, 0), 300, LONG_S)
