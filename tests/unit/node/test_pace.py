"""Blocks are as large as a node can execute in time, within the limits."""

from p2pledger.node.pace import TRANSACTIONS_MIN, Pace


def test_before_anything_was_measured_something_is_assumed():
    assert Pace(50).transactions_max == 500


def test_it_comes_to_what_takes_as_long_as_is_allowed():
    pace = Pace(50)
    for _ in range(50):
        pace.observe(500, 50)
    assert pace.transactions_max == 500
    for _ in range(100):
        pace.observe(500, 100)
    assert 249 <= pace.transactions_max <= 251
    for _ in range(100):
        pace.observe(500, 1)
    assert pace.transactions_max == 15_000


def test_one_slow_block_is_not_believed_at_once():
    pace = Pace(50)
    pace.observe(500, 50)
    pace.observe(500, 500)
    assert pace.transactions_max > 100


def test_small_blocks_say_nothing_and_no_block_gets_too_small():
    pace = Pace(50)
    pace.observe(3, 1_000)
    assert pace.transactions_max == 500
    pace.observe(100, 10_000)
    assert pace.transactions_max == TRANSACTIONS_MIN
