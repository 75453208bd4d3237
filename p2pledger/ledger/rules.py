"""What a module is made of: rules and measures, and what they may know. Floor 4, pure.

A module is its tables, one rule per kind of transaction, and one measure per kind of proposal that governance
may decide on. Either is a function over the state that does all of what the payload asks, or raises
InvalidTransaction and leaves nothing behind.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import IsSigned, Offence
from p2pledger.crypto import Signed
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.state import Changes
from p2pledger.types import Epoch, Hash, Height, Millis, PublicKey


class IndexRow(NamedTuple):
    """A row that a module wants to be found by, in the index of this name.

    Storage keeps it, and `Store.scan` reads it in key order. A second row with the same name and key takes
    the first one's place.
    """

    name: str
    key: bytes
    value: bytes


Columns = tuple[list[bytes], list[bytes]]
"""The keys of rows of one index, and their values."""


@dataclass
class IndexRows:
    """Index rows in their order: kept by index, without an object for each, because a record has three."""

    names: list[str] = field(default_factory=list)
    """Each row's index, in the order of rows."""
    columns: dict[str, Columns] = field(default_factory=dict)
    """What rows each index gets, in their order; at least one."""

    @classmethod
    def of(cls, rows: Iterable["IndexRow | IndexRows"]) -> "IndexRows":
        """These rows, some of them together already."""
        made = cls()
        for some in rows:
            if isinstance(some, IndexRows):
                made._add_all(some)
            else:
                made._add(*some)
        return made

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[IndexRow]:
        each = {name: zip(*columns, strict=True) for name, columns in self.columns.items()}
        return (IndexRow(name, *next(each[name])) for name in self.names)

    def of_index(self, name: str) -> Columns:
        """The rows that this index gets; none as well."""
        return self.columns.get(name, ([], []))

    def followed_by(self, rows: Sequence[IndexRow]) -> "IndexRows":
        """These rows and then those."""
        return IndexRows.of([self, *rows]) if rows else self

    def _add(self, name: str, key: bytes, value: bytes) -> None:
        self.names.append(name)
        keys, values = self.columns.setdefault(name, ([], []))
        keys.append(key)
        values.append(value)

    def _add_all(self, others: "IndexRows") -> None:
        self.names += others.names
        for name, (more_keys, more_values) in others.columns.items():
            keys, values = self.columns.setdefault(name, ([], []))
            keys += more_keys
            values += more_values


@dataclass(frozen=True)
class Round:
    """Where in the chain a block stands: what rules may know of it beside the state."""

    epoch: Epoch
    height: Height
    time_ms: Millis
    offences: tuple[Offence, ...] = ()
    """What the block's own evidence shows, checked before."""


class SignedInside(Protocol):
    """A payload that carries a signature of its own, beside those of the transaction's signers."""

    def signed_inside(self, genesis_hash: Hash, sponsor: str) -> Signed:
        """What it says was signed, and by whom; it follows from the transaction's bytes alone."""


class Context:
    """What a rule may know beside its payload and the state: of one transaction, then of the next.

    Only `emit` and `turn_to` change it. `rows` are those of all transactions that were carried out, those of
    a run together.
    """

    __slots__ = (
        "_is_signed", "_proven", "genesis", "keys", "round", "rows", "signers", "sponsor", "transaction_id",
    )  # fmt: skip

    def __init__(
        self, genesis: Genesis, round_: Round, is_signed: IsSigned, proven: Container[Hash] = frozenset()
    ) -> None:
        self.genesis, self.round, self._is_signed, self._proven = genesis, round_, is_signed, proven
        self.rows: list[IndexRow | IndexRows] = []

    def turn_to(self, transaction: Transaction) -> None:
        """From here on it is about this transaction."""
        body = transaction.body
        self.transaction_id: Hash = transaction.id
        self.sponsor: str = body.sponsor
        self.signers: tuple[PublicKey, ...] = body.signers
        self.keys: Any = None
        """The signers' live keys, once the registry has looked for them (`registry.live_keys`)."""

    def emit(self, name: str, key: bytes, value: bytes = b"") -> None:
        """Write an index row, once the block is final."""
        self.rows.append(_new_row(IndexRow, (name, key, value)))

    def holds_inside(self, payload: SignedInside) -> bool:
        """Whether the signature that this transaction's payload carries holds.

        Verified here unless it was before, with the transaction's own: so no way into a block leads past it.
        """
        if self.transaction_id in self._proven:
            return True
        return self._is_signed(*payload.signed_inside(self.genesis.hash, self.sponsor))

    def check_signed_by(self, key: PublicKey, whose: str) -> None:
        """Refuse a transaction that this key did not sign. Raises: InvalidTransaction."""
        if key not in self.signers:
            raise InvalidTransaction(Code.MISSING_SIGNATURE, f"{whose} has to sign this too")


