"""The state that rules read and write, and the stack of writes over it. Floor 4, pure.

The state is a map from keys to values, both bytes. It is read through a `StateReader`: the store for
what is final, an `Overlay` for a block that is not.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode, encode_all
from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.ledger.crown import Crown
from p2pledger.ledger.decoded import Decoded
from p2pledger.ledger.entries import Entry
from p2pledger.ledger.record import Record, record_of
from p2pledger.types import Hash, Height

T = TypeVar("T")
P = ParamSpec("P")

GENESIS_HEIGHT = Height(0)
ROWS_DECODED_MAX = 16_384
"""How many rows are kept decoded: organisations, keys and devices are read far more often than written."""


class StateReader(Protocol):
    """A state that can be read. Reading never changes it."""

    def get(self, key: bytes) -> bytes | None:
        """The value under a key; None when there is none."""

    def get_all(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """The values under these keys, as `get` gives them, at a fraction of its price each."""

    def entries(self, prefix: str) -> Sequence[Entry]:
        """All entries whose path starts with these hexadecimal digits, by ascending path."""

    def buckets(self, prefixes: Collection[str]) -> "dict[str, bytes | None]":
        """The entries of each of these buckets, `packed`; None where it is split, or may be: `node` tells."""

    @property
    def crown(self) -> Crown | None:
        """The commitment's nodes down to the buckets; None while nothing was ever written."""

    def node(self, prefix: str) -> Hash | None:
        """The commitment's hash at a bucket's digits, or at more; None where it has no node of its own."""

    def children(self, prefix: str) -> list[Hash | None]:
        """The sixteen nodes just below a bucket, or below a part of one, by their digit."""

    def record(self, transaction_id: Hash) -> Record | None:
        """The record that this transaction of the chain made; None when there is none."""

    def records(self, transaction_ids: Collection[Hash]) -> dict[Hash, Record | None]:
        """The records that these made, as `record` gives them, for less than its price each."""

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """Those of these ids whose transactions are in the chain and have not yet passed their expiry."""

    @property
    def rows(self) -> Mapping[bytes, Any]:
        """Rows of this state that are known decoded, as `get` gives them encoded: some, or none."""


