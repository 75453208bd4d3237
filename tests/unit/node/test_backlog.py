"""What may wait follows what becomes final."""

from p2pledger.node import backlog
from p2pledger.node.backlog import Backlog

LONG = 40 * backlog.MEMORY_MS // 50
"""So many blocks, one every 50 ms, that what was before them is forgotten."""
LONG_MS = 50 * LONG


def settled(per_block, blocks, every_ms, made=None, start_ms=0, waiting=1):
    made = made or Backlog()
    made.begin(start_ms)
    for number in range(1, blocks + 1):
        made.settle(per_block, waiting, start_ms + number * every_ms)
    return made


def test_an_idle_ledger_takes_a_burst():
    assert Backlog().waiting_max == backlog.WAITING_START
    assert settled(5, 100, 1_000).waiting_max == backlog.WAITING_MIN


def test_a_fast_one_lets_wait_what_becomes_final_soon():
    per_s = 10_000
    made = settled(per_s // 20, LONG, 50)
    assert abs(made.waiting_max - per_s * backlog.WAIT_MS / 1_000) < per_s * 0.01


def test_a_node_that_has_just_started_takes_what_a_fast_ledger_has_final_soon():
    """7,000 a second from one sponsor, who may have three quarters; what came by 250 ms ago is final."""
    made, came, final = Backlog(), 0, 0
    for now in range(50, 3_050, 50):
        made.begin(now)
        came += 350
        assert came - final < 0.75 * made.waiting_max, f"after {now} ms"
        if now >= 500 and now % 250 == 0:
            count = 7 * (now - 250) - final
            final += count
            made.settle(count, came - final, now)


def test_a_slow_second_takes_little_of_the_room_for_what_waits_because_of_it():
    made = settled(500, LONG, 50)
    before = made.waiting_max
    made.settle(500, 9_500, LONG_MS + 1_000)
    assert 0.8 * before < made.waiting_max < before


def test_what_was_long_ago_is_forgotten_and_empty_blocks_count_while_something_waits():
    made = settled(500, LONG, 50)
    assert made.waiting_max > backlog.WAITING_MIN
    settled(0, LONG, 50, made, LONG_MS)
    assert made.waiting_max == backlog.WAITING_MIN


def test_a_pause_in_which_nothing_waited_makes_nobody_slow():
    made = settled(500, LONG, 50)
    before = made.waiting_max
    made.settle(500, 0, LONG_MS + 50)
    for number in range(200):  # empty blocks, and one with what only others had waiting
        made.settle(0 if number else 3, 0, LONG_MS + 100 + number * 50)
    assert made.waiting_max == before
    settled(500, 1, 50, made, 2 * LONG_MS)
    assert abs(made.waiting_max - before) <= 1


def test_what_waits_from_earlier_on_does_not_begin_again():
    made, other = settled(500, LONG, 50), settled(500, LONG, 50)
    other.begin(LONG_MS + 400)
    for one in made, other:
        one.settle(100, 1, LONG_MS + 500)
    assert other.waiting_max == made.waiting_max


def test_two_blocks_in_one_millisecond_are_no_division_by_nothing():
    made = Backlog()
    made.begin(7)
    made.settle(10, 1, 7)
    made.settle(10, 1, 7)
    assert made.waiting_max >= backlog.WAITING_MIN
