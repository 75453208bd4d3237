"""What goes into the agreement core and what comes out of it.

The core touches nothing: it takes an event and returns everything to do about it. Positions (`peer`,
`signer`) are indexes into the authority list of the current epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import FinalBlock, Header, Proposal
from p2pledger.chain.message import Frame, Reply, Request
from p2pledger.chain.vote import Ballot, Certificate, Evidence, Offence, Vote
from p2pledger.types import Epoch, Hash, Height, Millis, View

# --- in ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tick:
    """The alarm that `Output.wake_at` asked for (or any moment: a tick is never wrong)."""


@dataclass(frozen=True)
class Received:
    """A frame from the authority at position `peer`, on a stream that its peer id authenticates."""

    peer: int
    frame: Frame


@dataclass(frozen=True)
class Gossiped:
    """A final block or evidence that anybody may have sent: believed only for its signatures."""

    item: FinalBlock | Evidence


@dataclass(frozen=True)
class Signed:
    """The signer made this vote durable: it may be shown to others now."""

    vote: Vote


@dataclass(frozen=True)
class SignatureRefused:
    """The signer's guard does not allow this ballot. Nothing was signed."""

    ballot: Ballot
    reason: str


class Judgement(Enum):
    """What executing a block came to."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"
    """Bodies are lacking: their ids are named."""


@dataclass(frozen=True)
class Executed:
    """The answer to `Execute`. `next_set` is the list that a valid boundary block decides on."""

    digest: Hash
    judgement: Judgement
    reason: str = ""
    missing: tuple[Hash, ...] = ()
    next_set: AuthoritySet | None = None


@dataclass(frozen=True)
class Built:
    """The answer to `Build`: a block that was executed on the parent. Roots in its header are true."""

    view: View
    header: Header
    transaction_ids: tuple[Hash, ...]
    evidence: tuple[Evidence, ...]
    next_set: AuthoritySet | None = None


@dataclass(frozen=True)
class Pending:
    """There are transactions in the mempool that count towards the deadline of this view."""

    epoch: Epoch
    view: View


@dataclass(frozen=True)
class Met:
    """A connection to an authority stands, maybe again: what was said to it meanwhile is lost."""

    peer: int


@dataclass(frozen=True)
class Arrived:
    """Bodies that executing a block lacked came by themselves, before anybody answered."""

    transaction_ids: frozenset[Hash]


@dataclass(frozen=True)
class Answered:
    """A peer's replies to an `Ask`, all of them. Bodies among them were kept by the node already."""

    key: str
    peer: int
    replies: tuple[Reply, ...]


@dataclass(frozen=True)
class AskFailed:
    """A peer did not answer an `Ask`."""

    key: str
    peer: int


@dataclass(frozen=True)
class ClockStepped:
    """The node's clock was set: times from now on are `by_ms` later than they would have been."""

    by_ms: int


Event = (
    Tick
    | Received
    | Gossiped
    | Signed
    | SignatureRefused
    | Executed
    | Built
    | Pending
    | Met
    | Arrived
    | Answered
    | AskFailed
    | ClockStepped
)

# --- out --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sign:
    """Ask the signer for a vote. One transaction makes guard, vote, certificates and body durable.

    `proposal` is what an N or F vote is for; in a leader's own one the signature of its vote is still
    zero (the vote being asked for is the one to put there).
    """

    ballot: Ballot
    signer: int
    certificates: tuple[Certificate, ...]
    proposal: Proposal | None
    reason: str = ""
    """Why a view is skipped: `deadline`, `invalid`, `silent` or `stale`; empty for N and F."""


@dataclass(frozen=True)
class Send:
    """Send a frame to one authority, or to all others when `peer` is None."""

    frame: Frame
    peer: int | None = None


@dataclass(frozen=True)
class Execute:
    """Execute a block on its parent's state. Answered by `Executed`."""

    header: Header
    transaction_ids: tuple[Hash, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Build:
    """Make the block of this view on a parent's state. Answered by `Built`.

    Everything but the transactions and the roots is given. `is_empty`: too much is unfinal, or there
    is nothing to include; take no transactions.
    """

    epoch: Epoch
    view: View
    height: Height
    parent_digest: Hash
    parent_view: View
    time_ms: Millis
    proposer: int
    evidence: tuple[Evidence, ...]
    is_boundary: bool
    is_empty: bool


@dataclass(frozen=True)
class Enter:
    """A view was entered: answer with `Pending` when there is something to include, now or later."""

    epoch: Epoch
    view: View
    leader: int
    parent_digest: Hash


@dataclass(frozen=True)
class Ask:
    """Ask one authority. Answered by `Answered` or `AskFailed` under the same key."""

    key: str
    peer: int
    request: Request


Work = Execute | Build | Enter | Ask


@dataclass(frozen=True)
class Final:
    """A block that is final and executed, to be stored and then told to clients, in this order.

    `relay_rank`: this authority gossips it after waiting this many times 500 ms without having seen it
    gossiped; None for a node that is no authority, and for blocks without a certificate of their own.
    """

    block: FinalBlock
    relay_rank: int | None


@dataclass(frozen=True)
class Misbehaved:
    """Something an honest authority does not do. `evidence` is set when it can be proved to others."""

    peer: int
    reason: str
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Output:
    """All that one step asks for. Carry the fields out in the order in which they stand here.

    Votes to sign come first: what `send` holds was made durable by earlier steps, and nothing that
    depends on a vote leaves before the signer has made that vote durable and given it back.
    """

    sign: tuple[Sign, ...] = ()
    send: tuple[Send, ...] = ()
    work: tuple[Work, ...] = ()
    final: tuple[Final, ...] = ()
    misbehaved: tuple[Misbehaved, ...] = ()
    wake_at: Millis | None = None


@dataclass(frozen=True)
class Recovered:
    """What a start finds on disk: the chain's tip, and what the guard file kept.

    `guard` is None when no guard was found: the node follows only. `voted` are the guard's fields as
    ballots: what was voted in its highest view. `sets` has the lists of the last epoch, this one and
    the next. `base` is the block that this epoch grows from (view 0). The tip's certificate may be
    missing when a crash came between a block and the certified one above it.
    """

    epoch: Epoch
    sets: Mapping[Epoch, AuthoritySet]
    base_digest: Hash
    base_height: Height
    tip_digest: Hash
    tip_height: Height
    tip_time_ms: Millis
    tip_certificate: Certificate | None
    guard: tuple[Epoch, View] | None = None
    voted: tuple[Ballot, ...] = ()
    votes: tuple[Vote, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    boundaries: Mapping[Epoch, Certificate] = field(default_factory=dict)
    offences: frozenset[Offence] = frozenset()
