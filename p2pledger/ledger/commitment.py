"""The state root: a tree of hash buckets that commits to every key and value. Floor 4, pure.

A key hangs at the path SHA-256(key), read as 64 hexadecimal digits. The first log16(state_buckets)
digits are inner nodes of 16 children; below them stand buckets, each hashed as one sorted list of
entries. Keys can be ground into one bucket, so a bucket of more than BUCKET_ENTRIES_MAX entries is an
inner node instead, with 16 buckets by the next digit, and so on down. The tree is a function of the
content alone: the order of writes leaves no trace.

    leaf    tagged hash of key and value          bucket  tagged hash of its entries' (path, leaf)
    node    tagged hash of 16 children            empty   32 zero bytes, at any depth

A store keeps one row per node that is not empty, by its digits. An update reads the buckets that
change and the siblings above them, so its cost does not grow with the state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from p2pledger.codec import Length
from p2pledger.crypto import Domain
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.state import DIGITS, Entry, StateReader, entry_of, path_of
from p2pledger.types import ZERO_HASH, Hash

BUCKET_ENTRIES_MAX = 64
EMPTY = ZERO_HASH
"""The hash of a subtree without entries: an empty state costs nothing."""

_BUCKET_DOMAIN = Domain("p2pledger/state-bucket/1")
_NODE_DOMAIN = Domain("p2pledger/state-node/1")

_Changed = Mapping[str, Entry | None]
"""Changed entries by path in hexadecimal digits; None where the key was removed."""


def _bucket_hash(entries: Sequence[Entry]) -> Hash:
    if not entries:
        return EMPTY
    return _BUCKET_DOMAIN.hash(b"".join([entry.path + entry.leaf for entry in entries]))


def node_hash(children: Sequence[Hash]) -> Hash:
    """The hash of an inner node over its 16 children, `EMPTY` where there is none."""
    return EMPTY if all(child == EMPTY for child in children) else _NODE_DOMAIN.hash(b"".join(children))


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

    def update(
        self, reader: StateReader, writes: Mapping[bytes, bytes | None]
    ) -> tuple[Hash, Mapping[str, Hash | None]]:
        """The root once `writes` are laid over the reader's state, and the nodes that change by it."""
        view = _View(reader)
        changed = {
            path_of(key).hex(): None if value is None else entry_of(key, value)
            for key, value in writes.items()
        }
        touched = _by_prefix(changed, self._depth)
        for prefix, group in touched.items():
            view.put(prefix, _rehash(view, prefix, group))
        prefixes: Iterable[str] = touched
        for _ in range(self._depth):
            prefixes = {prefix[:-1] for prefix in prefixes}
            for prefix in prefixes:
                view.put(prefix, node_hash(view.children(prefix)))
        return view.node(""), view.nodes

    def prove(self, reader: StateReader, key: bytes) -> StateProof:
        """The proof of a key's value, or of its absence, for `check_state_proof`."""
        view, digits, prefix = _View(reader), path_of(key).hex(), ""
        levels = []
        while view.node(prefix) != EMPTY:
            if len(prefix) >= self._depth and not view.is_split(prefix):
                break
            children, position = view.children(prefix), int(digits[len(prefix)], 16)
            levels.append(Level((*children[:position], *children[position + 1 :])))
            prefix += digits[len(prefix)]
        return StateProof(tuple(levels), tuple(reader.entries(prefix)))


class _View:
    """The nodes of a reader's tree with new ones over them."""

    def __init__(self, reader: StateReader) -> None:
        self.reader = reader
        self.nodes: dict[str, Hash | None] = {}
        self._by_parent: dict[str, dict[int, Hash]] = {}

    def node(self, prefix: str) -> Hash:
        found = self.nodes[prefix] if prefix in self.nodes else self.reader.node(prefix)
        return EMPTY if found is None else found

    def children(self, prefix: str) -> list[Hash]:
        children = [EMPTY if node is None else node for node in self.reader.children(prefix)]
        for digit, node in self._by_parent.get(prefix, {}).items():
            children[digit] = node
        return children

    def put(self, prefix: str, value: Hash) -> None:
        self.nodes[prefix] = None if value == EMPTY else value
        if prefix:
            self._by_parent.setdefault(prefix[:-1], {})[int(prefix[-1], 16)] = value

    def is_split(self, prefix: str) -> bool:
        return any(child != EMPTY for child in self.children(prefix))


def _by_prefix(changed: _Changed, length: int) -> dict[str, dict[str, Entry | None]]:
    groups: dict[str, dict[str, Entry | None]] = {}
    for path, entry in changed.items():
        groups.setdefault(path[:length], {})[path] = entry
    return groups


def _merged(entries: Sequence[Entry], changed: _Changed) -> list[Entry]:
    merged: dict[str, Entry | None] = {entry.path.hex(): entry for entry in entries}
    merged.update(changed)
    return [entry for _, entry in sorted(merged.items()) if entry is not None]


def _rehash(view: _View, prefix: str, changed: _Changed) -> Hash:
    """The hash of the bucket at `prefix` after changes in it; the nodes below it go to the view."""
    groups = _by_prefix(changed, len(prefix) + 1)
    # A bucket is split when it has children. Asking for those that change answers nearly always, and
    # where they are all empty its entries tell: then a split bucket is read whole, once per child.
    if not any(view.reader.node(child) for child in groups):
        entries = view.reader.entries(prefix)
        if len(entries) <= BUCKET_ENTRIES_MAX:
            return _hash_anew(view, prefix, _merged(entries, changed))
    for child, group in groups.items():
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
        groups.setdefault(entry.path.hex()[: len(prefix) + 1], []).append(entry)
    for child, group in groups.items():
        view.put(child, _hash_anew(view, child, group))
    return node_hash(view.children(prefix))


def _few_entries(view: _View, prefix: str, changed: _Changed) -> list[Entry] | None:
    """The entries of a split bucket after the changes, if a bucket without children can hold them."""
    found: list[Entry] = []
    groups = _by_prefix(changed, len(prefix) + 1)
    for digit in DIGITS:
        child = prefix + digit
        if view.node(child) == EMPTY:
            continue
        if view.is_split(child):
            return None
        found += _merged(view.reader.entries(child), groups.get(child, {}))
        if len(found) > BUCKET_ENTRIES_MAX:
            return None
    return found


def _clear_children(view: _View, prefix: str) -> None:
    for digit in DIGITS:
        if view.node(prefix + digit) != EMPTY:
            view.put(prefix + digit, EMPTY)
