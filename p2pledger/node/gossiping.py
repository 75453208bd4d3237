"""Packing accepted transactions into gossip batches: by bytes and by milliseconds. Floor 6.

One pubsub message carries many transactions, because a message costs far more than a transaction.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

import trio

from p2pledger.chain.transaction import BATCH_BYTES_MAX, Spread, Transaction
from p2pledger.codec import encode
from p2pledger.network.seam import Network, Topic
from p2pledger.node.health import Pulse
from p2pledger.node.pool import Pool
from p2pledger.types import Millis

LINGER_MS = 1
"""How long the first transaction of a batch waits for company, when there was little to say."""
LINGER_MS_MAX = 100
LARGE_BYTES = 16 * 1024
"""Where so much came together in the message before, company is waited for LINGER_MS_MAX: a message costs
each node 300 us and more, a transaction in it a few, and where there is so much to say, somebody waits for
the processor already. Where nothing came together with the first of it, nothing is expected to now."""
FEW_BYTES = 2 * 1024
TAKEN_LINGER_MS_MAX = 150
"""How much longer still where all cores are taken: where more than FEW_BYTES came together it rises to this
within half of LARGE_BYTES. What is not spent on messages, all transactions wait less for."""

GAP_MS = 25
"""How far apart messages are, however small, while there is always more to say."""
BURST = 8
"""So many messages may come one after the other once nothing was said for a while."""
AGAIN_S = 3.0


class Batcher:
    """Transactions that wait to be gossiped. Bounded by the mempool: only what it took comes here."""

    def __init__(self, network: Network, pool: Pool, now: Callable[[], Millis]) -> None:
        self._network, self._pool, self._now = network, pool, now
        self._waiting: deque[Transaction] = deque()
        self._news = trio.Event()
        self.pulses = Pulse("the gossip of transactions"), Pulse("the gossip of what waits long")

    def put(self, transactions: Sequence[Transaction]) -> None:
        """Have what came in here gossiped soon. Until then nobody else can execute a block that holds it."""
        self._pool.mempool.hold(transaction.id for transaction in transactions)
        self._put(transactions)

    def _put(self, transactions: Sequence[Transaction]) -> None:
        self._waiting.extend(transactions)
        if self._waiting:
            self._news.set()

    async def run(self) -> None:
        """Gossip what waits, for ever."""
        pulse, _ = self.pulses
        due_s, said_s, joined_bytes = -math.inf, -math.inf, 0
        while True:
            pulse.rest()
            await self._news.wait()
            pulse.beat()
            if trio.current_time() - said_s > 2 * LINGER_MS_MAX / 1_000:
                joined_bytes = 0
            await trio.sleep(max(self._linger_ms(joined_bytes) / 1_000, due_s - trio.current_time()))
            due_s = max(due_s, trio.current_time() - BURST * GAP_MS / 1_000) + GAP_MS / 1_000
            said_s, joined_bytes = trio.current_time(), await self.say()
            self._news = trio.Event()

    def _linger_ms(self, joined_bytes: int) -> float:
        """How long to wait for company where so much came together in the message before."""
        linger_ms = LINGER_MS + (LINGER_MS_MAX - LINGER_MS) * min(1.0, joined_bytes / LARGE_BYTES)
        if joined_bytes > FEW_BYTES and self._pool.cores.are_taken:
            linger_ms += TAKEN_LINGER_MS_MAX * min(1.0, (joined_bytes - FEW_BYTES) / (LARGE_BYTES / 2))
        return linger_ms

    async def say(self) -> int:
        """Gossip all that waits, now; how many bytes of it came together with the first."""
        said_bytes = -len(self._waiting[0].encoded) if self._waiting else 0
        while self._waiting:
            some = self._take()
            data = encode(Spread(self._now(), tuple(transaction.encoded for transaction in some)))
            said_bytes += sum(len(transaction.encoded) for transaction in some)
            await self._network.publish(Topic.TRANSACTIONS, data)
            self._pool.release(transaction.id for transaction in some)
        return said_bytes

    async def run_again(self) -> None:
        """Gossip anew what did not become final, for ever: this node may have been alone when it was sent."""
        _, pulse = self.pulses
        while True:
            pulse.beat()
            await trio.sleep(AGAIN_S)
            if not self._waiting:
                self._put(self._pool.unspread())

    def _take(self) -> list[Transaction]:
        batch = [self._waiting.popleft()]
        size = len(batch[0].encoded)
        while self._waiting and size + len(self._waiting[0].encoded) <= BATCH_BYTES_MAX:
            size += len(self._waiting[0].encoded)
            batch.append(self._waiting.popleft())
        return batch
