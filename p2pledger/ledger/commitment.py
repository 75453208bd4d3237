"""The state root: a tree of hash buckets that commits to every key and value. Floor 4, pure.

A key hangs at the path SHA-256(key), read as 64 hexadecimal digits. The first log16(state_buckets)
digits are inner nodes of 16 children; below them stand buckets, each hashed as one sorted list of
entries. Keys can be ground into one bucket, so a bucket of more than BUCKET_ENTRIES_MAX entries is an
inner node instead, with 16 buckets by the next digit, and so on down. The tree is a function of the
content alone: the order of writes leaves no trace.

    leaf    tagged hash of key and value          bucket  tagged hash of its entries' (path, leaf)
    node    tagged hash of 16 children            empty   32 zero bytes, at any depth

A store keeps one row per bucket that is not empty and per node below one, by its digits; what stands above
them follows (`ledger.crown`). An update reads the buckets that change, so its cost does not grow with the
state.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from p2pledger.codec import Length
from p2pledger.crypto import Domain
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.crown import EMPTY, Crown, row_hash
from p2pledger.ledger.entries import (
    BUCKET_BYTES_MAX,
    BUCKET_ENTRIES_MAX,
    DIGITS,
    Changed,
    Entry,
    Leaves,
    by_bucket,
    entry_of,
    lay_over,
    leaves_of,
    merged,
    packed,
    path_of,
    repacked,
)
from p2pledger.ledger.state import StateReader
from p2pledger.types import Hash

_BUCKET_DOMAIN = Domain("p2pledger/state-bucket/1")


@dataclass(frozen=True)
class Update:
    """What writes do to the tree. `entries` are what changes, by the digits of its bucket; `nodes` the new
    hashes from the buckets on downwards, by digits (None: removed).
    """

    crown: Crown
    entries: Mapping[str, Changed]
    nodes: Mapping[str, Hash | None]


def _bucket_hash(entries: Sequence[Entry]) -> Hash:
    return packed_hash(packed(entries))


def packed_hash(bucket: bytes) -> Hash:
    """The hash of a bucket that is not split."""
    return packed_hashes([bucket])[0]


def packed_hashes(buckets: Collection[bytes]) -> list[Hash]:
    """`packed_hash` of each."""
    hashes = _BUCKET_DOMAIN.hash_all(buckets)
    if all(buckets):
        return hashes
    return [node if bucket else EMPTY for node, bucket in zip(hashes, buckets, strict=True)]


def node_hash(children: Sequence[Hash]) -> Hash:
    """The hash of an inner node over its 16 children, `EMPTY` where there is none."""
    return row_hash(b"".join(children))


def subtree_hash(prefix: str, entries: Sequence[Entry]) -> Hash:
    """The hash at a bucket's digits, or below them, that these entries, all that hang there, must have.

    By it a store knows that it reads what was written.
    """
    if len(entries) <= BUCKET_ENTRIES_MAX:
        return _bucket_hash(entries)
    depth = len(prefix)
    groups: dict[str, list[Entry]] = {digit: [] for digit in DIGITS}
    for entry in entries:
        groups[entry.path.hex()[depth]].append(entry)
    return node_hash([subtree_hash(prefix + digit, group) for digit, group in groups.items()])


@dataclass(frozen=True)
class Level:
    """The other 15 children of an inner node on the way to a bucket, by ascending digit."""

    siblings: Annotated[tuple[Hash, ...], Length(15, 15)]


@dataclass(frozen=True)
class StateProof:
    """What a key's value is under a state root, or that it has none: the way down, then the bucket.

    About 3 kB in a state of a million keys.
    """

    levels: Annotated[tuple[Level, ...], Length(0, 64)]
    bucket: Annotated[tuple[Entry, ...], Length(0, BUCKET_ENTRIES_MAX)]


def check_state_proof(proof: StateProof, root: Hash, key: bytes, value: bytes | None) -> None:
    """Refuse a proof that does not show this value (None: no value) of a key under a state root.

    The path decides which bucket a key hangs in, and a bucket's hash covers all of its entries: whatever
    leads to the root is the whole of the right bucket. Pure. Raises: InvalidMessage.
    """
    path = path_of(key)
    digits, depth = path.hex(), len(proof.levels)
    if value is None and any(entry.path == path for entry in proof.bucket):
        raise InvalidMessage("the key has a value")
    if value is not None and entry_of(key, value) not in proof.bucket:
        raise InvalidMessage("the key does not have this value")
    current = _bucket_hash(proof.bucket)
    for level, digit in zip(reversed(proof.levels), reversed(digits[:depth]), strict=True):
        position = int(digit, 16)
        current = node_hash((*level.siblings[:position], current, *level.siblings[position:]))
    if current != root:
        raise InvalidMessage("the proof does not lead to the state root")


class Commitment:
    """The tree over a state with this many buckets (a power of 16). Without memory of its own."""

    def __init__(self, state_buckets: int) -> None:
        self._depth = (state_buckets.bit_length() - 1) // 4
        if 16**self._depth != state_buckets:
            raise ValueError("the number of buckets is a power of 16")

    def update(self, reader: StateReader, writes: Mapping[bytes, bytes | None]) -> Update:
        """What becomes of the tree once `writes` are laid over the reader's state."""
        crown, depth = reader.crown or Crown.empty(self._depth), self._depth
        changed = by_bucket(leaves_of(writes), depth)
        if not changed:
            return Update(crown, {}, {})
        view, whole, entries = _View(reader), dict[str, bytes](), dict[str, Changed]()
        buckets = reader.buckets(changed)
        for prefix, leaves in changed.items():
            # Nearly every bucket is whole, before and after: then its hash is all that changes.
            found = buckets[prefix]
            now = None if found is None else repacked(found, leaves)
            if now is not None and len(now) <= BUCKET_BYTES_MAX:
                whole[prefix] = now
                entries[prefix] = Changed(leaves, now)
            else:
                view.put(prefix, _rehash(view, prefix, leaves))
                entries[prefix] = Changed(leaves, None)
        view.put_all(zip(whole, packed_hashes(whole.values()), strict=True))
        nodes = {int(prefix, 16): view.nodes[prefix] or EMPTY for prefix in entries}
        return Update(crown.grown(nodes), entries, view.nodes)

    def prove(self, reader: StateReader, key: bytes) -> StateProof:
        """The proof of a key's value, or of its absence, for `check_state_proof`."""
        view, path, crown = _View(reader), path_of(key), reader.crown or Crown.empty(self._depth)
        digits, levels, depth = path.hex(), [], 0
        while depth < self._depth and crown.node(digits[:depth]) != EMPTY:
            levels.append(_level(crown.children(digits[:depth]), digits[depth]))
            depth += 1
        while depth >= self._depth and view.is_split(digits[:depth]):
            levels.append(_level(view.children(digits[:depth]), digits[depth]))
            depth += 1
        return StateProof(tuple(levels), tuple(reader.entries(digits[:depth])))


