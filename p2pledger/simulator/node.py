"""One simulated node: the real core, executor, signer and rules, carried out as `node.loop` does. Floor 8.

    persist, then send, then apply

A node may be told to crash at a point of this order (`CrashPoint`); what its disk holds then is all that
the next start finds.
"""

from collections import deque
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from p2pledger.chain.block import FinalBlock, genesis_digest, is_boundary
from p2pledger.chain.message import BodiesRequest, Frame, Reply, Request, Status
from p2pledger.chain.receipt import check_final
from p2pledger.chain.transaction import Batch, Transaction
from p2pledger.chain.vote import Evidence, Vote
from p2pledger.codec import decode
from p2pledger.consensus import events
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.situation import Setting
from p2pledger.crypto import Signer
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.machine import Execution
from p2pledger.node import offences
from p2pledger.node.answers import answers
from p2pledger.node.executor import Executor
from p2pledger.node.layers import Layers
from p2pledger.node.recovery import recovered
from p2pledger.node.turn import Turn
from p2pledger.signer.local import LocalSigner, Refused
from p2pledger.simulator.disk import Disk
from p2pledger.simulator.happenings import (
    CountDue,
    Delivered,
    DeliveredBytes,
    Gossip,
    Happening,
    RelayDue,
    Replied,
    StoreDue,
    Transactions,
)
from p2pledger.simulator.liars.liar import Liar, Rumour, Said, SendBytes
from p2pledger.simulator.pool import Pool
from p2pledger.simulator.sharing import SharingExecutor
from p2pledger.types import Epoch, Hash, Millis, PeerId

if TYPE_CHECKING:
    from p2pledger.chain.authority import AuthoritySet
    from p2pledger.simulator.world import World

ASK_MS_MAX = 1_000
RELAY_STEP_MS = 500
MEET_MS = 30
"""How long it takes until a connection stands again."""
PRUNE_EVERY = 4
"""More often than real nodes do, so that short runs meet it."""


class CrashPoint(Enum):
    """Where in its work a node stops."""

    AT_ONCE = "at once"
    BEFORE_PERSIST = "before the vote is durable"
    AFTER_PERSIST = "after the vote is durable, before it is sent"
    MID_SEND = "while a vote is being sent"
    BEFORE_STORE = "before a final block is stored"
    AFTER_STORE = "after a final block is stored, before the guard lets go of it"


class Crashed(Exception):
    """The node stopped where it was told to."""


