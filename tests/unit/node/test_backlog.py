"""What may wait follows what becomes final."""

from p2pledger.node import backlog
from p2pledger.node.backlog import Backlog


def settled(per_block, blocks, every_ms, made=None, start_ms=0):
    made = made or Backlog(start_ms)
    for number in range(1, blocks + 1):
        made.settle(per_block, start_ms + number * every_ms)
    return made


def test_an_idle_ledger_takes_a_burst():
    assert Backlog(0).waiting_max == backlog.WAITING_MIN
    assert settled(5, 100, 1_000).waiting_max == backlog.WAITING_MIN


def test_a_fast_one_lets_wait_what_becomes_final_soon():
    per_s = 10_000
    made = settled(per_s // 20, 400, 50)
    assert abs(made.waiting_max - per_s * backlog.WAIT_MS / 1_000) < per_s * 0.01


def test_what_was_long_ago_is_forgotten_and_empty_blocks_count_too():
    made = settled(500, 400, 50)
    assert made.waiting_max > backlog.WAITING_MIN
    settled(0, 200, 50, made, 20_000)
    assert made.waiting_max == backlog.WAITING_MIN


def test_two_blocks_in_one_millisecond_are_no_division_by_nothing():
    made = Backlog(7)
    made.settle(10, 7)
    made.settle(10, 7)
    assert made.waiting_max >= backlog.WAITING_MIN
