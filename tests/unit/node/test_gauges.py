"""Gauges are read at once, and then once a second."""

import trio
from p2pledger.node.gauges import GAUGES_S, keep_gauges


class Measured:
    def __init__(self) -> None:
        self.measured_s: list[float] = []
        self.lags_s: list[float] = []

    def measure(self) -> None:
        self.measured_s.append(trio.current_time())

    def count_lag(self, seconds: float) -> None:
        self.lags_s.append(seconds)


async def test_gauges_tell_from_the_start_and_then_once_a_second(autojump_clock) -> None:
    node, began_s = Measured(), trio.current_time()
    with trio.move_on_after(2.5 * GAUGES_S):
        await keep_gauges(node)
    assert [at_s - began_s for at_s in node.measured_s] == [0, GAUGES_S, 2 * GAUGES_S]
    assert node.lags_s == [0, 0]  # of the waits alone
