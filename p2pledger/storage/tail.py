"""What the newest blocks wrote to the state and to the indexes: in memory, in front of the tables. Floor 5.

The rows of one block lie all over the tables, each on a page of its own, and much is written again soon. So a
commit writes them as one row of the journal, and they are found here. What many blocks wrote, a generation,
goes into the tables in the order of their keys, a slice with each of the following commits; then its journal
rows are let go. After a crash the journal is read back, and slices that were in the tables are written again.

A slice is whole buckets, rows and nodes together: what stands in the tables is a bucket of some height. A
reader lays the generations over what it has read, and reads anew if one came or went meanwhile.
"""

import json
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from threading import Lock
from typing import NamedTuple, TypeVar

from p2pledger.ledger.entries import (
    BUCKET_BYTES_MAX,
    BUCKET_ENTRIES_MAX,
    Leaves,
    path_of,
    path_range,
    repacked,
)
from p2pledger.ledger.rules import Columns
from p2pledger.storage import schema
from p2pledger.storage.database import Damaged, put_all
from p2pledger.storage.journal import Effects, effects_of_row, journal_row
from p2pledger.storage.parcels import PARCEL_BITS, Shelf, packed
from p2pledger.types import Hash, Height

T = TypeVar("T")

GENERATION_ROWS_MAX = 65_536
GENERATION_BYTES_MAX = 8 * 1024 * 1024
GENERATION_BLOCKS_MAX = 16_384
"""A generation is full with so many rows, repeated ones too, bytes or blocks: some 8 MiB of memory."""
SLICE_ROWS = 256
PACE = 1.25
"""While a generation grows, the one before goes into the tables at an even pace, so many times as fast."""
LET_GO = 8
"""At every eighth height up to sixteen journal rows that are no longer needed are removed."""


