"""Keys of the state as the commitment sees them: entries, and the buckets they hang in. Floor 4, pure."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter
from typing import NamedTuple

from p2pledger.crypto import Domain
from p2pledger.types import Hash

DIGITS = "0123456789abcdef"
BUCKET_ENTRIES_MAX = 64
"""A bucket of more entries is split: see `ledger.commitment`."""
PATHS_MAX = 16_384
"""How many keys' paths are kept: what a block writes was written before, as a rule."""
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


Leaves = Mapping[Hash, Hash | None]
"""Changed leaves by path; None where the key was removed."""


class Changed(NamedTuple):
    """What a block does to one bucket: its changed leaves, and how the bucket stands after it.

    `bucket` is `packed`; None where it is split, or may be.
    """

    leaves: Leaves
    bucket: bytes | None


@lru_cache(PATHS_MAX)
def path_of(key: bytes) -> Hash:
    """Where a key hangs in the commitment's tree."""
    return Hash(sha256(key).digest())


def entry_of(key: bytes, value: bytes) -> Entry:
    """What a key and its value are to the commitment."""
    return Entry(path_of(key), _LEAF_DOMAIN.hash(len(key).to_bytes(4, "big") + key + value))


def leaves_of(writes: Mapping[bytes, bytes | None]) -> dict[Hash, Hash | None]:
    """What these writes are to the commitment: leaves by path, in their order; None: the key was removed."""
    paths = list(map(path_of, writes))
    data = [len(key).to_bytes(4, "big") + key + (value or b"") for key, value in writes.items()]
    found: dict[Hash, Hash | None] = dict(zip(paths, _LEAF_DOMAIN.hash_all(data), strict=True))
    if None in writes.values():
        found.update({path_of(key): None for key, value in writes.items() if value is None})
    return found


def by_bucket(leaves: Leaves, depth: int) -> dict[str, dict[Hash, Hash | None]]:
    """Changed leaves by the digits of their bucket, `depth` of them."""
    buckets: dict[str, dict[Hash, Hash | None]] = {}
    for path, leaf in leaves.items():
        digits = path.hex()[:depth]
        if digits in buckets:
            buckets[digits][path] = leaf
        else:
            buckets[digits] = {path: leaf}
    return buckets


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


def repacked(bucket: bytes, changed: Leaves) -> bytes:
    """As `merged`, for a packed bucket: the changed entries are looked for, the others only copied."""
    if not bucket:
        return b"".join([path + leaf for path, leaf in sorted(changed.items()) if leaf is not None])
    for path, leaf in changed.items():
        start = bucket.find(path)
        if start % _ENTRY_BYTES:  # not there, as a rule: -1
            start, is_there = place_in(bucket, path)
            after = start + is_there * _ENTRY_BYTES
        else:
            after = start + _ENTRY_BYTES
        now = b"" if leaf is None else path + leaf
        bucket = bucket[:start] + now + bucket[after:]
    return bucket


def merged(entries: Sequence[Entry], changed: Leaves) -> list[Entry]:
    """These entries, which ascend by path, with the changed ones in their places."""
    if not entries:
        return [Entry(path, leaf) for path, leaf in sorted(changed.items()) if leaf is not None]
    found = list(entries)
    for path, leaf in changed.items():
        i = bisect_left(found, path, key=_path)
        is_there = i < len(found) and found[i].path == path
        found[i : i + is_there] = () if leaf is None else (Entry(path, leaf),)
    return found


def lay_over(children: list[Hash | None], prefix: str, nodes: Mapping[str, Hash | None]) -> None:
    """Put changed nodes in the places of the sixteen just below `prefix`."""
    for digit, child in enumerate(DIGITS):
        if prefix + child in nodes:
            children[digit] = nodes[prefix + child]


def lay_over_buckets(buckets: dict[str, bytes | None], changed: Mapping[str, Leaves]) -> None:
    """Put changed leaves in their places, in those of these buckets that are known."""
    for prefix in changed.keys() & buckets.keys():
        bucket = buckets[prefix]
        if bucket is not None:
            now = repacked(bucket, changed[prefix])
            buckets[prefix] = now if len(now) <= BUCKET_BYTES_MAX else None


def path_range(prefix: str) -> tuple[bytes, bytes]:
    """The first and the last path that start with these hexadecimal digits, both inclusive."""
    return bytes.fromhex(prefix.ljust(64, "0")), bytes.fromhex(prefix.ljust(64, "f"))
