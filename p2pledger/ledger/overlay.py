"""The states after blocks that are not yet final, each over the state before it. Floor 4, pure."""

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any, Protocol

from p2pledger.chain.transaction import Transaction
from p2pledger.ledger.crown import Crown
from p2pledger.ledger.entries import Changed, Entry, Leaves, lay_over, merged
from p2pledger.ledger.record import Record, record_of
from p2pledger.ledger.state import StateReader
from p2pledger.types import Hash, Height


class Effects(Protocol):
    """What a block does to the state: the part of an `Execution` that a later block reads."""

    @property
    def writes(self) -> Mapping[bytes, bytes | None]:
        """The last write to each key; None: removed."""

    @property
    def crown(self) -> Crown:
        """The commitment's nodes down to the buckets, after the block."""

    @property
    def entries(self) -> Mapping[str, Changed]:
        """What the block changes, by the digits of its bucket."""

    @property
    def nodes(self) -> Mapping[str, Hash | None]:
        """The commitment's new nodes from the buckets on downwards; None: removed."""

    @property
    def transactions(self) -> Mapping[Hash, Transaction]:
        """The block's transactions by id."""

    @property
    def height(self) -> Height:
        """The block's height."""

    @property
    def rows(self) -> Mapping[bytes, Any]:
        """See `StateReader.rows`, of the state after the block."""


class Overlay:
    """A `StateReader`: the state after a block that is not yet final, over the state before it.

    Overlays stack: the reader below is the parent's. The effects must not change any more.
    """

    def __init__(self, reader: StateReader, effects: Effects) -> None:
        self._reader = reader
        self._effects = effects

    def rebase(self, reader: StateReader) -> None:
        """Stand on another reader of the same content: the store, once it holds the parent."""
        self._reader = reader

    # How many blocks are not final has no bound (PROTOCOL), so a stack is walked, never recursed into.

    def _stack(self) -> "tuple[list[Effects], StateReader]":
        """The effects of this overlay and of all below it, the oldest first, and what they stand on."""
        stack: list[Effects] = []
        reader: StateReader = self
        while isinstance(reader, Overlay):
            stack.append(reader._effects)
            reader = reader._reader
        stack.reverse()
        return stack, reader

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        reader: StateReader = self
        while isinstance(reader, Overlay):
            writes = reader._effects.writes
            if key in writes:
                return writes[key]
            reader = reader._reader
        return reader.get(key)

    def get_all(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """See `StateReader.get_all`."""
        asked, written = set(keys), dict[bytes, bytes | None]()
        reader: StateReader = self
        while isinstance(reader, Overlay):
            writes = reader._effects.writes
            for key in asked & writes.keys():
                written[key] = writes[key]
                asked.remove(key)
            reader = reader._reader
        return reader.get_all(asked) | written

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`."""
        changed: dict[Hash, Hash | None] = {}
        reader: StateReader = self
        while isinstance(reader, Overlay):
            for leaves in reader._changed(prefix):
                changed = {**leaves, **changed}
            reader = reader._reader
        below = reader.entries(prefix)
        return merged(below, changed) if changed else below

    def _changed(self, prefix: str) -> Sequence[Leaves]:
        """The changed leaves that start with these digits, bucket by bucket."""
        buckets, depth = self._effects.entries, self._effects.crown.depth
        if len(prefix) < depth:
            return [changed.leaves for bucket, changed in buckets.items() if bucket.startswith(prefix)]
        if (changed := buckets.get(prefix[:depth])) is None:
            return ()
        if len(prefix) == depth:
            return (changed.leaves,)
        return ({path: leaf for path, leaf in changed.leaves.items() if path.hex().startswith(prefix)},)

    def buckets(self, prefixes: Collection[str]) -> dict[str, bytes | None]:
        """See `StateReader.buckets`."""
        asked, found = set(prefixes), dict[str, bytes | None]()
        reader: StateReader = self
        while isinstance(reader, Overlay):
            entries = reader._effects.entries
            for prefix in asked & entries.keys():
                found[prefix] = entries[prefix].bucket
            asked.difference_update(found)
            reader = reader._reader
        return reader.buckets(asked) | found

    @property
    def crown(self) -> Crown:
        """See `StateReader.crown`."""
        return self._effects.crown

    def node(self, prefix: str) -> Hash | None:
        """See `StateReader.node`."""
        reader: StateReader = self
        while isinstance(reader, Overlay):
            nodes = reader._effects.nodes
            if prefix in nodes:
                return nodes[prefix]
            reader = reader._reader
        return reader.node(prefix)

    def children(self, prefix: str) -> list[Hash | None]:
        """See `StateReader.children`."""
        stack, below = self._stack()
        children = below.children(prefix)
        for effects in stack:
            lay_over(children, prefix, effects.nodes)
        return children

    def record(self, transaction_id: Hash) -> Record | None:
        """See `StateReader.record`."""
        reader: StateReader = self
        while isinstance(reader, Overlay):
            effects = reader._effects
            if (transaction := effects.transactions.get(transaction_id)) is not None:
                return record_of(transaction, effects.height)
            reader = reader._reader
        return reader.record(transaction_id)

    def records(self, transaction_ids: Collection[Hash]) -> dict[Hash, Record | None]:
        """See `StateReader.records`."""
        stack, below = self._stack()
        found = dict[Hash, Record | None]()
        for effects in stack:
            for transaction_id in transaction_ids:
                if (transaction := effects.transactions.get(transaction_id)) is not None:
                    found[transaction_id] = record_of(transaction, effects.height)
        return found | below.records([one for one in transaction_ids if one not in found])

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """See `StateReader.used`."""
        asked, found = set(transaction_ids), set[Hash]()
        reader: StateReader = self
        while isinstance(reader, Overlay):
            found |= asked & reader._effects.transactions.keys()
            reader = reader._reader
        return found | reader.used(asked - found)

    @property
    def rows(self) -> Mapping[bytes, Any]:
        """See `StateReader.rows`."""
        return self._effects.rows
