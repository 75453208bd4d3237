"""Blocks are as large as a node can execute in time, of what the others have by then."""

from p2pledger.node.pace import AGE_MS_MAX, AGE_MS_MIN, TRANSACTIONS_MIN, Pace, Spreading


def test_before_anything_was_measured_something_is_assumed():
    assert Pace(50, 4_000).transactions_max == 500


def test_it_comes_to_what_takes_as_long_as_is_allowed():
    pace = Pace(50, 4_000)
    for _ in range(50):
        pace.observe(500, 50)
    assert pace.transactions_max == 500
    for _ in range(100):
        pace.observe(500, 100)
    assert 249 <= pace.transactions_max <= 251
    for _ in range(100):
        pace.observe(500, 1)
    assert pace.transactions_max == 4_000


def test_one_slow_block_is_not_believed_at_once():
    pace = Pace(50, 4_000)
    pace.observe(500, 50)
    pace.observe(500, 500)
    assert pace.transactions_max > 100


def test_small_blocks_say_nothing_and_no_block_gets_too_small():
    pace = Pace(50, 4_000)
    pace.observe(3, 1_000)
    assert pace.transactions_max == 500
    pace.observe(100, 10_000)
    assert pace.transactions_max == TRANSACTIONS_MIN
    assert Pace(50, 10).transactions_max == 10


def test_what_is_proposed_is_older_than_gossip_takes():
    spreading = Spreading()
    assert spreading.age_ms == AGE_MS_MIN
    for _ in range(50):
        spreading.observe(1_000, 1_002)
    assert spreading.age_ms == AGE_MS_MIN
    for _ in range(50):
        spreading.observe(1_000, 1_100)
    assert spreading.age_ms == 200


def test_a_senders_wrong_clock_holds_nothing_up_for_ever():
    spreading = Spreading()
    for _ in range(50):
        spreading.observe(0, 10**12)
    assert spreading.age_ms == AGE_MS_MAX
    for _ in range(50):
        spreading.observe(10**12, 0)
    assert spreading.age_ms == AGE_MS_MIN
