"""What a client is told: typed results, and errors with stable codes. Floor 7."""

from dataclasses import dataclass
from typing import Any

from p2pledger.chain.receipt import Receipt
from p2pledger.chain.transaction import Outcome, Transaction
from p2pledger.types import Hash, Height, Millis


@dataclass(frozen=True)
class Accepted:
    """A node took the transaction; it will end as final, refused with a code, or expired."""

    transaction_id: Hash


@dataclass(frozen=True)
class Fate:
    """What a node knows of a transaction. `height`, `position` and `output` when it is final."""

    transaction_id: Hash
    outcome: Outcome
    height: Height | None = None
    position: int | None = None
    output: bytes | None = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class FinalEvent:
    """A block became final at the node that told us."""

    height: Height
    digest: Hash
    time_ms: Millis
    transaction_ids: tuple[Hash, ...]


@dataclass(frozen=True)
class Status:
    """Where a node stands, as far as it can be believed."""

    version: str
    chain_id: str
    genesis_hash: Hash
    role: str
    peer: str
    addresses: tuple[str, ...]
    topics: tuple[str, ...]
    protocols: tuple[str, ...]
    height: Height
    digest: Hash
    head_time_ms: Millis
    best_known_height: Height
    authorities: int
    is_authority: bool
    is_voting: bool
    notice: str
    mempool_transactions: int
    mempool_bytes: int


@dataclass(frozen=True)
class VerifiedReceipt:
    """A receipt that was checked against the genesis, and the transaction that it proves final."""

    receipt: Receipt
    transaction: Transaction


@dataclass(frozen=True)
class QueryPage:
    """A page of what a node found in its chain up to `height`: JSON objects, in a stable order.

    Nothing of it is proved: of what matters, fetch the receipt. `next` is None at the end.
    """

    height: Height
    items: tuple[dict[str, Any], ...]
    next: str | None


class LedgerError(Exception):
    """Anything that kept the client from doing what was asked. `code` is stable."""

    code = "ledger_error"


class Unavailable(LedgerError):
    """No node answered within the attempts and the time allowed. What was sent may have arrived."""

    code = "unavailable"


class InvalidAnswer(LedgerError):
    """A node answered what no honest node of this ledger answers."""

    code = "invalid_answer"


class Refused(LedgerError):
    """The node, or the ledger's rules, said no. The codes are explained in docs/errors.md."""

    def __init__(
        self, code: str, message: str, cure: str | None = None, transaction_id: Hash | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.cure = cure
        self.transaction_id = transaction_id


class Expired(LedgerError):
    """The transaction can never become final any more: it is safe to sign its content anew."""

    code = "expired"

    def __init__(self, transaction_id: Hash) -> None:
        super().__init__(f"transaction {transaction_id.hex()} expired before it was final")
        self.transaction_id = transaction_id


class Undecided(LedgerError):
    """The time was over before the outcome was known. It may still become final: do not sign it anew."""

    code = "undecided"

    def __init__(self, transaction_id: Hash) -> None:
        super().__init__(f"transaction {transaction_id.hex()} is not decided yet")
        self.transaction_id = transaction_id
