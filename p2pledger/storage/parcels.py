"""Rows of the indexes as the file holds them: in parcels, whose rows ascend by key. Floor 5.

Keys of an index come in any order, so in a table of their own nearly every row would be written on another
page. What a generation (`storage.tail`) has of one index is sorted anyway: it is put into parcels of some
hundred rows, which are only ever appended, and the shelf says which parcels these are. So a row costs a part
of a row, and as much in a long chain as in a short one. A reader looks for its keys on every shelf of the
index that may have them, halving from parcel to parcel, and takes the row of the newest generation.
"""

import sqlite3
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple
from zlib import crc32

from p2pledger.storage import schema
from p2pledger.storage.database import Damaged
from p2pledger.storage.rows import checksum_of

PARCEL_BITS = 24
"""A generation that begins at some height numbers its parcels from height << PARCEL_BITS on."""


class Shelf(NamedTuple):
    """What a generation has of one index: so many `parcels` from `start` on, with keys `first` to `last`."""

    name: str
    start: int
    parcels: int
    first: bytes
    last: bytes

    @property
    def row(self) -> tuple[Any, ...]:
        """Its row, to be read by `shelves`."""
        return (*self, checksum_of(*self))


def packed(number: int, keys: Sequence[bytes], rows: Mapping[bytes, bytes]) -> tuple[int, bytes, bytes, int]:
    """The row of a parcel: these keys, which ascend, and what `rows` has under them."""
    parts = [*keys, *map(rows.__getitem__, keys)]
    content = struct.pack(f"<{len(parts)}I", *map(len, parts)) + b"".join(parts)
    return number, keys[0], struct.pack("<I", len(parts)) + content, _checksum(number, keys[0], content)


def unpacked(row: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    """The rows of a parcel, by ascending key. Raises: Damaged."""
    number, first, content, checksum = row
    if not (isinstance(first, bytes) and isinstance(content, bytes)) or len(content) < 4:
        raise _damaged(number)
    if _checksum(number, first, content[4:]) != checksum:
        raise _damaged(number)
    (count,) = struct.unpack_from("<I", content)
    if 4 * count + 4 > len(content):
        raise _damaged(number)
    ends = accumulate(struct.unpack_from(f"<{count}I", content, 4), initial=4 * count + 4)
    parts = [content[start:end] for start, end in pairwise(ends)]
    return list(zip(parts[: count // 2], parts[count // 2 :], strict=True))


def _checksum(number: int, first: bytes, content: bytes) -> int:
    return crc32(content, crc32(first, crc32(number.to_bytes(8, "big"))))


def _damaged(number: int) -> Damaged:
    return Damaged(f"parcel {number} of an index")


def shelves(reader: sqlite3.Connection, name: str) -> list[Shelf]:
    """The shelves of an index, the oldest first. Raises: Damaged."""
    found = []
    for row in reader.execute(schema.SHELVES, (name,)):
        if checksum_of(*row[:-1]) != row[-1]:
            raise Damaged(f"a shelf of the index {name}")
        found.append(Shelf(*row[:-1]))
    return found


def rows_from(reader: sqlite3.Connection, shelf: Shelf, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a shelf by ascending key, from a parcel on that may begin before `key`. Raises: Damaged."""

    def first_of(number: int) -> bytes:
        row = reader.execute(schema.PARCEL_FIRST, (number,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise _damaged(number)
        return row[0]

    numbers = range(shelf.start, shelf.start + shelf.parcels)
    for number in numbers[max(0, bisect_right(numbers, key, key=first_of) - 1) :]:
        row = reader.execute(schema.PARCEL, (number,)).fetchone()
        if row is None:
            raise _damaged(number)
        yield from unpacked(row)
