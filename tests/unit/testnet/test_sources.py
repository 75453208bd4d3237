"""The data files as devices tell them, against a count that shares no code with the reader."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from p2pledger.testnet.sources import REPLAYS, SOURCES, Row, data_directory

BY_NAME = {source.name: source for source in SOURCES}


def rows(name: str) -> list[Row]:
    return list(BY_NAME[name].rows(data_directory()))


def lines(file: str) -> list[list[str]]:
    path = data_directory() / file
    text = gzip.decompress(path.read_bytes()).decode() if file.endswith(".gz") else path.read_text()
    return [line.split(",") for line in text.splitlines()[1:]]


def gaps(numbers: set[int]) -> tuple[int, int]:
    """How many runs of numbers are missing, and how many numbers."""
    missing = [n for n in range(max(numbers) + 1) if n not in numbers]
    return sum(1 for n in missing if n - 1 in numbers), len(missing)


@pytest.mark.parametrize(
    ("name", "count", "repeats", "gap_runs", "gap_numbers"),
    [
        ("meter-a", 22_536, 15, 5, 52),
        ("meter-b", 35_468, 24, 27, 15_676),
        ("ride", 4_391, 63, 64, 64),
        ("water", 1_268, 0, 10, 111),
    ],
)
def test_repeats_and_gaps_are_those_of_the_file(
    name: str, count: int, repeats: int, gap_runs: int, gap_numbers: int
) -> None:
    told = rows(name)
    first = [row for row in told if not row.is_repeat]
    assert len(told) == count
    assert len(told) - len(first) == repeats
    assert len({row.seq for row in first}) == len(first)
    assert gaps({row.seq for row in first}) == (gap_runs, gap_numbers)
    assert first[0].seq == 0


@pytest.mark.parametrize(
    ("name", "file"),
    [("meter-a", "meter_halfhourly_a.csv.gz"), ("meter-b", "meter_halfhourly_b.csv.gz")],
)
def test_a_meter_is_a_register_in_whole_watt_hours(name: str, file: str) -> None:
    total, seen, expected = Decimal(0), {}, []
    for stamp, kwh in lines(file):
        if stamp not in seen:
            total += Decimal(kwh)
            seen[stamp] = int(total * 1000)
        expected.append((int(datetime.fromisoformat(stamp + "+00:00").timestamp()) * 1000, seen[stamp]))
    assert [(row.time_ms, *row.values) for row in rows(name)] == expected


def test_the_ride_is_in_millimetres_a_second_and_metres_and_names_no_date() -> None:
    told = rows("ride")
    assert [row.values for row in told] == [
        (int(Decimal(speed) * 1000), int(Decimal(distance))) for _, speed, distance in lines("ride.csv.gz")
    ]
    assert told[-1].values[1] == 37_150
    assert {row.time_ms // 86_400_000 for row in told} == {0}


def test_water_flows_by_the_clock_of_utc() -> None:
    told, table = rows("water"), lines("water_flow.csv")
    first = datetime.fromisoformat(table[0][0])
    for row, (stamp, flow) in zip(told, table, strict=True):
        at = datetime.fromisoformat(stamp)
        assert row.time_ms == int(at.astimezone(UTC).timestamp()) * 1000
        assert row.seq == (at - first).total_seconds() / 3600
        assert row.values == (int(Decimal(flow) * 1000),)


def test_every_replay_names_its_sources() -> None:
    assert {name: [source.name for source in sources] for name, sources in REPLAYS.items()} == {
        "all": ["meter-a", "meter-b", "ride", "water"],
        "meters": ["meter-a", "meter-b"],
        "ride": ["ride"],
        "water": ["water"],
        "none": [],
    }
