"""What one core knows of where it stands and of the others, for people and their scripts.

Read from a situation at any moment, and nothing of it is changed. A core sees what reaches it: why another
authority is silent, only that one can tell.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from p2pledger.chain.vote import Ballot, Offence, VoteKind
from p2pledger.consensus.causes import Reason
from p2pledger.consensus.reasons import reasons_of
from p2pledger.consensus.situation import Situation
from p2pledger.types import Epoch, Hash, Height, Millis, PeerId, View


@dataclass(frozen=True)
class Count:
    """The votes held for one ballot of the current view, or F votes for its parent.

    `unverified`: those of `voters` whose signatures are verified only once there is a quorum of them.
    """

    kind: VoteKind
    digest: Hash
    voters: tuple[str, ...]
    unverified: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Newest:
    """The highest certificate of its kind that came, and how long ago. `height`: of a block that is held."""

    kind: VoteKind
    epoch: Epoch
    view: View
    height: Height | None
    age_ms: int


@dataclass(frozen=True)
class Parent:
    """The block that the current view builds on. `finalise`: its F votes; None once it is final."""

    digest: Hash
    view: View
    height: Height | None
    is_executed: bool
    is_final: bool
    finalise: Count | None


@dataclass(frozen=True)
class Standing:
    """One authority as seen from here. What it said of itself is None when it has said nothing.

    `heard_age_ms`: since it was last heard, None for never in this epoch. `blocks_behind`: how many final
    blocks fewer than here it had when it said so, `said_age_ms` ago; negative when it is ahead.
    `is_connected`: None when it is not known.
    """

    organisation: str
    is_self: bool
    is_leader: bool
    is_connected: bool | None
    heard_age_ms: int | None
    said_age_ms: int | None
    epoch: Epoch | None
    view: View | None
    final_height: Height | None
    blocks_behind: int | None
    voted: tuple[VoteKind, ...]
    """The kinds of its votes that are held of the current view."""


@dataclass(frozen=True)
class Lacking:
    """Something that is asked for: what, of whom now or next, how often in vain so far."""

    what: str
    organisation: str
    attempts: int


@dataclass(frozen=True)
class Accusation:
    """A proven contradiction of an authority. `height`: of the final block that recorded it, if known."""

    epoch: Epoch
    view: View
    organisation: str
    is_recorded: bool
    height: Height | None


@dataclass(frozen=True)
class Diagnosis:
    """Where a core stands at `now_ms`, by its own clock, and why it is not further."""

    now_ms: Millis
    organisation: str | None
    """Whose authority this is; None for a node that has no vote in this epoch."""
    epoch: Epoch
    view: View
    entered_ms: Millis
    deadline_ms: Millis
    is_overdue: bool
    leader: str
    has_proposal: bool
    quorum: int
    n: int
    final_height: Height
    final_age_ms: int
    """Since a block became final here, or since the start."""
    parent: Parent
    votes: tuple[Count, ...]
    newest: tuple[Newest, ...]
    authorities: tuple[Standing, ...]
    lacking: tuple[Lacking, ...]
    evidence: tuple[Accusation, ...]
    """Of this epoch and the one before it: recorded in final blocks, then what is still to be recorded."""
    reasons: tuple[Reason, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is amiss that this core can know of."""
        return not any(reason.is_trouble for reason in self.reasons)


