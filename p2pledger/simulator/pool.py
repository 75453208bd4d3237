"""A simulated node's transactions: the real mempool and the real rules, without threads. Floor 8."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from p2pledger.chain.epoch import epoch_of
from p2pledger.chain.transaction import Transaction, is_authentic
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.machine import Round
from p2pledger.ledger.mempool import Full, Mempool
from p2pledger.simulator.city import QUOTA, City
from p2pledger.storage.store import Store
from p2pledger.types import Hash, Height, Millis

TRANSACTIONS_MAX = 1_000
BYTES_MAX = 10_000_000
RECHECKED_MAX = 128
LEFT_OVER_MS = 1_000
"""As `node.pool` has them."""


class Pool:
    """What `node.pool.Pool` is to a node, in the parts that the agreement meets."""

    def __init__(self, city: City, store: Store) -> None:
        self.mempool = Mempool(TRANSACTIONS_MAX, BYTES_MAX, 500)
        self.is_unfinal: Callable[[Hash], bool] = lambda transaction_id: False
        self._city, self._store = city, store
        self._fetched: dict[Hash, Transaction] = {}
        self._suspects: dict[Hash, None] = {}
        self._swept_ms = 0

    def get(self, transaction_id: Hash) -> Transaction | None:
        """See `node.pool.Pool.get`."""
        return self.mempool.get(transaction_id) or self._fetched.get(transaction_id)

    def take(self, transactions: Iterable[Transaction], now: Millis) -> bool:
        """Take what came by gossip or from a client; whether anything was new."""
        is_news = False
        for transaction in transactions:
            if transaction.id in self.mempool or transaction.body.expires_ms < now:
                continue
            if self._store.used([transaction.id]):
                continue
            if not self._is_authentic(transaction):
                continue
            share = self.mempool.share(transaction.body.sponsor, QUOTA)
            try:
                is_news |= self.mempool.add(transaction, now, share)
            except Full:
                continue
        return is_news

    def keep(self, transactions: Iterable[Transaction], asked: Sequence[Hash]) -> bool:
        """Keep fetched bodies; whether one of them was asked for."""
        found = [t for t in transactions if t.id in asked and self._is_authentic(t)]
        self._fetched |= {t.id: t for t in found}
        return bool(found)

    def _is_authentic(self, transaction: Transaction) -> bool:
        """See `node.verifying.Verifier`."""
        machine, is_signed = self._city.machine, self._city.is_signed
        if not is_authentic(transaction, is_signed):
            return False
        inside = machine.signed_inside([transaction])
        machine.note_proven([id_ for id_, signed in inside.items() if is_signed(*signed)])
        return True

    def suspect(self, transaction_ids: Iterable[Hash]) -> None:
        """See `node.pool.Pool.suspect`."""
        self._suspects |= dict.fromkeys(transaction_ids)

    def settle(
        self, transactions: Sequence[Transaction], height: Height, time_ms: Millis, now: Millis
    ) -> None:
        """See `node.pool.Pool.settle`."""
        ids = [transaction.id for transaction in transactions]
        self.mempool.settle(ids, now)
        for transaction_id in ids:
            self._fetched.pop(transaction_id, None)
            self._suspects.pop(transaction_id, None)
        if now - self._swept_ms >= LEFT_OVER_MS:
            self._swept_ms = now
            self.suspect(self.mempool.arrived_before(self.mempool.passed_over_before(now, LEFT_OVER_MS)))
        self.mempool.expire(time_ms)
        self._recheck(height, time_ms)

    def _recheck(self, height: Height, time_ms: Millis) -> None:
        epoch = epoch_of(height + 1, self._city.parameters.epoch_blocks)
        at = Round(epoch, Height(height + 1), time_ms)
        for transaction_id in list(islice(self._suspects, RECHECKED_MAX)):
            del self._suspects[transaction_id]
            transaction = self.mempool.get(transaction_id)
            if transaction is None or self.is_unfinal(transaction_id):
                continue
            try:
                self._city.machine.check(self._store, at, transaction)
            except InvalidTransaction:
                self.mempool.remove([transaction_id])
