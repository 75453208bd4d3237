"""How far a clock is from the others', by when blocks arrive."""

import pytest
from p2pledger.node.clock_offset import LEADERS_MAX, SAMPLES, ClockOffset

NOW = 1_700_000_000_000


def heard(offset: ClockOffset, **ahead_ms: tuple[int, ...]) -> float:
    for leader, differences in ahead_ms.items():
        for difference in differences:
            offset.observe(leader, NOW - difference, NOW)
    return offset.ahead_ms


def test_nothing_heard_is_no_offset():
    assert ClockOffset().ahead_ms == 0


@pytest.mark.parametrize("wrong_by_ms", [-900, 0, 900])
def test_the_fastest_block_of_each_leader_counts(wrong_by_ms):
    a, b, c = ((wrong_by_ms + way for way in ways) for ways in ((9, 300, 70), (12, 400), (500, 5)))
    assert heard(ClockOffset(), a=tuple(a), b=tuple(b), c=tuple(c)) == wrong_by_ms + 9


def test_one_liar_among_three_does_not_move_it():
    assert heard(ClockOffset(), a=(10,), b=(20,), c=(-(10**9),)) == 10
    assert heard(ClockOffset(), a=(10,), b=(20,), c=(10**9,)) == 20


def test_old_samples_leave():
    offset = ClockOffset()
    heard(offset, a=(5,))
    assert heard(offset, a=(800,) * (SAMPLES - 1)) == 5
    assert heard(offset, a=(800,)) == 800


def test_once_our_clock_was_set_it_is_measured_anew():
    offset = ClockOffset()
    heard(offset, a=(-700,), b=(-700,))
    offset.forget()
    assert offset.ahead_ms == 0
    assert heard(offset, a=(4,)) == 4


def test_leaders_are_bounded():
    offset = ClockOffset()
    for leader in range(3 * LEADERS_MAX):
        offset.observe(leader, NOW - leader, NOW)
    assert len(offset._ahead_ms) == LEADERS_MAX


def test_a_time_that_a_leader_had_to_put_behind_its_parents_says_nothing_of_its_clock():
    """Ours is 400 ahead: whoever leads within 400 after us has a header a millisecond after our own."""
    offset = ClockOffset()
    for leader in range(3):
        offset.observe(leader, NOW - 409, NOW, parent_ms=NOW - 700)
    for leader in range(2):
        offset.observe(leader, NOW - 199, NOW, parent_ms=NOW - 200)
    assert offset.ahead_ms == 409
    offset.observe(0, NOW - 199, NOW, parent_ms=None)
    offset.observe(1, NOW - 198, NOW, parent_ms=NOW - 200)
    assert offset.ahead_ms == 199
