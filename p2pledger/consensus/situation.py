"""All that one agreement core knows, and what it is about to say. Rules are functions over this."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.epoch import boundary_height
from p2pledger.chain.genesis import Parameters
from p2pledger.chain.message import Frame
from p2pledger.chain.vote import Ballot, Certificate, Evidence, IsSigned, Offence, VoteKind
from p2pledger.consensus.asking import Asking
from p2pledger.consensus.checks import EVIDENCE_OF_ONE_MAX, Place, leader_offset
from p2pledger.consensus.events import (
    Final,
    Misbehaved,
    Output,
    Send,
    Sign,
    Work,
)
from p2pledger.consensus.pacing import Pacing
from p2pledger.consensus.tally import Tally
from p2pledger.consensus.tree import Block, Tree
from p2pledger.consensus.voice import Voice
from p2pledger.types import Epoch, Hash, Height, Millis, PublicKey, View

EVIDENCE_MAX = 1_024
LISTEN_DELTAS = 10
"""After a start, an authority listens for at most this many Δ before it votes (R8)."""


@dataclass(frozen=True)
class Setting:
    """What never changes while a core runs. `key` is this node's consensus key; None for a gateway."""

    genesis_hash: Hash
    parameters: Parameters
    key: PublicKey | None
    is_signed: IsSigned


@dataclass(frozen=True)
class PeerState:
    """Where another authority said it stands."""

    epoch: Epoch
    view: View
    final_height: Height
    given_ms: Millis
    """When it was last given what it lacks."""
    said_ms: Millis
    """When it said so."""

    def shifted(self, by_ms: int) -> "PeerState":
        """The same, by a clock that was set by this much."""
        return replace(self, given_ms=Millis(self.given_ms + by_ms), said_ms=Millis(self.said_ms + by_ms))


@dataclass
class Outbox:
    """What the current step has to say so far."""

    sign: list[Sign] = field(default_factory=list)
    send: list[Send] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    final: list[Final] = field(default_factory=list)
    misbehaved: list[Misbehaved] = field(default_factory=list)

    def take(self, wake_at: Millis | None) -> Output:
        """Everything said, in order; the outbox is empty afterwards."""
        output = Output(
            tuple(self.sign),
            tuple(self.send),
            tuple(self.work),
            tuple(self.final),
            tuple(self.misbehaved),
            wake_at,
        )
        self.__init__()  # type: ignore[misc]
        return output


