"""What a machine that wants to join says to a node, and what it is answered. Floor 3.

It rides the join protocol, the only one that a stranger may open. Every request carries the invite, so that
whoever has none is told nothing; one request is answered by some replies in order, as an ask is.
"""

from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.block import Boundary, FinalBlock
from p2pledger.chain.invite import Invite
from p2pledger.chain.message import BoundariesRequest
from p2pledger.chain.receipt import Receipt
from p2pledger.chain.transaction import TRANSACTION_BYTES_MAX
from p2pledger.codec import Length, Pattern, Range
from p2pledger.types import Hash, Height

GENESIS_PART_BYTES = 256 * 1024
GENESIS_PARTS_MAX = 64
"""Sixteen megabytes: twice a genesis file with all the organisations and gateways that one may name."""


@dataclass(frozen=True)
class GenesisRequest:
    """Asks for the genesis, from a piece on. Answered by `GenesisPart`s: its encoding, cut in pieces."""

    TAG = 6

    from_part: Annotated[int, Range(0, GENESIS_PARTS_MAX - 1)]


@dataclass(frozen=True)
class HeadRequest:
    """Asks for the newest block that has a certificate of its own, unless it is below a height.

    Answered by a `FinalBlock`, or by nothing.
    """

    TAG = 7

    from_height: Height


@dataclass(frozen=True)
class Submission:
    """Hands in the one transaction: a `gateway.join` of this very invite and peer. Answered by `Taken`."""

    TAG = 8

    transaction: Annotated[bytes, Length(1, TRANSACTION_BYTES_MAX)]


@dataclass(frozen=True)
class ProofRequest:
    """Asks, and waits a while, for that transaction's receipt. Answered by `Proof`, or `Taken` so far."""

    TAG = 9

    transaction_id: Hash


JoinWish = BoundariesRequest | GenesisRequest | HeadRequest | Submission | ProofRequest


@dataclass(frozen=True)
class Knock:
    """One request of a machine that wants to join."""

    invite: Invite
    wish: JoinWish


@dataclass(frozen=True)
class GenesisPart:
    """The next piece of the genesis's encoding."""

    TAG = 9

    data: Annotated[bytes, Length(1, GENESIS_PART_BYTES)]


@dataclass(frozen=True)
class Taken:
    """The transaction is here and has not ended yet, or has no certificate over it."""

    TAG = 10

    transaction_id: Hash


@dataclass(frozen=True)
class Proof:
    """The receipt of the transaction, without its boundaries: those are asked for in pages."""

    TAG = 11

    receipt: Receipt


@dataclass(frozen=True)
class TurnedAway:
    """The request is refused; code and message as everywhere else."""

    TAG = 12

    code: Annotated[str, Length(1, 64), Pattern("[a-z]+(_[a-z]+)*")]
    message: Annotated[str, Length(0, 512)]


JoinReply = Boundary | FinalBlock | GenesisPart | Taken | Proof | TurnedAway

__all__ = [
    "BoundariesRequest",
    "GenesisPart",
    "GenesisRequest",
    "HeadRequest",
    "JoinReply",
    "JoinWish",
    "Knock",
    "Proof",
    "ProofRequest",
    "Submission",
    "Taken",
    "TurnedAway",
]
