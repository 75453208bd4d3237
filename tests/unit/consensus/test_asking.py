"""Questions: one at a time, in turn, for ever, while they are wished."""

import pytest
from p2pledger.chain.message import BlocksRequest
from p2pledger.consensus.asking import QUESTIONS_MAX, WAIT_MS_MAX, Asking
from p2pledger.consensus.events import Ask
from p2pledger.types import Height, Millis

REQUEST = BlocksRequest(Height(1), 1)


@pytest.fixture
def asking():
    return Asking()


def due(asking, now, *keys):
    for key in keys:
        asking.want(key, REQUEST, [3, 1, 2, 1])
    return asking.due(Millis(now))


def test_a_wish_is_put_at_once_and_not_twice(asking):
    assert due(asking, 0, "a") == [Ask("a", 3, REQUEST)]
    assert due(asking, 1, "a") == []
    assert asking.is_open("a")


def test_peers_take_turns_with_growing_waits_for_ever(asking):
    now, asked, waits = 0, [], []
    for _ in range(40):
        [ask] = due(asking, now, "a")
        asked.append(ask.peer)
        asking.fail("a", Millis(now))
        assert due(asking, now, "a") == []
        waits.append(asking.wake_ms() - now)
        now = asking.wake_ms()
    assert asked[:6] == [3, 1, 2, 3, 1, 2]
    assert waits[0] == 100
    assert max(waits) == waits[-1] == WAIT_MS_MAX


def test_what_nobody_wishes_any_more_is_dropped(asking):
    due(asking, 0, "a", "b")
    due(asking, 1, "b")
    assert not asking.is_open("a")
    assert asking.is_open("b")


def test_a_wish_that_changes_before_it_is_put_is_put_as_it_is_now(asking):
    due(asking, 0, "a")
    asking.fail("a", Millis(0))
    newer = BlocksRequest(Height(9), 1)
    asking.want("a", newer, [1])
    assert asking.due(Millis(100)) == [Ask("a", 1, newer)]


def test_an_answer_closes_and_the_next_wish_begins_anew(asking):
    due(asking, 0, "a")
    asking.close("a")
    assert due(asking, 0, "a") == [Ask("a", 3, REQUEST)]


def test_a_wish_without_peers_is_none(asking):
    asking.want("a", REQUEST, [])
    assert asking.due(Millis(0)) == []


def test_open_questions_are_bounded(asking):
    assert len(due(asking, 0, *map(str, range(QUESTIONS_MAX + 50)))) == QUESTIONS_MAX
    assert len(asking) == QUESTIONS_MAX


def test_failures_of_what_is_not_open_mean_nothing(asking):
    asking.fail("a", Millis(0))
    asking.close("a")
    assert asking.wake_ms() is None


def test_a_clock_that_is_set_moves_the_waits_along(asking):
    due(asking, 0, "a")
    asking.fail("a", Millis(0))
    asking.shift(1_000)
    assert asking.wake_ms() == 1_100
