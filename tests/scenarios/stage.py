"""A small network of agreement cores on one clock, for stories: nothing random, nothing hidden.

Real parts: `Consensus`, the signer's guard, what a start finds on disk. Played by rote: signatures (keyed
hashes), the ledger (a block is valid unless the story says otherwise) and the links, which take `delay_ms`.
The stage carries a step's output out as `node.loop` does and keeps a log of all that was done.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.block import FinalBlock, Header, Proposal, evidence_root, is_boundary, tx_root
from p2pledger.chain.genesis import LAN, Parameters
from p2pledger.chain.message import (
    Batch,
    BlocksRequest,
    BodiesRequest,
    Certificates,
    CertificatesRequest,
    Frame,
    ProposalsRequest,
    Reply,
    Request,
)
from p2pledger.chain.vote import Ballot, Certificate, Evidence, Vote, certificate_of, is_contradiction
from p2pledger.consensus import catchup, events
from p2pledger.consensus.checks import leader_offset
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.situation import Setting, Situation
from p2pledger.crypto import KeySigner
from p2pledger.errors import Fatal
from p2pledger.signer.guard import Guard, GuardRefused, check_guard
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, PeerId, PublicKey, Signature, View
from tests.scenarios.names import GENESIS_DIGEST, GENESIS_HASH, Names, view
from tests.scenarios.telling import Log, told_held, told_request, told_sends, told_statuses

START_MS = 1_000_000
"""The hour at which every story begins; its times count from there."""
RELAY_MS = 500
ASK_MS_MAX = 500
"""After which a question to an authority that cannot be reached has failed."""


def sign(key: bytes, digest: bytes) -> Signature:
    return Signature(Hash(digest) + key[1:])


def is_signed(key: bytes, digest: bytes, signature: bytes) -> bool:
    return sign(key, digest) == signature


def key_of(name: str) -> PublicKey:
    return KeySigner(int.from_bytes(name.encode(), "big").to_bytes(32, "big")).public_key


@dataclass
class Disk:
    """What survives a crash: the guard file and the chain store."""

    guard: Guard | None = Guard()
    votes: tuple[Vote, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    bodies: frozenset[Hash] = frozenset()
    chain: tuple[FinalBlock, ...] = ()


@dataclass
class Player:
    """One node: its disk, its core while it runs, and what it holds in memory."""

    name: str
    is_authority: bool
    disk: Disk = field(default_factory=Disk)
    core: Consensus | None = None
    life: int = 0
    skew_ms: int = 0
    bodies: set[Hash] = field(default_factory=set)
    counted: dict[Hash, set[tuple[Epoch, View]]] = field(default_factory=dict)
    gossiped: set[Hash] = field(default_factory=set)
    wake_at: int = 0
    is_disk_held: bool = False
    working: Iterator[None] | None = None
    """A step that waits for the disk; what arrives meanwhile waits in `backlog`."""
    backlog: deque[events.Event] = field(default_factory=deque)

    @property
    def s(self) -> Situation:
        assert self.core is not None, f"{self.name} does not run"
        return self.core.situation

    def pending(self, parent: Hash) -> set[Hash]:
        """The transactions that a child of this block could hold."""
        recorded = {i for block in self.disk.chain for i in block.transaction_ids}
        recorded |= {i for block in self.s.tree.branch(parent)[0] for i in block.transaction_ids}
        return self.bodies - recorded


class Stage:
    """The nodes of one story: `real` ones have cores, the story speaks for `puppets`."""

    def __init__(self) -> None:
        self.now = 0
        self.delay_ms = 10
        self.parameters: Parameters = replace(LAN, state_buckets=16)
        self.names = Names()
        self.log = Log()
        self.lists: dict[Epoch, AuthoritySet] = {}
        self.bases: dict[Epoch, Hash] = {Epoch(0): GENESIS_DIGEST}
        self.real: dict[str, Player] = {}
        self.puppets: list[str] = []
        self.contents: dict[Hash, tuple[Header, tuple[Hash, ...], tuple[Evidence, ...]]] = {}
        self.invalid: dict[Hash, str] = {}
        self.is_status_told = False
        self.cut: set[tuple[str, str]] = set()
        """Pairs (sender, receiver) whose link is down."""
        self.lossy: set[tuple[str, str]] = set()
        """Pairs whose connection stands, and whose messages are lost all the same."""
        self.asked: list[tuple[str, str, events.Ask]] = []
        """Questions of real nodes to puppets: (asker, puppet, question)."""
        self.given: dict[str, list[Vote]] = {}
        """Every vote that a real authority's key gave, whatever became of its disk."""
        self._heap: list[tuple[int, int, bool, Callable[[], None]]] = []
        self._order = itertools.count()

    # --- the cast ----------------------------------------------------------------------------------------

    def authorities(self, names: Iterable[str]) -> AuthoritySet:
        return AuthoritySet(tuple(Authority(name.lower(), key_of(name), PeerId(name)) for name in names))

    def list_of(self, epoch: int) -> AuthoritySet:
        """The list of an epoch: the newest one named up to it."""
        return self.lists[max(e for e in self.lists if e <= epoch)]

    def index(self, name: str, epoch: int) -> int | None:
        """The position of an authority in the list of an epoch."""
        return self.list_of(epoch).index_of(key_of(name))

    def name(self, index: int, epoch: int) -> str:
        """Who stands at a position of the list of an epoch."""
        return self.list_of(epoch).members[index].peer

    def leader(self, epoch: int, view: int) -> str:
        """Who leads a view."""
        authorities = self.list_of(epoch)
        offset = leader_offset(self.bases[Epoch(epoch)], Epoch(epoch), len(authorities))
        return self.name(authorities.leader(View(view), offset), epoch)

    def open(self, real: Sequence[str], puppets: Sequence[str], gateways: Sequence[str]) -> None:
        """Begin: everyone has started, and has heard from everyone else that nothing was signed yet."""
        self.puppets = list(puppets)
        for name in (*real, *gateways):
            self.real[name] = Player(name, name in real)
            self.given[name] = []
        delay_ms, self.delay_ms = self.delay_ms, 0
        for name in self.real:
            self.start(name)
        self.run()
        for puppet in puppets:
            for name in real:
                if (index := self.index(puppet, 0)) is not None and self.index(name, 0) is not None:
                    status = catchup.status_for(self.real[name].s, index, is_reply=True)
                    self.say(puppet, replace(status, echo=()), [name])
        self.delay_ms = delay_ms
        self.log.forget()

    def start(self, name: str) -> None:
        """Run a node from its disk."""
        player = self.real[name]
        disk = player.disk
        boundaries = {block.header.epoch: block for block in disk.chain if is_boundary(block.header)}
        epoch = Epoch(len(boundaries))
        base = boundaries[Epoch(epoch - 1)].header if epoch else None
        tip = disk.chain[-1].header if disk.chain else None
        found = events.Recovered(
            epoch=epoch,
            sets={Epoch(e): self.list_of(e) for e in range(max(0, epoch - 1), epoch + 2)},
            base_digest=base.digest if base else GENESIS_DIGEST,
            base_height=base.height if base else Height(0),
            tip_digest=tip.digest if tip else GENESIS_DIGEST,
            tip_height=tip.height if tip else Height(0),
            tip_time_ms=tip.time_ms if tip else Millis(0),
            tip_certificate=disk.chain[-1].certificate if tip else None,
            guard=disk.guard.at if disk.guard and player.is_authority else None,
            voted=disk.guard.ballots() if disk.guard else (),
            votes=disk.votes,
            proposals=disk.proposals,
            certificates=disk.certificates,
            boundaries={e: b.certificate for e, b in boundaries.items() if b.certificate is not None},
            offences=frozenset(item.offence for block in disk.chain for item in block.evidence),
        )
        setting = Setting(
            GENESIS_HASH, self.parameters, key_of(name) if player.is_authority else None, is_signed
        )
        player.core = Consensus(setting, found, Millis(self._clock(player)))
        player.life += 1
        player.wake_at = 0
        player.bodies = set(disk.bodies)
        self._take(player, events.Tick())
        for other in self.real:
            self.meet(name, other)

    def crash(self, name: str) -> None:
        """Lose all that is not on disk."""
        player = self.real[name]
        player.core, player.working, player.is_disk_held = None, None, False
        player.backlog.clear()
        player.counted.clear()

    # --- the clock and the links -------------------------------------------------------------------------

    def run(self, until: int | None = None) -> None:
        """Let everything happen that is due up to a moment; the next moment if none is named."""
        end = self.now if until is None else until
        while self._heap and self._heap[0][0] <= end:
            self.now, _, _, happen = heapq.heappop(self._heap)
            happen()
        self.now = end

    def run_until_delivered(self) -> None:
        """Let everything happen up to the moment at which nothing is on its way any more."""
        self.run()
        while messages := [at for at, _, is_message, _ in self._heap if is_message]:
            self.run(min(messages))

    def _post(self, after_ms: int, happen: Callable[[], None], *, is_message: bool = False) -> None:
        heapq.heappush(self._heap, (self.now + after_ms, next(self._order), is_message, happen))

    def _clock(self, player: Player) -> int:
        return START_MS + self.now + player.skew_ms

    def _transmit(self, sender: str, receiver: str, arrive: Callable[[], None]) -> None:
        if (sender, receiver) not in self.cut | self.lossy and receiver in self.real:
            life = self.real[receiver].life

            def happen() -> None:
                if self.real[receiver].core is not None and self.real[receiver].life == life:
                    arrive()

            self._post(self.delay_ms, happen, is_message=True)

    def heal(self) -> None:
        """All links work again; whoever was cut off is met anew."""
        apart = {tuple(sorted(pair)) for pair in self.cut}
        self.cut.clear()
        self.lossy.clear()
        for one, other in sorted(apart):
            self.meet(one, other)

    def meet(self, one: str, other: str) -> None:
        """A connection between two nodes stands: those that run notice it."""
        pair = {(one, other), (other, one)}
        down = [name for name in (one, other) if name in self.real and self.real[name].core is None]
        if one == other or down or pair & self.cut:
            return
        for name, peer in sorted(pair):
            player = self.real.get(name)
            if player is not None and (index := self.index(peer, player.s.epoch)) is not None:
                self._transmit(peer, name, self._answer_arrives(player, events.Met(index)))

    def say(self, sender: str, frame: Frame, receivers: Iterable[str]) -> None:
        """A frame arrives at once: how the story speaks for puppets."""
        for receiver in receivers:
            if self.real[receiver].core is not None:
                self._arrive(sender, self.real[receiver], frame)

    def _arrive(self, sender: str, player: Player, frame: Frame) -> None:
        index = self.index(sender, player.s.epoch)
        if index is None:
            self.tell(player, f"does not listen to {sender}, no authority of its epoch")
        else:
            self._take(player, events.Received(index, frame))

    def gossip(self, sender: str, item: FinalBlock | Evidence) -> None:
        """Spread a final block or evidence to everybody."""
        for player in self.real.values():
            if player.name != sender:
                self._transmit(sender, player.name, self._gossip_arrives(player, item))

    def _gossip_arrives(self, player: Player, item: FinalBlock | Evidence) -> Callable[[], None]:
        def arrive() -> None:
            if isinstance(item, FinalBlock):
                player.gossiped.add(item.header.digest)
            self._take(player, events.Gossiped(item))

        return arrive

    # --- one node's loop ---------------------------------------------------------------------------------

    def tell(self, player: Player, what: str) -> None:
        self.log.tell(self.now, player.name, what)

    def give(self, name: str, event: events.Event) -> None:
        """Give a node's core an event."""
        self._take(self.real[name], event)

    def fsync(self, name: str, *, crash: bool = False) -> None:
        """The disk of a node has done what it was held for; the node goes on, or crashes right then."""
        player = self.real[name]
        assert player.working is not None, f"{name} waits for no disk"
        next(player.working)
        if crash:
            self.crash(name)
        else:
            self._go_on(player)

    def _take(self, player: Player, event: events.Event) -> None:
        if player.working is not None:
            player.backlog.append(event)
            return
        player.working = self._process(player, event)
        self._go_on(player)

    def _go_on(self, player: Player) -> None:
        while player.working is not None:
            try:
                next(player.working)
                return
            except StopIteration:
                player.working = None
            except Fatal as fatal:
                self.tell(player, f"stops: {fatal}")
                self.crash(player.name)
                return
            if player.backlog:
                player.working = self._process(player, player.backlog.popleft())

    def _process(self, player: Player, event: events.Event) -> Iterator[None]:
        """Step the core and carry out its output in order; yields where it waits for a held disk."""
        waiting = deque([event])
        while waiting:
            output = self._step(player, waiting.popleft())
            for asked in output.sign:
                yield from self._sign(player, asked, waiting)
            for send in output.send:
                self._send(player, send)
            self._tell_sends(player, output.send)
            for work in output.work:
                waiting.extend(self._work(player, work))
            for final in output.final:
                self._store(player, final)
            for misbehaved in output.misbehaved:
                self._report(player, misbehaved)
            if any(isinstance(work, events.Enter) for work in output.work):
                waiting.extend(self.count(player))  # once what is final counts no more
            if output.wake_at is not None:
                self._set_alarm(player, output.wake_at)

    def _step(self, player: Player, event: events.Event) -> events.Output:
        assert player.core is not None
        before = told_held(player.s, self.names)
        output = player.core.step(event, Millis(self._clock(player)))
        self.bases.setdefault(player.s.epoch, player.s.base_digest)
        if new := [name for name in told_held(player.s, self.names) if name not in before]:
            self.tell(player, f"holds {' '.join(new)}")
        for work in output.work:
            if isinstance(work, events.Enter):
                at, leader = view(work.epoch, work.view), self.name(work.leader, work.epoch)
                self.tell(player, f"enters {at} of {leader}")
        return output

    def _set_alarm(self, player: Player, wake_at: int) -> None:
        player.wake_at = max(wake_at - START_MS - player.skew_ms, self.now + 1)
        life = player.life

        def ring() -> None:
            if player.core is not None and player.life == life and player.wake_at <= self.now:
                self._take(player, events.Tick())

        self._post(player.wake_at - self.now, ring)

    def _sign(self, player: Player, asked: events.Sign, waiting: deque[events.Event]) -> Iterator[None]:
        disk, ballot = player.disk, asked.ballot
        name = self.names.ballot(ballot)
        certificates = (*disk.certificates, *asked.certificates)
        vote = self.vote(player.name, ballot)
        if vote not in disk.votes:
            assert disk.guard is not None, "a core without a guard asks for no votes"
            try:
                guard = check_guard(disk.guard, ballot)
            except GuardRefused as refused:
                disk.certificates = certificates
                self.tell(player, f"is refused {name} by its guard ({refused.reason.value})")
                waiting.append(events.SignatureRefused(ballot, refused.reason.value))
                return
            if player.is_disk_held:
                self.tell(player, f"has {name} to save")
                yield
            proposals = (asked.proposal,) if asked.proposal and asked.proposal not in disk.proposals else ()
            player.disk = Disk(
                guard,
                (*disk.votes, vote),
                (*disk.proposals, *proposals),
                certificates,
                disk.bodies.union(asked.proposal.transaction_ids if asked.proposal else ()),
                disk.chain,
            )
            self.given[player.name].append(vote)
            self.tell(player, f"signs {name}")
            if player.is_disk_held:
                yield
        waiting.append(events.Signed(vote))

    def _send(self, player: Player, send: events.Send) -> None:
        epoch = player.s.epoch
        members = self.list_of(epoch).members
        for member in members if send.peer is None else [members[send.peer]]:
            if member.peer != player.name and (other := self.real.get(member.peer)) is not None:
                self._transmit(player.name, other.name, self._frame_arrives(player.name, other, send.frame))

    def _frame_arrives(self, sender: str, player: Player, frame: Frame) -> Callable[[], None]:
        return lambda: self._arrive(sender, player, frame)

    def _tell_sends(self, player: Player, sends: Sequence[events.Send]) -> None:
        epoch = player.s.epoch
        if self.is_status_told:
            for what in told_statuses(sends, epoch, self.names, self.name):
                self.tell(player, what)
        for sent in told_sends(sends, epoch, self.names, self.name):
            self.log.tell_sent(self.now, player.name, sent)

    def _store(self, player: Player, final: events.Final) -> None:
        block = final.block
        digest = block.header.digest
        player.disk.chain = (*player.disk.chain, block)
        self.tell(player, f"has {self.names.block(digest)} final")
        if final.relay_rank is None:
            return

        def relay() -> None:
            if player.core is not None and digest not in player.gossiped:
                self.tell(player, f"gossips {self.names.block(digest)}")
                self.gossip(player.name, block)

        if final.relay_rank == 0:
            relay()
        else:
            self._post(final.relay_rank * RELAY_MS, relay)

    def _report(self, player: Player, misbehaved: events.Misbehaved) -> None:
        who = self.name(misbehaved.peer, player.s.epoch)
        if misbehaved.evidence is None:
            self.tell(player, f"blames {who}: {misbehaved.reason}")
            return
        evidence = misbehaved.evidence
        who = self.name(evidence.first.signer, evidence.first.ballot.epoch)
        one, other = (self.names.ballot(vote.ballot) for vote in (evidence.first, evidence.second))
        self.tell(player, f"proves that {who} signed {one} and {other}")
        self.gossip(player.name, evidence)

    # --- work: the ledger by rote, and questions ---------------------------------------------------------

    def _work(self, player: Player, work: events.Work) -> list[events.Event]:
        match work:
            case events.Execute(header, ids):
                return [self._execute(player, header, ids)]
            case events.Build():
                return [self._build(player, work)]
            case events.Ask():
                self._ask(player, work)
        return []

    def count(self, player: Player) -> list[events.Event]:
        """`Pending` when a transaction counts towards the view's deadline; each does in at most n views."""
        s = player.s
        at = (s.epoch, s.view)
        counting = [
            views
            for i in player.pending(s.best_parent()[0])
            if len((views := player.counted.setdefault(i, set())) | {at}) <= len(s.authorities)
        ]
        for views in counting:
            views.add(at)
        return [events.Pending(*at)] if counting else []

    def _execute(self, player: Player, header: Header, ids: tuple[Hash, ...]) -> events.Executed:
        digest = header.digest
        if missing := tuple(i for i in ids if i not in player.bodies):
            self.tell(player, f"lacks {self.names.transactions(missing)} of {self.names.block(digest)}")
            return events.Executed(digest, events.Judgement.MISSING, missing=missing)
        if digest in self.invalid:
            reason = self.invalid[digest]
            self.tell(player, f"finds {self.names.block(digest)} invalid: {reason}")
            return events.Executed(digest, events.Judgement.INVALID, reason)
        next_set = self.list_of(header.epoch + 2) if is_boundary(header) else None
        return events.Executed(digest, events.Judgement.VALID, next_set=next_set)

    def _build(self, player: Player, b: events.Build) -> events.Built:
        ids = () if b.is_empty else tuple(sorted(player.pending(b.parent_digest)))
        next_set = self.list_of(b.epoch + 2) if b.is_boundary else None
        header = self.header(
            b.epoch, b.view, b.height, b.parent_digest, b.parent_view, b.time_ms, ids, b.evidence, b.proposer
        )
        return events.Built(b.view, header, ids, b.evidence, next_set)

    def header(
        self,
        epoch: Epoch,
        view: View,
        height: Height,
        parent_digest: Hash,
        parent_view: View,
        time_ms: Millis,
        ids: tuple[Hash, ...],
        evidence: tuple[Evidence, ...],
        proposer: int,
    ) -> Header:
        """A block's header, known to the stage from here on. The roots of the state are nobody's concern."""
        is_last = height == (epoch + 1) * self.parameters.epoch_blocks
        header = Header(
            version=1,
            genesis_hash=GENESIS_HASH,
            epoch=epoch,
            view=view,
            height=height,
            parent_digest=parent_digest,
            parent_view=parent_view,
            time_ms=time_ms,
            tx_root=tx_root(ids),
            state_root=ZERO_HASH,
            receipts_root=ZERO_HASH,
            next_set_hash=self.list_of(epoch + 2).hash if is_last else ZERO_HASH,
            evidence_root=evidence_root(evidence),
            proposer=proposer,
        )
        self.contents[header.digest] = header, ids, evidence
        self.names.expect_block(header)
        return header

    def _ask(self, player: Player, ask: events.Ask) -> None:
        peer = self.name(ask.peer, player.s.epoch)
        self.tell(player, f"asks {peer} for {told_request(ask.request, self.names)}")
        if peer in self.puppets:
            self.asked.append((player.name, peer, ask))
            return
        links = {(player.name, peer), (peer, player.name)}
        if self.real[peer].core is None or links & (self.cut | self.lossy):
            failed = events.AskFailed(ask.key, ask.peer)
            self._post(ASK_MS_MAX, self._answer_arrives(player, failed))
            return

        def arrive() -> None:
            replies = self._replies(self.real[peer], player, ask.request)
            answered = events.Answered(ask.key, ask.peer, replies)
            self._transmit(peer, player.name, self._answer_arrives(player, answered))

        self._transmit(player.name, peer, arrive)

    def _answer_arrives(self, player: Player, event: events.Event) -> Callable[[], None]:
        life = player.life

        def happen() -> None:
            if player.core is not None and player.life == life:
                self._take(player, event)

        return happen

    def _replies(self, player: Player, asker: Player, request: Request) -> tuple[Reply, ...]:
        s = player.s
        match request:
            case BlocksRequest(height, count):
                return player.disk.chain[height - 1 : height - 1 + count]
            case BodiesRequest(ids):
                held = player.bodies.intersection(ids)
                asker.bodies |= held
                return (Batch((b"body",)),) if held else ()
            case CertificatesRequest(epoch, low, high):
                found = catchup.certificates_between(s, low, high) if epoch == s.epoch else []
                return (Certificates(tuple(found)),) if found else ()
            case ProposalsRequest(epoch, digests):
                proposals = [catchup.unfinal_proposal(s, d) for d in digests if epoch == s.epoch]
                return tuple(proposal for proposal in proposals if proposal is not None)
        raise AssertionError("the core asks for no boundaries")

    # --- signatures --------------------------------------------------------------------------------------

    def vote(self, name: str, ballot: Ballot) -> Vote:
        """The vote that this key gives for a ballot: its holder's, or a liar's."""
        index = self.index(name, ballot.epoch)
        digest = ballot.sign_digest(GENESIS_HASH, self.list_of(ballot.epoch).hash)
        # Whoever is not in the list signs at the position that it had once.
        position = index if index is not None else self.index(name, ballot.epoch - 1)
        assert position is not None, f"{name} never was an authority"
        return Vote(ballot, position, sign(key_of(name), digest))

    def certificate(self, ballot: Ballot, signers: Sequence[str] = ()) -> Certificate:
        """A certificate by these signers; else by a quorum of puppets, and of real ones that did sign."""
        authorities = self.list_of(ballot.epoch)
        if not signers:
            puppets = [name for name in self.puppets if self.index(name, ballot.epoch) is not None]
            signed = [n for n, votes in self.given.items() if any(v.ballot == ballot for v in votes)]
            signers = [*puppets, *signed][: authorities.quorum]
            assert len(signers) == authorities.quorum, f"too few signed {self.names.ballot(ballot)}"
        return certificate_of([self.vote(name, ballot) for name in signers], len(authorities))

    # --- what must hold in every story -------------------------------------------------------------------

    def check(self) -> None:
        """Real nodes agree on what is final, and no real authority's key contradicted itself."""
        chains = [[block.header.digest for block in p.disk.chain] for p in self.real.values()]
        longest = max(chains, key=len, default=[])
        assert all(chain == longest[: len(chain)] for chain in chains), "a fork"
        for votes in self.given.values():
            for pair in itertools.combinations(votes, 2):
                assert not is_contradiction(*pair), "an honest authority contradicted itself"
