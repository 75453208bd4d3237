"""What a block writes to the state and to the indexes, as one row of the journal. Floor 5.

The row is plain: how many rows of each kind there are and how long each part is, then the parts. A checksum
tells whether it is what was written; what it does to the state, the state root tells too.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from p2pledger.ledger.machine import Execution
from p2pledger.ledger.state import Entry, entry_of
from p2pledger.storage.database import Damaged
from p2pledger.types import Hash

_HEAD = "<5Q"


@dataclass(frozen=True)
class Effects:
    """What a block writes: as in its `Execution`, index rows by the name of the index and by key."""

    writes: Mapping[bytes, bytes | None]
    entries: Mapping[str, Mapping[Hash, Entry | None]]
    nodes: Mapping[str, Hash | None]
    index: Sequence[tuple[str, bytes, bytes]]

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return len(self.writes) + len(self.nodes) + len(self.index)


def effects_of(execution: Execution) -> Effects:
    """What this execution writes."""
    return Effects(execution.writes, execution.entries, execution.nodes, execution.index_rows)


def journal_row(height: int, first: int, effects: Effects) -> tuple[int, bytes, int]:
    """The row of a block; `first`: the oldest height whose row is still needed beside it."""
    removed = [key for key, value in effects.writes.items() if value is None]
    written = [item for item in effects.writes.items() if item[1] is not None]
    parts: list[Any] = [*removed, *_flat(written)]
    for prefix, node in effects.nodes.items():
        parts += prefix.encode(), node or b""
    for name, key, value in effects.index:
        parts += name.encode(), key, value
    counts = len(removed), len(written), len(effects.nodes), len(effects.index)
    lengths = struct.pack(f"<{len(parts)}I", *map(len, parts))
    content = b"".join((struct.pack(_HEAD, first, *counts), lengths, *parts))
    return height, content, crc32(content, height & 0xFFFF_FFFF)


def effects_of_row(row: Sequence[Any], depth: int) -> tuple[int, Effects]:
    """(the oldest height whose row is still needed, what the block writes). Raises: Damaged."""
    height, content, checksum = row
    if not isinstance(content, bytes) or crc32(content, height & 0xFFFF_FFFF) != checksum:
        raise Damaged(f"what block {height} writes")
    try:
        first, *counts = struct.unpack_from(_HEAD, content)
        removed, written, nodes, index = counts
        parts = _parts(content, removed + 2 * written + 2 * nodes + 3 * index)
        writes: dict[bytes, bytes | None] = {next(parts): None for _ in range(removed)}
        writes |= {next(parts): next(parts) for _ in range(written)}
        changed = {next(parts).decode(): next(parts) for _ in range(nodes)}
        rows = tuple([(next(parts).decode(), next(parts), next(parts)) for _ in range(index)])
    except (struct.error, StopIteration, RuntimeError, UnicodeDecodeError) as error:
        raise Damaged(f"what block {height} writes") from error
    entries: dict[str, dict[Hash, Entry | None]] = {}
    for key, value in writes.items():
        entry = entry_of(key, value or b"")
        bucket = entries.setdefault(entry.path.hex()[:depth], {})
        bucket[entry.path] = None if value is None else entry
    return first, Effects(writes, entries, {p: Hash(n) if n else None for p, n in changed.items()}, rows)


def _flat(items: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    return (part for item in items for part in item)


def _parts(content: bytes, count: int) -> Iterator[bytes]:
    start = struct.calcsize(_HEAD)
    at = start + 4 * count
    for length in struct.unpack_from(f"<{count}I", content, start):
        yield content[at : at + length]
        at += length
