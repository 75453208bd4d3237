"""Governance's rows: authority lists, what will change them, proposals and polls. Floor 4, pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from p2pledger.chain.authority import AUTHORITIES_MAX, AuthoritySet, OrganisationId
from p2pledger.chain.epoch import epoch_of
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import Name
from p2pledger.chain.payloads.governance import MEASURE_BYTES_MAX
from p2pledger.chain.transaction import Kind
from p2pledger.codec import Length
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.registry.keys import check_admins
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes, Readable, Table
from p2pledger.types import Hash, Height, PeerId, PublicKey

CHANGES_MAX = 64
"""Changes of the authority list that were decided and wait their turn."""

PROPOSALS_MAX = 16
"""Proposals of one organisation that are open at once."""


@dataclass(frozen=True)
class Sitting:
    """The authority list of an epoch, as its voters are bound to it."""

    authorities: AuthoritySet


class ChangeKind(Enum):
    """What a change does to an authority list."""

    ADD = 1
    REMOVE = 2
    ROTATE = 3
    """Another key, and maybe another peer, for the same organisation in the same place."""


@dataclass(frozen=True)
class Change:
    """A decided change. It may be made by the boundary block of height `from_height` or a later one."""

    kind: ChangeKind
    organisation: OrganisationId
    key: PublicKey | None
    peer: PeerId | None
    from_height: Height


@dataclass(frozen=True)
class Waiting:
    """What is to change the authority list: `offenders` by their consensus keys, and what was decided.

    Both in the order in which they came; offenders are looked at first.
    """

    offenders: Annotated[tuple[PublicKey, ...], Length(0, AUTHORITIES_MAX)]
    changes: Annotated[tuple[Change, ...], Length(0, CHANGES_MAX)]


@dataclass(frozen=True)
class Offender:
    """A consensus key that evidence in the block of this height convicted. It comes back to no list."""

    height: Height


@dataclass(frozen=True)
class Readiness:
    """The block in which the holder of a consensus key said last that its node follows the chain."""

    height: Height


@dataclass(frozen=True)
class Proposal:
    """A measure put to the vote, by the id of the transaction that did so. It never changes."""

    organisation: OrganisationId
    kind: Kind
    measure: Annotated[bytes, Length(1, MEASURE_BYTES_MAX)]
    height: Height
    activation_height: Height
    basis: Name
    document_hash: Hash


class Status(Enum):
    """What became of a proposal. `status_at` tells it; a poll's row does not know what has expired."""

    OPEN = 1
    ADOPTED = 2
    REJECTED = 3
    """So many are against it that the others are too few."""
    FAILED = 4
    """Adopted, but the ledger had changed meanwhile so that it could not be carried out."""
    EXPIRED = 5
    """Nobody decided on it before its activation height. Derived when it is read, and in no row."""


Voters = Annotated[tuple[OrganisationId, ...], Length(0, AUTHORITIES_MAX)]


@dataclass(frozen=True)
class Poll:
    """The voices on a proposal, in the order in which they came."""

    approving: Voters
    rejecting: Voters
    status: Status


def status_at(proposal: Proposal, poll: Poll, height: int) -> Status:
    """What is to be said of a proposal to whoever would vote on it in the block of this height."""
    if poll.status is Status.OPEN and height >= proposal.activation_height:
        return Status.EXPIRED
    return poll.status


@dataclass(frozen=True)
class Docketed:
    """A proposal, and the height at which it can no longer be open."""

    proposal: Hash
    activation_height: Height


@dataclass(frozen=True)
class Docket:
    """The proposals of an organisation that were open when it last made one."""

    proposals: Annotated[tuple[Docketed, ...], Length(0, PROPOSALS_MAX)]


SITTINGS = Table("authority-set", Sitting)
WAITING = Table("authority-changes", Waiting)
OFFENDERS = Table("offender", Offender)
READINESS = Table("authority-ready", Readiness)
PROPOSALS = Table("proposal", Proposal)
POLLS = Table("poll", Poll)
DOCKETS = Table("docket", Docket)
_NOBODY = Waiting((), ())


def epoch_key(epoch: int) -> bytes:
    """The key of an epoch's row in `SITTINGS`."""
    return epoch.to_bytes(8, "big")


def authorities_of(reader: Readable, epoch: int) -> AuthoritySet | None:
    """The authority list of an epoch; None while it is not decided. Epochs 0 and 1 are the genesis file's."""
    row = SITTINGS.get(reader, epoch_key(epoch))
    return None if row is None else row.authorities


def authorities_at(reader: Readable, genesis: Genesis, height: Height) -> AuthoritySet | None:
    """The list that decides on the block of this height; None while it is not decided."""
    return authorities_of(reader, epoch_of(height, genesis.parameters.epoch_blocks))


def sitting(changes: Changes, context: Context, ahead: int = 0) -> AuthoritySet:
    """The list of this block's epoch, or of the next one with `ahead` 1: both are always decided."""
    found = authorities_of(changes, context.round.epoch + ahead)
    assert found is not None, "a list is decided two epochs ahead"
    return found


def waiting(reader: Readable) -> Waiting:
    """What waits to change the authority list."""
    return WAITING.get(reader, b"") or _NOBODY


def awaited_peers(reader: Readable) -> frozenset[PeerId]:
    """The peer ids that a decided change is to bring into the authority list: who is to be let in by then.

    Its node has to follow the chain before it can say that it is ready. At most CHANGES_MAX.
    """
    return frozenset(change.peer for change in waiting(reader).changes if change.peer is not None)


def check_authority(changes: Changes, context: Context) -> str:
    """The sponsor, which sits in this epoch and whose admins have signed, enough of them.

    Raises: InvalidTransaction.
    """
    check_admins(changes, context)
    members = sitting(changes, context).members
    if all(member.organisation != context.sponsor for member in members):
        raise InvalidTransaction(Code.NOT_AN_AUTHORITY, f"{context.sponsor!r} does not sit in this epoch")
    return context.sponsor
