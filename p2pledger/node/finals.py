"""What follows once a block is final: passed on, stored, and then told to clients. Floor 6.

Blocks are stored one after the other by one task, on another thread, while the agreement goes on. The
layer of a block stays until the store holds it, so a crash at any point finds either height whole.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import structlog
import trio

from p2pledger.chain.block import FinalBlock, Header, is_boundary
from p2pledger.codec import encode
from p2pledger.consensus.events import Final
from p2pledger.errors import Fatal
from p2pledger.metrics import Metrics
from p2pledger.network.seam import GOSSIP_BYTES_MAX, Network, Topic
from p2pledger.node import offences
from p2pledger.node.census import Census
from p2pledger.node.health import Pulse
from p2pledger.node.layers import Layer, Layers
from p2pledger.node.pool import Pool
from p2pledger.node.service import FinalEvent
from p2pledger.node.trail import Trail
from p2pledger.signer.local import VoteSigner
from p2pledger.storage.store import Store
from p2pledger.types import Hash, Height, Millis

FINALS_MAX = 256
SUBSCRIBERS_MAX = 1_024
SUBSCRIBER_EVENTS_MAX = 1_024
RELAY_STEP_S = 0.5
RELAY_AGE_MS = 10_000
"""An older block is not gossiped from here: whoever still lacks it asks for it."""
PRUNE_EVERY = 8
"""After so many blocks the guard file is rid of what is final, with the vote that comes next."""
SEEN_MAX = 4_096

_log = structlog.get_logger("p2pledger.final")


class TooManySubscribers(Exception):
    """There are SUBSCRIBERS_MAX already."""


class GossipSeen:
    """Which final blocks came by gossip lately: those need not be relayed from here."""

    def __init__(self) -> None:
        self._digests: OrderedDict[Hash, None] = OrderedDict()
        self.best_height = Height(0)

    def __contains__(self, digest: Hash) -> bool:
        return digest in self._digests

    def add(self, block: FinalBlock) -> bool:
        """Note a block whose certificate holds; whether it is new."""
        self.best_height = max(self.best_height, block.header.height)
        is_new = block.header.digest not in self._digests
        self._digests[block.header.digest] = None
        if len(self._digests) > SEEN_MAX:
            self._digests.popitem(last=False)
        return is_new


class Finals:
    """Stores final blocks in order and tells those who wait for them."""

    def __init__(
        self,
        store: Store,
        layers: Layers,
        pool: Pool,
        signer: VoteSigner | None,
        network: Network,
        seen: GossipSeen,
        metrics: Metrics,
        now: Callable[[], Millis],
        organisation: Callable[[FinalBlock], str],
    ) -> None:
        self._store, self._layers, self._pool, self._signer = store, layers, pool, signer
        self._network, self._seen, self._metrics = network, seen, metrics
        self._now, self._organisation = now, organisation
        self.census = Census(store, metrics)
        self.trail = Trail()
        self._send, self._receive = trio.open_memory_channel[Final](FINALS_MAX)
        self._stored = trio.Event()
        """Set once the next block is stored, and another one then."""
        self._subscribers: dict[object, trio.MemorySendChannel[FinalEvent]] = {}
        self.on_stored: Callable[[FinalBlock], None] = lambda block: None
        self.tidy: Callable[[], None] = lambda: None
        """Called after each commit, in the thread that commits."""
        self.pulse = Pulse("the storing of blocks")

    async def put(self, final: Final) -> None:
        """The next final block; waits while FINALS_MAX are still to be stored.

        After an epoch's last block, returns once all is stored: the signer finds the list of the epoch after
        the next one in the store, and a vote that it refuses is not asked of it again.
        """
        await self._send.send(final)
        header = final.block.header
        if is_boundary(header):
            while self._store.tip().height < header.height:
                await self._stored.wait()

    async def run(self) -> None:
        """Store for ever. Raises: Fatal."""
        async with trio.open_nursery() as relaying:
            async for final in self._receive:
                self.pulse.beat()
                # Its certificate proves it, whatever becomes of our disk: others need not wait for that.
                is_fresh = self._now() - final.block.header.time_ms < RELAY_AGE_MS
                if final.relay_rank is not None and is_fresh:
                    relaying.start_soon(self._relay, final.block, final.relay_rank)
                await self._store_one(final.block)
                self.pulse.rest()

    async def _store_one(self, block: FinalBlock) -> None:
        layer = self._layers.get(block.header.digest)
        if layer is None:
            raise Fatal(f"block {block.header.height} is final and was not executed here")
        started, parent = trio.current_time(), self._store.tip().header
        began_ns = self.trail.now_ns()
        await trio.to_thread.run_sync(self._persist, block, layer)
        ended_ns = self.trail.now_ns()
        self._metrics.store_commit_seconds.observe(trio.current_time() - started)
        self._stored.set()
        self._stored = trio.Event()
        self._layers.settle(block.header.digest)
        self._pool.settle(layer.execution, block.header.time_ms)
        self.trail.worked(block.header, "commit", began_ns, ended_ns)
        self._measure(block, parent, sum(len(transaction.encoded) for transaction in layer.transactions))
        self.on_stored(block)
        self._tell(block)

    def _persist(self, block: FinalBlock, layer: Layer) -> None:
        header = block.header
        rows = layer.execution.index_rows.followed_by(offences.rows(block))
        with self._metrics.spending("store"):
            self._store.commit(block, layer.transactions, replace(layer.execution, index_rows=rows))
            self.census.take(layer.execution)
            self.tidy()
        if self._signer is None:
            return
        # The store holds the block durably from here on: only now may the guard file let go of it.
        if is_boundary(header) and block.certificate is not None:
            self._signer.keep_boundary(block.certificate)
        if header.height % PRUNE_EVERY == 0:
            self._signer.prune(header.epoch, header.view)

    def _measure(self, block: FinalBlock, parent: Header | None, size_bytes: int) -> None:
        metrics, header = self._metrics, block.header
        latency_s = max(0, self._now() - header.time_ms) / 1_000
        if parent is not None:
            metrics.chain_block_interval_seconds.observe((header.time_ms - parent.time_ms) / 1_000)
        metrics.finality_latency_seconds.observe(latency_s)
        metrics.chain_finalized_height.set(header.height)
        metrics.chain_height.set(header.height)
        metrics.chain_head_timestamp_seconds.set(header.time_ms / 1_000)
        metrics.chain_block_txs.observe(len(block.transaction_ids))
        metrics.chain_block_size_bytes.observe(size_bytes)
        metrics.consensus_blocks_finalized_total.at(self._organisation(block)).inc()
        _log.info(
            "final",
            height=header.height,
            view=header.view,
            epoch=header.epoch,
            transactions=len(block.transaction_ids),
            digest=header.digest.hex(),
        )

    async def _relay(self, block: FinalBlock, rank: int) -> None:
        """Gossip the block, unless somebody with a lower rank did while we waited."""
        await trio.sleep(rank * RELAY_STEP_S)
        if block.header.digest in self._seen:
            return
        data = encode(block)
        if len(data) <= GOSSIP_BYTES_MAX:
            await self._network.publish(Topic.BLOCKS, data)

    def _tell(self, block: FinalBlock) -> None:
        event = FinalEvent(
            block.header.height, block.header.digest, block.header.time_ms, block.transaction_ids
        )
        for key, channel in list(self._subscribers.items()):
            try:
                channel.send_nowait(event)
            except trio.WouldBlock:
                channel.close()  # too far behind: it resumes by height
                del self._subscribers[key]

    async def subscribe(self) -> AsyncIterator[FinalEvent]:
        """Final blocks from now on, in order; ends for a subscriber that falls too far behind."""
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            raise TooManySubscribers
        send, receive = trio.open_memory_channel[FinalEvent](SUBSCRIBER_EVENTS_MAX)
        key = object()
        self._subscribers[key] = send
        try:
            async for event in receive:
                yield event
        finally:
            self._subscribers.pop(key, None)
            receive.close()
