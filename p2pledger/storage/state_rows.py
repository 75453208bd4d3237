"""The state as the file holds it: no answer leaves here that the state root does not cover. Floor 5.

A row is checked against its leaf, the leaves of a bucket against the bucket's node, and all nodes against
the state root when the file is opened. So a damaged page is noticed by the first read that rests on it, also
by one that finds nothing: what is missing is missing from a bucket that is whole.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from p2pledger.ledger.commitment import node_hash, packed_hash, subtree_hash
from p2pledger.ledger.crown import EMPTY, Crown
from p2pledger.ledger.entries import (
    BUCKET_BYTES_MAX,
    BUCKET_ENTRIES_MAX,
    DIGITS,
    Entry,
    entry_of,
    holds,
    lay_over,
    lay_over_buckets,
    merged,
    packed,
    path_of,
    path_range,
    unpacked,
)
from p2pledger.ledger.machine import Execution
from p2pledger.storage import schema
from p2pledger.storage.buckets import Buckets
from p2pledger.storage.cache import Cache
from p2pledger.storage.database import Damaged, Database
from p2pledger.storage.tail import Generation, Slice, Tail
from p2pledger.types import Hash

ROWS_BYTES_MAX = 64 * 1024 * 1024
ROW_OVERHEAD_BYTES = 256
"""What a row costs in memory beside its value, about."""
BUCKETS_BYTES_MAX = 32 * 1024 * 1024
BUCKET_OVERHEAD_BYTES = 256
"""What a bucket costs in memory beside its entries, about."""


class StateRows:
    """Reads the state of the last commit. `depth`: how many digits lead to a bucket.

    The crown (70,000 hashes at most) is kept in memory, and so are rows of the tables that were read or
    written last, with what the tail holds before them, and buckets as they stand after the last commit.
    Raises: Fatal, from every method, when what is read is not what was written.
    """

    def __init__(self, database: Database, tail: Tail, depth: int) -> None:
        self._database, self._tail, self._depth = database, tail, depth
        self._rows: Cache[bytes] = Cache(ROWS_BYTES_MAX, ROW_OVERHEAD_BYTES)
        self._buckets: Cache[str] = Cache(BUCKETS_BYTES_MAX, BUCKET_OVERHEAD_BYTES)
        stored: dict[str, Hash] = dict(database.rows(schema.NODES))
        nodes = tail.over(stored.copy, _with_nodes)
        self._split = {prefix[:depth] for prefix in nodes if len(prefix) > depth}
        _check_split(nodes, depth)
        self._stored = Buckets(database, stored, depth)
        buckets = {int(prefix, 16): node for prefix, node in nodes.items() if len(prefix) == depth}
        self.crown = Crown.empty(depth).grown(buckets)

    def prepare(self, execution: Execution, slices: Sequence[Slice]) -> None:
        """This is committed now, and so are these slices; the tail still holds what they hold."""
        for written in slices:
            self._rows.replace(written.values)
            self._stored.replace(written.nodes)
        # Never taken out again: a bucket that is whole again only costs a look at the disk.
        if max(map(len, execution.nodes), default=0) > self._depth:
            self._split.update(
                prefix[: self._depth] for prefix in execution.nodes if len(prefix) > self._depth
            )

    def replace(self, execution: Execution) -> None:
        """What this execution writes is in the tail now: from here on its buckets are read."""
        self._buckets.replace({prefix: changed.bucket for prefix, changed in execution.entries.items()})
        self.crown = execution.crown

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        for newer in self._tail.newest():
            if key in newer.values:
                return newer.values[key]
        return self._rows.get(key, self._read)

    def get_all(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """See `StateReader.get_all`."""
        found = dict[bytes, bytes | None]()
        for newer in self._tail.newest():
            values = newer.values
            found.update({key: values[key] for key in keys if key in values})
            keys = [key for key in keys if key not in found]
        found.update(self._rows.get_all(keys, self._read_all))
        return found

    def _read(self, key: bytes) -> bytes | None:
        path = path_of(key)
        prefix = path.hex()[: self._depth]
        # The bucket first: it is one row, it tells of a key that is not there, and it is kept, since what is
        # looked for is written next, as often as not. What is in it has to be there.
        bucket = self._bucket(prefix)
        if bucket is not None and not holds(bucket, path):
            return None
        return self._read_row(key, path, prefix)

    def _read_all(self, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        paths = [path_of(key) for key in keys]
        prefixes = [path.hex()[: self._depth] for path in paths]
        buckets, found = self.buckets(set(prefixes)), dict[bytes, bytes | None]()
        for key, path, prefix in zip(keys, paths, prefixes, strict=True):
            bucket = buckets[prefix]
            is_absent = bucket is not None and not holds(bucket, path)
            found[key] = None if is_absent else self._read_row(key, path, prefix)
        return found

    def _stored_buckets(self, prefixes: Sequence[str]) -> dict[str, bytes]:
        if len(prefixes) == 1:
            return {prefix: self._stored_bucket(prefix) for prefix in prefixes}
        found = self._stored.read(prefixes)
        return {
            prefix: found[prefix] if prefix in found else self._stored_bucket(prefix) for prefix in prefixes
        }

    def _read_row(self, key: bytes, path: Hash, prefix: str) -> bytes | None:
        for _ in range(3):  # a commit may have changed it between two looks
            if rows := self._database.rows(schema.STATE_GET, path):
                leaf, stored, value = rows[0]
                if stored != key or entry_of(key, value).leaf != leaf:
                    raise Damaged("a row of the state")
                return bytes(value)
            if prefix in self._split:
                is_there = any(entry.path == path for entry in self._stored_entries(prefix))
            else:
                is_there = holds(self._stored_bucket(prefix), path)
            if not is_there:
                return None
        raise Damaged("a row of the state")

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`. Above the buckets: one bucket after the other."""
        if len(prefix) < self._depth:
            return [entry for digit in DIGITS for entry in self.entries(prefix + digit)]
        if len(prefix) == self._depth and (bucket := self._bucket(prefix)) is not None:
            return unpacked(bucket)
        return self._over(prefix, lambda: self._stored_entries(prefix))

    def buckets(self, prefixes: Collection[str]) -> dict[str, bytes | None]:
        """See `StateReader.buckets`."""
        return self._buckets.get_all(prefixes, self._read_buckets)

    def _bucket(self, prefix: str) -> bytes | None:
        return self._buckets.get(prefix, lambda prefix: self._read_buckets([prefix])[prefix])

    def _read_buckets(self, prefixes: Sequence[str]) -> dict[str, bytes | None]:
        def read() -> dict[str, bytes | None]:
            found = dict[str, bytes | None].fromkeys(prefixes)
            whole = self._stored_buckets([prefix for prefix in prefixes if prefix not in self._split])
            found.update({prefix: one for prefix, one in whole.items() if len(one) <= BUCKET_BYTES_MAX})
            return found

        def laid_over(found: dict[str, bytes | None], newer: Generation) -> dict[str, bytes | None]:
            lay_over_buckets(found, newer.leaves)
            return found

        return self._tail.over(read, laid_over)

    def _over(self, prefix: str, read: Callable[[], tuple[Entry, ...]]) -> tuple[Entry, ...]:
        def lay_over(entries: tuple[Entry, ...], newer: Generation) -> tuple[Entry, ...]:
            changed = newer.leaves.get(prefix[: self._depth], {})
            if len(prefix) > self._depth:
                changed = {path: leaf for path, leaf in changed.items() if path.hex().startswith(prefix)}
            return tuple(merged(entries, changed)) if changed else entries

        return self._tail.over(read, lay_over)

    def _stored_bucket(self, prefix: str) -> bytes:
        ((node, bucket),) = self._database.rows(schema.BUCKET, prefix, int(prefix, 16))
        if not isinstance(bucket, bytes | None):
            raise Damaged(f"bucket {prefix!r} of the state")
        if bucket is None and node is not None:  # split, by a commit after the caller's look whether it is
            entries = self._stored_entries(prefix)
            if len(entries) > BUCKET_ENTRIES_MAX:
                return packed(entries)
        elif packed_hash(bucket or b"") == (node or EMPTY):
            return bucket or b""
        raise Damaged(f"bucket {prefix!r} of the state")

    def _stored_entries(self, prefix: str) -> tuple[Entry, ...]:
        rows = self._database.rows(schema.STATE_PART, prefix, *path_range(prefix))
        node = rows.pop(0)[1] if rows and rows[0][0] is None else EMPTY
        if node == EMPTY and len(prefix) > self._depth:  # a part of a bucket that is not split
            return tuple(e for e in self._stored_entries(prefix[:-1]) if e.path.hex().startswith(prefix))
        entries = tuple(Entry(path, leaf) for path, leaf in rows)
        if subtree_hash(prefix, entries) != node:
            raise Damaged(f"bucket {prefix!r} of the state")
        return entries

    def node(self, prefix: str) -> Hash | None:
        """See `StateReader.node`."""
        if len(prefix) == self._depth:
            node = self.crown.node(prefix)
            return None if node == EMPTY else node
        if prefix[: self._depth] not in self._split:
            return None
        for newer in self._tail.newest():
            if prefix in newer.nodes:
                return newer.nodes[prefix]
        rows = self._database.rows(schema.NODE_GET, prefix)
        return Hash(rows[0][0]) if rows else None

    def children(self, prefix: str) -> list[Hash | None]:
        """See `StateReader.children`."""
        if prefix[: self._depth] not in self._split:
            return [None] * 16

        def laid_over(children: list[Hash | None], newer: Generation) -> list[Hash | None]:
            lay_over(children, prefix, newer.nodes)
            return children

        return self._tail.over(lambda: self._stored_children(prefix), laid_over)

    def _stored_children(self, prefix: str) -> list[Hash | None]:
        found: dict[str, Hash] = dict(self._database.rows(schema.NODE_AND_CHILDREN, prefix, prefix, prefix))
        children = [found.get(prefix + digit) for digit in DIGITS]
        if any(children) and node_hash([child or EMPTY for child in children]) != found.get(prefix):
            raise Damaged(f"node {prefix!r} of the state")
        return children


def _with_nodes(nodes: dict[str, Hash], newer: Generation) -> dict[str, Hash]:
    for prefix, node in newer.nodes.items():
        if node is None:
            nodes.pop(prefix, None)
        else:
            nodes[prefix] = node
    return nodes


def _check_split(nodes: Mapping[str, Hash], depth: int) -> None:
    """Every node that has children is theirs. Raises: Damaged."""
    for parent in {prefix[:-1] for prefix in nodes if len(prefix) > depth}:
        if node_hash([nodes.get(parent + digit, EMPTY) for digit in DIGITS]) != nodes.get(parent):
            raise Damaged(f"node {parent!r} of the state")
