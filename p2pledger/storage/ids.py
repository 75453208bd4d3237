"""Where a transaction is, by its id: kept so that adding one costs the same in a chain of any length.

Floor 5. Ids are random, so in one sorted table every new row would touch a page of its own, and soon the
table is all that a commit waits for. The newest 2**RUN_BITS results, a run, are in memory instead, and the
transactions themselves are what it is made from after a start. A full run is written once, in 2**CHUNK_BITS
chunks that an id chooses from; sixteen full runs are then joined, chunk by chunk, while the next sixteen
fill. So a chain of ten million transactions has some forty runs, and a look reads one chunk of each.

A chunk is a row of entries in the order of their results: the first bytes of an id, and the result's index
among those of its sixteen runs, so that joining is putting one behind the other. What begins like an id
need not be it: the transaction's own row decides. Which chunk an id chooses depends on a secret of the file,
or ids could be ground into one.
"""

import sqlite3
import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from functools import reduce
from mmap import mmap
from operator import or_
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from p2pledger.storage import schema
from p2pledger.storage.bundles import kept_between
from p2pledger.storage.database import Ask, Damaged, asking
from p2pledger.types import Hash, Millis

RUN_BITS = 16
JOINED_BITS = 4
"""Sixteen runs become one."""
CHUNK_BITS = 10
"""Their chunks do so one by one, each in the commit of another block."""
RECENT_MAX = 15
"""So many runs are in memory, 600 kB each, if their transactions have not expired: see `unexpired_max`."""

SECRET_BYTES = 8
STEM_BYTES = 5
ENTRY_BYTES = STEM_BYTES + 3
assert RUN_BITS + JOINED_BITS <= 24
_JOINED = 1 << JOINED_BITS
_PLACE_BITS = 40
MARK_BITS = 11
"""So many bits of an id choose its mark among those of its chunk: two million marks, four megabytes."""
MARKED_MAX = 16
"""A mark has a bit, its number's remainder, for each of so many runs: those in memory and one that begins."""
assert RECENT_MAX < MARKED_MAX
_PARTS = Struct(">H6xQ16x")
"""What of an id chooses its mark, and its chunk."""
_HEADS = Struct(f">H{ENTRY_BYTES - 2}x")


def unexpired_max() -> int:
    """Up to so many results that may not have expired are in memory, whichever of a run they begin with.

    Enough for 7,600 a second that expire after two minutes. Beyond that every id takes a look at the disk:
    ten times as long.
    """
    return RECENT_MAX - 1 << RUN_BITS


class Run(NamedTuple):
    """The chunks of one run: of results `number` * 2**RUN_BITS and following."""

    number: int
    chunks: list[bytearray]


