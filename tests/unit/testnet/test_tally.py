"""What a replay reports is counted, not estimated."""

import pytest
from p2pledger.testnet.tally import Tally, percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([5.0], 50, 5.0), ([1.0, 2.0, 3.0, 4.0], 50, 2.0), ([1.0, 2.0, 3.0, 4.0], 99, 4.0), ([], 50, None)],
)
def test_percentiles_are_nearest_ranks(values: list[float], percent: int, expected: float | None) -> None:
    assert percentile(values, percent) == expected


def test_a_hundred_latencies() -> None:
    tally = Tally()
    for latency_ms in range(100, 0, -1):
        tally.final(5, float(latency_ms))
    assert tally.latency_ms() == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert (tally.transactions_final, tally.readings_final) == (100, 500)
