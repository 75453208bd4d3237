"""How the API shows where a node's agreement stands and why it is not further. Floor 7."""

from dataclasses import asdict
from enum import Enum
from typing import Any

from p2pledger.api.views import View
from p2pledger.consensus.diagnosis import Accusation, Diagnosis


class ReasonView(View):
    """What is waited for or worth knowing: a stable code, one sentence, one cure, and whom it is about."""

    code: str
    is_trouble: bool
    sentence: str
    cure: str
    organisations: list[str]


class VotesView(View):
    """Votes for one thing, by organisation. Of the voters, `unverified` have signatures not looked at yet."""

    kind: str
    digest: str
    voters: list[str]
    unverified: list[str]
    missing: list[str]


class ParentView(View):
    """The block that the view builds on; `finalise` are the votes that would make it final."""

    digest: str
    view: int
    height: int | None = None
    is_executed: bool
    is_final: bool
    finalise: VotesView | None = None


class NewestView(View):
    """The highest certificate of its kind that came here."""

    kind: str
    epoch: int
    view: int
    height: int | None = None
    age_ms: int


class StandingView(View):
    """One authority seen from this node; `epoch` to `blocks_behind` are its own word, `said_age_ms` old."""

    organisation: str
    is_self: bool
    is_leader: bool
    is_connected: bool | None = None
    heard_age_ms: int | None = None
    said_age_ms: int | None = None
    epoch: int | None = None
    view: int | None = None
    final_height: int | None = None
    blocks_behind: int | None = None
    voted: list[str]


class LackingView(View):
    """What is asked for, of whom now or next, and how often in vain so far."""

    what: str
    organisation: str
    attempts: int


class OffenceView(View):
    """A proven contradiction of an authority; `height` of the final block that recorded it."""

    epoch: int
    view: int
    organisation: str
    is_recorded: bool
    height: int | None = None


class ConsensusView(View):
    """Where the agreement of a node stands, by its own clock, and what it waits for."""

    is_healthy: bool
    reasons: list[ReasonView]
    now_ms: int
    organisation: str | None = None
    epoch: int
    view: int
    entered_ms: int
    deadline_ms: int
    is_overdue: bool
    leader: str
    has_proposal: bool
    quorum: int
    n: int
    final_height: int
    final_age_ms: int
    parent: ParentView
    votes: list[VotesView]
    newest: list[NewestView]
    authorities: list[StandingView]
    lacking: list[LackingView]
    evidence: list[OffenceView]


class EvidenceView(View):
    """Recorded offences by epoch, view and signer. Where there are more, `next_epoch` is where to go on."""

    offences: list[OffenceView]
    next_epoch: int | None = None


def consensus_view(diagnosis: Diagnosis) -> ConsensusView:
    """A diagnosis."""
    reasons = [
        ReasonView(
            code=reason.cause.value,
            is_trouble=reason.is_trouble,
            sentence=reason.sentence,
            cure=reason.cure,
            organisations=list(reason.organisations),
        )
        for reason in diagnosis.reasons
    ]
    shown = _plain(asdict(diagnosis)) | {"is_healthy": diagnosis.is_healthy, "reasons": reasons}
    return ConsensusView(**shown)


def evidence_view(accusations: tuple[Accusation, ...], next_epoch: int | None) -> EvidenceView:
    """A page of what the chain has recorded."""
    return EvidenceView(offences=[OffenceView(**asdict(each)) for each in accusations], next_epoch=next_epoch)


def _plain(value: Any) -> Any:
    """Dictionaries, lists, numbers and text: bytes as hexadecimal, kinds of votes by name."""
    match value:
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case bytes():
            return value.hex()
        case Enum():
            return value.name.lower()
    return value
