"""Keys of the state as the commitment sees them: entries, and the buckets they hang in. Floor 4, pure."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from typing import Any

from p2pledger.crypto import Domain
from p2pledger.types import Hash

DIGITS = "0123456789abcdef"
BUCKET_ENTRIES_MAX = 64
"""A bucket of more entries is split: see `ledger.commitment`."""
_PATH_BYTES = 32
_ENTRY_BYTES = 64
BUCKET_BYTES_MAX = BUCKET_ENTRIES_MAX * _ENTRY_BYTES
"""As `BUCKET_ENTRIES_MAX`, for a bucket that is `packed`."""

_LEAF_DOMAIN = Domain("p2pledger/state-leaf/1")


@dataclass(frozen=True)
class Entry:
    """One key of the state as the commitment sees it: where it hangs, and what it hangs there.

    `path` is SHA-256 of the key, `leaf` the hash over key and value.
    """

    path: Hash
    leaf: Hash


def path_of(key: bytes) -> Hash:
    """Where a key hangs in the commitment's tree."""
    return Hash(sha256(key).digest())


def entry_of(key: bytes, value: bytes, path: Hash | None = None) -> Entry:
    """What a key and its value are to the commitment. `path`: the key's, where it is known already."""
    return Entry(path or path_of(key), _LEAF_DOMAIN.hash(len(key).to_bytes(4, "big") + key + value))


def entries_of(writes: Mapping[bytes, bytes | None]) -> dict[Hash, Entry | None]:
    """What these writes are to the commitment, by path, in their order; None: the key was removed."""
    paths: Any = [sha256(key).digest() for key in writes]
    data = [len(key).to_bytes(4, "big") + key + (value or b"") for key, value in writes.items()]
    entries = map(Entry, paths, _LEAF_DOMAIN.hash_all(data))
    found: dict[Hash, Entry | None] = dict(zip(paths, entries, strict=True))
    if None in writes.values():
        found.update({path_of(key): None for key, value in writes.items() if value is None})
    return found


_path = attrgetter("path")


def packed(entries: Iterable[Entry]) -> bytes:
    """These entries, which ascend by path, as one: each one's path and leaf. That is what a bucket hashes."""
    return b"".join([entry.path + entry.leaf for entry in entries])


def unpacked(bucket: bytes) -> tuple[Entry, ...]:
    """The entries that these are."""
    starts = range(0, len(bucket), _ENTRY_BYTES)
    return tuple(
        Entry(Hash(bucket[i : i + _PATH_BYTES]), Hash(bucket[i + _PATH_BYTES : i + _ENTRY_BYTES]))
        for i in starts
    )


def place_in(bucket: bytes, path: bytes) -> tuple[int, bool]:
    """Where in a packed bucket the entry of a path stands, or would stand; and whether it is there."""
    low, high = 0, len(bucket) // _ENTRY_BYTES
    while low < high:
        middle = (low + high) // 2
        start = middle * _ENTRY_BYTES
        if bucket[start : start + _PATH_BYTES] < path:
            low = middle + 1
        else:
            high = middle
    start = low * _ENTRY_BYTES
    return start, bucket[start : start + _PATH_BYTES] == path


def holds(bucket: bytes, path: bytes) -> bool:
    """Whether the entry of a path is in a packed bucket."""
    start = bucket.find(path)
    while start % _ENTRY_BYTES and start > 0:  # the same bytes across two entries, or as a leaf
        start = bucket.find(path, start + 1)
    return start >= 0


def repacked(bucket: bytes, changed: Mapping[Hash, Entry | None]) -> bytes:
    """As `merged`, for a packed bucket: the changed entries are looked for, the others only copied."""
    if not bucket:
        found = [path + entry.leaf for path, entry in sorted(changed.items()) if entry is not None]
        return b"".join(found)
    for path, entry in changed.items():
        start, is_there = place_in(bucket, path)
        now = b"" if entry is None else path + entry.leaf
        bucket = bucket[:start] + now + bucket[start + is_there * _ENTRY_BYTES :]
    return bucket


def merged(entries: Sequence[Entry], changed: Mapping[Hash, Entry | None]) -> list[Entry]:
    """These entries, which ascend by path, with the changed ones in their places."""
    if not entries:
        return sorted([entry for entry in changed.values() if entry is not None], key=_path)
    found = list(entries)
    for path, entry in changed.items():
        i = bisect_left(found, path, key=_path)
        is_there = i < len(found) and found[i].path == path
        found[i : i + is_there] = () if entry is None else (entry,)
    return found


def lay_over(children: list[Hash | None], prefix: str, nodes: Mapping[str, Hash | None]) -> None:
    """Put changed nodes in the places of the sixteen just below `prefix`."""
    for digit, child in enumerate(DIGITS):
        if prefix + child in nodes:
            children[digit] = nodes[prefix + child]


def lay_over_buckets(
    buckets: dict[str, bytes | None], changed: Mapping[str, Mapping[Hash, Entry | None]]
) -> None:
    """Put changed entries in their places, in those of these buckets that are known."""
    for prefix in changed.keys() & buckets.keys():
        bucket = buckets[prefix]
        if bucket is not None:
            now = repacked(bucket, changed[prefix])
            buckets[prefix] = now if len(now) <= BUCKET_BYTES_MAX else None


def path_range(prefix: str) -> tuple[bytes, bytes]:
    """The first and the last path that start with these hexadecimal digits, both inclusive."""
    return bytes.fromhex(prefix.ljust(64, "0")), bytes.fromhex(prefix.ljust(64, "f"))
