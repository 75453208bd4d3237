"""How rows are parcelled into transactions, and which parcel may go next. Pure. Floor 8.

A batch holds consecutive numbers of one device within one UTC day. So it ends when it is full, before a
gap, before a repeated row, and with the day: gaps stay visible on the ledger, and a batch of a personal
schema can name its day and nothing finer.

A repeated row is a parcel of its own, sent once all that came before it is final: the ledger has that
number already and must answer `duplicate`.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from p2pledger.chain.schema import day_of
from p2pledger.testnet.sources import Row

OPEN_GAPS_MAX = 64
"""How many gaps the ledger keeps open for a device (MODULES, records)."""


@dataclass(frozen=True)
class Parcel:
    """Rows that one transaction carries; a repeat is one row. `gaps`: how many its device has up to here."""

    rows: tuple[Row, ...]
    gaps: int

    @property
    def is_repeat(self) -> bool:
        """Whether the ledger must refuse it."""
        return self.rows[0].is_repeat


def parcels(rows: Iterable[Row], readings_max: int) -> Iterator[Parcel]:
    """Parcel rows in their order, up to `readings_max` in one."""
    open_rows: list[Row] = []
    highest, gaps = -1, 0
    for row in rows:
        if open_rows and (len(open_rows) == readings_max or not _continues(open_rows[-1], row)):
            yield Parcel(tuple(open_rows), gaps)
            open_rows = []
        gaps += row.seq > highest + 1
        highest = max(highest, row.seq)
        if row.is_repeat:
            yield Parcel((row,), gaps)
        else:
            open_rows.append(row)
    if open_rows:
        yield Parcel(tuple(open_rows), gaps)


def _continues(last: Row, row: Row) -> bool:
    return not row.is_repeat and row.seq == last.seq + 1 and day_of(row.time_ms) == day_of(last.time_ms)


class _Stream:
    """The parcels of one device: those to come, and how many are on their way."""

    def __init__(self, parcels: Iterable[Parcel]) -> None:
        self.waiting = deque(parcels)
        self.size = len(self.waiting)
        self.under_way = 0

    def is_ready(self) -> bool:
        if not self.waiting:
            return False
        if self.waiting[0].is_repeat:
            return self.under_way == 0
        # Each parcel under way can look like one gap more to those that overtake it.
        return self.waiting[0].gaps + self.under_way <= OPEN_GAPS_MAX

    def share_left(self) -> float:
        return len(self.waiting) / self.size


class Schedule:
    """Which device's parcel goes next, so that all devices end together and none outruns its gaps.

    Every parcel that is taken must come back, by `settle` or by `put_back`.
    """

    def __init__(self, streams: Sequence[Iterable[Parcel]]) -> None:
        self._streams = [_Stream(stream) for stream in streams]
        self.size = sum(stream.size for stream in self._streams)
        self.settled = 0
        """How many parcels were settled."""

    def take(self) -> tuple[int, Parcel] | None:
        """The next parcel with the index of its stream; None while there is none that may go."""
        ready = [index for index, stream in enumerate(self._streams) if stream.is_ready()]
        if not ready:
            return None
        index = max(ready, key=lambda i: self._streams[i].share_left())
        stream = self._streams[index]
        stream.under_way += 1
        return index, stream.waiting.popleft()

    def settle(self, index: int) -> None:
        """A parcel of this stream is final or refused."""
        self._streams[index].under_way -= 1
        self.settled += 1

    def put_back(self, index: int, parcel: Parcel) -> None:
        """A parcel did not get there and goes again, before all that is waiting."""
        self._streams[index].under_way -= 1
        self._streams[index].waiting.appendleft(parcel)

    def is_done(self) -> bool:
        """Whether every parcel was taken and settled."""
        return not any(stream.waiting or stream.under_way for stream in self._streams)
