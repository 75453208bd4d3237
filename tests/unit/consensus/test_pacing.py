"""Deadlines and intervals, by a clock that is an argument."""

from dataclasses import replace

import pytest
from p2pledger.chain.genesis import LAN
from p2pledger.consensus.pacing import Pacing
from p2pledger.types import Millis


@pytest.fixture
def pacing():
    pacing = Pacing(LAN, Millis(1_000))
    pacing.enter(Millis(1_000))
    return pacing


def test_an_idle_view_lasts_an_idle_interval_and_three_deltas(pacing):
    assert pacing.deadline_ms() == 1_000 + 10_000 + 300
    assert not pacing.is_overdue(Millis(11_299))
    assert pacing.is_overdue(Millis(11_300))


def test_work_ends_patience_a_block_interval_after_it_came(pacing):
    pacing.count_work(Millis(3_000))
    pacing.count_work(Millis(5_000))
    assert pacing.deadline_ms() == 3_000 + 30 + 300


def test_work_that_comes_late_does_not_prolong_a_view(pacing):
    pacing.count_work(Millis(50_000))
    assert pacing.deadline_ms() == 11_300


def test_a_leader_with_work_waits_the_block_interval_else_the_idle_interval(pacing):
    assert pacing.propose_ms(Millis(900)) == 10_900
    pacing.count_work(Millis(1_000))
    assert pacing.propose_ms(Millis(900)) == 930


def test_patience_grows_by_half_up_to_eight_times_and_falls_back_once_something_is_final(pacing):
    grown = []
    for _ in range(10):
        pacing.lapse(Millis(0))
        grown.append(pacing.delta_ms)
    assert grown[:3] == [150, 225, 338]
    assert max(grown) == 800
    pacing.calm()
    assert pacing.delta_ms == 100


def test_the_smallest_delta_grows_too():
    pacing = Pacing(replace(LAN, delta_ms=1), Millis(0))
    for _ in range(10):
        pacing.lapse(Millis(0))
    assert pacing.delta_ms == 8


def test_a_deadline_passes_once_and_then_is_repeated_every_three_deltas(pacing):
    pacing.lapse(Millis(11_300))
    assert not pacing.is_overdue(Millis(99_999))
    assert pacing.resend_ms == 11_300 + 450


def test_nobody_is_silent_before_we_listened_long_enough(pacing):
    assert not pacing.is_silent(1, Millis(3_500))
    assert pacing.is_silent(1, Millis(4_100))
    pacing.hear(1, Millis(4_000))
    assert not pacing.is_silent(1, Millis(4_100))
    assert pacing.heard(Millis(4_100)) == {1}
    pacing.listen(Millis(5_000))
    assert pacing.heard(Millis(5_000)) == set()
    assert not pacing.is_silent(1, Millis(7_999))


def test_a_clock_that_is_set_moves_everything_along(pacing):
    pacing.count_work(Millis(2_000))
    pacing.hear(1, Millis(2_000))
    before = pacing.deadline_ms()
    pacing.shift(-500)
    assert pacing.deadline_ms() == before - 500
    pacing.lapse(Millis(3_000))
    resend = pacing.resend_ms
    pacing.shift(10_000)
    assert pacing.resend_ms == resend + 10_000
    assert pacing.heard(Millis(13_000)) == {1}


def test_whoever_was_silent_is_heard_anew(pacing):
    assert pacing.hear(1, Millis(10))
    assert not pacing.hear(1, Millis(20))
    assert pacing.hear(1, Millis(21 + LAN.leader_silence_ms))


def test_full_blocks_follow_each_other_more_slowly_and_are_given_up_later(pacing):
    p = pacing.parameters
    pacing.count_work(pacing.now)
    due, deadline = pacing.propose_ms(pacing.now), pacing.deadline_ms()
    for transactions, times in ((127, 1), (128, 2), (300, 3), (384, 4), (15_000, 4), (0, 1)):
        pacing.follow(transactions)
        later = (times - 1) * p.block_interval_ms
        assert pacing.propose_ms(pacing.now) == due + later
        assert pacing.deadline_ms() == deadline + later
