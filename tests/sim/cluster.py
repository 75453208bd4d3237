"""Many real cores over a simulated network: a heap of (time, event) and one seeded random source.

Signatures are keyed hashes behind the verifier's seam; votes are signed behind the signer's own guard;
blocks are executed by rote (every block whose roots are its ids' is valid). What is tried here is the
agreement alone, in situations that a test sets up; `p2pledger.simulator` draws them, and runs everything.
"""

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.block import FinalBlock, Header, Proposal, evidence_root, is_boundary, tx_root
from p2pledger.chain.genesis import LAN, Parameters
from p2pledger.chain.message import BlocksRequest, BodiesRequest, CertificatesRequest, ProposalsRequest
from p2pledger.chain.transaction import Batch
from p2pledger.chain.vote import Ballot, Certificate, Vote, is_contradiction
from p2pledger.consensus import catchup
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import (
    Answered,
    Ask,
    AskFailed,
    Build,
    Built,
    Enter,
    Event,
    Execute,
    Executed,
    Gossiped,
    Judgement,
    Output,
    Pending,
    Received,
    Recovered,
    Sign,
    SignatureRefused,
    Signed,
    Tick,
)
from p2pledger.consensus.situation import Setting
from p2pledger.crypto import KeySigner
from p2pledger.signer.guard import Guard, GuardRefused, check_guard
from p2pledger.simulator.city import is_keyed_hash, keyed_hash
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, PeerId

GENESIS_HASH = Hash(hashlib.sha256(b"a simulated genesis").digest())
BASE = Hash(hashlib.sha256(b"its block").digest())
KEYS = [KeySigner(bytes([0] * 31 + [i + 1])).public_key for i in range(16)]


def authorities(n: int) -> AuthoritySet:
    return AuthoritySet(tuple(Authority(f"org{i}", KEYS[i], PeerId(f"peer{i}")) for i in range(n)))


@dataclass
class Disk:
    """What survives a crash of one node: the guard file and the chain store."""

    guard: Guard = Guard()
    votes: list[Vote] = field(default_factory=list)
    proposals: dict[Hash, Proposal] = field(default_factory=dict)
    certificates: list[Certificate] = field(default_factory=list)
    chain: list[FinalBlock] = field(default_factory=list)
    known: set[Hash] = field(default_factory=set)

    def copy(self) -> "Disk":
        """A backup of it."""
        return Disk(
            self.guard,
            list(self.votes),
            dict(self.proposals),
            list(self.certificates),
            list(self.chain),
            set(self.known),
        )


@dataclass
class Node:
    """One authority. `skew_ms`: how far its clock is ahead of the simulation's."""

    index: int
    disk: Disk
    core: Consensus
    mempool: set[Hash] = field(default_factory=set)
    alive: bool = True
    life: int = 0
    wake_at: int = 0
    skew_ms: int = 0


