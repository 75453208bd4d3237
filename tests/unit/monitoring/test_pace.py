"""Spans of time as Prometheus writes them, in earnest and faster."""

import pytest
from p2pledger.monitoring.pace import DAY, HOUR, MINUTE, SPEED_MAX, Pace


@pytest.mark.parametrize(
    ("speed", "span_s", "written"),
    [
        (1, 30, "30s"),
        (1, 2 * MINUTE, "2m"),
        (1, 6 * HOUR, "6h"),
        (1, 90, "90s"),
        (10, 15 * MINUTE, "90s"),
        (10, 6 * HOUR, "36m"),
        (10, 30, "3s"),
        (60, 30, "500ms"),
    ],
)
def test_a_span_is_divided_and_written(speed: int, span_s: int, written: str) -> None:
    assert Pace(speed)(span_s) == written


def test_a_number_of_seconds_is_divided_too() -> None:
    assert (Pace().seconds(DAY), Pace(10).seconds(DAY)) == (86_400, 8_640)


@pytest.mark.parametrize("speed", [0, -1, SPEED_MAX + 1])
def test_other_speeds_are_refused(speed: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to {SPEED_MAX}"):
        Pace(speed)