class Node:
    """A node from one start to its end. `number` is its place in the simulation, not in any list."""

    def __init__(
        self, world: "World", number: int, disk: Disk, key: Signer | None, liar: Liar, skew_ms: int = 0
    ) -> None:
        self.world, self.number, self.disk, self.liar = world, number, disk, liar
        self.peer = PeerId(f"peer-{number}")
        city, store = world.city, disk.store
        self.key = key
        self.is_alive = True
        self.armed: CrashPoint | None = None
        self.skew_ms = skew_ms
        self.disk_ms = 0
        self.cursor = world.now
        self.pool = Pool(city, store)
        self.signer: LocalSigner | None = None
        if key is not None and disk.guard is not None:
            self.signer = LocalSigner(key, disk.guard, city.genesis.hash, self._authorities_of)
        durable = self.signer.load() if self.signer is not None else None
        setting = Setting(
            city.genesis.hash,
            city.genesis.parameters,
            key.public_key if key is not None else None,
            city.is_signed,
        )
        self.core = Consensus(setting, recovered(city.genesis, store, durable), self.clock())
        if durable is not None:
            self.pool.keep(durable.bodies, [t.id for t in durable.bodies])
        tip = store.tip()
        base = tip.header.digest if tip.header is not None else genesis_digest(city.genesis)
        self.layers = Layers(store, base)
        self.executor = Executor(city.genesis, city.machine, self.layers, self.pool)
        if world.worked_out is not None:
            self.executor = SharingExecutor(
                city.genesis, city.machine, self.layers, self.pool, world.worked_out
            )
        self.turn = Turn(self.executor, self.pool.mempool)
        self._to_store: deque[FinalBlock] = deque()
        self._seen: set[Hash] = set()
        self._evidence: set[Evidence] = set()
        self._asked: dict[int, events.Ask] = {}
        self._busy_until = 0
        self._is_count_due = False
        self._wake_at: int | None = None
        self._tick_at: int | None = None
        liar.bend(self)

    def _authorities_of(self, epoch: Epoch) -> "AuthoritySet | None":
        return self.core.situation.sets.get(epoch)

    def clock(self) -> Millis:
        """What this node's clock says."""
        return Millis(self.cursor + self.skew_ms)

    # --- what happens ------------------------------------------------------------------------------------

    def happen(self, what: Happening) -> None:
        """Take in whatever happens, unless a slow disk still holds this node up."""
        if self._busy_until > self.world.now:
            self.world.post(self._busy_until, self, what)
            return
        self.cursor = self.world.now
        try:
            self._take_in(what)
            if self.liar.is_liar and isinstance(what, Delivered | Gossip):
                for said in self.liar.upon(self, what.frame if isinstance(what, Delivered) else what.item):
                    self._send(said)
        except Crashed:
            self.world.crash(self)

    def _take_in(self, what: Happening) -> None:
        match what:
            case Delivered(peer, Batch(bodies)):
                self._take(tuple(map(self.world.city.decoded, bodies)))
            case Delivered(peer, frame):
                index = self.core.situation.authorities.index_of(peer)
                if index is not None:
                    self._process(events.Received(index, frame))
            case DeliveredBytes(peer, data):
                self._decode(peer, data)
            case Gossip(item):
                self._hear(item)
            case Transactions(transactions):
                self._take(transactions)
            case Replied():
                self._answered(what)
            case StoreDue():
                self._store()
            case RelayDue(block):
                if block.header.digest not in self._seen:
                    self._seen.add(block.header.digest)
                    self.world.gossip(self, Gossip(block))
            case CountDue():
                self._is_count_due = False
                if (pending := self._count()) is not None:
                    self._process(pending)
            case events.Tick():
                self._tick_at = None
                if self._wake_at is not None and self._wake_at > self.world.now:
                    self._sleep()
                else:
                    self._process(what)
            case events.ClockStepped(by_ms):
                self.skew_ms += by_ms
                self._process(what)
            case _:
                self._process(what)

    def _decode(self, peer: PeerId, data: bytes) -> None:
        """As `node.exchange` does: what does not decode is dropped, and the rest is as good as any frame."""
        try:
            frame: Frame = decode(Frame, data)
            if isinstance(frame, Batch):
                list(map(self.world.city.decoded, frame.transactions))
        except InvalidMessage:
            self.world.counts["frames that do not decode"] += 1
            return
        self.world.counts["frames that decode though bent"] += 1
        self._take_in(Delivered(peer, frame))

    def _process(self, event: events.Event) -> None:
        if isinstance(event, events.Received) and isinstance(event.frame, Status):
            self.world.judge.on_status(self, event.peer, event.frame)
        waiting = deque([event])
        while waiting:
            output = self.core.step(waiting.popleft(), self.clock())
            waiting.extend(self._sign(sign) for sign in output.sign)
            for send in output.send:
                for said in self.liar.said(self, send):
                    self._send(said)
            for work in output.work:
                if (answer := self._work(work)) is not None:
                    waiting.append(answer)
            for final in output.final:
                self._final(final)
            for misbehaved in output.misbehaved:
                if misbehaved.evidence is not None:
                    self.world.counts["evidence seen"] += 1
                    self._gossip(misbehaved.evidence)
            if output.wake_at is not None:
                self._wake_at = output.wake_at - self.skew_ms
            if not waiting and (pending := self._count()) is not None:
                waiting.append(pending)
        self._busy_until = self.cursor
        self._sleep()

    def _gossip(self, evidence: Evidence) -> None:
        if evidence not in self._evidence:
            self._evidence.add(evidence)
            self.world.gossip(self, Gossip(evidence))

    def _sleep(self) -> None:
        if self._wake_at is None:
            return
        at = max(self._wake_at, self.world.now + 1)
        if self._tick_at is None or at < self._tick_at:
            self._tick_at = at
            self.world.post(at, self, events.Tick())

    def _reach(self, point: CrashPoint) -> None:
        if self.armed is point:
            raise Crashed

    # --- votes and messages ------------------------------------------------------------------------------

    def _sign(self, sign: events.Sign) -> events.Event:
        assert self.signer is not None, "a core without a key asks for no votes"
        self._reach(CrashPoint.BEFORE_PERSIST)
        bodies = self.executor.bodies(sign.ballot.digest)
        self.cursor += self.disk_ms
        vote = self.signer.sign_vote(sign.ballot, sign.certificates, sign.proposal, bodies)
        if isinstance(vote, Refused):
            self.world.counts["guard refusals"] += 1
            return events.SignatureRefused(sign.ballot, vote.reason.value)
        self.world.voted(self, vote)
        self._reach(CrashPoint.AFTER_PERSIST)
        return events.Signed(vote)

    def _send(self, send: Said) -> None:
        match send:
            case SendBytes(data):
                what: Delivered | DeliveredBytes = DeliveredBytes(self.peer, data)
            case events.Send(frame):
                what = Delivered(self.peer, frame)
            case Rumour(item):
                self.world.gossip(self, Gossip(item))
                return
        is_vote = isinstance(what, Delivered) and isinstance(what.frame, Vote)
        members = self.core.situation.authorities.members
        receivers = members if send.peer is None else members[send.peer : send.peer + 1]
        for sent, member in enumerate(receivers):
            if member.peer != self.peer:
                self.world.transmit(self, member.peer, what)
            if sent == len(receivers) // 2 and is_vote:
                self._reach(CrashPoint.MID_SEND)

    # --- work --------------------------------------------------------------------------------------------

    def _work(self, work: events.Work) -> events.Event | None:
        match work:
            case events.Execute():
                return self.executor.execute(work)
            case events.Build():
                return self.executor.build(work, self.clock())
            case events.Enter():
                self.world.on_enter(self, work)
                self.turn.enter(work, self.clock())
            case events.Ask():
                self._ask(work)
        return None

    def _ask(self, ask: events.Ask) -> None:
        members = self.core.situation.authorities.members
        number = self.world.number()
        self._asked[number] = ask
        self.world.post(self.cursor + ASK_MS_MAX, self, Replied(number, ask, (), is_failed=True))
        if ask.peer < len(members):
            self.world.ask(self, members[ask.peer].peer, number, ask)

    def answer(self, request: Request) -> tuple[Reply, ...]:
        """What this node answers to whoever asks."""
        replies = tuple(answers(request, self.core.situation, self.disk.store, self.pool))
        return self.liar.answered(self, request, replies)

    def _answered(self, replied: Replied) -> None:
        ask, replies = replied.ask, replied.replies
        if self._asked.pop(replied.number, None) is None:
            return
        if replied.is_failed:
            self._process(events.AskFailed(ask.key, ask.peer))
            return
        if isinstance(ask.request, BodiesRequest):
            try:
                batches = [reply for reply in replies if isinstance(reply, Batch)]
                bodies = [self.world.city.decoded(body) for batch in batches for body in batch.transactions]
            except InvalidMessage:
                bodies = []
            if self.pool.keep(bodies, ask.request.ids):
                self.world.counts["bodies fetched"] += len(bodies)
            else:
                replies = ()
        self._process(events.Answered(ask.key, ask.peer, replies))

    # --- transactions ------------------------------------------------------------------------------------

    def _take(self, transactions: tuple[Transaction, ...]) -> None:
        if not self.pool.take(transactions, self.clock()):
            return
        if self.turn.expect(self.clock()):
            self._count_later()
        lacking = {i for block in self.core.situation.tree for i in block.missing}
        if found := frozenset(i for i in lacking if self.pool.get(i) is not None):
            self.world.counts["bodies that came by themselves"] += 1
            self._process(events.Arrived(found))

    def meet(self, peer: PeerId) -> None:
        """A connection to a peer stands again."""
        index = self.core.situation.authorities.index_of(peer)
        if index is not None and self.is_alive:
            self.world.post(self.world.now + MEET_MS, self, events.Met(index))

    def _count_later(self) -> None:
        if self.turn.due_ms is not None and not self._is_count_due:
            self._is_count_due = True
            self.world.post(max(self.turn.due_ms - self.skew_ms, self.world.now + 1), self, CountDue())

    def _count(self) -> events.Event | None:
        s = self.core.situation
        counted = self.turn.count(self.clock(), len(s.authorities))
        self._count_later()
        if counted is None:
            return None
        pending, transactions = counted
        assert self.turn.entered is not None
        late = self.turn.late(transactions, self.clock(), s.setting.parameters.delta_ms)
        if late and s.voice.index is not None and self.turn.entered.leader != s.voice.index:
            batch = Batch(tuple(transaction.encoded for transaction in late))
            self._send(events.Send(batch, self.turn.entered.leader))
        return pending

    # --- final blocks ------------------------------------------------------------------------------------

    def _hear(self, item: FinalBlock | Evidence) -> None:
        """Gossip brings each message once."""
        if isinstance(item, FinalBlock):
            self._hear_block(item)
        elif item not in self._evidence:
            self._evidence.add(item)
            self._process(events.Gossiped(item))

    def _hear_block(self, block: FinalBlock) -> None:
        s, header = self.core.situation, block.header
        authorities = s.sets.get(header.epoch)
        if header.digest in self._seen or block.certificate is None or authorities is None:
            return
        try:
            check_final(header, block.certificate, s.setting.genesis_hash, authorities, s.setting.is_signed)
        except InvalidMessage:
            return
        self._seen.add(header.digest)
        self._process(events.Gossiped(block))

    def _final(self, final: events.Final) -> None:
        self.world.judge.on_final(self, final.block)
        if final.relay_rank is not None:
            self.world.post(self.cursor + final.relay_rank * RELAY_STEP_MS, self, RelayDue(final.block))
        self._to_store.append(final.block)
        self.world.post(self.cursor + 1 + self.disk_ms, self, StoreDue())

    def _store(self) -> None:
        self._reach(CrashPoint.BEFORE_STORE)
        block = self._to_store.popleft()
        layer = self.layers.get(block.header.digest)
        assert layer is not None, "what is final was executed here"
        rows = layer.execution.index_rows.followed_by(offences.rows(block))
        execution: Execution = replace(layer.execution, index_rows=rows)
        self.disk.store.commit(block, layer.transactions, execution)
        self.world.judge.on_stored(self, block, layer.transactions)
        self._reach(CrashPoint.AFTER_STORE)
        if self.signer is not None:
            if is_boundary(block.header) and block.certificate is not None:
                self.signer.keep_boundary(block.certificate)
            if block.header.height % PRUNE_EVERY == 0:
                self.signer.prune(block.header.epoch, block.header.view)
        self.layers.settle(block.header.digest)
        self.pool.settle(layer.transactions, block.header.height, block.header.time_ms, self.clock())
