"""What can be asked of governance: who decides, on what, and who changed what and why. Floor 4, pure."""

from dataclasses import dataclass
from typing import Annotated, Any

from p2pledger.chain.authority import AUTHORITIES_MAX, Authority, OrganisationId
from p2pledger.chain.epoch import epoch_of
from p2pledger.chain.payloads import Name
from p2pledger.chain.payloads.governance import MEASURE_BYTES_MAX
from p2pledger.chain.transaction import Kind
from p2pledger.codec import U64, Length, Range
from p2pledger.errors import Fatal
from p2pledger.ledger.modules.governance.proposals import DECISIONS_INDEX, PROPOSALS_INDEX, seated
from p2pledger.ledger.modules.governance.rows import (
    CHANGES_MAX,
    OFFENDERS,
    POLLS,
    PROPOSALS,
    Change,
    Poll,
    Proposal,
    Status,
    Voters,
    authorities_at,
    status_at,
    waiting,
)
from p2pledger.ledger.queries import (
    UNKNOWN_BLOCK,
    ChainReader,
    Found,
    Page,
    Query,
    Unanswered,
    one,
    rows_of,
)
from p2pledger.types import HASH_BYTES, Epoch, Hash, Height, PublicKey

HEIGHT_MAX = 2**64 - 1
_HEIGHT_BYTES = 8


@dataclass(frozen=True)
class AskAuthorities:
    """The authorities that decide on the block of a height, in the order of their places."""

    height: Annotated[Height, "The block's height; 0 is the one that comes next."] = Height(0)


@dataclass(frozen=True)
class AskOpenVotes:
    """Proposals that the next block may still hold votes on, by the heights that they are to work from.

    What is decided already is passed over: a page may have fewer items than its limit.
    """


@dataclass(frozen=True)
class AskDecisions:
    """Who changed which rule, when and why: proposals that were voted on to the end, by that height.

    One that nobody decided on before its activation height is not among them, but among
    `governance.proposals`.
    """

    from_height: Annotated[U64, "The least height of the deciding vote."] = 0
    to_height: Annotated[U64, "The greatest height of the deciding vote."] = HEIGHT_MAX

    def __post_init__(self) -> None:
        if self.from_height > self.to_height:
            raise ValueError("from_height lies above to_height")


@dataclass(frozen=True)
class AskProposals:
    """All proposals and what became of them, by the heights that they are, or were, to work from.

    One that nobody decided on has expired when no block can hold a vote on it any more.
    """

    from_height: Annotated[U64, "The least activation height."] = 0
    to_height: Annotated[U64, "The greatest activation height."] = HEIGHT_MAX

    def __post_init__(self) -> None:
        if self.from_height > self.to_height:
            raise ValueError("from_height lies above to_height")


@dataclass(frozen=True)
class AskWaiting:
    """What is to change the list of authorities and has not yet: offenders first, then what was decided."""


@dataclass(frozen=True)
class AuthoritiesFound:
    """A list of authorities. `set_hash` is what votes of its epoch are bound to."""

    height: Height
    epoch: Epoch
    set_hash: Hash
    quorum: Annotated[int, Range(1, AUTHORITIES_MAX)]
    members: Annotated[tuple[Authority, ...], Length(1, AUTHORITIES_MAX)]


_Voices = Annotated[int, Range(0, AUTHORITIES_MAX)]


@dataclass(frozen=True)
class OpenVote:
    """A proposal that is open. `approvals` and `rejections` count those who sit for the next block.

    It is adopted with `needed` approvals of them. `basis` and `document_hash` say why it was proposed.
    """

    proposal: Hash
    kind: Kind
    measure: Annotated[bytes, Length(1, MEASURE_BYTES_MAX)]
    organisation: OrganisationId
    height: Height
    activation_height: Height
    basis: Name
    document_hash: Hash
    approving: Voters
    rejecting: Voters
    approvals: _Voices
    rejections: _Voices
    needed: _Voices


@dataclass(frozen=True)
class Decision:
    """A proposal of `organisation`, decided by the vote of `height`; adopted, it works from its activation.

    `measure` is what was to change, encoded as its kind says; `basis` and `document_hash` say why.
    """

    proposal: Hash
    height: Height
    status: Status
    kind: Kind
    measure: Annotated[bytes, Length(1, MEASURE_BYTES_MAX)]
    organisation: OrganisationId
    proposed_height: Height
    activation_height: Height
    basis: Name
    document_hash: Hash
    approving: Voters
    rejecting: Voters


@dataclass(frozen=True)
class ProposalFound:
    """A proposal of `organisation`, and what became of it by the answer's height.

    `measure` is what was to change, encoded as its kind says; `basis` and `document_hash` say why.
    """

    proposal: Hash
    status: Status
    kind: Kind
    measure: Annotated[bytes, Length(1, MEASURE_BYTES_MAX)]
    organisation: OrganisationId
    proposed_height: Height
    activation_height: Height
    basis: Name
    document_hash: Hash
    approving: Voters
    rejecting: Voters


@dataclass(frozen=True)
class OffenderFound:
    """A consensus key that the evidence in the block of this height convicted."""

    key: PublicKey
    height: Height


