"""What a block writes to the state and to the indexes, as one row of the journal. Floor 5.

The row is plain: how many rows of each kind there are and how long each part is, then the parts. A checksum
tells whether it is what was written; what it does to the state, the state root tells too.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any
from zlib import crc32

from p2pledger.ledger.entries import Leaves, by_bucket, leaves_of
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.rules import Columns
from p2pledger.storage.database import Damaged
from p2pledger.types import Hash

_HEAD = "<3Q"
"""The oldest height needed; how many numbers say how many rows there are of what; how many parts follow."""
_HEAD_BYTES = struct.calcsize(_HEAD)


@dataclass(frozen=True)
class Effects:
    """What a block writes: as in its `Execution`; changed leaves by the digits of their bucket."""

    writes: Mapping[bytes, bytes | None]
    leaves: Mapping[str, Leaves]
    nodes: Mapping[str, Hash | None]
    index: Mapping[str, Columns]
    """Keys and values by the name of the index; of a key that comes twice the last row counts."""

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return len(self.writes) + len(self.nodes) + sum([len(keys) for keys, _ in self.index.values()])


def effects_of(execution: Execution) -> Effects:
    """What this execution writes."""
    leaves = {prefix: changed.leaves for prefix, changed in execution.entries.items()}
    return Effects(execution.writes, leaves, execution.nodes, execution.index_rows.columns)


def journal_row(height: int, first: int, effects: Effects) -> tuple[int, bytes, int]:
    """The row of a block; `first`: the oldest height whose row is still needed beside it."""
    removed, written = list[bytes](), list(effects.writes)
    values = [value for value in effects.writes.values() if value is not None]
    if len(values) < len(written):
        removed = [key for key, value in effects.writes.items() if value is None]
        written = [key for key, value in effects.writes.items() if value is not None]
    parts = [*removed, *written, *values]
    parts += map(str.encode, effects.nodes)
    parts += [node or b"" for node in effects.nodes.values()]
    parts += map(str.encode, effects.index)
    for columns in effects.index.values():
        parts += chain(*columns)
    index = [len(keys) for keys, _ in effects.index.values()]
    counts = len(removed), len(written), len(effects.nodes), *index
    head = struct.pack(
        f"<3Q{len(counts)}I{len(parts)}I", first, len(counts), len(parts), *counts, *map(len, parts)
    )
    content = head + b"".join(parts)
    return height, content, crc32(content, height & 0xFFFF_FFFF)


def effects_of_row(row: Sequence[Any], depth: int) -> tuple[int, Effects]:
    """(the oldest height whose row is still needed, what the block writes). Raises: Damaged."""
    height, content, checksum = row
    if not isinstance(content, bytes) or crc32(content, height & 0xFFFF_FFFF) != checksum:
        raise Damaged(f"what block {height} writes")
    try:
        return _decoded(content, depth)
    except (struct.error, ValueError) as error:
        raise Damaged(f"what block {height} writes") from error


def _decoded(content: bytes, depth: int) -> tuple[int, Effects]:
    first, counts, lengths = struct.unpack_from(_HEAD, content)
    removed, written, nodes, *index = struct.unpack_from(f"<{counts}I", content, _HEAD_BYTES)
    parts = _parts(content, _HEAD_BYTES + 4 * counts, lengths)
    writes: dict[bytes, bytes | None] = dict.fromkeys(islice(parts, removed))
    writes |= zip(*_columns(parts, written), strict=True)
    changed = zip(*_columns(parts, nodes), strict=True)
    names = [name.decode() for name in islice(parts, len(index))]
    return first, Effects(
        writes,
        by_bucket(leaves_of(writes), depth),
        {prefix.decode(): Hash(node) if node else None for prefix, node in changed},
        {name: _columns(parts, count) for name, count in zip(names, index, strict=True)},
    )


def _parts(content: bytes, start: int, count: int) -> Iterator[bytes]:
    at = start + 4 * count
    for length in struct.unpack_from(f"<{count}I", content, start):
        yield content[at : at + length]
        at += length


def _columns(parts: Iterator[bytes], count: int) -> Columns:
    """So many keys, then their values."""
    return list(islice(parts, count)), list(islice(parts, count))