_new_row = tuple.__new__
"""`IndexRow` is a tuple; its own `__new__` would be a call more."""

Apply = Callable[[Changes, Context, Any], bytes]
"""Carries a payload out and returns the result's output (canonical CBOR, often empty)."""

CheckSigners = Callable[[Changes, Context, Any], None]
"""Refuses signers that do not speak for the sponsor in such a transaction (`not_entitled`)."""

Order = Callable[[Any], tuple[bytes, int] | None]
"""The line that a payload stands in (a device) and its place there (its number); None for no line."""


ApplyRun = Callable[[Changes, Context, Sequence[Transaction], Sequence[Any]], bool]
"""Does for transactions that follow each other, with these payloads, all that checking the signers of each
and applying it would do in turn, each with an empty output. Or it says no and has done nothing, where it
cannot be sure of every one: then they are carried out one by one, by what alone says what a payload means.

The context is turned to none of them, and no rows were read ahead for it."""

CheckRun = Callable[[Changes, Context, Sequence[Transaction], Sequence[Any]], bool]
"""Whether checking the signers and applying would go well with each of these transactions, were it alone.

Or it says no, where it cannot be sure of every one: then they are tried one by one. Nothing is done."""

Reads = Callable[[Changes, Sequence[Any]], None]
"""Reads together what rows these payloads are going to ask for (`Table.read_ahead`); changes no outcome."""


@dataclass(frozen=True)
class Rule:
    """What one kind of transaction means.

    Transactions of one line are put into a block by their place in it, when `order` names one. `read_ahead`
    is told of all payloads of a block at once. What `is_urgent` counts towards its sponsor's quota and is
    not refused for it: it takes something back, once, that the quota has let in. `apply_run` and `check_run`
    are for what blocks are full of, and for nothing urgent.
    """

    payload: type[Any]
    check_signers: CheckSigners
    apply: Apply
    order: Order | None = None
    read_ahead: Reads | None = None
    is_urgent: Callable[[Any], bool] | None = None
    apply_run: ApplyRun | None = None
    check_run: CheckRun | None = None

    @property
    def is_signed_inside(self) -> bool:
        """Whether payloads of this kind carry a signature (`SignedInside`)."""
        return hasattr(self.payload, "signed_inside")

    @property
    def kind(self) -> str:
        """The kind of transaction that this rule is for."""
        kind: str = self.payload.KIND
        return kind


def always(payload: Any) -> bool:
    """`is_urgent` of a kind that can happen but once to what it takes back."""
    return True


Enact = Callable[[Changes, Context, Any, Height], None]
"""Carries out what the authorities decided, to work from this height on: the next block's, or a later one."""


@dataclass(frozen=True)
class Measure:
    """What one kind of proposal means once enough authorities have voted for it.

    It is tried when it is proposed, and carried out by the vote that decides it. What it writes names the
    height that it works from, so that nothing has to be written when that height comes.
    """

    payload: type[Any]
    enact: Enact

    @property
    def kind(self) -> str:
        """The kind of proposal that this measure is for."""
        kind: str = self.payload.KIND
        return kind