class Generation:
    """What the blocks from `first` on wrote."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.rows = self.size_bytes = self.blocks = 0
        self.values: dict[bytes, bytes | None] = {}
        self.leaves: dict[str, dict[Hash, Hash | None]] = {}
        self.nodes: dict[str, Hash | None] = {}
        self._index: dict[str, dict[bytes, bytes]] = {}
        self._added: list[Mapping[str, Columns]] = []
        """Rows of the indexes that are not in `_index` yet: as a rule nobody asks for them so soon."""
        self._sorted: dict[str, list[bytes]] = {}

    @property
    def part_full(self) -> float:
        """How full it is; from 1 on nothing is added any more."""
        return max(
            self.rows / GENERATION_ROWS_MAX,
            self.size_bytes / GENERATION_BYTES_MAX,
            self.blocks / GENERATION_BLOCKS_MAX,
        )

    @property
    def distinct_rows(self) -> int:
        """How many rows go into the tables: one for each key."""
        return len(self.values) + len(self.nodes) + sum(map(len, self.index().values()))

    def add(self, effects: Effects, size_bytes: int) -> None:
        """Another block wrote this."""
        self.rows += effects.rows
        self.size_bytes += size_bytes
        self.blocks += 1
        self.values.update(effects.writes)
        leaves = self.leaves
        for bucket, changed in effects.leaves.items():
            if bucket in leaves:
                leaves[bucket].update(changed)
            else:
                leaves[bucket] = {**changed}
        self.nodes.update(effects.nodes)
        self._added.append(effects.index)

    def index(self) -> Mapping[str, Mapping[bytes, bytes]]:
        """The rows of each index, as they came. For one thread at a time, unless nothing was added since."""
        while self._added:
            for name, columns in self._added.pop(0).items():
                self._index.setdefault(name, {}).update(zip(*columns, strict=True))
        return self._index

    def keys(self, name: str) -> list[bytes]:
        """The keys of an index, ascending."""
        rows, keys = self.index().get(name, {}), self._sorted.setdefault(name, [])
        if len(keys) < len(rows):
            keys += list(islice(rows, len(keys), None))  # a dict keeps the order of arrival
            keys.sort()
        return keys

    def scan(
        self, name: str, prefix: bytes, after: bytes, end: bytes | None, limit: int
    ) -> dict[bytes, bytes]:
        """The first rows of an index from `prefix` on, above `after` and below `end`."""
        rows, keys = self.index().get(name, {}), self.keys(name)
        start = max(bisect_left(keys, prefix), bisect_right(keys, after))
        stop = len(keys) if end is None else bisect_left(keys, end)
        return {key: rows[key] for key in keys[start : min(stop, start + limit)]}


class Slice:
    """Rows that go into the tables together."""

    def __init__(self) -> None:
        self.state: list[tuple[Hash, Hash | None, bytes, bytes | None]] = []
        """Path, leaf, key and value; no leaf and no value where the key was removed."""
        self.leaves: dict[str, Leaves] = {}
        self.split: set[str] = set()
        """Buckets that were split, or that are: they have nodes below their own."""
        self.nodes: list[tuple[str, Hash | None]] = []
        self.parcels: list[tuple[int, bytes, bytes, int]] = []
        self.shelves: list[Shelf] = []
        self.index_rows = 0
        self.is_last = False
        """Whether the generation is in the tables as a whole with it."""

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return len(self.state) + len(self.nodes) + self.index_rows

    @property
    def values(self) -> dict[bytes, bytes | None]:
        """What the state's keys have in the tables from here on."""
        return {key: value for _, _, key, value in self.state}

    def write(self, writer: sqlite3.Connection) -> None:
        """Write the rows into their tables. Written twice it is the same, as after a crash."""
        if self.parcels:
            writer.executemany(schema.PARCEL_PUT, self.parcels)
        if self.shelves:
            writer.executemany(schema.SHELF_PUT, [shelf.row for shelf in self.shelves])
        if not self.nodes:
            return
        put_all(writer, schema.STATE_PUT, [row for row in self.state if row[1] is not None])
        writer.executemany(schema.STATE_REMOVE, [row[:1] for row in self.state if row[1] is None])
        now = list(self._buckets(writer))
        put_all(writer, schema.BUCKET_PUT, [row for row in now if 0 < len(row[1]) <= BUCKET_BYTES_MAX])
        gone = [row[:1] for row in now if not 0 < len(row[1]) <= BUCKET_BYTES_MAX]
        writer.executemany(schema.BUCKET_REMOVE, gone)
        put_all(writer, schema.NODE_PUT, [node for node in self.nodes if node[1] is not None])
        writer.executemany(schema.NODE_REMOVE, [node[:1] for node in self.nodes if node[1] is None])

    def _buckets(self, writer: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
        """Each bucket's number and entries, packed; of a split one some more than a bucket holds."""
        whole = {
            int(prefix, 16): leaves for prefix, leaves in self.leaves.items() if prefix not in self.split
        }
        before = dict(writer.execute(schema.BUCKETS, (json.dumps([*whole]),))) if whole else {}
        for number, leaves in whole.items():
            yield number, repacked(before.get(number, b""), leaves)
        for prefix in self.split:
            limits = *path_range(prefix), BUCKET_ENTRIES_MAX + 1
            entries = writer.execute(schema.STATE_ENTRIES, limits)
            yield int(prefix, 16), b"".join([path + leaf for path, leaf in entries])


def slices(generation: Generation, depth: int) -> Iterator[Slice]:
    """All that a generation holds in the order of keys, SLICE_ROWS at a time; a bucket is never cut."""
    yield from _slices_of_state(generation, depth)
    yield from _slices_of_index(generation)


def _slices_of_state(generation: Generation, depth: int) -> Iterator[Slice]:
    values, leaves, nodes = generation.values, generation.leaves, generation.nodes
    keys, made = {path_of(key): key for key in values}, Slice()
    for prefix in sorted(nodes):
        if len(prefix) == depth:  # another bucket: what is below it follows
            if made.rows >= SLICE_ROWS:
                yield made
                made = Slice()
            made.leaves[prefix] = leaves[prefix]
            for path, leaf in leaves[prefix].items():
                key = keys[path]
                made.state.append((path, leaf, key, values[key]))
        else:
            made.split.add(prefix[:depth])
        made.nodes.append((prefix, nodes[prefix]))
    yield made


def _slices_of_index(generation: Generation) -> Iterator[Slice]:
    last = Slice()
    last.is_last = True
    number = generation.first << PARCEL_BITS
    for name, rows in sorted(generation.index().items()):
        keys = sorted(rows)
        starts = range(0, len(keys), SLICE_ROWS)
        last.shelves.append(Shelf(name, number, len(starts), keys[0], keys[-1]))
        for start in starts:
            some, made = keys[start : start + SLICE_ROWS], Slice()
            made.parcels.append(packed(number, some, rows))
            made.index_rows, number = len(some), number + 1
            yield made
    yield last


class Written(NamedTuple):
    """What a commit holds: a block's effects, their size in the journal, and slices of older ones."""

    effects: Effects
    size_bytes: int
    slices: Sequence[Slice]


class Tail:
    """The generations in front of the tables: one that grows and, for a while, one that goes into them.

    One thread writes, any may read. `depth`: how many digits lead to a bucket.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._lock = Lock()
        self._generations: tuple[Generation, ...] = (Generation(1),)
        """By age. Replaced as a whole: whoever sees the same one before and after has missed nothing."""
        self._slices: Iterator[Slice] = iter(())
        self._moved = 0
        """Rows of the older generation that are in the tables."""
        self._is_written = False

    def load(self, reader: sqlite3.Connection, height: Height) -> None:
        """Begin with the journal of a chain of this height. Raises: Damaged."""
        newest = reader.execute(schema.JOURNAL_NEWEST).fetchone()
        if (newest[0] if newest else 0) != height:
            raise Damaged(f"what block {height} writes")
        if newest is None:
            return
        first, _ = effects_of_row(newest, self._depth)
        generation, expected = Generation(first), first
        for row in reader.execute(schema.JOURNAL_BETWEEN, (first, height)):
            if row[0] != expected:
                break
            generation.add(effects_of_row(row, self._depth)[1], len(row[1]))
            expected += 1
        if expected != height + 1:
            raise Damaged(f"what block {expected} writes")
        self._generations = (generation,)

    # --- writing

    def write(self, writer: sqlite3.Connection, height: Height, effects: Effects) -> Written:
        """Write a block's effects, and some of what is due, as part of its commit; `add` it after that."""
        growing = self._generations[-1]
        if growing.part_full >= 1 and len(self._generations) == 1:
            with self._lock:
                growing.index()  # now, because a reader may ask for it too
            self._slices, self._moved = slices(growing, self._depth), 0
            full, growing = growing, Generation(height)
            self._generations = (full, growing)
        due = self._write_due(writer)
        needed = self._generations[-1 if self._is_written else 0].first
        row = journal_row(height, needed, effects)
        writer.execute(schema.JOURNAL_PUT, row)
        if height % LET_GO == 0:
            writer.execute(schema.JOURNAL_REMOVE, (needed, 2 * LET_GO))
        return Written(effects, len(row[1]), due)

    def _write_due(self, writer: sqlite3.Connection) -> list[Slice]:
        """Write what is due of the generation before."""
        written: list[Slice] = []
        if len(self._generations) == 1:
            return written
        full, growing = self._generations
        part = growing.part_full
        due_rows = full.distinct_rows * PACE * part
        while part >= 1 or self._moved <= due_rows:
            due = next(self._slices)
            due.write(writer)
            written.append(due)
            self._moved += due.rows
            if due.is_last:
                self._is_written = True
                break
        return written

    def add(self, written: Written) -> None:
        """This is committed now."""
        with self._lock:
            self._generations[-1].add(written.effects, written.size_bytes)
            if self._is_written:
                self._generations, self._is_written = self._generations[1:], False

    # --- reading

    def over(self, read: Callable[[], T], lay_over: Callable[[T, Generation], T]) -> T:
        """What the tables hold, by `read`, with each generation laid over it in its turn."""
        while True:
            generations = self._generations
            found = read()
            with self._lock:
                if generations is self._generations:
                    for generation in generations:
                        found = lay_over(found, generation)
                    return found

    def newest(self) -> Sequence[Generation]:
        """The generations, the newest first."""
        return self._generations[::-1]