class Cluster:
    """n authorities. `loss` and `delay_ms` shape the links; `cut(a, b)` says whether a link is down."""

    def __init__(
        self,
        n: int = 4,
        seed: int = 0,
        *,
        loss: float = 0.0,
        delay_ms: tuple[int, int] = (1, 20),
        parameters: Parameters = LAN,
        core: type[Consensus] = Consensus,
    ) -> None:
        self.core = core
        self.random = random.Random(seed)
        self.loss, self.delay_ms = loss, delay_ms
        self.parameters = replace(parameters, state_buckets=16)
        self.set = authorities(n)
        self.cut: Callable[[int, int], bool] = lambda a, b: False
        self.now = 1_000_000
        self.heap: list[tuple[int, int, int, int, Event]] = []
        self.order = itertools.count()
        self.outputs: list[tuple[int, Output]] = []
        self.crash_before_send: Callable[[int], bool] = lambda index: False
        self.given: dict[int, list[Vote]] = {i: [] for i in range(n)}
        """Every vote that a key ever gave, whatever became of its disk."""
        self.nodes = [self._boot(i, Disk()) for i in range(n)]
        for node in self.nodes:
            self.post(node.index, Tick())

    # --- a node's life ---------------------------------------------------------------------------------

    def _boot(self, index: int, disk: Disk) -> Node:
        guard = disk.guard
        boundaries = {b.header.epoch: b for b in disk.chain if is_boundary(b.header)}
        epoch = Epoch(len(boundaries))
        base = boundaries[epoch - 1].header if epoch else None
        tip = disk.chain[-1] if disk.chain else None
        found = Recovered(
            epoch=epoch,
            sets={Epoch(e): self.set for e in range(max(0, epoch - 1), epoch + 2)},
            base_digest=base.digest if base else BASE,
            base_height=base.height if base else Height(0),
            tip_digest=tip.header.digest if tip else BASE,
            tip_height=tip.header.height if tip else Height(0),
            tip_time_ms=tip.header.time_ms if tip else Millis(0),
            tip_certificate=tip.certificate if tip else None,
            guard=guard.at,
            voted=guard.ballots(),
            votes=tuple(disk.votes),
            proposals=tuple(disk.proposals.values()),
            certificates=tuple(disk.certificates),
            boundaries={e: b.certificate for e, b in boundaries.items()},
            offences=frozenset(
                item.offence
                for block in disk.chain
                for item in block.evidence
                if item.first.ballot.epoch + 1 >= epoch
            ),
        )
        setting = Setting(GENESIS_HASH, self.parameters, KEYS[index], is_keyed_hash)
        return Node(index, disk, self.core(setting, found, Millis(self.now)))

    def crash(self, index: int) -> None:
        self.nodes[index].alive = False

    def restart(self, index: int, disk: Disk | None = None) -> None:
        """Start a node again from its disk, or from a backup of it."""
        old = self.nodes[index]
        node = self.nodes[index] = self._boot(index, disk or old.disk)
        node.life, node.skew_ms = old.life + 1, old.skew_ms
        node.mempool = set(old.mempool)
        self.post(index, Tick())

    def submit(self, *ids: Hash) -> None:
        for node in self.nodes:
            node.mempool |= {i for i in ids if not self._is_final(node, i)}
            s = node.core.situation
            self.post(node.index, Pending(s.epoch, s.view))

    # --- the loop --------------------------------------------------------------------------------------

    def post(self, index: int, event: Event, after_ms: int = 0) -> None:
        life = self.nodes[index].life if len(self.nodes) > index else 0
        heapq.heappush(self.heap, (self.now + after_ms, next(self.order), index, life, event))

    def run(self, until: Callable[[], bool] | None = None, ms: int = 60_000) -> bool:
        end = self.now + ms
        while self.heap and self.heap[0][0] <= end:
            if until is not None and until():
                return True
            self.now, _, index, life, event = heapq.heappop(self.heap)
            node = self.nodes[index]
            if node.alive and node.life == life:
                self._step(node, event)
        if not self.heap or self.heap[0][0] > end:
            self.now = end
        return until is None or until()

    def _step(self, node: Node, event: Event) -> None:
        if isinstance(event, Tick) and node.wake_at > self.now:
            return
        output = node.core.step(event, Millis(self.now + node.skew_ms))
        self.outputs.append((node.index, output))
        for sign in output.sign:
            self._sign(node, sign)
            if self.crash_before_send(node.index):
                self.crash(node.index)
                return
        for send in output.send:
            for peer in range(len(self.nodes)) if send.peer is None else [send.peer]:
                if peer != node.index:
                    self._transmit(node.index, peer, Received(node.index, send.frame))
        for final in output.final:  # what is to be built on the new root must not hold them again
            node.mempool -= set(final.block.transaction_ids)
        for work in output.work:
            self._work(node, work)
        for final in output.final:
            node.disk.chain.append(final.block)
            if final.relay_rank == 0:
                for peer in range(len(self.nodes)):
                    self._transmit(node.index, peer, Gossiped(final.block))
        if output.wake_at is not None:
            node.wake_at = max(output.wake_at - node.skew_ms, self.now + 1)
            self.post(node.index, Tick(), node.wake_at - self.now)

    def _transmit(self, sender: int, receiver: int, event: Event) -> None:
        if not self.cut(sender, receiver) and self.random.random() >= self.loss:
            self.post(receiver, event, self.random.randint(*self.delay_ms))

    def _sign(self, node: Node, sign: Sign) -> None:
        node.disk.certificates += sign.certificates
        vote = self.vote(node.index, sign.ballot)
        if vote not in node.disk.votes:
            try:
                node.disk.guard = check_guard(node.disk.guard, sign.ballot)
            except GuardRefused as refused:
                self.post(node.index, SignatureRefused(sign.ballot, refused.reason.value))
                return
            node.disk.votes.append(vote)
            self.given[node.index].append(vote)
        if sign.proposal is not None:
            node.disk.proposals[sign.proposal.header.digest] = sign.proposal
            node.disk.known |= set(sign.proposal.transaction_ids)
        self.post(node.index, Signed(vote))

    def vote(self, signer: int, ballot: Ballot) -> Vote:
        """The vote of this key."""
        digest = ballot.sign_digest(GENESIS_HASH, self.set.hash)
        return Vote(ballot, signer, keyed_hash(KEYS[signer], digest))

    def _work(self, node: Node, work: object) -> None:
        match work:
            case Execute(header, ids):
                missing = tuple(i for i in ids if i not in node.mempool and i not in node.disk.known)
                judgement = Judgement.MISSING if missing else Judgement.VALID
                if header.state_root != self.state_root(header.parent_digest, ids):
                    judgement = Judgement.INVALID
                next_set = self.set if is_boundary(header) else None
                self.post(node.index, Executed(header.digest, judgement, "", missing, next_set), 1)
            case Build():
                self.post(node.index, self._build(node, work), 1)
            case Enter(epoch, view, _, parent):
                if node.mempool - self._unfinal_ids(node, parent):
                    self.post(node.index, Pending(epoch, view))
            case Ask(key, peer, request):
                self._ask(node, key, peer, request)

    def _unfinal_ids(self, node: Node, parent: Hash) -> set[Hash]:
        blocks, _ = node.core.situation.tree.branch(parent)
        return {i for block in blocks for i in block.transaction_ids}

    @staticmethod
    def state_root(parent: Hash, ids: tuple[Hash, ...]) -> Hash:
        return Hash(hashlib.sha256(parent + b"".join(ids)).digest())

    def _build(self, node: Node, b: Build) -> Built:
        fresh = node.mempool - self._unfinal_ids(node, b.parent_digest)
        ids = () if b.is_empty else tuple(sorted(fresh)[: self.parameters.block_transactions_max])
        header = Header(
            version=1,
            genesis_hash=GENESIS_HASH,
            epoch=b.epoch,
            view=b.view,
            height=b.height,
            parent_digest=b.parent_digest,
            parent_view=b.parent_view,
            time_ms=b.time_ms,
            tx_root=tx_root(ids),
            state_root=self.state_root(b.parent_digest, ids),
            receipts_root=ZERO_HASH,
            next_set_hash=self.set.hash if b.is_boundary else ZERO_HASH,
            evidence_root=evidence_root(b.evidence),
            proposer=b.proposer,
        )
        return Built(b.view, header, ids, b.evidence, self.set if b.is_boundary else None)

    def _ask(self, node: Node, key: str, peer: int, request: object) -> None:
        other = self.nodes[peer]
        lost = self.random.random() < self.loss
        if not other.alive or lost or self.cut(node.index, peer) or self.cut(peer, node.index):
            self.post(node.index, AskFailed(key, peer), 500)
            return
        replies: tuple[object, ...] = ()
        s = other.core.situation
        match request:
            case BlocksRequest(height, count):
                replies = tuple(other.disk.chain[height - 1 : height - 1 + count])
            case BodiesRequest(ids):
                have = [i for i in ids if i in other.mempool | other.disk.known or self._is_final(other, i)]
                node.disk.known |= set(have)
                replies = (Batch((b"x",)),) if have else ()
            case CertificatesRequest(_, low, high):
                replies = tuple(
                    catchup.Certificates((c,)) for c in catchup.certificates_between(s, low, high)
                )
            case ProposalsRequest(_, digests):
                found = [catchup.unfinal_proposal(s, d) for d in digests]
                replies = tuple(p for p in found if p is not None)
        self.post(node.index, Answered(key, peer, replies), self.random.randint(*self.delay_ms))  # type: ignore[arg-type]

    @staticmethod
    def _is_final(node: Node, transaction_id: Hash) -> bool:
        return any(transaction_id in block.transaction_ids for block in node.disk.chain)

    # --- what must hold --------------------------------------------------------------------------------

    def heights(self) -> list[int]:
        return [len(node.disk.chain) for node in self.nodes]

    def describe(self) -> str:
        """Where every node stands, for a failing assertion's message."""
        lines = []
        for node in self.nodes:
            s = node.core.situation
            held = {b.header.height: (b.judgement, b.is_executing, b.reason) for b in s.tree}
            lines.append(
                f"{node.index} alive={node.alive} view={s.view} epoch={s.epoch} height={s.tree.root.height}"
                f" final_view={s.final_view} guard={s.voice.guard} notice={s.voice.notice!r}"
                f" N={sorted(s.tally.notarised)} X={sorted(s.tally.skipped)} P={sorted(s.tally.proposals)}"
                f" asking={list(s.asking._open)} tree={held} building={s.building} pool={len(node.mempool)}"
            )
        return "\n".join(lines)

    def check_agreement(self) -> None:
        """One block per height, in order, each the child of the one before; no honest contradiction."""
        longest = max((node.disk.chain for node in self.nodes), key=len)
        for node in self.nodes:
            digests = [b.header.digest for b in node.disk.chain]
            assert digests == [b.header.digest for b in longest[: len(digests)]], "a fork"
            assert [b.header.height for b in node.disk.chain] == list(range(1, len(digests) + 1))
            ids = [i for b in node.disk.chain for i in b.transaction_ids]
            assert len(ids) == len(set(ids)), "a transaction is final twice"
            assert not self.contradictions(node.index), "an honest authority contradicts itself"
        for older, newer in itertools.pairwise(longest):
            assert newer.header.parent_digest == older.header.digest

    def contradictions(self, index: int) -> list[tuple[Vote, Vote]]:
        """Pairs of votes that this key gave and that no honest one gives both of."""
        said: dict[tuple[int, int], list[Vote]] = {}
        for vote in self.given[index]:
            said.setdefault((vote.ballot.epoch, vote.ballot.view), []).append(vote)
        return [
            pair
            for votes in said.values()
            for pair in itertools.combinations(votes, 2)
            if is_contradiction(*pair)
        ]


def tx(name: object) -> Hash:
    """A transaction id by name."""
    return Hash(hashlib.sha256(str(name).encode()).digest())
