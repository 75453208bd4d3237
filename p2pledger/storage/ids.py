"""Where a transaction is, by its id: rows kept so that adding one costs the same in a chain of any length.

Floor 5. Ids are random, so in one sorted table every new row would touch a page of its own, and soon the
table is all that a commit waits for. Rows stand in runs instead: run n has those of 2**RUN_BITS results in
their order, which is few pages. Sixteen full runs are then moved into one, -1 for the first sixteen, -2 for
the next; a small part of that at a time, by ranges of ids, while the next sixteen fill. So a chain of ten
million transactions has some forty runs, each of which is looked into; a row is always in exactly one.

The first 8 bytes of an id stand for it, and the transaction's own row decides: ids ground to the same 8
bytes cost a longer look and nothing else.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import Any

from p2pledger.storage import schema
from p2pledger.types import Hash, Millis

RUN_BITS = 16
MERGED_BITS = 4
"""Sixteen runs become one: the statements in `schema` count on it."""
PARTS_BITS = 8
"""They do so in 2**PARTS_BITS parts, each in the commit of another block."""
RUNS_MAX = 32
"""If more runs than these are recent, all are looked into."""


def short_id(transaction_id: Hash) -> int:
    """The first 8 bytes of an id as SQLite's signed integer."""
    return int.from_bytes(transaction_id[:8], "big", signed=True)


def add_ids(writer: sqlite3.Connection, first: int, ids: Sequence[Hash]) -> None:
    """Make transactions findable whose results are numbered from `first` on."""
    rows = [(index >> RUN_BITS, short_id(id_), index) for index, id_ in enumerate(ids, first)]
    writer.executemany(schema.ID_PUT, sorted(rows))
    part_bits = RUN_BITS + MERGED_BITS - PARTS_BITS
    for part in range((first - 1 >> part_bits) + 1, (first + len(ids) - 1 >> part_bits) + 1):
        group, number = (part >> PARTS_BITS) - 1, part % (1 << PARTS_BITS)
        if group >= 0:
            _merge(writer, group, number)


def _merge(writer: sqlite3.Connection, group: int, part: int) -> None:
    width = 2**64 >> PARTS_BITS
    low = part * width - 2**63
    moved = {"first": group << MERGED_BITS, "low": low, "high": low + width - 1}
    writer.execute(schema.IDS_MERGE, moved | {"into": -1 - group})
    writer.execute(schema.IDS_MERGED, moved)


def find(reader: sqlite3.Connection, transaction_id: Hash) -> tuple[Any, ...] | None:
    """(result index, height, position, output, body, checksum) of a transaction; None when there is none."""
    asked = (RUN_BITS, RUN_BITS + MERGED_BITS, short_id(transaction_id), transaction_id)
    found: tuple[Any, ...] | None = reader.execute(schema.TRANSACTION_BY_ID, asked).fetchone()
    return found


class Window:
    """In which runs a transaction may stand that has not expired: not in those of old blocks only.

    A transaction expires at most `window_ms` after its block. What was stored before this began counts as
    recent until a window has passed: then more is looked into than needed, and nothing is missed.
    """

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._blocks = deque([(0, 0)])
        # Replaced as one, because whoever asks may be on another thread than the one that adds.
        self._recent: tuple[tuple[int, ...], Millis] | None = None

    def add(self, time_ms: Millis, first: int, end: int) -> None:
        """A block of this time is stored, with the results from `first` until before `end`."""
        self._blocks.append((time_ms, first))
        while self._blocks[1][0] + self._window_ms < time_ms:
            self._blocks.popleft()
        singles = range(self._blocks[0][1] >> RUN_BITS, (end >> RUN_BITS) + 1)
        # What was in a run is there or, from some later commit on, in the one that it was merged into.
        merged = {-1 - (run >> MERGED_BITS) for run in singles[:RUNS_MAX]}
        self._recent = ((*singles, *merged) if len(singles) <= RUNS_MAX else ()), time_ms

    def asking(self, transaction_id: Hash, time_ms: Millis) -> tuple[Any, ...]:
        """The statement that finds whether an id is used at the newest block's time, and its parameters.

        `time_ms` is that time while no block was added.
        """
        runs, newest_ms = self._recent or ((), time_ms)
        asked = short_id(transaction_id), transaction_id, newest_ms
        if not runs:
            return schema.IS_USED, RUN_BITS, RUN_BITS + MERGED_BITS, *asked
        return _is_used_in(len(runs)), *runs, *asked


@cache
def _is_used_in(runs: int) -> str:
    return schema.IS_USED_IN.format(runs=", ".join("?" * runs))
