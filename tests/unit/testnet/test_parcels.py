"""Parcels hold every row once, and a schedule lets none outrun its device's gaps."""

import random

import pytest
from p2pledger.testnet.parcels import OPEN_GAPS_MAX, Parcel, Schedule, parcels
from p2pledger.testnet.sources import SOURCES, Row, Source, data_directory
from p2pledger.types import Millis


def a_row(seq: int, *, is_repeat: bool = False, time_ms: int | None = None) -> Row:
    return Row(seq, Millis(seq if time_ms is None else time_ms), (seq,), is_repeat)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_parcels_hold_every_row_once_in_order(source: Source) -> None:
    told = list(source.rows(data_directory()))
    made = list(parcels(told, source.readings_per_batch))
    assert [row for parcel in made for row in parcel.rows] == told
    for parcel in made:
        assert 1 <= len(parcel.rows) <= source.readings_per_batch
        assert all(row.is_repeat == parcel.is_repeat for row in parcel.rows)
        assert [row.seq - parcel.rows[0].seq for row in parcel.rows] == list(range(len(parcel.rows)))
        assert len({row.time_ms // 86_400_000 for row in parcel.rows}) == 1
    numbers = {row.seq for row in told}
    assert made[-1].gaps == sum(1 for n in range(max(numbers)) if n not in numbers and n - 1 in numbers)


@pytest.mark.parametrize(
    ("told", "sizes"),
    [
        ([a_row(0), a_row(1), a_row(2), a_row(3)], [3, 1]),
        ([a_row(0), a_row(2), a_row(3)], [1, 2]),
        ([a_row(0), a_row(0, is_repeat=True), a_row(1)], [1, 1, 1]),
        ([a_row(0, time_ms=86_399_999), a_row(1, time_ms=86_400_000)], [1, 1]),
        ([], []),
    ],
)
def test_a_parcel_ends_when_full_at_a_gap_at_a_repeat_and_with_the_day(
    told: list[Row], sizes: list[int]
) -> None:
    assert [len(parcel.rows) for parcel in parcels(told, 3)] == sizes


def taken(schedule: Schedule) -> tuple[int, Parcel]:
    found = schedule.take()
    assert found is not None
    return found


def test_streams_go_in_proportion() -> None:
    schedule = Schedule(
        [[Parcel((a_row(n),), 0) for n in range(6)], [Parcel((a_row(n),), 0) for n in range(3)]]
    )
    order = [taken(schedule)[0] for _ in range(9)]
    assert schedule.take() is None
    assert all(order[:n].count(0) <= 2 * order[:n].count(1) + 2 for n in range(10))
    assert all(order[:n].count(1) <= order[:n].count(0) / 2 + 1 for n in range(10))


def test_a_repeat_waits_for_all_before_it_and_holds_up_no_other_device() -> None:
    repeat = Parcel((a_row(0, is_repeat=True),), 0)
    schedule = Schedule([[Parcel((a_row(0),), 0), repeat], [Parcel((a_row(n),), 0) for n in range(2)]])
    assert [taken(schedule)[0] for _ in range(3)] == [0, 1, 1]
    assert schedule.take() is None
    schedule.settle(0)
    assert taken(schedule) == (0, repeat)


def test_parcels_under_way_and_gaps_together_stay_within_the_limit() -> None:
    near = [Parcel((a_row(2 * n),), OPEN_GAPS_MAX - 1) for n in range(4)]
    schedule = Schedule([near])
    taken(schedule), taken(schedule)
    assert schedule.take() is None
    schedule.settle(0)
    assert taken(schedule) == (0, near[2])


def test_what_is_put_back_goes_first() -> None:
    first, second = Parcel((a_row(0),), 0), Parcel((a_row(1),), 0)
    schedule = Schedule([[first, second]])
    taken(schedule)
    schedule.put_back(0, first)
    assert taken(schedule) == (0, first)


def test_the_real_data_never_stall_and_never_pass_the_limit() -> None:
    streams = [list(parcels(s.rows(data_directory()), s.readings_per_batch)) for s in SOURCES]
    schedule, chance = Schedule(streams), random.Random(4)
    under_way: list[tuple[int, Parcel]] = []
    while not schedule.is_done():
        if (found := schedule.take()) is not None and len(under_way) < 100:
            under_way.append(found)
            index, parcel = found
            mine = [other for i, other in under_way if i == index]
            assert parcel.is_repeat or parcel.gaps + len(mine) - 1 <= OPEN_GAPS_MAX
            continue
        if found is not None:
            schedule.put_back(*found)
        schedule.settle(under_way.pop(chance.randrange(len(under_way)))[0])
    assert schedule.settled == schedule.size == sum(len(stream) for stream in streams)