class Ids:
    """Finds results by the ids of their transactions, and knows which of them may not have expired.

    One thread adds, any may look: take `recent` before the snapshot or the statement that the rest is read
    by, because what has left it was on disk before. Look before two more runs are full: marks forget.
    """

    def __init__(self, secret: bytes, window_ms: int) -> None:
        self._factor = int.from_bytes(secret, "big") | 1
        self._window_ms = window_ms
        self._blocks = deque([(0, 0)])
        self._pages = mmap(-1, MARKED_MAX // 8 << CHUNK_BITS + MARK_BITS)
        """Mapped, as pages that the kernel brings once they are written: on a short chain hardly any."""
        self._marks = memoryview(self._pages).cast("H")
        """Which runs have an id with this mark: for most new ids none, for most others one."""
        self.recent: tuple[Run, ...] = (_empty(0),)
        self.unexpired = 0
        """The first result whose transaction may not have expired. A transaction expires at most `window_ms`
        after its block."""

    def load(self, reader: sqlite3.Connection, unexpired: int, end: int) -> None:
        """Begin on a chain of `end` results, of which those before `unexpired` have expired."""
        self._blocks, self.unexpired = deque([(0, unexpired)]), unexpired
        newest = end >> RUN_BITS
        oldest = max(min(unexpired, end) >> RUN_BITS, newest - RECENT_MAX + 1)
        self.recent = (*_stored(reader, range(oldest, newest)), _empty(newest))
        for run in self.recent:
            bit = _bit(run)
            for chunk, content in enumerate(run.chunks):
                for (head,) in _HEADS.iter_unpack(content):
                    self._marks[chunk << MARK_BITS | head >> 16 - MARK_BITS] |= bit
        start = newest << RUN_BITS
        kept = list(kept_between(asking(reader), start, end))
        if [one.result_index for one in kept] != list(range(start, end)):
            raise Damaged(f"the transactions from result {start} on")
        self._put(self.recent[-1], start, [one.id for one in kept])

    # --- adding

    def add(self, writer: sqlite3.Connection, time_ms: Millis, first: int, ids: Sequence[Hash]) -> None:
        """A block of this time, whose results are numbered from `first` on, is part of this commit."""
        self._let_go(time_ms, first)
        end = first
        while ids:
            newest = self.recent[-1]
            some = ids[: (newest.number + 1 << RUN_BITS) - end]
            self._put(newest, end, some)
            ids, end = ids[len(some) :], end + len(some)
            if end >> RUN_BITS > newest.number:
                full = [
                    _row(_place(chunk, newest.number), bytes(content))
                    for chunk, content in enumerate(newest.chunks)
                ]
                writer.executemany(schema.ID_CHUNK_PUT, full)
                # The full one stays until the next commit at least: this one is not on disk yet.
                self._begin(newest.number + 1)
        part_bits = RUN_BITS + JOINED_BITS - CHUNK_BITS
        for part in range((first - 1 >> part_bits) + 1, (end - 1 >> part_bits) + 1):
            group, chunk = (part >> CHUNK_BITS) - 1, part % (1 << CHUNK_BITS)
            if group >= 0:
                _join(writer, chunk, group << JOINED_BITS)

    def _let_go(self, time_ms: Millis, first: int) -> None:
        self._blocks.append((time_ms, first))
        while self._blocks[1][0] + self._window_ms < time_ms:
            self._blocks.popleft()
        self.unexpired = self._blocks[0][1]
        oldest = max(self.unexpired >> RUN_BITS, self.recent[-1].number - RECENT_MAX + 1)
        self.recent = tuple(run for run in self.recent if run.number >= oldest) or self.recent[-1:]

    def _begin(self, number: int) -> None:
        """Begin the run of this number. The marks forget the one that had its bit and has left since."""
        byte, bit = divmod(number % MARKED_MAX, 8)
        plane = slice(byte if sys.byteorder == "little" else 1 - byte, None, 2)
        without = bytes([value & ~(1 << bit) for value in range(256)])
        kept = [run for run in self.recent if run.number > number - MARKED_MAX]
        self._pages[plane] = self._pages[plane].translate(without)
        self.recent = (*kept, _empty(number))

    def _put(self, run: Run, first: int, ids: Sequence[bytes]) -> None:
        chunks, offset, factor = run.chunks, first % (_JOINED << RUN_BITS), self._factor
        marks, bit = self._marks, _bit(run)
        shift, mask = 64 - CHUNK_BITS, (1 << CHUNK_BITS) - 1  # as in `_chunk_of`
        for id_, (head, parts) in zip(ids, _PARTS.iter_unpack(b"".join(ids)), strict=True):
            chunk = parts * factor >> shift & mask
            chunks[chunk] += id_[:STEM_BYTES] + offset.to_bytes(3, "big")
            marks[chunk << MARK_BITS | head >> 16 - MARK_BITS] |= bit
            offset += 1

    def _chunk_of(self, id_: bytes) -> int:
        mixed = int.from_bytes(id_[8:16], "big") * self._factor
        return mixed >> 64 - CHUNK_BITS & (1 << CHUNK_BITS) - 1

    # --- looking

    def doubtful(self, ids: Collection[Hash], recent: Sequence[Run], first: int) -> Collection[Hash]:
        """Those of these ids that may be among the results from `first` on: `indexes` tells."""
        if recent[0].number > first >> RUN_BITS:  # the disk has to be asked
            return ids
        runs = [(_bit(run), run.chunks) for run in recent if run.number >= first >> RUN_BITS]
        marks, factor, looked_at = self._marks, self._factor, reduce(or_, [bit for bit, _ in runs], 0)
        shift, mask = 64 - CHUNK_BITS, (1 << CHUNK_BITS) - 1  # as in `_chunk_of`
        found = []
        for id_, (head, parts) in zip(ids, _PARTS.iter_unpack(b"".join(ids)), strict=True):
            chunk = parts * factor >> shift & mask
            marked = marks[chunk << MARK_BITS | head >> 16 - MARK_BITS] & looked_at
            if not marked:
                continue
            for bit, chunks in runs:
                if marked & bit and id_[:STEM_BYTES] in chunks[chunk]:
                    found.append(id_)
                    break
        return found

    def indexes(self, id_: Hash, recent: Sequence[Run], ask: Ask, first: int = 0) -> Iterator[int]:
        """The results from `first` on whose ids begin like this one, the newest runs first.

        Raises: Damaged.
        """
        chunk = self._chunk_of(id_)
        for number, content in _newest_first(chunk, recent, ask, first >> RUN_BITS):
            start = _group(number) << RUN_BITS
            at = content.find(id_[:STEM_BYTES])
            while at >= 0:
                index = start + int.from_bytes(content[at + STEM_BYTES : at + ENTRY_BYTES], "big")
                if at % ENTRY_BYTES == 0 and index >= first:
                    yield index
                at = content.find(id_[:STEM_BYTES], at + 1)


def _newest_first(
    chunk: int, recent: Sequence[Run], ask: Ask, first: int
) -> Iterator[tuple[int, bytes | bytearray]]:
    """(number of a run, what it has in this chunk), back to run `first`: none is missing. Raises: Damaged."""
    for run in reversed(recent):
        if run.number >= first:
            yield run.number, run.chunks[chunk]
    expected = recent[0].number - 1
    if expected < first:
        return
    for row in ask(schema.ID_CHUNKS, *_places(chunk, _group(first), _group(expected))):
        number, last, content = _chunk_of_row(row)
        if number > expected:  # on disk already, and still in memory
            continue
        if last < expected:
            break
        yield number, content
        expected = number - 1
    if expected >= first:
        raise Damaged(f"the ids of run {expected}")


def _stored(reader: sqlite3.Connection, numbers: range) -> list[Run]:
    """These runs, from disk. Raises: Damaged."""
    runs = [_empty(number) for number in numbers]
    for chunk in range(1 << CHUNK_BITS if runs else 0):
        between = _places(chunk, _group(numbers[0]), _group(numbers[-1]))
        for row in reader.execute(schema.ID_CHUNKS, between):
            first, last, content = _chunk_of_row(row)
            for number in range(max(first, numbers.start), min(last + 1, numbers.stop)):
                runs[number - numbers.start].chunks[chunk] += _part(content, number)
    for run in runs:
        if sum(map(len, run.chunks)) != ENTRY_BYTES << RUN_BITS:
            raise Damaged(f"the ids of run {run.number}")
    return runs


def _part(content: bytes, number: int) -> bytes:
    """The entries of one run, which stand in the order of results."""

    def offset(entry: int) -> int:
        at = entry * ENTRY_BYTES + STEM_BYTES
        return int.from_bytes(content[at : at + ENTRY_BYTES - STEM_BYTES], "big")

    entries, start = range(len(content) // ENTRY_BYTES), number % _JOINED << RUN_BITS
    first = bisect_left(entries, start, key=offset)
    end = bisect_left(entries, start + (1 << RUN_BITS), key=offset)
    return content[first * ENTRY_BYTES : end * ENTRY_BYTES]


def _join(writer: sqlite3.Connection, chunk: int, first: int) -> None:
    """Let this chunk of sixteen runs become one."""
    between = _places(chunk, first, first)
    chunks = [_chunk_of_row(row) for row in writer.execute(schema.ID_CHUNKS, between)]
    chunks.reverse()
    if [chunk[:2] for chunk in chunks] != [(number, number) for number in range(first, first + _JOINED)]:
        raise Damaged(f"the ids of run {first} and the following")
    writer.execute(schema.ID_CHUNKS_REMOVE, between)
    joined = b"".join([content for _, _, content in chunks])
    writer.execute(schema.ID_CHUNK_PUT, _row(_place(chunk, first) + 1, joined))


def _bit(run: Run) -> int:
    """The run's own in each mark."""
    return 1 << run.number % MARKED_MAX


def _empty(number: int) -> Run:
    return Run(number, [bytearray() for _ in range(1 << CHUNK_BITS)])


def _group(run: int) -> int:
    """The first of the sixteen runs that this one is joined with."""
    return run - run % _JOINED


def _place(chunk: int, run: int) -> int:
    """The number of a row. What sixteen runs are joined into has the number after their first one's."""
    return chunk << _PLACE_BITS | run << 1


def _places(chunk: int, first: int, last: int) -> tuple[int, int]:
    """Where a chunk's rows are, from those of sixteen runs on to those of others, named by their first."""
    return _place(chunk, first), _place(chunk, last + _JOINED) - 1


def _row(place: int, content: bytes) -> tuple[int, bytes, int]:
    return place, content, crc32(content, place & 0xFFFF_FFFF)


def _chunk_of_row(row: Sequence[Any]) -> tuple[int, int, bytes]:
    """(number of its first run, of its last one, content), checked. Raises: Damaged."""
    place, content, checksum = row
    if not isinstance(content, bytes) or _row(place, content)[2] != checksum:
        raise Damaged("a row of ids")
    number = (place & (1 << _PLACE_BITS) - 1) >> 1
    return number, number + (_JOINED - 1) * (place & 1), content