def _level(children: Sequence[Hash], digit: str) -> Level:
    position = int(digit, 16)
    return Level((*children[:position], *children[position + 1 :]))


class _View:
    """The nodes of a reader's tree from the buckets on downwards, with new ones over them."""

    def __init__(self, reader: StateReader) -> None:
        self.reader = reader
        self.nodes: dict[str, Hash | None] = {}

    def node(self, prefix: str) -> Hash:
        found = self.nodes[prefix] if prefix in self.nodes else self.reader.node(prefix)
        return EMPTY if found is None else found

    def children(self, prefix: str) -> list[Hash]:
        children = self.reader.children(prefix)
        lay_over(children, prefix, self.nodes)
        return [EMPTY if node is None else node for node in children]

    def put(self, prefix: str, value: Hash) -> None:
        self.nodes[prefix] = None if value == EMPTY else value

    def put_all(self, values: Iterable[tuple[str, Hash]]) -> None:
        self.nodes.update((prefix, None if value == EMPTY else value) for prefix, value in values)

    def is_split(self, prefix: str) -> bool:
        return any(child != EMPTY for child in self.children(prefix))


def _child(prefix: str, path: Hash) -> str:
    """The digits of the child of `prefix` on the way to `path`."""
    return path.hex()[: len(prefix) + 1]


def _rehash(view: _View, prefix: str, changed: Leaves) -> Hash:
    """The hash of the bucket at `prefix` after changes in it; the nodes below it go to the view."""
    # A bucket is split when it has children. Asking for those that change answers nearly always, and
    # where they are all empty its entries tell: then a split bucket is read whole, once per child.
    if not any(view.reader.node(_child(prefix, path)) for path in changed):
        entries = view.reader.entries(prefix)
        if len(entries) <= BUCKET_ENTRIES_MAX:
            return _hash_anew(view, prefix, merged(entries, changed))
    for child, group in by_bucket(changed, len(prefix) + 1).items():
        view.put(child, _rehash(view, child, group))
    if None in changed.values():
        remaining = _few_entries(view, prefix, changed)
        if remaining is not None:
            _clear_children(view, prefix)
            return _bucket_hash(remaining)
    return node_hash(view.children(prefix))


def _hash_anew(view: _View, prefix: str, entries: Sequence[Entry]) -> Hash:
    """The hash of a bucket that had no children and now holds `entries`."""
    if len(entries) <= BUCKET_ENTRIES_MAX:
        return _bucket_hash(entries)
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_child(prefix, entry.path), []).append(entry)
    for child, group in groups.items():
        view.put(child, _hash_anew(view, child, group))
    return node_hash(view.children(prefix))


def _few_entries(view: _View, prefix: str, changed: Leaves) -> list[Entry] | None:
    """The entries of a split bucket after the changes, if a bucket without children can hold them."""
    found: list[Entry] = []
    groups = by_bucket(changed, len(prefix) + 1)
    for digit in DIGITS:
        child = prefix + digit
        if view.node(child) == EMPTY:
            continue
        if view.is_split(child):
            return None
        found += merged(view.reader.entries(child), groups.get(child, {}))
        if len(found) > BUCKET_ENTRIES_MAX:
            return None
    return found


def _clear_children(view: _View, prefix: str) -> None:
    for digit in DIGITS:
        if view.node(prefix + digit) != EMPTY:
            view.put(prefix + digit, EMPTY)