@dataclass(frozen=True)
class WaitingFound:
    """What waits, in the order in which it is looked at by each boundary block."""

    offenders: Annotated[tuple[OffenderFound, ...], Length(0, AUTHORITIES_MAX)]
    changes: Annotated[tuple[Change, ...], Length(0, CHANGES_MAX)]


def ask_authorities(reader: ChainReader, asked: AskAuthorities, page: Page) -> Found[AuthoritiesFound]:
    """See `AskAuthorities`. Raises: Unanswered while that list is not decided."""
    height = asked.height or Height(reader.height + 1)
    found = authorities_at(reader, reader.genesis, height)
    if found is None:
        raise Unanswered(UNKNOWN_BLOCK, f"who decides on block {height} is not known yet")
    epoch = epoch_of(height, reader.genesis.parameters.epoch_blocks)
    return one(AuthoritiesFound(height, epoch, found.hash, found.quorum, found.members))


def _proposal(reader: ChainReader, key: bytes) -> tuple[Hash, Proposal, Poll]:
    """The proposal that an index key ends in."""
    proposal = Hash(key[-HASH_BYTES:])
    row, poll = PROPOSALS.get(reader, proposal), POLLS.get(reader, proposal)
    if row is None or poll is None:
        raise Fatal(f"the proposal {proposal.hex()} is in an index, and not in the state")
    return proposal, row, poll


def _shown(row: Proposal, poll: Poll) -> dict[str, Any]:
    """What every item about a proposal tells of it."""
    return {
        "kind": row.kind,
        "measure": row.measure,
        "organisation": row.organisation,
        "activation_height": row.activation_height,
        "basis": row.basis,
        "document_hash": row.document_hash,
        "approving": poll.approving,
        "rejecting": poll.rejecting,
    }


def ask_open_votes(reader: ChainReader, asked: AskOpenVotes, page: Page) -> Found[OpenVote]:
    """See `AskOpenVotes`."""
    authorities = authorities_at(reader, reader.genesis, Height(reader.height + 1))
    if authorities is None:
        raise Fatal("nobody decides on the next block")

    def item(key: bytes, _: bytes) -> OpenVote | None:
        proposal, row, poll = _proposal(reader, key)
        if status_at(row, poll, reader.height + 1) is not Status.OPEN:
            return None
        return OpenVote(
            proposal=proposal,
            height=row.height,
            approvals=seated(poll.approving, authorities),
            rejections=seated(poll.rejecting, authorities),
            needed=2 * len(authorities) // 3 + 1,
            **_shown(row, poll),
        )

    # A vote of the next block is one before the activation, which therefore lies above it.
    first = (reader.height + 2).to_bytes(_HEIGHT_BYTES, "big")
    return rows_of(reader, PROPOSALS_INDEX, b"", page, item, after=first)


def ask_decisions(reader: ChainReader, asked: AskDecisions, page: Page) -> Found[Decision]:
    """See `AskDecisions`."""

    def item(key: bytes, value: bytes) -> Decision:
        proposal, row, poll = _proposal(reader, key)
        return Decision(
            proposal=proposal,
            height=Height(int.from_bytes(key[:_HEIGHT_BYTES], "big")),
            status=Status(value[0]),
            proposed_height=row.height,
            **_shown(row, poll),
        )

    first, until = _between(asked.from_height, asked.to_height)
    return rows_of(reader, DECISIONS_INDEX, b"", page, item, after=first, until=until)


def ask_proposals(reader: ChainReader, asked: AskProposals, page: Page) -> Found[ProposalFound]:
    """See `AskProposals`."""

    def item(key: bytes, _: bytes) -> ProposalFound:
        proposal, row, poll = _proposal(reader, key)
        return ProposalFound(
            proposal=proposal,
            status=status_at(row, poll, reader.height + 1),
            proposed_height=row.height,
            **_shown(row, poll),
        )

    first, until = _between(asked.from_height, asked.to_height)
    return rows_of(reader, PROPOSALS_INDEX, b"", page, item, after=first, until=until)


def _between(from_height: int, to_height: int) -> tuple[bytes, bytes | None]:
    """What the keys of these heights lie above, and below: None where nothing lies above them."""
    first = from_height.to_bytes(_HEIGHT_BYTES, "big")
    return first, None if to_height == HEIGHT_MAX else (to_height + 1).to_bytes(_HEIGHT_BYTES, "big")


def ask_waiting(reader: ChainReader, asked: AskWaiting, page: Page) -> Found[WaitingFound]:
    """See `AskWaiting`."""
    found = waiting(reader)
    offenders = []
    for key in found.offenders:
        row = OFFENDERS.get(reader, key)
        if row is None:
            raise Fatal(f"the offender {key.hex()} waits, and was not convicted")
        offenders.append(OffenderFound(key, row.height))
    return one(WaitingFound(tuple(offenders), found.changes))


QUERIES = (
    Query("governance.authorities", AskAuthorities, AuthoritiesFound, ask_authorities),
    Query("governance.open-votes", AskOpenVotes, OpenVote, ask_open_votes),
    Query("governance.decisions", AskDecisions, Decision, ask_decisions),
    Query("governance.proposals", AskProposals, ProposalFound, ask_proposals),
    Query("governance.waiting", AskWaiting, WaitingFound, ask_waiting),
)