class EmptyState:
    """The `StateReader` before genesis."""

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        return None

    def get_all(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """See `StateReader.get_all`."""
        return dict.fromkeys(keys)

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`."""
        return ()

    def buckets(self, prefixes: Collection[str]) -> dict[str, bytes | None]:
        """See `StateReader.buckets`."""
        return dict.fromkeys(prefixes, b"")

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

    def records(self, transaction_ids: Collection[Hash]) -> dict[Hash, Record | None]:
        """See `StateReader.records`."""
        return dict.fromkeys(transaction_ids)

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """See `StateReader.used`."""
        return frozenset()

    @property
    def rows(self) -> Mapping[bytes, Any]:
        """See `StateReader.rows`."""
        return MappingProxyType({})


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
        self.known = reader.rows
        """Rows as they stand where nothing was written: they need no reading."""
        self.rows: dict[bytes, Any] = {}
        """The rows that were read or written, as they stand now; `row` finds the others."""
        self._writes: dict[bytes, Any] = {}
        self._undo: list[tuple[bytes, Any]] = []
        self._records: dict[Hash, Record | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """The value under a key, these writes included."""
        if key in self._writes:
            return _encoded(self._writes[key])
        return self._reader.get(key)

    def read_ahead(
        self, keys: Collection[bytes], decoded: Callable[[Mapping[bytes, bytes | None]], Mapping[bytes, Any]]
    ) -> None:
        """Read these rows together, since they are going to be asked for: they answer as before."""
        rows, known = self.rows, self.known
        if lacking := [key for key in keys if key not in rows and key not in self._writes]:
            rows.update({key: known[key] for key in lacking if key in known})
            rows.update(decoded(self._reader.get_all([key for key in lacking if key not in known])))

    def row(self, key: bytes, decoded: Callable[[bytes | None], Any]) -> Any:
        """The value under a key as the row that `decoded` makes of it: the same one for every call."""
        if key not in self.rows:
            before = self._writes if key in self._writes else self.known
            row = before.get(key, b"")
            self.rows[key] = decoded(self.get(key)) if isinstance(row, bytes) else row
        return self.rows[key]

    def record(self, transaction_id: Hash) -> Record | None:
        """The record that a transaction before this one made; None when there is none."""
        transaction = self._transactions.get(transaction_id)
        if transaction is not None:
            return record_of(transaction, self._height)
        if transaction_id in self._records:
            return self._records[transaction_id]
        return self._reader.record(transaction_id)

    def read_records_ahead(self, transaction_ids: Collection[Hash]) -> list[Record]:
        """Read these records together, since they are going to be asked for; those that are there now."""
        if transaction_ids:
            self._records.update(self._reader.records(transaction_ids))
        found = [self._records[transaction_id] for transaction_id in transaction_ids]
        return [record for record in found if record is not None]

    def put(self, key: bytes, value: Any) -> None:
        """Write a value under a key: bytes, or a row, which has to be a frozen dataclass. None removes it."""
        writes = self._writes
        self._undo.append((key, writes.get(key, _UNWRITTEN)))
        writes[key] = value
        if type(value) is bytes:
            self.rows.pop(key, None)
        else:
            self.rows[key] = value

    def put_all(self, rows: Mapping[bytes, Any]) -> None:
        """`put` of each, which have to be rows, for less."""
        writes = self._writes
        self._undo += [(key, writes.get(key, _UNWRITTEN)) for key in rows]
        writes.update(rows)
        self.rows.update(rows)

    def mark(self) -> int:
        """A point to return to. Marks nest; an outer undo takes the inner writes along."""
        return len(self._undo)

    def undo(self, mark: int) -> None:
        """Take back every write since `mark`."""
        while len(self._undo) > mark:
            key, before = self._undo.pop()
            self.rows.pop(key, None)
            if before is _UNWRITTEN:
                del self._writes[key]
            else:
                self._writes[key] = before

    def writes(self) -> Mapping[bytes, bytes | None]:
        """The last write to each key, in the order of first writing; None stands for removed.

        Raises ValueError when a row holds what its annotations do not allow.
        """
        written, rows = self._writes, dict[type[Any], list[bytes]]()
        for key, value in written.items():
            if value is not None and type(value) is not bytes:
                rows.setdefault(type(value), []).append(key)
        found = dict(written)
        for kind, keys in rows.items():
            some = [written[key] for key in keys]
            encoded = encode_all(kind, some)
            _ROWS.keep(kind, dict(zip(encoded, some, strict=True)))
            found.update(zip(keys, encoded, strict=True))
        return found


_UNWRITTEN = object()


def _encoded(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else encode(value)


class Readable(Protocol):
    """Anything that values can be read from by key: a `StateReader`, or `Changes` over one."""

    def get(self, key: bytes) -> bytes | None:
        """The value under a key; None when there is none."""


_ROWS = Decoded(ROWS_DECODED_MAX)
"""What one block writes, others read."""


def with_fields(row: T, **changes: Any) -> T:
    """The row with other values in some fields: `dataclasses.replace` in a quarter of its time.

    For rows that are their fields and nothing else: no slots, no `__post_init__`, nothing cached. Rules
    that keep balances spend more here than anywhere else. Raises: TypeError for a field that it has not.
    """
    kind: Any = type(row)
    new: T = object.__new__(kind)
    values = new.__dict__
    values.update(row.__dict__)
    values.update(changes)
    if len(values) != _field_count(kind):
        raise TypeError(f"a row of {kind.__name__} has its fields alone, and not all of {', '.join(changes)}")
    return new


def with_sums(row: T, more: Mapping[str, int]) -> T:
    """The row with these numbers added to its fields, at once for all: half of the time of `with_fields`.

    For rows as there. Raises: KeyError for a field that the row does not have.
    """
    new: T = object.__new__(type(row))
    values = new.__dict__
    values.update(row.__dict__)
    for name, number in more.items():
        values[name] += number
    return new


def new_row(kind: Callable[P, T], *none: P.args, **fields: P.kwargs) -> T:
    """`kind(**fields)` in a third of its time, for a class as in `with_fields`: every field by its name.

    What a frozen dataclass's own `__init__` costs is a call of `object.__setattr__` for each field.
    Raises: TypeError where one is missing or too many.
    """
    cls: Any = kind
    new: T = object.__new__(cls)
    values = new.__dict__
    values.update(fields)
    if none or len(values) != _field_count(cls):
        raise TypeError(f"not the fields of {cls.__name__}, each by its name: {', '.join(fields)}")
    return new


@cache
def _field_count(kind: type[Any]) -> int:
    return len(fields(kind))


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
        if type(reader) is not Changes:
            return cast("T | None", self._decoded(reader.get(place)))
        rows = reader.rows  # six of ten calls of an executed record were for finding a row in here
        return rows[place] if place in rows else cast("T | None", reader.row(place, self._decoded))

    def get_all(self, changes: Changes, keys: Iterable[bytes]) -> list[T | None]:
        """`get` of each, those that are not at hand read together. Raises: Fatal."""
        rows, prefix, decoded = changes.rows, self._prefix, self._decoded
        places = [prefix + key for key in keys]
        try:
            return [rows[place] for place in places]
        except KeyError:
            changes.read_ahead(dict.fromkeys(places), self._decoded_all)
            return [changes.row(place, decoded) for place in places]

    def read_ahead(self, changes: Changes, keys: Collection[bytes]) -> None:
        """Read the rows under these keys together: `get` finds each of them at hand. Raises: Fatal."""
        prefix = self._prefix
        changes.read_ahead([prefix + key for key in keys], self._decoded_all)

    def _decoded(self, data: bytes | None) -> Any:
        return self._decoded_all({b"": data})[b""]

    def _decoded_all(self, data: Mapping[bytes, bytes | None]) -> dict[bytes, Any]:
        try:
            return _ROWS.get_all(self._kind, data)
        except InvalidMessage as error:
            raise Fatal(f"the state holds no {self._kind.__name__} under {self._prefix!r}: {error}") from None

    def put(self, changes: Changes, key: bytes, row: T) -> None:
        """Write a row under a key."""
        changes.put(self._prefix + key, row)

    def put_all(self, changes: Changes, rows: Mapping[bytes, T]) -> None:
        """Write these rows, each under its key."""
        prefix = self._prefix
        changes.put_all({prefix + key: row for key, row in rows.items()})
