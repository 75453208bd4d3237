"""A transaction: what is signed, by whom, paid from whose quota, and until when it may be final. Floor 3.

There are no nonces: an id is accepted once within the expiry window, so a gateway's parallel writers
never wait for each other. The payload is the canonical encoding of the payload type of its kind, which
only the ledger floor knows; here it is bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise, repeat
from typing import Annotated, Any

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.vote import IsSigned
from p2pledger.codec import Length, Pattern, Range, decode, decode_all, encode
from p2pledger.crypto import Domain, are_signed
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, Millis, PublicKey, Signature

TRANSACTION_VERSION = 1
SIGNERS_MAX = 8
PAYLOAD_BYTES_MAX = 17 * 1024
"""Room for the smallest status list there is, should its bits not compress."""
TRANSACTION_BYTES_MAX = 20 * 1024
"""An encoded transaction with its signatures; more is refused before it is decoded."""

Kind = Annotated[str, Length(3, 32), Pattern(r"[a-z]+\.[a-z]+")]
"""A module's name and what is to be done there: `record.append`."""

_TRANSACTION_DOMAIN = Domain("p2pledger/transaction/1")

_SIGNATURES = tuple(-1 - 66 * count for count in range(SIGNERS_MAX + 1))
"""Where in an encoded transaction so many signatures begin, counted from its end.

It is an array of two (1 byte), the body, then an array of at most 8 (1 byte) strings of 2 + 64 bytes.
"""


@dataclass(frozen=True, slots=True)
class Body:
    """The part of a transaction that is signed. Raises: ValueError for what has no encoding."""

    version: Annotated[int, Range(TRANSACTION_VERSION, TRANSACTION_VERSION)]
    genesis_hash: Hash
    expires_ms: Millis
    salt: Annotated[bytes, Length(8, 8)]
    """Random, so that two equal wishes are two transactions, and a retry of one stays one."""
    kind: Kind
    payload: Annotated[bytes, Length(1, PAYLOAD_BYTES_MAX)]
    sponsor: OrganisationId
    """The organisation whose quota pays."""
    signers: Annotated[tuple[PublicKey, ...], Length(1, SIGNERS_MAX)]
    """Distinct, ascending: one set of signers has one encoding."""

    id: Hash = field(init=False, compare=False, repr=False)
    """The transaction's id, and the digest that every signer signs."""

    def __post_init__(self) -> None:
        self.check_fields()
        object.__setattr__(self, "id", _TRANSACTION_DOMAIN.hash(encode(self)))

    def check_fields(self) -> None:
        """What spans the fields. Raises: ValueError."""
        if len(self.signers) > 1 and any(a >= b for a, b in pairwise(self.signers)):
            raise ValueError("signers are distinct and stand in ascending order")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A body and one signature per signer, in the signers' order.

    Well formed by construction; whether the signatures hold, `is_authentic` says. Thousands are under way at
    a time, and each is looked at again and again when other work has driven it out of the caches: slots make
    it smaller.

    Raises: ValueError for what has no encoding.
    """

    body: Body
    signatures: Annotated[tuple[Signature, ...], Length(1, SIGNERS_MAX)]

    id: Hash = field(init=False, compare=False, repr=False)
    """The hash of what is signed: signatures are not part of it."""
    encoded: bytes = field(init=False, compare=False, repr=False)
    """The canonical encoding."""
    opened: Any = field(init=False, compare=False, repr=False)
    """What the ledger has read in the payload, so that it reads it once; None before. See `note_opened`."""

    def __post_init__(self) -> None:
        self.check_fields()
        _derive([self], [self.body.id], [encode(self)])

    def check_fields(self) -> None:
        """What spans the fields. Raises: ValueError."""
        if len(self.signatures) != len(self.body.signers):
            raise ValueError("a transaction has one signature per signer")


def _derive(transactions: Iterable[Transaction], ids: Iterable[Hash], encoded: Iterable[bytes]) -> None:
    fill = object.__setattr__
    for transaction, id_, one in zip(transactions, ids, encoded, strict=True):
        fill(transaction.body, "id", id_)
        fill(transaction, "id", id_)
        fill(transaction, "encoded", one)
        fill(transaction, "opened", None)


def note_opened(transactions: Iterable[Transaction], opened: Iterable[Any]) -> None:
    """Keep with each transaction what was read in its payload, for as long as the transaction is."""
    fill = object.__setattr__
    for transaction, one in zip(transactions, opened, strict=True):
        fill(transaction, "opened", one)


def is_authentic(transaction: Transaction, is_signed: IsSigned) -> bool:
    """Whether every signature is its signer's. The one expensive check of a transaction; no state needed."""
    return all(map(is_signed, transaction.body.signers, repeat(transaction.id), transaction.signatures))


def are_authentic(transactions: Sequence[Transaction]) -> list[bool]:
    """`is_authentic` of each, with all signatures verified one right after the other, which costs less."""
    verdicts = are_signed(
        [key for one in transactions for key in one.body.signers],
        [one.id for one in transactions for _ in one.signatures],
        [signature for one in transactions for signature in one.signatures],
    )
    if len(verdicts) == len(transactions):  # each has one signer
        return verdicts
    each = iter(verdicts)
    return [False not in [next(each) for _ in one.signatures] for one in transactions]


def decode_transaction(data: bytes) -> Transaction:
    """The transaction that `data` encodes, with its id and encoding at hand without encoding it again.

    Raises: InvalidMessage (too long, or not the canonical encoding).
    """
    if len(data) > TRANSACTION_BYTES_MAX:
        raise InvalidMessage(f"a transaction has at most {TRANSACTION_BYTES_MAX} bytes", code="too_large")
    transaction: Transaction = decode(Transaction, data)
    body = data[1 : _SIGNATURES[len(transaction.signatures)]]
    _derive([transaction], [_TRANSACTION_DOMAIN.hash(body)], [data])
    return transaction


def decode_transactions(data: Sequence[bytes]) -> list[Transaction]:
    """Each as `decode_transaction` does it, but together, which costs two thirds.

    Raises: InvalidMessage for the first that is refused.
    """
    if max(map(len, data), default=0) > TRANSACTION_BYTES_MAX:
        return [decode_transaction(one) for one in data]  # one of which is refused
    transactions: list[Transaction] = decode_all(Transaction, data)
    bodies = [
        one[1 : _SIGNATURES[len(transaction.signatures)]]
        for transaction, one in zip(transactions, data, strict=True)
    ]
    _derive(transactions, _TRANSACTION_DOMAIN.hash_all(bodies), data)
    return transactions


BATCH_BYTES_MAX = 64 * 1024
"""What is put into one message together; a larger transaction travels by itself."""
EncodedTransactions = Annotated[
    tuple[Annotated[bytes, Length(1, TRANSACTION_BYTES_MAX)], ...], Length(1, 16_384)
]


@dataclass(frozen=True)
class Batch:
    """Encoded transactions that travel together: one gossip message, one reply to a request for bodies."""

    TAG = 5

    transactions: EncodedTransactions


@dataclass(frozen=True)
class Spread:
    """Transactions as they are gossiped.

    Gossip passes equal bytes on only once, so what is said again has to differ: `said_ms`, the time of
    saying by the clock of whoever says it, is there for nothing else.
    """

    said_ms: Millis
    transactions: EncodedTransactions


class Outcome(Enum):
    """How an accepted transaction ends, and what it is until then."""

    PENDING = "pending"
    FINAL = "final"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
