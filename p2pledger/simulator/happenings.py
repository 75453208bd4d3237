"""What happens to a simulated node beside the core's own events. Floor 8."""

from dataclasses import dataclass

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.message import Frame, Reply
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Evidence
from p2pledger.consensus import events
from p2pledger.types import PeerId


@dataclass(frozen=True)
class Delivered:
    """A frame from a peer."""

    peer: PeerId
    frame: Frame


@dataclass(frozen=True)
class DeliveredBytes:
    """Bytes from a peer that stand where a frame should."""

    peer: PeerId
    data: bytes


@dataclass(frozen=True)
class Gossip:
    """A final block or evidence from gossip."""

    item: FinalBlock | Evidence


@dataclass(frozen=True)
class Transactions:
    """Transactions from gossip or a client."""

    transactions: tuple[Transaction, ...]


@dataclass(frozen=True)
class Replied:
    """The answer to question `number`; no replies: it failed."""

    number: int
    ask: events.Ask
    replies: tuple[Reply, ...]
    is_failed: bool = False


@dataclass(frozen=True)
class StoreDue:
    """The disk is done with the next final block."""


@dataclass(frozen=True)
class RelayDue:
    """It is this node's turn to gossip a final block, if nobody did."""

    block: FinalBlock


@dataclass(frozen=True)
class CountDue:
    """Look into the mempool again."""


Happening = (
    events.Event
    | Delivered
    | DeliveredBytes
    | Gossip
    | Transactions
    | Replied
    | StoreDue
    | RelayDue
    | CountDue
)
"""All that a node is given, in its order of time."""
