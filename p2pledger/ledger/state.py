"""The state that rules read and write, and the stack of writes over it. Floor 4, pure.

The state is a map from keys to values, both bytes. It is read through a `StateReader`: the store for
what is final, an `Overlay` for a block that is not.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode, encode
from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.ledger.crown import Crown
from p2pledger.ledger.entries import Entry, lay_over, lay_over_buckets, merged
from p2pledger.ledger.record import Record, record_of
from p2pledger.types import Hash, Height

T = TypeVar("T")

GENESIS_HEIGHT = Height(0)
ROWS_DECODED_MAX = 16_384
"""How many rows are kept decoded: organisations, keys and devices are read far more often than written."""


class StateReader(Protocol):
    """A state that can be read. Reading never changes it."""

    def get(self, key: bytes) -> bytes | None:
        """The value under a key; None when there is none."""

    def entries(self, prefix: str) -> Sequence[Entry]:
        """All entries whose path starts with these hexadecimal digits, by ascending path."""

    def buckets(self, prefixes: Collection[str]) -> "dict[str, Sequence[Entry] | None]":
        """The entries of each of these buckets; None for one that is split, or may be: `node` tells."""

    @property
    def crown(self) -> Crown | None:
        """The commitment's nodes down to the buckets; None while nothing was ever written."""

    def node(self, prefix: str) -> Hash | None:
        """The commitment's hash at a bucket's digits, or at more; None where it has no node of its own."""

    def children(self, prefix: str) -> list[Hash | None]:
        """The sixteen nodes just below a bucket, or below a part of one, by their digit."""

    def record(self, transaction_id: Hash) -> Record | None:
        """The record that this transaction of the chain made; None when there is none."""

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """Those of these ids whose transactions are in the chain and have not yet passed their expiry."""


class EmptyState:
    """The `StateReader` before genesis."""

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        return None

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`."""
        return ()

    def buckets(self, prefixes: Collection[str]) -> dict[str, Sequence[Entry] | None]:
        """See `StateReader.buckets`."""
        return dict.fromkeys(prefixes, ())

    @property
    def crown(self) -> Crown | None:
        """See `StateReader.crown`."""
        return None

    def node(self, prefix: str) -> Hash | None:
        """See `StateReader.node`."""
        return None

    def children(self, prefix: str) -> list[Hash | None]:
        """See `StateReader.children`."""
        return [None] * 16

    def record(self, transaction_id: Hash) -> Record | None:
        """See `StateReader.record`."""
        return None

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """See `StateReader.used`."""
        return frozenset()


class Effects(Protocol):
    """What a block does to the state: the part of an `Execution` that a later block reads."""

    @property
    def writes(self) -> Mapping[bytes, bytes | None]:
        """The last write to each key; None: removed."""

    @property
    def crown(self) -> Crown:
        """The commitment's nodes down to the buckets, after the block."""

    @property
    def entries(self) -> Mapping[str, Mapping[Hash, Entry | None]]:
        """The changed entries by the digits of their bucket and by path; None: removed."""

    @property
    def nodes(self) -> Mapping[str, Hash | None]:
        """The commitment's new nodes from the buckets on downwards; None: removed."""

    @property
    def transactions(self) -> Mapping[Hash, Transaction]:
        """The block's transactions by id."""

    @property
    def height(self) -> Height:
        """The block's height."""


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

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`."""
        changed: dict[Hash, Entry | None] = {}
        reader: StateReader = self
        while isinstance(reader, Overlay):
            for bucket in reader._changed(prefix):
                changed = {**bucket, **changed}
            reader = reader._reader
        below = reader.entries(prefix)
        return merged(below, changed) if changed else below

    def _changed(self, prefix: str) -> Sequence[Mapping[Hash, Entry | None]]:
        """The changed entries that start with these digits, bucket by bucket."""
        buckets, depth = self._effects.entries, self._effects.crown.depth
        if len(prefix) < depth:
            return [entries for bucket, entries in buckets.items() if bucket.startswith(prefix)]
        if (entries := buckets.get(prefix[:depth])) is None:
            return ()
        if len(prefix) == depth:
            return (entries,)
        return ({path: entry for path, entry in entries.items() if path.hex().startswith(prefix)},)

    def buckets(self, prefixes: Collection[str]) -> dict[str, Sequence[Entry] | None]:
        """See `StateReader.buckets`."""
        stack, below = self._stack()
        found = below.buckets(prefixes)
        for effects in stack:
            lay_over_buckets(found, effects.entries)
        return found

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

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """See `StateReader.used`."""
        asked, found = set(transaction_ids), set[Hash]()
        reader: StateReader = self
        while isinstance(reader, Overlay):
            found |= asked & reader._effects.transactions.keys()
            reader = reader._reader
        return found | reader.used(asked - found)


class Changes:
    """Writes over a reader that can be taken back: what a rule works on.

    `mark` and `undo` bracket one transaction: a rule that fails leaves no writes. `transactions` are those
    of the block at `height` that were carried out so far; the caller adds to them.

    Rows are held as values, however often a block reads and writes them: one is decoded when it is first
    read, and encoded when `writes` is asked for.
    """

    def __init__(
        self,
        reader: StateReader,
        height: Height = GENESIS_HEIGHT,
        transactions: Mapping[Hash, Transaction] = MappingProxyType({}),
    ) -> None:
        self._reader, self._height, self._transactions = reader, height, transactions
        self._rows_read: dict[bytes, Any] = {}
        self._writes: dict[bytes, Any] = {}
        self._undo: list[tuple[bytes, Any]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value under a key, these writes included."""
        if key in self._writes:
            return _encoded(self._writes[key])
        return self._reader.get(key)

    def row(self, key: bytes, decoded: Callable[[bytes | None], Any]) -> Any:
        """The value under a key as the row that `decoded` makes of it: the same one for every call."""
        if key in self._writes:
            written = self._writes[key]
            return decoded(written) if isinstance(written, bytes) else written
        if key not in self._rows_read:
            self._rows_read[key] = decoded(self._reader.get(key))
        return self._rows_read[key]

    def record(self, transaction_id: Hash) -> Record | None:
        """The record that a transaction before this one made; None when there is none."""
        transaction = self._transactions.get(transaction_id)
        if transaction is not None:
            return record_of(transaction, self._height)
        return self._reader.record(transaction_id)

    def put(self, key: bytes, value: Any) -> None:
        """Write a value under a key: bytes, or a row, which has to be a frozen dataclass. None removes it."""
        self._undo.append((key, self._writes.get(key, _UNWRITTEN)))
        self._writes[key] = value

    def mark(self) -> int:
        """A point to return to. Marks nest; an outer undo takes the inner writes along."""
        return len(self._undo)

    def undo(self, mark: int) -> None:
        """Take back every write since `mark`."""
        while len(self._undo) > mark:
            key, before = self._undo.pop()
            if before is _UNWRITTEN:
                del self._writes[key]
            else:
                self._writes[key] = before

    def writes(self) -> Mapping[bytes, bytes | None]:
        """The last write to each key, in the order of first writing; None stands for removed.

        Raises ValueError when a row holds what its annotations do not allow.
        """
        return {key: _encoded(value) for key, value in self._writes.items()}


