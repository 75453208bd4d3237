"""Proposals and votes, and the suspension of an organisation in an emergency. Floor 4, pure.

One organisation, one voice: that of its admins, while it sits. A proposal is adopted by more than two thirds
of the authorities that sit when the vote is cast, a suspension by more than half of them.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from p2pledger.chain.authority import AUTHORITIES_MAX, AuthoritySet, OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads.governance import GovPropose, GovSuspend, GovVote
from p2pledger.codec import Length, decode
from p2pledger.errors import Code, InvalidMessage, InvalidTransaction
from p2pledger.ledger.modules.governance.rows import (
    DOCKETS,
    POLLS,
    PROPOSALS,
    PROPOSALS_MAX,
    Docket,
    Docketed,
    Poll,
    Proposal,
    Status,
    check_authority,
    sitting,
    status_at,
)
from p2pledger.ledger.modules.registry.rows import ORGANISATIONS, check_organisation, signed_in_role
from p2pledger.ledger.rules import Context, Measure, Rule
from p2pledger.ledger.state import Changes, Table, with_fields
from p2pledger.types import Hash, Height, Millis

ACTIVATION_BLOCKS_MAX = 100_000_000
"""How far ahead a proposal may set its activation."""

SUSPENSION_MS_MAX = 7 * 86_400_000
"""A suspension ends a week after it was called for, at the latest."""

PROPOSALS_INDEX = "governance.proposals"
"""activation height (8 bytes) | proposal -> its kind. What is open has an activation height to come."""

DECISIONS_INDEX = "governance.decisions"
"""height of the deciding vote (8 bytes) | proposal -> its status (1 byte) | its kind."""


@dataclass(frozen=True)
class Call:
    """Who called for the suspension of an organisation until a time, while they are too few."""

    authorities: Annotated[tuple[OrganisationId, ...], Length(1, AUTHORITIES_MAX)]


CALLS = Table("suspension-call", Call)

Measures = Mapping[str, Measure]


def seated(organisations: Collection[str], authorities: AuthoritySet) -> int:
    """How many members of a list these organisations are."""
    return sum(member.organisation in organisations for member in authorities.members)


def _opened(measures: Measures, kind: str, encoded: bytes) -> tuple[Measure, Any]:
    measure = measures.get(kind)
    if measure is None:
        raise InvalidTransaction(Code.UNKNOWN_MEASURE, f"nobody can decide on {kind!r}")
    try:
        return measure, decode(measure.payload, encoded)
    except InvalidMessage as error:
        raise InvalidTransaction(error.code, f"the measure {kind}: {error}") from None


def proposing(measures: Measures) -> Callable[[Changes, Context, GovPropose], bytes]:
    """The rule of `gov.propose`, for these measures."""

    def apply_propose(changes: Changes, context: Context, payload: GovPropose) -> bytes:
        """A measure put to the vote, which could be carried out as the ledger stands now."""
        name, height, from_height = (
            check_authority(changes, context),
            context.round.height,
            payload.activation_height,
        )
        if not height < from_height <= height + ACTIVATION_BLOCKS_MAX:
            raise InvalidTransaction(
                Code.BACKDATED,
                f"a proposal at {height} takes effect at {height + 1} or later, not {from_height}",
            )
        measure, content = _opened(measures, payload.kind, payload.measure)
        mark, rows = changes.mark(), len(context.rows)
        measure.enact(changes, context, content, from_height)
        changes.undo(mark)
        del context.rows[rows:]
        proposal = context.transaction_id
        before = DOCKETS.get(changes, name.encode()) or Docket(())
        still = tuple(
            one
            for one in before.proposals
            if one.activation_height > height and _status(changes, one.proposal) is Status.OPEN
        )
        if len(still) == PROPOSALS_MAX:
            raise InvalidTransaction(Code.TOO_MANY_PROPOSALS, f"{name!r} has {PROPOSALS_MAX} open proposals")
        DOCKETS.put(changes, name.encode(), Docket((*still, Docketed(proposal, from_height))))
        row = Proposal(
            name, payload.kind, payload.measure, height, from_height, payload.basis, payload.document_hash
        )
        PROPOSALS.put(changes, proposal, row)
        POLLS.put(changes, proposal, Poll((), (), Status.OPEN))
        context.emit(PROPOSALS_INDEX, from_height.to_bytes(8, "big") + proposal, payload.kind.encode())
        return b""

    return apply_propose


def _status(changes: Changes, proposal: Hash) -> Status:
    poll = POLLS.get(changes, proposal)
    assert poll is not None, "a proposal has its poll"
    return poll.status


def voting(measures: Measures) -> Callable[[Changes, Context, GovVote], bytes]:
    """The rule of `gov.vote`, for these measures."""

    def apply_vote(changes: Changes, context: Context, payload: GovVote) -> bytes:
        """A voice more; the one that decides also carries the measure out."""
        name, row = check_authority(changes, context), PROPOSALS.get(changes, payload.proposal)
        poll = POLLS.get(changes, payload.proposal)
        if row is None or poll is None:
            raise InvalidTransaction(Code.UNKNOWN_PROPOSAL, f"there is no proposal {payload.proposal.hex()}")
        status = status_at(row, poll, context.round.height)
        if status is not Status.OPEN:
            raise InvalidTransaction(Code.VOTE_CLOSED, f"the vote is over: {status.name.lower()}")
        if name in poll.approving or name in poll.rejecting:
            raise InvalidTransaction(Code.ALREADY_VOTED, f"{name!r} has voted, and votes once")
        if payload.approves:
            poll = with_fields(poll, approving=(*poll.approving, name))
        else:
            poll = with_fields(poll, rejecting=(*poll.rejecting, name))
        status = _outcome(poll, sitting(changes, context))
        if status is Status.ADOPTED:
            measure, content = _opened(measures, row.kind, row.measure)
            status = _enacted(measure, content, changes, context, row.activation_height)
        POLLS.put(changes, payload.proposal, with_fields(poll, status=status))
        if status is not Status.OPEN:
            key = context.round.height.to_bytes(8, "big") + payload.proposal
            context.emit(DECISIONS_INDEX, key, bytes([status.value]) + row.kind.encode())
        return b""

    return apply_vote


def _outcome(poll: Poll, authorities: AuthoritySet) -> Status:
    n = len(authorities)
    if 3 * seated(poll.approving, authorities) > 2 * n:
        return Status.ADOPTED
    if 3 * (n - seated(poll.rejecting, authorities)) <= 2 * n:
        return Status.REJECTED
    return Status.OPEN


def _enacted(
    measure: Measure, content: Any, changes: Changes, context: Context, from_height: Height
) -> Status:
    """Carry a measure out, or leave no trace of it where the ledger does not allow it any more."""
    mark, rows = changes.mark(), len(context.rows)
    try:
        measure.enact(changes, context, content, from_height)
    except InvalidTransaction:
        changes.undo(mark)
        del context.rows[rows:]
        return Status.FAILED
    return Status.ADOPTED


def apply_suspend(changes: Changes, context: Context, payload: GovSuspend) -> bytes:
    """A call for a suspension; the one that makes more than half puts it into force."""
    name, until_ms = check_authority(changes, context), payload.until_ms
    row = check_organisation(changes, payload.organisation)
    if not context.round.time_ms < until_ms <= context.round.time_ms + SUSPENSION_MS_MAX:
        raise InvalidTransaction(
            Code.OUT_OF_RANGE,
            f"a suspension ends within {SUSPENSION_MS_MAX} ms from now, not at {until_ms} ms",
        )
    key = payload.organisation.encode() + b"\0" + until_ms.to_bytes(8, "big")
    before = CALLS.get(changes, key)
    callers = before.authorities if before is not None else ()
    if name in callers:
        raise InvalidTransaction(Code.ALREADY_VOTED, f"{name!r} has called for this already")
    callers, authorities = (*callers, name), sitting(changes, context)
    if 2 * seated(callers, authorities) > len(authorities):
        latest = Millis(max(until_ms, row.suspended_until_ms))
        ORGANISATIONS.put(changes, payload.organisation.encode(), with_fields(row, suspended_until_ms=latest))
        changes.put(CALLS.key(key), None)
    else:
        CALLS.put(changes, key, Call(callers))
    return b""


def rules(measures: Measures) -> tuple[Rule, ...]:
    """The rules for proposals that may name any of these measures."""
    by_admins = signed_in_role(KeyRole.ADMIN)
    return (
        Rule(GovPropose, by_admins, proposing(measures)),
        Rule(GovVote, by_admins, voting(measures)),
        Rule(GovSuspend, by_admins, apply_suspend),
    )