@dataclass
class Situation:
    """The state of one core. Plain data: what is done with it, and when, the rules say."""

    setting: Setting
    now: Millis
    epoch: Epoch
    sets: dict[Epoch, AuthoritySet]
    base_digest: Hash
    base_height: Height
    tree: Tree
    tally: Tally
    voice: Voice
    pacing: Pacing
    view: View = View(0)
    next_view: View = View(1)
    """One above the highest certified view: where the next settling enters."""
    asking: Asking = field(default_factory=Asking)
    out: Outbox = field(default_factory=Outbox)
    certified_ms: dict[Hash, Millis] = field(default_factory=dict)
    final_certificates: dict[Hash, Certificate] = field(default_factory=dict)
    boundaries: dict[Epoch, Certificate] = field(default_factory=dict)
    unsaved: list[Certificate] = field(default_factory=list)
    """Certificates that the guard file does not hold yet; they go along with the next vote."""
    offences: set[Offence] = field(default_factory=set)
    """Recorded in final blocks already."""
    evidence: dict[Offence, Evidence] = field(default_factory=dict)
    """Known, not yet recorded."""
    peers: dict[int, PeerState] = field(default_factory=dict)
    pulled_height: Height = Height(0)
    """The final height at the last status tick: whether anything moved since then."""
    pull_from: list[int] = field(default_factory=list)
    """Whom to ask for blocks above the newest one that is known to be final; empty for nobody."""
    pulled_in_vain: int = 0
    """How often whoever was asked for blocks brought nothing on: next time another one is asked."""
    building: View | None = None
    final_ms: Millis = Millis(0)
    """When a block became final here last; before the first one, when this core started."""
    newest: dict[VoteKind, tuple[Ballot, Millis]] = field(default_factory=dict)
    """What the highest certificate of each kind was for, and when it came."""
    wake_at: Millis = Millis(0)
    """When a rule may apply that does not now, though nothing happens."""
    offset: int = field(init=False)
    """Where this epoch's rotation starts."""

    def __post_init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        """Have the rotation of leaders start where this epoch's base says."""
        self.offset = leader_offset(self.base_digest, self.epoch, len(self.authorities))

    @property
    def authorities(self) -> AuthoritySet:
        """The list that reigns now."""
        return self.sets[self.epoch]

    def leader(self, view: View) -> int:
        """The position of the leader of a view of this epoch."""
        return self.authorities.leader(view, self.offset)

    @property
    def others(self) -> list[int]:
        """The positions of the other authorities, starting behind this one, so that askers spread.

        Each question for blocks that brought nothing on moves the start: the first one asked may be a liar.
        """
        n = len(self.authorities)
        start = (self.voice.index or 0) + self.pulled_in_vain
        order = [(start + 1 + i) % n for i in range(n)]
        return [i for i in order if i != self.voice.index]

    @property
    def final_view(self) -> View:
        """The newest view known to be final."""
        return self.tally.final_view

    @property
    def boundary_height(self) -> Height:
        """The height of the last block of this epoch."""
        return boundary_height(self.epoch, self.setting.parameters.epoch_blocks)

    def place(self, parent_height: Height, parent_time_ms: Millis) -> Place:
        """What a child of such a parent is checked against."""
        return Place(
            self.setting.genesis_hash,
            self.epoch,
            self.authorities,
            self.offset,
            self.setting.parameters.epoch_blocks,
            parent_height,
            parent_time_ms,
        )

    def recorded(self, parent: Hash) -> frozenset[Offence]:
        """The offences that the chain up to this block has recorded, of the epochs still open to evidence.

        A function of the chain alone, the same at every node that holds it: what a child may not record
        again, and what a change of the authority list may rest on.
        """
        blocks, _ = self.tree.branch(parent)
        return frozenset(self.offences).union(item.offence for block in blocks for item in block.evidence)

    def lacks_evidence(self, offence: Offence) -> bool:
        """Whether evidence of this offence is of use: of this epoch or the last, new, within the limits."""
        epoch, _, signer = offence
        if offence in self.offences or offence in self.evidence or len(self.evidence) >= EVIDENCE_MAX:
            return False
        of_one = sum((e, who) == (epoch, signer) for e, _, who in (*self.offences, *self.evidence))
        return self.epoch - 1 <= epoch <= self.epoch and of_one < EVIDENCE_OF_ONE_MAX

    def face(self, offences: Iterable[Offence]) -> None:
        """Fall silent if one of these proven offences is this key's.

        A guard never gives two votes that contradict each other, so the second is somebody else's, however
        long ago its view was and whatever this guard has let go of since (R8).
        """
        key = self.setting.key
        for epoch, _, signer in offences:
            accused = self.sets.get(epoch)
            if accused is not None and key is not None and signer == accused.index_of(key):
                self.voice.fall_silent()

    def known(self, digest: Hash) -> tuple[Height, Millis] | None:
        """Height and time of a block that is the root or held above it."""
        if digest == self.tree.root.digest:
            return self.tree.root.height, self.tree.root.time_ms
        block = self.tree.get(digest)
        return (block.header.height, block.header.time_ms) if block is not None else None

    @property
    def is_final_awaited(self) -> bool:
        """Whether a block is known to be final that is not yet held and executed here."""
        return self.tally.final is not None and self.tally.final.ballot.digest != self.tree.root.digest

    def listen(self) -> None:
        """Ask the others where they stand, and say nothing else before they told (R8)."""
        parameters = self.setting.parameters
        self.pacing.status_ms = Millis(self.now - parameters.status_interval_ms)
        if self.voice.index is not None and len(self.authorities) > 1:
            self.voice.wait()

    def hear_first(self) -> None:
        """Somebody is there: from now on others have their time to answer, and are asked at once (R8).

        Counted from the start it would be over before the first connection stands.
        """
        parameters = self.setting.parameters
        self.voice.waits_until_ms = Millis(self.now + LISTEN_DELTAS * parameters.delta_ms)
        self.pacing.status_ms = Millis(self.now - parameters.status_interval_ms)

    @property
    def status_due_ms(self) -> Millis:
        """When to say again where this node stands: every Δ while answers are awaited."""
        parameters = self.setting.parameters
        is_asking = self.voice.waits_until_ms is not None
        return Millis(
            self.pacing.status_ms + (parameters.delta_ms if is_asking else parameters.status_interval_ms)
        )

    def carries_work(self, digest: Hash) -> bool:
        """Whether this unfinal block or an unfinal ancestor of it carries transactions or evidence."""
        blocks, _ = self.tree.branch(digest)
        return any(block.transaction_ids or block.evidence for block in blocks)

    def best_parent(self) -> tuple[Hash, View]:
        """The highest notarised block below the current view, else the final one."""
        for view in sorted(self.tally.notarised, reverse=True):
            if view < self.view:
                return self.tally.notarised[view].ballot.digest, view
        return self.tree.root.digest, self.final_view

    def say(self, frame: Frame, peer: int | None = None) -> None:
        """Send a frame, to all other authorities unless one is named."""
        self.out.send.append(Send(frame, peer))

    def ask_for_vote(self, ballot: Ballot, block: Block | None = None, reason: str = "") -> bool:
        """Have the signer sign this ballot, if the guard allows it; False when it does not."""
        if not self.voice.allows(ballot):
            return False
        assert self.voice.index is not None
        self.voice.plan(ballot)
        proposal = block.proposal if block is not None else None
        certificates, self.unsaved = tuple(self.unsaved), []
        self.out.sign.append(Sign(ballot, self.voice.index, certificates, proposal, reason))
        return True

    def keep_certificate(self, certificate: Certificate) -> None:
        """Note a new certificate of this epoch: when it came, where it leads, that it is to be saved."""
        ballot = certificate.ballot
        self.unsaved.append(certificate)
        held = self.newest.get(ballot.kind)
        if held is None or (held[0].epoch, held[0].view) < (ballot.epoch, ballot.view):
            self.newest[ballot.kind] = ballot, self.now
        self.next_view = max(self.next_view, View(ballot.view + 1))
        if ballot.kind is not VoteKind.SKIP:
            self.certified_ms.setdefault(ballot.digest, self.now)
        if ballot.kind is VoteKind.FINALISE:
            self.final_certificates[ballot.digest] = certificate
            self.pacing.calm()
