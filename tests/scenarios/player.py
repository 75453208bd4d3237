"""One node of a story: what it has on disk, its core while it runs, and what it holds in memory."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from p2pledger.chain.block import FinalBlock, Proposal, is_boundary
from p2pledger.chain.message import (
    Batch,
    BlocksRequest,
    BodiesRequest,
    Certificates,
    CertificatesRequest,
    ProposalsRequest,
    Reply,
    Request,
)
from p2pledger.chain.vote import Certificate, Vote
from p2pledger.consensus import catchup
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import Event, Recovered
from p2pledger.consensus.situation import Situation
from p2pledger.signer.guard import Guard
from p2pledger.types import Epoch, Hash, Height, Millis, View
from tests.scenarios.names import GENESIS_DIGEST
from tests.scenarios.roster import Roster


@dataclass(frozen=True)
class Disk:
    """What survives a crash: the guard file and the chain store. `guard` is None when it was lost."""

    guard: Guard | None = Guard()
    votes: tuple[Vote, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    bodies: frozenset[Hash] = frozenset()
    chain: tuple[FinalBlock, ...] = ()

    def recovered(self, roster: Roster, *, is_authority: bool) -> Recovered:
        """What a start finds here."""
        boundaries = {block.header.epoch: block for block in self.chain if is_boundary(block.header)}
        epoch = Epoch(len(boundaries))
        base = boundaries[Epoch(epoch - 1)].header if epoch else None
        tip = self.chain[-1].header if self.chain else None
        return Recovered(
            epoch=epoch,
            sets={Epoch(e): roster.of(e) for e in range(max(0, epoch - 1), epoch + 2)},
            base_digest=base.digest if base else GENESIS_DIGEST,
            base_height=base.height if base else Height(0),
            tip_digest=tip.digest if tip else GENESIS_DIGEST,
            tip_height=tip.height if tip else Height(0),
            tip_time_ms=tip.time_ms if tip else Millis(0),
            tip_certificate=self.chain[-1].certificate if self.chain else None,
            guard=self.guard.at if self.guard and is_authority else None,
            voted=self.guard.ballots() if self.guard else (),
            votes=self.votes,
            proposals=self.proposals,
            certificates=self.certificates,
            boundaries={e: b.certificate for e, b in boundaries.items() if b.certificate is not None},
            offences=frozenset(item.offence for block in self.chain for item in block.evidence),
        )


@dataclass
class Player:
    """A node with a core. A gateway is no authority: it has no key to vote with."""

    name: str
    is_authority: bool
    disk: Disk = Disk()
    core: Consensus | None = None
    """None while it is down."""
    life: int = 0
    """Counts its starts: what was meant for an earlier life does not reach a later one."""
    skew_ms: int = 0
    wake_at: int = 0
    bodies: set[Hash] = field(default_factory=set)
    counted: dict[Hash, set[tuple[Epoch, View]]] = field(default_factory=dict)
    """The views towards whose deadlines each transaction has counted."""
    recorded: set[Hash] = field(default_factory=set)
    """Transactions of final blocks."""
    gossiped: set[Hash] = field(default_factory=set)
    """Final blocks that came by gossip."""
    is_disk_held: bool = False
    working: Iterator[None] | None = None
    """A step that waits for the disk; what arrives meanwhile waits in `backlog`."""
    backlog: deque[Event] = field(default_factory=deque)

    @property
    def s(self) -> Situation:
        """Its core's state."""
        assert self.core is not None, f"{self.name} does not run"
        return self.core.situation

    def crash(self) -> None:
        """Lose all that is not on disk."""
        self.core, self.working, self.is_disk_held = None, None, False
        self.backlog.clear()
        self.counted.clear()
        self.bodies.clear()

    def pending(self, parent: Hash) -> set[Hash]:
        """The transactions that a child of this block could hold."""
        unfinal = {i for block in self.s.tree.branch(parent)[0] for i in block.transaction_ids}
        return self.bodies - self.recorded - unfinal

    def count(self) -> bool:
        """Whether a transaction counts towards the deadline of the view; each does in at most n views."""
        s = self.s
        at = (s.epoch, s.view)
        counting = [
            views
            for i in self.pending(s.best_parent()[0])
            if len((views := self.counted.setdefault(i, set())) | {at}) <= len(s.authorities)
        ]
        for views in counting:
            views.add(at)
        return bool(counting)

    def replies(self, request: Request) -> tuple[Reply, ...]:
        """What it answers; bodies stand for themselves."""
        s = self.s
        match request:
            case BlocksRequest(height, count):
                return self.disk.chain[height - 1 : height - 1 + count]
            case BodiesRequest(ids):
                return (Batch((b"bodies",)),) if self.bodies.intersection(ids) else ()
            case CertificatesRequest(epoch, low, high):
                found = catchup.certificates_between(s, low, high) if epoch == s.epoch else []
                return (Certificates(tuple(found)),) if found else ()
            case ProposalsRequest(epoch, digests):
                proposals = [catchup.unfinal_proposal(s, d) for d in digests if epoch == s.epoch]
                return tuple(proposal for proposal in proposals if proposal is not None)
        raise AssertionError("the core asks for no boundaries")
