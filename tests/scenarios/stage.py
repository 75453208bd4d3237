"""A small network of agreement cores on one clock, for stories: nothing random, nothing hidden.

Real parts: `Consensus`, the signer's guard, what a start finds on disk. By rote: signatures, the ledger, and
the links, which take `delay_ms`. A step's output is carried out as `node.loop` does it, and told.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import LAN, Parameters
from p2pledger.chain.message import BodiesRequest, Frame
from p2pledger.chain.vote import Ballot, Certificate, Evidence, Vote, is_contradiction
from p2pledger.consensus import catchup, events
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.situation import Setting
from p2pledger.errors import Fatal
from p2pledger.signer.guard import GuardRefused, check_guard
from p2pledger.types import Hash, Millis
from tests.scenarios.agenda import Agenda
from tests.scenarios.blocks import Blocks
from tests.scenarios.names import GENESIS_HASH, Names, view
from tests.scenarios.player import Player
from tests.scenarios.roster import Roster, is_signed, key_of
from tests.scenarios.telling import Log, told_held, told_request, told_sends, told_statuses

START_MS = 1_000_000
"""The hour at which every story begins; its times count from there."""
RELAY_MS = 500
"""How long each next one in line waits before it gossips a final block."""
ASK_MS_MAX = 500
"""After which a question to an authority that cannot be reached has failed."""


class Stage:
    """The nodes of one story: `real` ones have cores, the story speaks for `puppets`."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.delay_ms = 10
        self.names, self.log, self.roster = Names(), Log(), Roster()
        self.parameters: Parameters = replace(LAN, state_buckets=16, block_interval_ms=50)
        self.blocks = Blocks(self.names, self.roster, self.parameters)
        self.real: dict[str, Player] = {}
        self.puppets: list[str] = []
        self.is_status_told = False
        self.cut: set[tuple[str, str]] = set()
        """Pairs (sender, receiver) between which no connection stands."""
        self.lossy: set[tuple[str, str]] = set()
        """Pairs whose connection stands, and whose messages are lost all the same."""
        self.asked: list[tuple[str, str, events.Ask]] = []
        """Questions of real nodes to puppets: (asker, puppet, question)."""
        self.given: dict[str, list[Vote]] = {}
        """Every vote that a real authority's key gave, whatever became of its disk."""

    @property
    def now(self) -> int:
        """Milliseconds since the story began."""
        return self.agenda.now

    # --- the cast ----------------------------------------------------------------------------------------

    def open(self, real: Sequence[str], puppets: Sequence[str], gateways: Sequence[str]) -> None:
        """Begin: everyone has started, and has heard from everyone else that nothing was signed yet."""
        self.blocks = Blocks(self.names, self.roster, self.parameters)
        self.puppets = list(puppets)
        for name in (*real, *gateways):
            self.real[name] = Player(name, name in real)
            self.given[name] = []
        delay_ms, self.delay_ms = self.delay_ms, 0
        for name in self.real:
            self.start(name)
        self.agenda.run()
        for puppet in puppets:
            for name in real:
                index = self.roster.index(puppet, 0)
                if index is not None and self.roster.index(name, 0) is not None:
                    status = catchup.status_for(self.real[name].s, index, is_reply=True)
                    self.say(puppet, replace(status, echo=()), [name])
        self.delay_ms = delay_ms
        self.log.forget()

    def start(self, name: str) -> None:
        """Run a node from its disk; it meets those that run already."""
        player = self.real[name]
        found = player.disk.recovered(self.roster, is_authority=player.is_authority)
        key = key_of(name) if player.is_authority else None
        setting = Setting(GENESIS_HASH, self.parameters, key, is_signed)
        player.core = Consensus(setting, found, Millis(self._clock(player)))
        player.life += 1
        player.wake_at = 0
        player.bodies = set(player.disk.bodies)
        player.recorded = {i for block in player.disk.chain for i in block.transaction_ids}
        self._take(player, events.Tick())
        for other in self.real:
            self.meet(name, other)

    # --- the links ---------------------------------------------------------------------------------------

    def _clock(self, player: Player) -> int:
        return START_MS + self.now + player.skew_ms

    def _transmit(self, sender: str, receiver: str, arrive: Callable[[], None]) -> None:
        if (sender, receiver) not in self.cut | self.lossy and receiver in self.real:
            happen = self._in_this_life(self.real[receiver], arrive)
            self.agenda.post(self.delay_ms, happen, is_message=True)

    def _event_arrives(self, player: Player, event: events.Event) -> Callable[[], None]:
        return lambda: self._take(player, event)

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
            if player is not None and (index := self.roster.index(peer, player.s.epoch)) is not None:
                self._transmit(peer, name, self._event_arrives(player, events.Met(index)))

    def say(self, sender: str, frame: Frame, receivers: Iterable[str]) -> None:
        """A frame arrives at once: how the story speaks for puppets."""
        for receiver in receivers:
            if self.real[receiver].core is not None:
                self._arrive(sender, self.real[receiver], frame)

    def submit(self, name: str, ids: set[Hash]) -> None:
        """Transactions reach a node that runs."""
        player = self.real[name]
        player.bodies |= ids
        if lacked := ids.intersection(*({*block.missing} for block in player.s.tree if block.missing)):
            self._take(player, events.Arrived(frozenset(lacked)))
        for event in self._count(player):
            self._take(player, event)

    def _arrive(self, sender: str, player: Player, frame: Frame) -> None:
        index = self.roster.index(sender, player.s.epoch)
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
            player.crash()
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
                player.crash()
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
            for final in output.final:  # what is built next must not hold them again
                player.recorded.update(final.block.transaction_ids)
            for work in output.work:
                waiting.extend(self._work(player, work))
            for final in output.final:
                self._store(player, final)
            for misbehaved in output.misbehaved:
                self._report(player, misbehaved)
            if any(isinstance(work, events.Enter) for work in output.work):
                waiting.extend(self._count(player))  # what is final counts no more
            if output.wake_at is not None:
                self._set_alarm(player, output.wake_at)

    def _step(self, player: Player, event: events.Event) -> events.Output:
        assert player.core is not None
        before = told_held(player.s, self.names)
        output = player.core.step(event, Millis(self._clock(player)))
        self.roster.bases.setdefault(player.s.epoch, player.s.base_digest)
        if new := [name for name in told_held(player.s, self.names) if name not in before]:
            self.tell(player, f"holds {' '.join(new)}")
        for work in output.work:
            if isinstance(work, events.Enter):
                at, leader = view(work.epoch, work.view), self.roster.name(work.leader, work.epoch)
                self.tell(player, f"enters {at} of {leader}")
        return output

    def _set_alarm(self, player: Player, wake_at: int) -> None:
        player.wake_at = max(wake_at - START_MS - player.skew_ms, self.now + 1)

        def ring() -> None:
            if player.wake_at <= self.now:
                self._take(player, events.Tick())

        self.agenda.post(player.wake_at - self.now, self._in_this_life(player, ring))

    def _sign(self, player: Player, asked: events.Sign, waiting: deque[events.Event]) -> Iterator[None]:
        disk, ballot = player.disk, asked.ballot
        name = self.names.ballot(ballot)
        certificates = (*disk.certificates, *asked.certificates)
        vote = self.roster.vote(player.name, ballot)
        if vote not in disk.votes:
            assert disk.guard is not None, "a core without a guard asks for no votes"
            try:
                guard = check_guard(disk.guard, ballot)
            except GuardRefused as refused:
                player.disk = replace(disk, certificates=certificates)
                self.tell(player, f"is refused {name} by its guard ({refused.reason.value})")
                waiting.append(events.SignatureRefused(ballot, refused.reason.value))
                return
            if player.is_disk_held:
                self.tell(player, f"has {name} to save")
                yield
            kept = (asked.proposal,) if asked.proposal is not None else ()
            player.disk = replace(
                disk,
                guard=guard,
                votes=(*disk.votes, vote),
                proposals=(*disk.proposals, *(p for p in kept if p not in disk.proposals)),
                certificates=certificates,
                bodies=disk.bodies.union(*(p.transaction_ids for p in kept)),
            )
            self.given[player.name].append(vote)
            self.tell(player, f"signs {name}")
            if player.is_disk_held:
                yield
        waiting.append(events.Signed(vote))

    def _send(self, player: Player, send: events.Send) -> None:
        epoch = player.s.epoch
        members = self.roster.of(epoch).members
        for member in members if send.peer is None else [members[send.peer]]:
            if member.peer != player.name and (other := self.real.get(member.peer)) is not None:
                self._transmit(player.name, other.name, self._frame_arrives(player.name, other, send.frame))

    def _frame_arrives(self, sender: str, player: Player, frame: Frame) -> Callable[[], None]:
        return lambda: self._arrive(sender, player, frame)

    def _tell_sends(self, player: Player, sends: Sequence[events.Send]) -> None:
        epoch = player.s.epoch
        if self.is_status_told:
            for what in told_statuses(sends, epoch, self.names, self.roster.name):
                self.tell(player, what)
        for sent in told_sends(sends, epoch, self.names, self.roster.name):
            self.log.tell_sent(self.now, player.name, sent)

    def _store(self, player: Player, final: events.Final) -> None:
        block = final.block
        digest = block.header.digest
        player.disk = replace(player.disk, chain=(*player.disk.chain, block))
        self.tell(player, f"has {self.names.block(digest)} final")
        if final.relay_rank is None:
            return

        def relay() -> None:
            if digest not in player.gossiped:
                self.tell(player, f"gossips {self.names.block(digest)}")
                self.gossip(player.name, block)

        if final.relay_rank == 0:
            relay()
        else:
            self.agenda.post(final.relay_rank * RELAY_MS, self._in_this_life(player, relay))

    def _report(self, player: Player, misbehaved: events.Misbehaved) -> None:
        evidence = misbehaved.evidence
        if evidence is None:
            who = self.roster.name(misbehaved.peer, player.s.epoch)
            self.tell(player, f"blames {who}: {misbehaved.reason}")
            return
        who = self.roster.name(evidence.first.signer, evidence.first.ballot.epoch)
        one, other = (self.names.ballot(vote.ballot) for vote in (evidence.first, evidence.second))
        self.tell(player, f"proves that {who} signed {one} and {other}")
        self.gossip(player.name, evidence)

    # --- work: the ledger by rote, and questions ---------------------------------------------------------

    def _work(self, player: Player, work: events.Work) -> list[events.Event]:
        match work:
            case events.Execute():
                return [self._execute(player, work)]
            case events.Build():
                return [self.blocks.build(work, player.pending(work.parent_digest))]
            case events.Ask():
                self._ask(player, work)
        return []

    def _execute(self, player: Player, work: events.Execute) -> events.Executed:
        executed = self.blocks.execute(work.header, work.transaction_ids, player.bodies)
        match executed.judgement:
            case events.Judgement.MISSING:
                lacking = self.names.transactions(executed.missing)
                self.tell(player, f"lacks {lacking} of {self.names.block(executed.digest)}")
            case events.Judgement.INVALID:
                self.tell(player, f"finds {self.names.block(executed.digest)} invalid: {executed.reason}")
        return executed

    def _count(self, player: Player) -> list[events.Event]:
        """`Pending`, when a transaction counts towards the deadline of the node's view."""
        return [events.Pending(player.s.epoch, player.s.view)] if player.count() else []

    def _ask(self, player: Player, ask: events.Ask) -> None:
        peer = self.roster.name(ask.peer, player.s.epoch)
        self.tell(player, f"asks {peer} for {told_request(ask.request, self.names)}")
        if peer in self.puppets:
            self.asked.append((player.name, peer, ask))
            return
        outcome: list[events.Event] = []
        """What came of it: the first thing that did."""

        def end(event: events.Event) -> Callable[[], None]:
            def happen() -> None:
                if not outcome:
                    outcome.append(event)
                    self._take(player, event)

            return self._in_this_life(player, happen)

        def arrive() -> None:
            replies = self.real[peer].replies(ask.request)
            if isinstance(ask.request, BodiesRequest):
                player.bodies |= self.real[peer].bodies.intersection(ask.request.ids)
            self._transmit(peer, player.name, end(events.Answered(ask.key, ask.peer, replies)))

        self._transmit(player.name, peer, arrive)
        self.agenda.post(ASK_MS_MAX, end(events.AskFailed(ask.key, ask.peer)))

    def _in_this_life(self, player: Player, happen: Callable[[], None]) -> Callable[[], None]:
        life = player.life

        def happen_maybe() -> None:
            if player.core is not None and player.life == life:
                happen()

        return happen_maybe

    def certificate(self, ballot: Ballot, signers: Sequence[str] = ()) -> Certificate:
        """A certificate by these signers; else by a quorum of puppets, and of real ones that did sign."""
        if not signers:
            puppets = [name for name in self.puppets if self.roster.index(name, ballot.epoch) is not None]
            signed = [n for n, votes in self.given.items() if any(v.ballot == ballot for v in votes)]
            quorum = self.roster.of(ballot.epoch).quorum
            signers = [*puppets, *signed][:quorum]
            assert len(signers) == quorum, f"too few signed {self.names.ballot(ballot)}"
        return self.roster.certificate(ballot, signers)

    # --- what must hold in every story -------------------------------------------------------------------

    def check(self) -> None:
        """Real nodes agree on what is final, and no real authority's key contradicted itself."""
        chains = [[block.header.digest for block in p.disk.chain] for p in self.real.values()]
        longest = max(chains, key=len, default=[])
        assert all(chain == longest[: len(chain)] for chain in chains), "a fork"
        for votes in self.given.values():
            for pair in itertools.combinations(votes, 2):
                assert not is_contradiction(*pair), "an honest authority contradicted itself"
