"""Figures are counted from what every node holds; where one node disagrees, they are less or none."""

import pytest
from p2pledger.bench.figures import Account, account, ceiling, growth, percentiles, share


def ids(*numbers):
    return [bytes([number]) * 32 for number in numbers]


def held(**heights):
    return {bytes([int(number[1:])]) * 32: height for number, height in heights.items()}


def test_final_is_only_what_every_node_held_within_the_window():
    one = held(t1=5, t2=5, t3=6, t4=7)
    other = held(t1=5, t2=5, t3=6)
    taken = ids(1, 2, 3, 4)
    assert account(taken, [one, other], 0, 5) == Account(early=0, final=2, late=1, missing=1)
    assert account(taken, [one, other], 5, 6) == Account(early=2, final=1, late=0, missing=1)


def test_what_was_not_taken_does_not_count_though_it_is_final():
    assert account(ids(1), [held(t1=1, t2=1)], 0, 1) == Account(early=0, final=1, late=0, missing=0)


def test_nothing_is_final_where_no_node_says_so():
    seen = [held(), held(t1=1, t2=1)]
    assert account(ids(1, 2), seen, 0, 9) == Account(early=0, final=0, late=0, missing=2)


def test_the_ceiling_is_shared_by_all_nodes():
    assert ceiling(48_000, 4) == 12_000
    assert share(4_200, ceiling(48_000, 4)) == 0.35
    assert share(1, 0) is None


def test_percentiles_need_no_order():
    assert percentiles(float(n) for n in range(100, 0, -1)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None}


def test_counters_that_were_not_there_before_began_at_nothing():
    assert growth({"verify": 1.0}, {"verify": 3.5, "execute": 2.0}) == {"verify": 2.5, "execute": 2.0}


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_a_share_has_four_digits(seconds):
    assert share(seconds, 3.0) == round(seconds / 3, 4)