def diagnose(
    s: Situation,
    now: Millis,
    connected: Collection[PeerId] | None = None,
    waiting_since: Millis | None = None,
    heights: Mapping[Offence, Height] | None = None,
) -> Diagnosis:
    """All that is worth telling of a core. Pure; `now` may be later than its last step.

    `connected`: the peers that the node has a connection to. `waiting_since`: when the oldest transaction
    of its mempool arrived, which only a node without a vote goes by. `heights`: of the blocks that recorded
    offences; one that is not among them is told without.
    """
    leader, pacing = s.leader(s.view), s.pacing
    is_overdue = pacing.lapsed_ms is not None
    return Diagnosis(
        now_ms=now,
        organisation=_organisation(s, s.voice.index) if s.voice.index is not None else None,
        epoch=s.epoch,
        view=s.view,
        entered_ms=pacing.entered_ms,
        deadline_ms=pacing.lapsed_ms if pacing.lapsed_ms is not None else pacing.deadline_ms(),
        is_overdue=is_overdue,
        leader=_organisation(s, leader),
        has_proposal=s.view in s.tally.proposals,
        quorum=s.authorities.quorum,
        n=len(s.authorities),
        final_height=s.tree.root.height,
        final_age_ms=now - s.final_ms,
        parent=_parent(s),
        votes=tuple(_count(s, s.view, ballot) for ballot in _ballots(s, s.view)),
        newest=tuple(_newest(s, now)),
        authorities=tuple(_standing(s, i, now, connected) for i in range(len(s.authorities))),
        lacking=tuple(
            Lacking(question.key, _organisation(s, question.peer), question.attempts)
            for question in s.asking.questions()
        ),
        evidence=_accusations(s, heights or {}),
        reasons=reasons_of(s, now, connected, waiting_since),
    )


def _organisation(s: Situation, index: int) -> str:
    return s.authorities.members[index].organisation


def _ballots(s: Situation, view: View) -> list[Ballot]:
    return list(dict.fromkeys(vote.ballot for vote, _ in s.tally.votes_in(view)))


def _count(s: Situation, view: View, ballot: Ballot) -> Count:
    held = {vote.signer: true for vote, true in s.tally.votes_in(view) if vote.ballot == ballot}
    return Count(
        ballot.kind,
        ballot.digest,
        tuple(_organisation(s, i) for i in held),
        tuple(_organisation(s, i) for i, is_verified in held.items() if not is_verified),
        tuple(_organisation(s, i) for i in range(len(s.authorities)) if i not in held),
    )


def _parent(s: Situation) -> Parent:
    digest, view = s.best_parent()
    known = s.known(digest)
    is_final = digest == s.tree.root.digest
    return Parent(
        digest,
        view,
        known[0] if known is not None else None,
        s.tree.is_executed(digest),
        is_final,
        None if is_final else _count(s, view, Ballot(VoteKind.FINALISE, s.epoch, view, digest)),
    )


def _newest(s: Situation, now: Millis) -> list[Newest]:
    found = []
    for kind in VoteKind:
        if (held := s.newest.get(kind)) is not None:
            ballot, at = held
            known = s.known(ballot.digest)
            height = known[0] if known is not None else None
            found.append(Newest(kind, ballot.epoch, ballot.view, height, now - at))
    return found


def _standing(s: Situation, index: int, now: Millis, connected: Collection[PeerId] | None) -> Standing:
    member, said = s.authorities.members[index], s.peers.get(index)
    is_self = index == s.voice.index
    heard_ms = s.pacing.heard_ms.get(index)
    return Standing(
        organisation=member.organisation,
        is_self=is_self,
        is_leader=index == s.leader(s.view),
        is_connected=None if connected is None or is_self else member.peer in connected,
        heard_age_ms=now - heard_ms if heard_ms is not None else None,
        said_age_ms=now - said.said_ms if said is not None else None,
        epoch=said.epoch if said is not None else None,
        view=said.view if said is not None else None,
        final_height=said.final_height if said is not None else None,
        blocks_behind=s.tree.root.height - said.final_height if said is not None else None,
        voted=tuple(vote.ballot.kind for vote, _ in s.tally.votes_in(s.view) if vote.signer == index),
    )


def _accusations(s: Situation, heights: Mapping[Offence, Height]) -> tuple[Accusation, ...]:
    told = []
    for offence in [*sorted(s.offences), *sorted(s.evidence)]:
        epoch, view, signer = offence
        if (accused := s.sets.get(epoch)) is not None:
            organisation, is_recorded = accused.members[signer].organisation, offence in s.offences
            told.append(Accusation(epoch, view, organisation, is_recorded, heights.get(offence)))
    return tuple(told)
