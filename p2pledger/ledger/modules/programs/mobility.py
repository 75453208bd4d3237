"""The engine for responsible driving: from a trace to sums, from sums to a score and points. Floor 4, pure.

Integers only, and each rule is one line, so that anybody can work out a claim with pencil and paper. A trip
is an uninterrupted trace at 1 Hz; a trace stays with the resident, under its root.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from p2pledger import merkle
from p2pledger.chain.payloads import Drive, MobilityParameters
from p2pledger.chain.reading import Reading
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.types import Hash, Millis

INTERVAL_MAX_MS = 1_000
"""Harsh events are not told from a coarser trace: a gap would hide them."""


class Sample(NamedTuple):
    """One second of a trip: when, how fast, and how far the vehicle's own counter had come."""

    time_ms: Millis
    speed_mm_s: int
    distance_m: int


def drive_of(trips: Iterable[Sequence[Sample]], parameters: MobilityParameters) -> Drive:
    """What trips come to. Every interval counts as a harsh event that changes the speed by too much for it.

    An interval is driven when the vehicle moves at either end of it, and over the limit when it ends above
    it. Seconds are those of all trips together, rounded down.

    Raises: InvalidTransaction (`trace_too_coarse`) for an interval longer than INTERVAL_MAX_MS; ValueError
    for a time that does not ascend, a counter that runs back, or a drive that nobody drives.
    """
    distance_m = driven_ms = brakes = accelerations = over_ms = samples = 0
    for trip in trips:
        samples += len(trip)
        for before, after in pairwise(trip):
            dt_ms, dv_mm_s = after.time_ms - before.time_ms, after.speed_mm_s - before.speed_mm_s
            if dt_ms <= 0 or after.distance_m < before.distance_m:
                raise ValueError("times ascend in a trip, and its counter does not run back")
            if dt_ms > INTERVAL_MAX_MS:
                raise InvalidTransaction(
                    Code.TRACE_TOO_COARSE, f"an interval of {dt_ms} ms is longer than {INTERVAL_MAX_MS} ms"
                )
            # dv/dt against a threshold, multiplied out: dividing negatives would round away from zero.
            brakes += 1_000 * dv_mm_s <= -parameters.brake_mm_s2 * dt_ms
            accelerations += 1_000 * dv_mm_s >= parameters.acceleration_mm_s2 * dt_ms
            if before.speed_mm_s or after.speed_mm_s:
                driven_ms += dt_ms
                over_ms += dt_ms if after.speed_mm_s > parameters.speed_limit_mm_s else 0
            distance_m += after.distance_m - before.distance_m
    return Drive(distance_m, driven_ms // 1_000, brakes, accelerations, over_ms // 1_000, samples)


def check_rate(drive: Drive) -> None:
    """Refuse sums of a trace below 1 Hz: each trip has one sample more than it has seconds.

    Raises: InvalidTransaction.
    """
    if drive.samples <= drive.driven_s:
        raise InvalidTransaction(
            Code.TRACE_TOO_COARSE, f"{drive.samples} samples cannot cover {drive.driven_s} s at 1 Hz"
        )


def score_of(drive: Drive, parameters: MobilityParameters) -> int:
    """How careful a drive was, from 0 to 1,000: by harsh events per 100 km and the share over the limit."""
    events = (
        parameters.brake_weight * drive.harsh_brakes
        + parameters.acceleration_weight * drive.harsh_accelerations
    )
    per_100_km = events * 100_000 // max(drive.distance_m, 1_000)
    over = parameters.over_weight * drive.over_s * 1_000 // max(drive.driven_s, 1)
    return max(0, 1_000 - per_100_km - over)


def points_of(score: int, distance_m: int, parameters: MobilityParameters) -> int:
    """What a score over a distance earns, rounded down once."""
    if score < parameters.score_min:
        return 0
    paid_m = min(distance_m, parameters.distance_max_m)
    return paid_m * score * parameters.points_per_km // 1_000_000


def trace_root(readings: Iterable[Reading]) -> Hash:
    """The root of a trace: over its salted readings in their order, as many as a week has."""
    return merkle.root([reading.leaf() for reading in readings])