_UNWRITTEN = object()


def _encoded(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else _ROWS.encode(value)


class Readable(Protocol):
    """Anything that values can be read from by key: a `StateReader`, or `Changes` over one."""

    def get(self, key: bytes) -> bytes | None:
        """The value under a key; None when there is none."""


class _Rows:
    """Rows by their encoding, of those that were read or written last: what one block writes, others read."""

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[Any, bytes], Any] = OrderedDict()

    def encode(self, row: Any) -> bytes:
        """The encoding of a row. Raises ValueError as `codec.encode` does."""
        data = encode(row)
        self._keep((type(row), data), row)
        return data

    def decode(self, kind: Any, data: bytes) -> Any:
        """The row of a kind that this is the encoding of. Raises: InvalidMessage."""
        row = self._rows.get((kind, data))
        if row is None:
            row = decode(kind, data)
            self._keep((kind, data), row)
        return row

    def _keep(self, key: tuple[Any, bytes], row: Any) -> None:
        self._rows[key] = row
        if len(self._rows) > ROWS_DECODED_MAX:
            self._rows.popitem(last=False)

    def cache_clear(self) -> None:
        """Forget them all."""
        self._rows.clear()


_ROWS = _Rows()


class Table(Generic[T]):
    """One kind of row in the state: values of dataclass `kind`, under keys that start with `name`.

    Rows are frozen values: change one by putting another in its place. A row that does not decode is
    our own corruption, so reading raises Fatal.
    """

    def __init__(self, name: str, kind: type[T]) -> None:
        if "/" in name:
            raise ValueError("a table's name ends at the first slash")
        self._prefix = name.encode() + b"/"
        self._kind: Any = kind

    def key(self, key: bytes) -> bytes:
        """The state's own key of a row: what a state proof is asked for."""
        return self._prefix + key

    def get(self, reader: Readable, key: bytes) -> T | None:
        """The row under a key; None when there is none. Raises: Fatal."""
        place = self._prefix + key
        row: T | None = (
            reader.row(place, self._decoded)
            if isinstance(reader, Changes)
            else self._decoded(reader.get(place))
        )
        return row

    def _decoded(self, data: bytes | None) -> Any:
        try:
            return None if data is None else _ROWS.decode(self._kind, data)
        except InvalidMessage as error:
            raise Fatal(f"the state holds no {self._kind.__name__} under {self._prefix!r}: {error}") from None

    def put(self, changes: Changes, key: bytes, row: T) -> None:
        """Write a row under a key."""
        changes.put(self._prefix + key, row)
