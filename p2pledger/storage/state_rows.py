"""The state as the file holds it: no answer leaves here that the state root does not cover. Floor 5.

A row is checked against its leaf, the leaves of a bucket against the bucket's node, every node against
its parent. So a damaged page is noticed by the first read that rests on it, also by one that finds
nothing: what is missing is missing from a bucket that is whole.
"""

from collections.abc import Sequence

from p2pledger.ledger.commitment import EMPTY, node_hash, subtree_hash
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.state import DIGITS, Entry, entry_of, path_of, path_range
from p2pledger.storage import schema
from p2pledger.storage.cache import RowCache
from p2pledger.storage.database import Damaged, Database
from p2pledger.types import Hash


class StateRows:
    """Reads the state of the last commit. `depth`: how many digits lead to a bucket.

    The nodes down to the buckets (70,000 hashes at most) are kept in memory: they are read 16 at a time at
    every write, and from memory they cost a hundredth.
    Raises: Fatal, from every method, when what is read is not what was written.
    """

    def __init__(self, database: Database, depth: int) -> None:
        self._database, self._depth = database, depth
        self._rows = RowCache()
        nodes: dict[str, Hash] = dict(database.rows(schema.NODES))
        self._check_tree(nodes)
        self._nodes = {prefix: node for prefix, node in nodes.items() if len(prefix) <= depth}
        self._split = {prefix[:depth] for prefix in nodes if len(prefix) > depth}

    def _check_tree(self, nodes: dict[str, Hash]) -> None:
        parents = {prefix[:-1] for prefix in nodes if prefix}
        parents |= {prefix for prefix in nodes if len(prefix) < self._depth}
        for parent in parents:
            children = [nodes.get(parent + digit, EMPTY) for digit in DIGITS]
            if node_hash(children) != nodes.get(parent):
                raise Damaged(f"node {parent!r} of the state")

    @property
    def root(self) -> Hash:
        """The state root."""
        return self._nodes.get("", EMPTY)

    def replace(self, execution: Execution) -> None:
        """What this execution writes is committed now."""
        self._rows.replace(execution.writes)
        for prefix, node in execution.nodes.items():
            if len(prefix) > self._depth:
                # Never taken out again: a bucket that is whole again only costs a look at the disk.
                self._split.add(prefix[: self._depth])
            elif node is None:
                self._nodes.pop(prefix, None)
            else:
                self._nodes[prefix] = node

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        return self._rows.get(key, self._read)

    def _read(self, key: bytes) -> bytes | None:
        path = path_of(key)
        for _ in range(2):  # a commit may have brought the row between the two looks
            if rows := self._database.rows(schema.STATE_GET, path):
                leaf, stored, value = rows[0]
                if stored != key or entry_of(key, value).leaf != leaf:
                    raise Damaged("a row of the state")
                return bytes(value)
            if all(entry.path != path for entry in self.entries(path.hex()[: self._depth])):
                return None
        raise Damaged("a row of the state")

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`. Above the buckets: one bucket after the other."""
        if len(prefix) < self._depth:
            return [entry for digit in DIGITS for entry in self.entries(prefix + digit)]
        rows = self._database.rows(schema.STATE_BUCKET, prefix, *path_range(prefix))
        node = rows.pop(0)[1] if rows and rows[0][0] is None else EMPTY
        if node == EMPTY and len(prefix) > self._depth:  # a part of a bucket that is not split
            return [entry for entry in self.entries(prefix[:-1]) if entry.path.hex().startswith(prefix)]
        entries = [Entry(path, leaf) for path, leaf in rows]
        if subtree_hash(prefix, entries) != node:
            raise Damaged(f"bucket {prefix!r} of the state")
        return entries

    def node(self, prefix: str) -> Hash | None:
        """See `StateReader.node`."""
        if len(prefix) <= self._depth:
            return self._nodes.get(prefix)
        if prefix[: self._depth] not in self._split:
            return None
        rows = self._database.rows(schema.NODE_GET, prefix)
        return Hash(rows[0][0]) if rows else None

    def children(self, prefix: str) -> list[Hash | None]:
        """See `StateReader.children`."""
        if len(prefix) < self._depth:
            return [self._nodes.get(prefix + digit) for digit in DIGITS]
        if prefix[: self._depth] not in self._split:
            return [None] * 16
        found: dict[str, Hash] = dict(self._database.rows(schema.NODE_AND_CHILDREN, prefix))
        children = [found.get(prefix + digit) for digit in DIGITS]
        if any(children) and node_hash([child or EMPTY for child in children]) != found.get(prefix):
            raise Damaged(f"node {prefix!r} of the state")
        return children
