"""The clock keeps pace whatever is done to the machine's, and follows in steps that it tells."""

from p2pledger.node.clock import STEP_MS_MIN, Clock

MS = 1_000_000


class Hands:
    def __init__(self):
        self.wall, self.steady = 1_700_000_000_000 * MS, 5 * MS

    def pass_ms(self, ms):
        self.wall += ms * MS
        self.steady += ms * MS

    def clock(self, wrong_by_ms=0):
        return Clock(lambda: self.wall, lambda: self.steady, wrong_by_ms=wrong_by_ms)


def test_it_starts_at_the_time_of_day_and_goes_on():
    hands = Hands()
    clock = hands.clock()
    assert clock.now() == 1_700_000_000_000
    hands.pass_ms(1_234)
    assert clock.now() == 1_700_000_001_234
    assert clock.correct() == 0


def test_setting_the_machines_clock_moves_nothing_until_it_is_corrected():
    for by_ms in (3_600_000, -3_600_000):
        hands = Hands()
        clock = hands.clock()
        hands.wall += by_ms * MS
        assert clock.now() == 1_700_000_000_000
        assert clock.correct() == by_ms
        assert clock.now() == 1_700_000_000_000 + by_ms
        assert clock.correct() == 0


def test_small_differences_are_left_until_they_have_grown():
    hands = Hands()
    clock = hands.clock()
    for _ in range(3):
        hands.wall += (STEP_MS_MIN - 1) // 3 * MS
        assert clock.correct() == 0
    hands.wall += STEP_MS_MIN * MS
    assert clock.correct() >= STEP_MS_MIN


def test_a_clock_that_was_put_wrong_stays_as_wrong_as_it_was_put():
    for wrong_by_ms in (2_000, -2_000):
        hands = Hands()
        clock = hands.clock(wrong_by_ms)
        assert clock.now() == 1_700_000_000_000 + wrong_by_ms
        hands.pass_ms(60_000)
        assert clock.correct() == 0
        hands.wall += 1_000 * MS
        assert clock.correct() == 1_000
        assert clock.now() == 1_700_000_061_000 + wrong_by_ms
