"""What a module is made of: rules, and what a rule may know. Floor 4, pure.

A module is its tables, and one rule per kind of transaction. A rule is a function over the state that
either does all of what the payload asks, or raises InvalidTransaction and leaves nothing behind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.vote import IsSigned
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


@dataclass(frozen=True)
class Round:
    """Where in the chain a block stands: what rules may know of it beside the state."""

    epoch: Epoch
    height: Height
    time_ms: Millis


@dataclass(slots=True)
class Context:
    """What a rule may know beside its payload and the state. One per transaction; only `emit` changes it."""

    genesis: Genesis
    round: Round
    transaction_id: Hash
    sponsor: str
    signers: tuple[PublicKey, ...]
    is_signed: IsSigned
    rows: list[IndexRow] = field(default_factory=list)

    def emit(self, name: str, key: bytes, value: bytes = b"") -> None:
        """Write an index row, once the block is final."""
        self.rows.append(IndexRow(name, key, value))

    def check_signed_by(self, key: PublicKey, whose: str) -> None:
        """Refuse a transaction that this key did not sign. Raises: InvalidTransaction."""
        if key not in self.signers:
            raise InvalidTransaction(Code.MISSING_SIGNATURE, f"{whose} has to sign this too")


Apply = Callable[[Changes, Context, Any], bytes]
"""Carries a payload out and returns the result's output (canonical CBOR, often empty)."""

CheckSigners = Callable[[Changes, Context, Any], None]
"""Refuses signers that do not speak for the sponsor in such a transaction (`not_entitled`)."""

Order = Callable[[Any], tuple[bytes, int] | None]
"""The line that a payload stands in (a device) and its place there (its number); None for no line."""


@dataclass(frozen=True)
class Rule:
    """What one kind of transaction means.

    Transactions of one line are put into a block by their place in it, when `order` names one.
    """

    payload: type[Any]
    check_signers: CheckSigners
    apply: Apply
    order: Order | None = None

    @property
    def kind(self) -> str:
        """The kind of transaction that this rule is for."""
        kind: str = self.payload.KIND
        return kind
