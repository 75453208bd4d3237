"""The one task that owns the agreement core: an event in, a step, its output carried out in order. Floor 6.

    persist, then send, then apply

A vote is asked of the signer in a thread; while the disk syncs, nothing else steps the core. What the
signer gives back is the very next event, and only that step's output holds the vote to be sent.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress

import structlog
import trio

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.message import (
    BodiesRequest,
    Frame,
    Reply,
    Request,
)
from p2pledger.chain.transaction import Batch, decode_transactions
from p2pledger.chain.vote import VoteKind
from p2pledger.codec import decode, encode
from p2pledger.consensus import events
from p2pledger.consensus.core import Consensus
from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.metrics import Metrics
from p2pledger.network.seam import Network, Topic, Unreachable
from p2pledger.node.clock import Clock
from p2pledger.node.executor import Executor
from p2pledger.node.health import Pulse
from p2pledger.node.pace import Pace
from p2pledger.node.pool import Pool
from p2pledger.node.trail import Trail
from p2pledger.node.turn import Turn
from p2pledger.signer.local import Refused, VoteSigner
from p2pledger.types import PeerId

EVENTS_MAX = 1_024
ASK_MS_MAX = 5_000
FIRST_REPLY_DELTAS = 10
"""How long a peer may take to begin its answer, at first: one that is paused is not waited for to the end."""

EXECUTION_DELTAS = 1.0
"""A proposal takes so long to build here, and about as long to execute elsewhere: within a view's 3Δ."""

REPLY_BYTES_MAX = 64 * 1024 * 1024

_log = structlog.get_logger("p2pledger.loop")


