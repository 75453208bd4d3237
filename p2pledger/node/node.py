"""A node, put together: what it runs on, what it runs, and what the API may ask of it. Floor 6."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import structlog
import trio

if TYPE_CHECKING:
    from trio_typing import TaskStatus

from p2pledger import __version__
from p2pledger.chain.block import FinalBlock, genesis_digest
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Receipt, Result
from p2pledger.chain.transaction import Transaction
from p2pledger.consensus import catchup
from p2pledger.consensus.causes import Cause
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.diagnosis import Accusation, Diagnosis, diagnose
from p2pledger.consensus.situation import Setting
from p2pledger.consensus.voice import LOST_GUARD, NO_GUARD
from p2pledger.crypto import is_signed
from p2pledger.ledger.fates import Fate
from p2pledger.ledger.machine import Machine
from p2pledger.ledger.modules.governance import awaited_peers
from p2pledger.ledger.modules.registry import allowed_peers
from p2pledger.ledger.queries import Answer, Page, Query
from p2pledger.metrics import Metrics
from p2pledger.network.host import Host, topic_name
from p2pledger.network.seam import PeerAddress, Topic
from p2pledger.node import offences, queries
from p2pledger.node.clock import Clock
from p2pledger.node.config import Configuration, Role
from p2pledger.node.exchange import Exchange
from p2pledger.node.executor import Executor
from p2pledger.node.finals import Finals, GossipSeen
from p2pledger.node.gauges import NetworkMeter, keep_gauges
from p2pledger.node.gossiping import Batcher
from p2pledger.node.health import Condition, Pulse, health_of
from p2pledger.node.layers import Layers
from p2pledger.node.loop import Inbox, Loop
from p2pledger.node.pool import Pool, Refusal
from p2pledger.node.pruning import Pruning
from p2pledger.node.recovery import recovered
from p2pledger.node.service import FinalEvent, Health, NodeStatus
from p2pledger.node.trail import Tracer, Trail
from p2pledger.signer.local import VoteSigner
from p2pledger.storage.store import Store
from p2pledger.types import Epoch, Hash, Height, Millis, PeerId, PublicKey

HAND_ON_S = 2.0
HAND_ON_TICK_S = 0.01

QUERY_THREADS = 2
"""So many queries are answered at once; more would only take turns."""

_log = structlog.get_logger("p2pledger.node")


class Node:
    """One node of a ledger. `run` runs it; everything else answers the API (`service.Service`).

    `key` is an authority's consensus key, None for a gateway. `signer` is None for a gateway, and for an
    authority whose guard is missing: it follows only, and says so.
    """

    def __init__(
        self,
        configuration: Configuration,
        genesis: Genesis,
        store: Store,
        machine: Machine,
        key: PublicKey | None,
        signer: VoteSigner | None,
        identity_seed: bytes,
        metrics: Metrics,
        tracer: Tracer | None = None,
    ) -> None:
        self.genesis = genesis
        self._configuration, self._store, self._metrics = configuration, store, metrics
        self._clock = Clock(wrong_by_ms=configuration.node.clock_offset_ms)
        tip = store.tip()
        base = tip.header.digest if tip.header is not None else genesis_digest(genesis)
        durable = signer.load() if signer is not None else None
        setting = Setting(genesis.hash, genesis.parameters, key, is_signed)
        self._core = Consensus(setting, recovered(genesis, store, durable), self._clock.now())
        limits, now = configuration.mempool, self._clock.now
        self._pool = Pool(
            genesis,
            machine,
            store,
            metrics,
            now,
            transactions_max=limits.transactions_max,
            bytes_max=limits.bytes_max,
        )
        self._pool.keep(durable.bodies if durable is not None else ())
        inbox, self._seen = Inbox(), GossipSeen()
        exchange = Exchange(genesis, store, self._pool, self._core, inbox, self._seen, metrics, now)
        self._network = Host(
            seed=identity_seed,
            listen=[configuration.network.listen],
            chain_tag=genesis.hash.hex()[:16],
            handler=exchange,
            meter=NetworkMeter(metrics),
        )
        layers = Layers(store, base)
        executor = Executor(genesis, machine, layers, self._pool)
        self._finals = Finals(
            store, layers, self._pool, signer, self._network, self._seen, metrics, now, self._proposer
        )
        self._finals.on_stored = self._on_stored
        if kept_blocks := configuration.storage.bodies_kept_blocks:
            self._finals.tidy = Pruning(store, kept_blocks, self._network.local).go_on
        self._loop = Loop(
            genesis,
            self._core,
            inbox,
            signer,
            self._network,
            executor,
            self._pool,
            self._clock,
            metrics,
            self._finals.put,
        )
        self._batcher = Batcher(self._network, self._pool, now)
        exchange.reception.spread = self._batcher.put
        self._clock_offset = exchange.clock_offset
        self._loop.on_clock_set = self._clock_offset.forget
        self._leave(Trail(is_told=configuration.log.level == "debug", tracer=tracer))
        self._asking = trio.CapacityLimiter(QUERY_THREADS)
        self._started, self._is_stopping, self._said, self._gauging = False, False, "", Pulse("the gauges")
        self._admitted: tuple[object, ...] = ()
        metrics.mempool_capacity_bytes.set(limits.bytes_max)
        metrics.mempool_capacity_txs.set(limits.transactions_max)

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; the network is left in order. Raises: Fatal."""
        self._admit()
        charged = self._metrics.charged
        async with trio.open_nursery() as nursery:
            await nursery.start(charged("network", self._network.run))
            nursery.start_soon(charged("store", self._finals.run))
            nursery.start_soon(charged("store", self._finals.census.begin))
            nursery.start_soon(charged("consensus", self._loop.run))
            nursery.start_soon(charged("network", self._batcher.run))
            nursery.start_soon(charged("network", self._batcher.run_again))
            nursery.start_soon(keep_gauges, self)
            self._started = True
            task_status.started()

    def begin_to_stop(self) -> None:
        """Say that this node is not ready any more, and go on with everything else."""
        self._is_stopping = True

    async def hand_on(self) -> None:
        """Once nothing comes in by the API any more: have others hold what came, within HAND_ON_S.

        Its submitter would hand it in elsewhere, but only after having waited for it in vain.
        """
        with trio.move_on_after(HAND_ON_S):
            await self._batcher.say()
            while self._network.unsent:  # noqa: ASYNC110 - nothing tells of an outbox that is empty
                await trio.sleep(HAND_ON_TICK_S)

    def _leave(self, trail: Trail) -> None:
        """Have all that happens to transactions and blocks told there."""
        self._pool.trail = self._loop.trail = self._finals.trail = trail

    def _admit(self) -> None:
        """Who may connect: the authorities around this epoch and those decided on, live gateways, and
        whom the file names."""
        sets = self._core.situation.sets.values()
        peers = {member.peer for authorities in sets for member in authorities.members}
        # The next block's: whose key ends with it is not waited for until somebody writes something.
        gateways = allowed_peers(self._store, Height(self._store.tip().height + 1))
        self._metrics.registry_gateways.set(len(gateways))
        peers |= gateways
        peers |= awaited_peers(self._store)
        peers |= {PeerId(peer) for peer in self._configuration.network.allow_peers}
        dial: dict[PeerId, PeerAddress] = {}
        for address in self._configuration.network.peers:
            base, _, peer = address.rpartition("/p2p/")
            known = dial.get(PeerId(peer), PeerAddress(PeerId(peer), ()))
            dial[PeerId(peer)] = PeerAddress(known.peer, (*known.addresses, base))
        # A key that the ledger no longer knows is not dialled either.
        allowed = frozenset(peers)
        circle = frozenset(member.peer for member in self._core.situation.authorities.members)
        admitted = allowed, {peer: a for peer, a in dial.items() if peer in allowed}, circle
        if admitted != self._admitted:
            self._admitted = admitted
            self._network.admit(*admitted)

    def _on_stored(self, block: FinalBlock) -> None:
        for epoch, _, signer in (item.offence for item in block.evidence):
            members = offences.authorities_of(self._store, self.genesis, epoch).members
            organisation = members[signer].organisation
            self._metrics.consensus_evidence_recorded_total.at(organisation).inc()
            _log.warning("offence_recorded", authority=organisation, height=block.header.height)
        self._admit()  # after an empty block too: a key may end by height alone

    def _proposer(self, block: FinalBlock) -> str:
        authorities = self._core.situation.sets.get(block.header.epoch)
        return authorities.members[block.header.proposer].organisation if authorities else "other"

    # --- what the API asks -------------------------------------------------------------------------------

    async def submit(self, encoded: Sequence[bytes]) -> Sequence[Hash | Exception]:
        """See `Service.submit`."""
        answers = await self._pool.submit(encoded)
        accepted = [answer for answer in answers if isinstance(answer, Transaction)]
        self._batcher.put(accepted)
        return [_answer(answer) for answer in answers]

    def fate(self, transaction_id: Hash) -> Fate:
        """See `Service.fate`."""
        return self._pool.fate(transaction_id)

    async def wait(self, transaction_id: Hash, timeout_ms: int) -> Fate:
        """See `Service.wait`."""
        return await self._pool.wait(transaction_id, timeout_ms)

    def result(self, transaction_id: Hash) -> Result | None:
        """See `Service.result`."""
        located = self._store.locate(transaction_id)
        return located.result if located is not None else None

    def receipt(self, transaction_id: Hash) -> Receipt | None:
        """See `Service.receipt`."""
        return self._store.receipt(transaction_id)

    def transaction(self, transaction_id: Hash) -> Transaction | None:
        """See `Service.transaction`."""
        pending = self._pool.get(transaction_id)
        located = self._store.locate(transaction_id) if pending is None else None
        return located.transaction if located is not None else pending

    def block(self, height: Height) -> FinalBlock | None:
        """See `Service.block`."""
        return self._store.block(height)

    async def ask(self, query: Query, asked: Any, page: Page) -> Answer:
        """See `Service.ask`."""

        def read() -> Answer:
            with self._metrics.spending("api"):
                return queries.answer(self._store, self.genesis, query, asked, page)

        return await trio.to_thread.run_sync(read, limiter=self._asking)

    def status(self) -> NodeStatus:
        """See `Service.status`."""
        s, tip, tag = self._core.situation, self._store.tip(), self.genesis.hash.hex()[:16]
        return NodeStatus(
            version=__version__,
            chain_id=self.genesis.chain_id,
            genesis_hash=self.genesis.hash,
            role=self._configuration.node.role.value,
            peer=self._network.local,
            addresses=tuple(f"{address}/p2p/{self._network.local}" for address in self._network.addresses),
            topics=tuple(topic_name(tag, topic) for topic in Topic),
            protocols=self._network.protocols,
            peers=tuple(sorted(self._network.connected())),
            height=tip.height,
            digest=tip.header.digest if tip.header is not None else genesis_digest(self.genesis),
            head_time_ms=self._head_time_ms(),
            best_known_height=self._best_known_height(),
            epoch=s.epoch,
            view=s.view,
            authorities=len(s.authorities),
            is_authority=s.voice.index is not None,
            is_voting=not s.voice.is_silent,
            notice=self._notice,
            mempool_transactions=len(self._pool.mempool),
            mempool_bytes=self._pool.mempool.size_bytes,
        )

    def consensus(self) -> Diagnosis:
        """See `Service.consensus`."""
        s = self._core.situation
        epochs = range(max(0, s.epoch - 1), s.epoch + 2) if s.offences else ()
        recorded = (item for epoch in epochs for item in offences.of_epoch(self._store, Epoch(epoch)))
        waiting_since = self._pool.mempool.oldest_ms
        return diagnose(s, self._clock.now(), self._network.connected(), waiting_since, dict(recorded))

    def offences(self, from_epoch: Epoch) -> tuple[tuple[Accusation, ...], Epoch | None]:
        """See `Service.offences`."""
        return offences.page(self._store, self.genesis, from_epoch)

    def health(self) -> Health:
        """See `Service.health`."""
        condition = Condition(
            is_started=self._started,
            is_stopping=self._is_stopping,
            is_in_sync=self._is_in_sync(),
            is_listening=self._core.situation.voice.is_waiting,
            is_connected=bool(self._network.connected()) or len(self.genesis.authorities) == 1,
            notice=self._notice if self._notice in (NO_GUARD, LOST_GUARD) else "",
        )
        return health_of(self._pulses(), condition, trio.current_time())

    def _pulses(self) -> Iterator[Pulse]:
        yield from (self._loop.pulse, self._finals.pulse, *self._batcher.pulses, self._gauging)
        for task, beat_s in self._network.beats_s.items():
            yield Pulse(task, beat_s)

    def _head_time_ms(self) -> Millis:
        header = self._store.tip().header
        return header.time_ms if header is not None else self.genesis.time_ms

    def _best_known_height(self) -> Height:
        """The greatest height that is final for all we know: by certificates, or by the word of so many
        authorities that one of them is honest."""
        s = self._core.situation
        told = sorted((peer.final_height for peer in s.peers.values()), reverse=True)
        believed = told[s.authorities.faulty : s.authorities.faulty + 1]
        return Height(max(self._store.tip().height, self._seen.best_height, *believed))

    def _is_in_sync(self) -> bool:
        behind = self._seen.best_height - self._store.tip().height
        return behind <= 2 and catchup.is_caught_up(self._core.situation)

    async def final_events(self) -> AsyncIterator[FinalEvent]:
        """See `Service.final_events`."""
        async with aclosing(self._finals.subscribe()) as stream:  # type: ignore[type-var]
            async for event in stream:
                yield event

    # --- what the gauges read ----------------------------------------------------------------------------

    def count_lag(self, seconds: float) -> None:
        """The event loop woke a timer so much too late."""
        self._metrics.event_loop_lag_seconds.observe(seconds)

    def measure(self) -> None:
        """Bring the gauges up to date."""
        self._gauging.beat()
        metrics, s = self._metrics, self._core.situation
        metrics.consensus_view.set(s.view)
        metrics.consensus_epoch.set(s.epoch)
        metrics.consensus_authorities.set(len(s.authorities))
        metrics.name_authorities({one.organisation for some in s.sets.values() for one in some.members})
        metrics.consensus_is_authority.set(s.voice.index is not None)
        metrics.consensus_is_voting.set(not s.voice.is_silent)
        self._tell_notice()
        metrics.consensus_evidence_pending.set(len(s.evidence))
        troubles = {reason.cause for reason in self.consensus().reasons if reason.is_trouble}
        for cause in Cause:
            metrics.consensus_trouble.at(cause).set(cause in troubles)
        metrics.mempool_txs.set(len(self._pool.mempool))
        metrics.mempool_bytes.set(self._pool.mempool.size_bytes)
        metrics.chain_height.set(max(s.tree.root.height, self._store.tip().height))
        metrics.chain_finalized_height.set(self._store.tip().height)
        metrics.chain_best_known_height.set(self._best_known_height())
        metrics.chain_head_timestamp_seconds.set(self._head_time_ms() / 1_000)
        metrics.clock_offset_seconds.set(self._clock_offset.ahead_ms / 1_000)
        self._finals.census.measure()
        metrics.set_sync_state(
            "starting" if not self._started else "in_sync" if self._is_in_sync() else "catching_up"
        )
        for direction, count in self._network.peers_by_direction().items():
            metrics.p2p_peers.at(direction).set(count)
        for topic, size in self._network.mesh_sizes().items():
            metrics.gossip_mesh_peers.at(topic.value).set(size)
        for score in self._network.scores().values():
            metrics.gossip_peer_score.observe(score)
        for file, size_bytes in self._store.sizes().items():
            metrics.store_size_bytes.at(file).set(size_bytes)
        metrics.store_pruned_height.set(self._store.pruned_height)
        free = self._store.free_bytes()
        if free is not None:
            metrics.store_free_bytes.set(free)
        for index, member in enumerate(s.authorities.members):
            self._measure_votes(index, member.organisation)

    @property
    def _notice(self) -> str:
        """Why an authority does not vote, in a sentence; empty when it does, and for a gateway."""
        is_authority = self._configuration.node.role is Role.AUTHORITY
        return self._core.situation.voice.notice if is_authority else ""

    def _tell_notice(self) -> None:
        """Log why an authority does not vote, once for each reason, and when it votes again."""
        if self._configuration.node.role is not Role.AUTHORITY or (notice := self._notice) == self._said:
            return
        self._said = notice
        if not notice:
            _log.info("voting")
        elif notice in (NO_GUARD, LOST_GUARD):
            _log.error("not_voting", why=notice)
        else:
            _log.info("not_voting", why=notice)

    def _measure_votes(self, index: int, organisation: str) -> None:
        """Late votes count too: a certificate leaves out the slowest honest authority."""
        s = self._core.situation
        for vote in s.tally.highest_votes_of(index):
            if (known := s.known(vote.ballot.digest)) is not None:
                self._metrics.consensus_authority_last_signed_height.at(organisation).set(known[0])


def _answer(answer: Transaction | Refusal) -> Hash | Exception:
    return answer.id if isinstance(answer, Transaction) else answer
