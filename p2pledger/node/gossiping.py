"""Packing accepted transactions into gossip batches: by bytes and by milliseconds. Floor 6.

One pubsub message carries many transactions, because a message costs far more than a transaction.
"""

import math
from collections import deque
from collections.abc import Callable

import trio

from p2pledger.chain.transaction import BATCH_BYTES_MAX, Spread, Transaction
from p2pledger.codec import encode
from p2pledger.network.seam import Network, Topic
from p2pledger.types import Millis

LINGER_MS = 10
"""How long the first transaction of a batch waits for company: a message costs each node 300 us and more,
several times over, since every neighbour forwards it."""

GAP_MS = 40
"""How far apart messages are while there is always more to say: then company is cheaper than speed."""
BURST = 8
"""So many messages may come one after the other once nothing was said for a while."""
AGAIN_S = 3.0


class Batcher:
    """Transactions that wait to be gossiped. Bounded by the mempool: only what it took comes here."""

    def __init__(self, network: Network, now: Callable[[], Millis]) -> None:
        self._network, self._now = network, now
        self._waiting: deque[bytes] = deque()
        self._news = trio.Event()

    def put(self, transactions: list[Transaction]) -> None:
        """Have these gossiped soon."""
        self._waiting.extend(transaction.encoded for transaction in transactions)
        if self._waiting:
            self._news.set()

    async def run(self) -> None:
        """Gossip what waits, for ever."""
        due_s = -math.inf
        while True:
            await self._news.wait()
            await trio.sleep(max(LINGER_MS / 1_000, due_s - trio.current_time()))
            due_s = max(due_s, trio.current_time() - BURST * GAP_MS / 1_000) + GAP_MS / 1_000
            while self._waiting:
                spread = Spread(self._now(), tuple(self._take()))
                await self._network.publish(Topic.TRANSACTIONS, encode(spread))
            self._news = trio.Event()

    async def run_again(self, unspread: Callable[[], list[Transaction]]) -> None:
        """Gossip anew what did not become final, for ever: this node may have been alone when it was sent."""
        while True:
            await trio.sleep(AGAIN_S)
            if not self._waiting:
                self.put(unspread())

    def _take(self) -> list[bytes]:
        batch = [self._waiting.popleft()]
        size = len(batch[0])
        while self._waiting and size + len(self._waiting[0]) <= BATCH_BYTES_MAX:
            size += len(self._waiting[0])
            batch.append(self._waiting.popleft())
        return batch