class Inbox:
    """Events on their way to the core, from the network and from answers."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[events.Event](EVENTS_MAX)

    async def put(self, event: events.Event) -> None:
        """Give the core an event; waits while EVENTS_MAX are waiting, and so pushes back on the peer."""
        await self._send.send(event)

    def nudge(self) -> None:
        """Have the loop look at its alarms again."""
        with suppress(trio.WouldBlock):  # it is awake
            self._send.send_nowait(events.Tick())

    async def take(self) -> events.Event:
        """The next event."""
        return await self._receive.receive()

    def take_nowait(self) -> events.Event | None:
        """The next event; None when none waits."""
        try:
            return self._receive.receive_nowait()
        except trio.WouldBlock:
            return None


class Loop:
    """Runs one core on the events of an inbox; `on_final` takes what it makes final, in order."""

    def __init__(
        self,
        genesis: Genesis,
        core: Consensus,
        inbox: Inbox,
        signer: VoteSigner | None,
        network: Network,
        executor: Executor,
        pool: Pool,
        clock: Clock,
        metrics: Metrics,
        on_final: Callable[[events.Final], Awaitable[None]],
    ) -> None:
        self._genesis, self._core, self._inbox, self._signer = genesis, core, inbox, signer
        self._network, self._executor, self._pool = network, executor, pool
        self._clock, self._metrics, self._on_final = clock, metrics, on_final
        self._wake_at = clock.now()
        self._turn = Turn(executor, pool.mempool)
        self._has_news = False
        self._pace = Pace(genesis.parameters.delta_ms * EXECUTION_DELTAS)
        self._patience_ms = self._patience_ms_min = min(
            ASK_MS_MAX, FIRST_REPLY_DELTAS * genesis.parameters.delta_ms
        )
        self.pulse = Pulse("the agreement loop")
        self.trail = Trail()
        self.on_clock_set: Callable[[], None] = lambda: None
        pool.on_news = self._on_news

    async def run(self) -> None:
        """Step the core for ever. Raises: Fatal."""
        async with trio.open_nursery() as asking:
            await self._process(events.Tick(), asking)
            while True:
                event = await self._next()
                if (by_ms := self._clock.correct()) != 0:
                    _log.warning("clock_set", by_ms=by_ms)
                    self.on_clock_set()
                    await self._process(events.ClockStepped(by_ms), asking)
                await self._process(event, asking)

    async def _next(self) -> events.Event:
        if (arrived := self._arrived()) is not None:
            return arrived
        wait_ms = min(self._wake_at, self._turn.due_ms or self._wake_at) - self._clock.now()
        event = self._inbox.take_nowait()
        if event is not None or wait_ms <= 0:  # a timer would cost as much as the step
            await trio.lowlevel.checkpoint()
            return event or self._inbox.take_nowait() or events.Tick()
        with trio.move_on_after(min(wait_ms, 1_000) / 1_000):
            return await self._inbox.take()
        return events.Tick()

    async def _process(self, event: events.Event, asking: trio.Nursery) -> None:
        waiting = deque([event])
        while waiting:
            self.pulse.beat()
            output = self._step(waiting.popleft())
            for sign in output.sign:
                answer = await self._sign(sign)
                if answer is not None:
                    waiting.append(answer)
            for send in output.send:
                self._say(send)
            for work in output.work:
                answer = self._work(work, asking)
                if answer is not None:
                    waiting.append(answer)
            for final in output.final:
                await self._on_final(final)
            for misbehaved in output.misbehaved:
                await self._report(misbehaved)
            if output.wake_at is not None:
                self._wake_at = output.wake_at
            if not waiting and (pending := self._count()) is not None:
                waiting.append(pending)

    def _step(self, event: events.Event) -> events.Output:
        try:
            with self._metrics.spending("consensus"):
                return self._core.step(event, self._clock.now())
        except Fatal:
            self._metrics.divergence_total.inc()
            raise

    # --- carrying out ----------------------------------------------------------------------------------

    async def _sign(self, sign: events.Sign) -> events.Event | None:
        assert self._signer is not None, "a core without a key asks for no votes"
        # What is voted for was executed; once it is stored, the guard need not keep its bodies.
        bodies = self._executor.bodies(sign.ballot.digest)
        vote = await trio.to_thread.run_sync(
            self._signer.sign_vote, sign.ballot, sign.certificates, sign.proposal, bodies
        )
        if isinstance(vote, Refused):
            self._metrics.signer_refusals_total.at(vote.reason.value).inc()
            _log.warning("vote_refused", reason=vote.reason.value, view=sign.ballot.view)
            return events.SignatureRefused(sign.ballot, vote.reason.value)
        if sign.ballot.kind is VoteKind.SKIP:
            self._metrics.consensus_views_skipped_total.at(sign.reason).inc()
        return events.Signed(vote)

    def _say(self, send: events.Send) -> None:
        members = self._core.situation.authorities.members
        data = encode(send.frame, Frame)
        for member in members if send.peer is None else [members[send.peer]]:
            if member.peer != self._network.local:
                self._network.send(member.peer, data)

    def _work(self, work: events.Work, asking: trio.Nursery) -> events.Event | None:
        match work:
            case events.Execute() | events.Build():
                return self._execute(work)
            case events.Enter():
                self._count_missed(work)
                self._turn.enter(work, self._clock.now())
            case events.Ask(key, peer, request):
                asking.start_soon(self._ask, key, peer, request)
        return None

    def _execute(self, work: events.Execute | events.Build) -> events.Event:
        began_ns = self.trail.now_ns()
        with self._metrics.block_execution_seconds.time(), self._metrics.spending("execute"):
            if isinstance(work, events.Execute):
                executed = self._executor.execute(work)
                if executed.judgement is events.Judgement.VALID:
                    self.trail.worked(work.header, "execute", began_ns, self.trail.now_ns())
                return executed
            began = trio.current_time()
            built = self._executor.build(work, self._clock.now(), self._pace.transactions_max)
            self._pace.observe(len(built.transaction_ids), (trio.current_time() - began) * 1_000)
            self.trail.worked(built.header, "propose", began_ns, self.trail.now_ns())
            return built

    def _count_missed(self, entering: events.Enter) -> None:
        """The view that is left passed without a block: its leader missed its turn."""
        left, s = self._turn.entered, self._core.situation
        if left is None or left.epoch != entering.epoch or left.epoch != s.epoch:
            return
        if left.view in s.tally.skipped and left.view not in s.tally.notarised:
            leader = s.authorities.members[left.leader].organisation
            self._metrics.consensus_proposals_missed_total.at(leader).inc()

    async def _report(self, misbehaved: events.Misbehaved) -> None:
        s, proof = self._core.situation, misbehaved.evidence
        members = s.sets[proof.first.ballot.epoch if proof is not None else s.epoch].members
        name = members[misbehaved.peer].organisation if misbehaved.peer < len(members) else "other"
        _log.warning("misbehaved", authority=name, reason=misbehaved.reason)
        if proof is not None:
            self._metrics.consensus_equivocations_total.at(name).inc()
            await self._network.publish(Topic.EVIDENCE, encode(proof))

    # --- asking ----------------------------------------------------------------------------------------

    async def _ask(self, key: str, peer: int, request: Request) -> None:
        members = self._core.situation.authorities.members
        answer: events.Event = events.AskFailed(key, peer)
        if peer < len(members):
            try:
                replies = await self._replies(members[peer].peer, request)
                answer = events.Answered(key, peer, replies)
                self._patience_ms = self._patience_ms_min
            except (Unreachable, InvalidMessage) as error:
                # It may be us, or everybody, who is slow: then nobody would ever be waited for long enough.
                self._patience_ms = min(self._patience_ms * 2, ASK_MS_MAX)
                _log.debug("ask_failed", key=key[:32], peer=members[peer].organisation, why=str(error))
        await self._inbox.put(answer)

    async def _replies(self, peer: PeerId, request: Request) -> tuple[Reply, ...]:
        """All replies to a request. Raises: Unreachable; InvalidMessage for one that is not of use."""
        replies: list[Reply] = []
        size = 0
        asking = self._network.ask(peer, encode(request, Request), timeout_ms=ASK_MS_MAX)
        async with aclosing(asking) as answers:
            while (data := await self._next_reply(answers, is_first=size == 0)) is not None:
                size += len(data)
                if size > REPLY_BYTES_MAX:
                    raise InvalidMessage("more replies than were asked for")
                reply: Reply = decode(Reply, data)
                if isinstance(reply, Batch):
                    await self._take_bodies(reply, request)
                replies.append(reply)
        if isinstance(request, BodiesRequest) and not any(self._pool.get(i) for i in request.ids):
            return ()
        return tuple(replies)

    async def _next_reply(self, answers: AsyncGenerator[bytes, None], *, is_first: bool) -> bytes | None:
        """The next reply; None after the last one. Raises: Unreachable."""
        with trio.move_on_after((self._patience_ms if is_first else ASK_MS_MAX) / 1_000):
            return await anext(answers, None)
        raise Unreachable("it did not begin to answer")

    async def _take_bodies(self, batch: Batch, request: Request) -> None:
        if not isinstance(request, BodiesRequest):
            raise InvalidMessage("transactions that were not asked for")
        bodies = decode_transactions(batch.transactions)
        if not await self._pool.take_fetched(bodies, request.ids):
            raise InvalidMessage("a body whose signatures are false")

    # --- what counts towards a view's deadline -----------------------------------------------------------

    def _on_news(self) -> None:
        """New transactions are pending: look again once the voters have them too, and wake the loop."""
        self._has_news = True
        if self._turn.expect(self._clock.now()):
            self._inbox.nudge()

    def _arrived(self) -> events.Arrived | None:
        """Which bodies came by themselves that a block here cannot be executed without."""
        if not self._has_news:
            return None
        self._has_news = False
        lacking = {i for block in self._core.situation.tree for i in block.missing}
        found = frozenset(i for i in lacking if self._pool.get(i) is not None)
        return events.Arrived(found) if found else None

    def _count(self) -> events.Event | None:
        """Tell the core once per view that there is work; send what waits long to the view's leader."""
        now, s = self._clock.now(), self._core.situation
        counted = self._turn.count(now, len(s.authorities))
        if counted is None:
            return None
        pending, transactions = counted
        leader = self._turn.entered.leader if self._turn.entered is not None else s.voice.index
        if s.voice.index is not None and leader is not None and leader != s.voice.index:
            late = self._turn.late(transactions, now, self._genesis.parameters.delta_ms)
            if late:
                batch = Batch(tuple(transaction.encoded for transaction in late))
                self._network.send(s.authorities.members[leader].peer, encode(batch, Frame))
        return pending
