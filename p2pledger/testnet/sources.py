"""The real data that a testnet replays, read exactly: integers in, no floats on the way. Floor 8.

    name     group    device               sent as                      values of a reading
    meter-a  meters   electricity_meter    batches, personal.reading/1  register, Wh
    meter-b  meters   electricity_meter    batches, personal.reading/1  register, Wh
    ride     ride     speed_sensor         batches, personal.reading/1  speed mm/s, distance m
    water    water    flow_meter           records, sensor.reading/1    flow, ml/s

A row's number is (its stamp - the first stamp) / interval, so what is missing in a file is missing on
the ledger, and a stamp that comes twice gives a number twice. A meter is a register that only grows:
it adds up the half-hours that it has not counted yet, exactly, and shows whole Wh. A repeated row of a
meter therefore shows what the register showed at that number before; the repeated second of the ride
has values of its own.

The ride names no date, and none is made up: its times start at 0 on the first day of 1970.
"""

import csv
import gzip
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from p2pledger.types import Millis

HALF_HOUR_MS = 1_800_000
HOUR_MS = 3_600_000
SECOND_MS = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Row:
    """One row of a file as its device tells it. `is_repeat`: its number has been there before."""

    seq: int
    time_ms: Millis
    values: tuple[int, ...]
    is_repeat: bool


@dataclass(frozen=True)
class Source:
    """A file, the device that it stands for, and how its rows travel."""

    name: str
    group: str
    device_kind: str
    schema: str
    readings_per_batch: int
    """1: every row is a record of its own, in clear."""
    rows: Callable[[Path], Iterator[Row]]
    """From the data's directory to its rows in the file's order."""


def data_directory() -> Path:
    """Where the data files are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for directory in (package / "data", package.parent.parent / "testnet" / "data"):
        if directory.is_dir():
            return directory
    raise FileNotFoundError("the testnet's data files are neither in the package nor in testnet/data")


def _table(path: Path) -> Iterator[list[str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    table = csv.reader(text.splitlines())
    next(table)
    yield from table


def _numbered(
    stamped: Iterable[tuple[int, list[str]]], interval_ms: int
) -> Iterator[tuple[int, Millis, list[str], bool]]:
    """Number, time, cells, and whether the number was there before. Raises ValueError off the grid."""
    first_ms: int | None = None
    seen = set()
    for time_ms, cells in stamped:
        first_ms = time_ms if first_ms is None else first_ms
        seq, rest = divmod(time_ms - first_ms, interval_ms)
        if rest or seq < 0:
            raise ValueError(f"a stamp lies {rest} ms beside its interval")
        yield seq, Millis(time_ms), cells, seq in seen
        seen.add(seq)


def _whole(value: Fraction) -> int:
    if value.denominator != 1:
        raise ValueError(f"{value} is not whole in its unit")
    return value.numerator


def _stamp_ms(text: str) -> int:
    """Milliseconds of an ISO 8601 stamp; one without an offset counts as UTC."""
    stamp = datetime.fromisoformat(text)
    stamp = stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp
    return (stamp - _EPOCH) // _MILLISECOND


def _elapsed_ms(text: str) -> int:
    """Milliseconds of an elapsed time such as `0 days 01:13:11`."""
    days, _, clock = text.split()
    hours, minutes, seconds = clock.split(":")
    return (((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)) * SECOND_MS


def _meter(file: str) -> Callable[[Path], Iterator[Row]]:
    def rows(directory: Path) -> Iterator[Row]:
        stamped = ((_stamp_ms(cells[0]), cells) for cells in _table(directory / file))
        register_kwh, shown_wh = Fraction(0), dict[int, int]()
        for seq, time_ms, cells, is_repeat in _numbered(stamped, HALF_HOUR_MS):
            if not is_repeat:
                register_kwh += Fraction(cells[1])
                shown_wh[seq] = math.floor(register_kwh * 1_000)
            yield Row(seq, time_ms, (shown_wh[seq],), is_repeat)

    return rows


def _ride(directory: Path) -> Iterator[Row]:
    stamped = ((_elapsed_ms(cells[0]), cells) for cells in _table(directory / "ride.csv.gz"))
    for seq, time_ms, (_, speed, distance), is_repeat in _numbered(stamped, SECOND_MS):
        values = (_whole(Fraction(speed) * 1_000), math.floor(Fraction(distance)))
        yield Row(seq, time_ms, values, is_repeat)


def _water(directory: Path) -> Iterator[Row]:
    stamped = ((_stamp_ms(cells[0]), cells) for cells in _table(directory / "water_flow.csv"))
    for seq, time_ms, (_, flow), is_repeat in _numbered(stamped, HOUR_MS):
        yield Row(seq, time_ms, (_whole(Fraction(flow) * 1_000),), is_repeat)


def _metered(name: str, file: str) -> Source:
    return Source(name, "meters", "electricity_meter", "personal.reading/1", 5, _meter(file))


SOURCES: tuple[Source, ...] = (
    _metered("meter-a", "meter_halfhourly_a.csv.gz"),
    _metered("meter-b", "meter_halfhourly_b.csv.gz"),
    Source("ride", "ride", "speed_sensor", "personal.reading/1", 5, _ride),
    Source("water", "water", "flow_meter", "sensor.reading/1", 1, _water),
)


def source_of(name: str) -> Source:
    """One of SOURCES, by its name."""
    return next(source for source in SOURCES if source.name == name)


REPLAYS: dict[str, tuple[Source, ...]] = {
    "all": SOURCES,
    **{group: tuple(s for s in SOURCES if s.group == group) for group in ("meters", "ride", "water")},
    "none": (),
}
"""What `--replay NAME` replays."""
