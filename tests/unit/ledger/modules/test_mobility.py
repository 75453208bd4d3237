"""The engine for driving: its rules at their edges, and a real ride worked out by hand."""

import csv
import gzip
import itertools
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from p2pledger import merkle
from p2pledger.chain.payloads import Drive
from p2pledger.chain.reading import Reading
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.programs.mobility import (
    Sample,
    check_rate,
    drive_of,
    points_of,
    score_of,
    trace_root,
)
from tests.programs import CAREFUL, DRIVING

RIDE = Path(__file__).parents[4] / "testnet" / "data" / "ride.csv.gz"


def trip(*speeds: int, interval_ms: int = 1_000) -> list[Sample]:
    return [Sample(i * interval_ms, speed, 0) for i, speed in enumerate(speeds)]


@pytest.mark.parametrize(
    ("dv", "dt", "brakes"),
    [(-2_500, 1_000, 1), (-2_499, 1_000, 0), (-1_250, 500, 1), (-1_249, 500, 0), (-3, 1, 1), (-2, 1, 0)],
)
def test_a_brake_is_harsh_from_the_threshold_on(dv, dt, brakes):
    # At 1 ms, 2.5 mm/s are the threshold: dividing -2 by 1 would do, and rounding -2.5 down to -3 would not.
    found = drive_of([trip(10_000, 10_000 + dv, interval_ms=dt)], DRIVING)
    assert (found.harsh_brakes, found.harsh_accelerations) == (brakes, 0)


@pytest.mark.parametrize(("dv", "harsh"), [(2_000, 1), (1_999, 0), (0, 0)])
def test_an_acceleration_is_harsh_from_the_threshold_on(dv, harsh):
    assert drive_of([trip(5_000, 5_000 + dv)], DRIVING).harsh_accelerations == harsh


def test_each_interval_counts_for_itself():
    assert drive_of([trip(9_000, 6_000, 3_000, 0)], DRIVING).harsh_brakes == 3


def test_a_trace_below_one_hertz_is_refused_not_zeroed():
    with pytest.raises(InvalidTransaction) as caught:
        drive_of([trip(9_000, 0, interval_ms=1_001)], DRIVING)
    assert caught.value.code == "trace_too_coarse"
    check_rate(Drive(0, 10, 0, 0, 0, 11))
    with pytest.raises(InvalidTransaction):
        check_rate(Drive(0, 10, 0, 0, 0, 10))


def test_nothing_lies_between_two_trips():
    one, other = (
        [Sample(0, 9_000, 5), Sample(1_000, 9_000, 14)],
        [Sample(9_000, 0, 90), Sample(10_000, 0, 90)],
    )
    assert drive_of([one, other], DRIVING) == Drive(9, 1, 0, 0, 0, 4)


def test_what_runs_back_is_no_trip():
    for second in (Sample(0, 1, 1), Sample(1_000, 1, 0)):
        with pytest.raises(ValueError, match="ascend"):
            drive_of([[Sample(0, 1, 1), second]], DRIVING)


def test_standing_is_not_driving_and_the_limit_itself_is_kept():
    limit = DRIVING.speed_limit_mm_s
    found = drive_of([trip(0, 0, 1_000, limit, limit + 1, 0)], DRIVING)
    assert (found.driven_s, found.over_s) == (4, 1)


@pytest.mark.parametrize(
    ("drive", "score"),
    [
        (CAREFUL, 955),
        (Drive(0, 0, 0, 0, 0, 0), 1_000),
        (Drive(0, 0, 1, 0, 0, 2), 0),
        (Drive(999, 100, 1, 0, 0, 101), 0),
        (Drive(99_999, 7_000, 1, 0, 0, 7_001), 990),
        (Drive(100_001, 7_000, 1, 0, 0, 7_001), 991),
        (Drive(100_000, 7_000, 0, 0, 7_000, 7_001), 0),
        (Drive(100_000, 7_000, 0, 0, 6, 7_001), 1_000),
        (Drive(100_000, 7_000, 0, 0, 7, 7_001), 999),
    ],
)
def test_the_score_is_as_published(drive, score):
    assert score_of(drive, DRIVING) == score


def test_points_are_for_care_up_to_a_distance():
    assert points_of(499, 100_000, DRIVING) == 0
    assert points_of(500, 100_000, DRIVING) == 5_000
    assert points_of(1_000, 200_000, DRIVING) == points_of(1_000, 900_000, DRIVING) == 20_000
    assert points_of(999, 11, DRIVING) == 1


def _ride() -> list[tuple[int, int, int]]:
    """Second, mm/s and m of each row, in the file's order; what comes twice is left out the second time."""
    rows, seen = [], set()
    for stamp, speed, distance in list(csv.reader(gzip.decompress(RIDE.read_bytes()).decode().splitlines()))[
        1:
    ]:
        hours, minutes, seconds = map(int, stamp.split()[-1].split(":"))
        second = hours * 3_600 + minutes * 60 + seconds
        if second not in seen:
            seen.add(second)
            rows.append((second, int(Decimal(speed) * 1_000), int(Decimal(distance))))
    return rows


def test_a_real_ride_comes_to_what_a_plain_reading_of_it_does():
    rows = _ride()
    rules = replace(DRIVING, brake_mm_s2=800, acceleration_mm_s2=700, speed_limit_mm_s=12_000, score_min=400)
    trips = [[Sample(rows[0][0] * 1_000, *rows[0][1:])]]
    expected = {"m": 0, "driven": 0, "brakes": 0, "accelerations": 0, "over": 0}
    for (before_s, before, from_m), (after_s, after, to_m) in itertools.pairwise(rows):
        if after_s - before_s > 1:
            trips.append([])
        else:
            expected["m"] += to_m - from_m
            expected["driven"] += before > 0 or after > 0
            expected["over"] += after > 12_000
            expected["brakes"] += before - after >= 800
            expected["accelerations"] += after - before >= 700
        trips[-1].append(Sample(after_s * 1_000, after, to_m))
    found = drive_of(trips, rules)
    assert [*expected.values(), len(rows)] == [
        found.distance_m,
        found.driven_s,
        found.harsh_brakes,
        found.harsh_accelerations,
        found.over_s,
        found.samples,
    ]
    assert found == Drive(36_152, 4_261, 12, 9, 256, 4_328)
    # 1000 - (10*12 + 5*9) * 100000 // 36152 - 256*1000 // 4261 = 1000 - 456 - 60
    assert score_of(found, rules) == 484
    assert points_of(484, found.distance_m, rules) == 1_749


def test_the_ride_as_one_trip_is_too_coarse_only_where_it_has_gaps():
    rows = _ride()
    has_gap = any(after[0] - before[0] > 1 for before, after in itertools.pairwise(rows))
    samples = [Sample(second * 1_000, speed, metres) for second, speed, metres in rows]
    assert has_gap
    with pytest.raises(InvalidTransaction):
        drive_of([samples], DRIVING)


def test_a_traces_root_is_over_its_salted_readings():
    readings = [Reading(i, i * 1_000, (i, i), bytes([i]) * 16) for i in range(5)]
    assert trace_root(readings) == merkle.root([reading.leaf() for reading in readings])
    other = [*readings[:4], replace(readings[4], values=(4, 5))]
    assert trace_root(other) != trace_root(readings)
