"""A block's transactions and their results as the file holds them: some in one row, a bundle. Floor 5.

A row of its own would cost each of them as much as its bytes do. A bundle is of one block, and reading one
transaction of it is reading three pages. It is named by the result's index, among all of the chain, of
the first one that is in it.

The row is plain: height, position of the first one in the block, how many; then when each expires, how long
the outputs and the bodies are, then the ids, the outputs and the bodies themselves. A checksum tells whether
it is what was written; that a body is its id's, and a result the tree's, whoever reads one sees to.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple
from zlib import crc32

from p2pledger.chain.receipt import Results
from p2pledger.chain.transaction import Transaction
from p2pledger.storage import schema
from p2pledger.storage.database import Ask, Damaged
from p2pledger.types import HASH_BYTES, Hash

PAGES = 2
BUNDLE_BYTES = 480 + PAGES * 4_092
"""A bundle is as long as it gets, or one body is alone in it. SQLite keeps 489 bytes of such a row beside
others' and the rest fills whole pages: of rows of any other length a tenth would stay empty."""

_HEAD = struct.Struct("<QII")
_NUMBERS_BYTES = 8 + 4 + 4


class Kept(NamedTuple):
    """A transaction and its result as they are kept. In place of a body that was dropped stands a remnant."""

    result_index: int
    id: Hash
    height: int
    position: int
    expires_ms: int
    output: bytes
    body: bytes


def bundles_of(
    first: int, transactions: Sequence[Transaction], results: Results
) -> list[tuple[int, bytes, int]]:
    """The rows of a block's transactions and their results, which are the chain's from number `first` on."""
    if not results:
        return []
    return _rows(
        first,
        results.height,
        0,
        [transaction.body.expires_ms for transaction in transactions],
        results.transaction_ids,
        results.outputs,
        [transaction.encoded for transaction in transactions],
    )


def bundled(kept: Sequence[Kept]) -> list[tuple[int, bytes, int]]:
    """The rows of these, which follow each other in one block."""
    index, _, height, position, *_ = kept[0]
    _, ids, _, _, expiries, outputs, bodies = zip(*kept, strict=True)
    return _rows(index, height, position, expiries, ids, outputs, bodies)


def _rows(
    first: int,
    height: int,
    position: int,
    expiries: Sequence[int],
    ids: Sequence[bytes],
    outputs: Sequence[bytes],
    bodies: Sequence[bytes],
) -> list[tuple[int, bytes, int]]:
    beside, lengths = _NUMBERS_BYTES + HASH_BYTES, zip(map(len, bodies), map(len, outputs), strict=True)
    sizes = [beside + body + output for body, output in lengths]
    ends, at, rows = list(accumulate(sizes, initial=0)), 0, []
    while at < len(bodies):
        end = max(at + 1, bisect_right(ends, ends[at] + BUNDLE_BYTES - _HEAD.size) - 1)
        parts = expiries[at:end], ids[at:end], outputs[at:end], bodies[at:end]
        rows.append(_row(first + at, height, position + at, *parts))
        at = end
    return rows


def _row(
    index: int,
    height: int,
    position: int,
    expiries: Sequence[int],
    ids: Sequence[bytes],
    outputs: Sequence[bytes],
    bodies: Sequence[bytes],
) -> tuple[int, bytes, int]:
    count = len(ids)
    numbers = struct.pack(f"<{count}Q{2 * count}I", *expiries, *map(len, outputs), *map(len, bodies))
    content = b"".join([_HEAD.pack(height, position, count), numbers, *ids, *outputs, *bodies])
    return index, content, crc32(content, index & 0xFFFF_FFFF)


class Bundle:
    """What is in one row. Raises: Damaged."""

    def __init__(self, row: Sequence[Any]) -> None:
        self.first, self._content, checksum = row
        try:
            if crc32(self._content, self.first & 0xFFFF_FFFF) != checksum:
                raise ValueError("not what was written")
            self._height, self._position, count = _HEAD.unpack_from(self._content)
            self._numbers = struct.unpack_from(f"<{count}Q{2 * count}I", self._content, _HEAD.size)
        except (TypeError, ValueError, struct.error) as error:
            raise Damaged(f"the transactions of result {self.first} and the following") from error
        self._count: int = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Kept]:
        return map(self.__getitem__, range(self._count))

    def __getitem__(self, at: int) -> Kept:
        if at >= self._count:
            raise IndexError(at)
        count, numbers, content = self._count, self._numbers, self._content
        ids = _HEAD.size + _NUMBERS_BYTES * count
        output = ids + HASH_BYTES * count + sum(numbers[count : count + at])
        body = ids + HASH_BYTES * count + sum(numbers[count : 2 * count + at])
        return Kept(
            self.first + at,
            content[ids + HASH_BYTES * at : ids + HASH_BYTES * (at + 1)],
            self._height,
            self._position + at,
            numbers[at],
            content[output : output + numbers[count + at]],
            content[body : body + numbers[2 * count + at]],
        )


def kept_between(ask: Ask, start: int, end: int) -> Iterator[Kept]:
    """What is kept of the results [start, end), in their order; some may be missing. Raises: Damaged."""
    for row in ask(schema.BUNDLES_BETWEEN, start, end):
        for kept in Bundle(row):
            if start <= kept.result_index < end:
                yield kept


class Bundles:
    """Finds what is kept of single results. The bundle that was read last is at hand for the next one."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._last: Bundle | None = None

    def find(self, index: int, id_: Hash) -> Kept | None:
        """What is kept of a result, if it is that of this transaction. Raises: Damaged."""
        last = self._last
        if last is None or not last.first <= index < last.first + len(last):
            rows = list(self._ask(schema.BUNDLE_AT, index))
            last = self._last = Bundle(rows[0]) if rows else None
        if last is None or index >= last.first + len(last):
            return None
        kept = last[index - last.first]
        return kept if kept.id == id_ else None
