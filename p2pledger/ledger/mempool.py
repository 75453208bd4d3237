"""Transactions that were accepted and are not final yet. Floor 4, pure, bounded.

What is here has been judged once (`Machine.check`); nothing here judges. A transaction stays while it
is in a block that is not final, because that block may never be: leaders and counts leave it out by the
ids of the ancestors, and it is removed when its fate is known.
"""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from p2pledger.chain.genesis import Quota
from p2pledger.chain.transaction import Transaction
from p2pledger.types import Epoch, Hash, Millis, View

_EXPIRY_SLOT_MS = 1_000

MOVING_MS = 1_000
"""While something became final so short a time ago, whoever still waits may just be waiting its turn."""
OVERTAKEN_MS = 1_000
"""Nodes need not agree on the order of arrival: so much later a younger one has come."""

COUNTED_MAX = 128
"""So many count at a time towards a view's deadline."""

SPONSOR_PART = 2
"""A sponsor may fill this part of the mempool: a half. The others always find the other half."""
STRANGERS_PART = 16
"""What nobody who is known answers for may fill this part, all of it together."""


class Full(Exception):
    """There is no room: the sender may try again after `retry_after_ms`. Nothing was taken."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"the mempool is full; try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class ShareFull(Full):
    """There is room, but not for more of the same account. Nothing was taken."""


class Share(NamedTuple):
    """How much of the mempool an account may hold at a time."""

    account: str
    count_max: int
    bytes_max: int


@dataclass
class _Pending:
    transaction: Transaction
    arrived_ms: Millis
    account: str
    views: int = 0
    progress: int = 0
    """As far as the ledger had come when `views` began to be counted."""


class Mempool:
    """Accepted transactions in the order of arrival, at most `count_max` of `bytes_max` together."""

    def __init__(self, count_max: int, bytes_max: int, retry_after_ms: int) -> None:
        self._count_max, self._bytes_max = count_max, bytes_max
        self._retry_after_ms = retry_after_ms
        self._pending: dict[Hash, _Pending] = {}
        self._size_bytes = 0
        self._counts: Counter[str] = Counter()
        self._sizes_bytes: Counter[str] = Counter()
        self._expiring: dict[int, dict[Hash, Millis]] = {}
        self._turn: tuple[Epoch, View] | None = None
        self._uncounted: dict[Hash, None] = {}
        self._held: set[Hash] = set()
        self._progress = 0
        self._settled_ms = self._overtaken_ms = Millis(0)

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, transaction_id: Hash) -> bool:
        return transaction_id in self._pending

    @property
    def size_bytes(self) -> int:
        """The encoded transactions, together."""
        return self._size_bytes

    @property
    def oldest_ms(self) -> Millis | None:
        """When the one arrived that waits longest; None when none waits."""
        oldest = next(iter(self._pending.values()), None)
        return oldest.arrived_ms if oldest is not None else None

    def get(self, transaction_id: Hash) -> Transaction | None:
        """A transaction by id; None when it is not here."""
        pending = self._pending.get(transaction_id)
        return None if pending is None else pending.transaction

    def transactions(self) -> list[Transaction]:
        """All of them, in the order of arrival."""
        return [pending.transaction for pending in self._pending.values()]

    def share(self, sponsor: str, quota: Quota | None) -> Share:
        """A sponsor's share: what its quota allows in a window, within SPONSOR_PART of the whole.

        Without a quota, that of strangers together: who is not entitled to spend the sponsor's quota
        must not be able to fill its share either.
        """
        if quota is None:
            return Share("", self._count_max // STRANGERS_PART, self._bytes_max // STRANGERS_PART)
        return Share(
            sponsor,
            min(quota.transactions, self._count_max // SPONSOR_PART),
            min(quota.size_bytes, self._bytes_max // SPONSOR_PART),
        )

    def is_crowded(self, sponsor: str, waiting_max: int) -> bool:
        """Whether a sponsor has its part of so many transactions waiting already."""
        return self._counts[sponsor] >= waiting_max // SPONSOR_PART

    def add(self, transaction: Transaction, now: Millis, share: Share) -> bool:
        """Take a transaction; False when it is here already. Raises: Full, ShareFull."""
        if transaction.id in self._pending:
            return False
        size = len(transaction.encoded)
        if len(self._pending) >= self._count_max or self._size_bytes + size > self._bytes_max:
            raise Full(self._retry_after_ms)
        account = share.account
        if self._counts[account] >= share.count_max or self._sizes_bytes[account] + size > share.bytes_max:
            raise ShareFull(self._retry_after_ms)
        self._pending[transaction.id] = _Pending(transaction, now, account)
        self._size_bytes += size
        self._counts[account] += 1
        self._sizes_bytes[account] += size
        expires_ms = transaction.body.expires_ms
        self._expiring.setdefault(expires_ms // _EXPIRY_SLOT_MS, {})[transaction.id] = expires_ms
        self._uncounted[transaction.id] = None
        return True

    def hold(self, transaction_ids: Iterable[Hash]) -> None:
        """Have nobody count on these before they were sent to others: see `release`."""
        self._held.update(transaction_id for transaction_id in transaction_ids if transaction_id in self)

    def release(self, transaction_ids: Iterable[Hash], now: Millis) -> None:
        """What was held was sent to others: it counts from now on, as if it had arrived now."""
        for transaction_id in transaction_ids:
            if transaction_id in self._held:
                self._held.remove(transaction_id)
                pending = self._pending.pop(transaction_id)
                pending.arrived_ms = now
                self._pending[transaction_id] = pending

    def arrived_ms(self, transaction_id: Hash) -> Millis | None:
        """When a transaction was taken; None when it is not here."""
        pending = self._pending.get(transaction_id)
        return None if pending is None else pending.arrived_ms

    def arrived_before(self, time_ms: Millis) -> list[Hash]:
        """The ids of those that have waited since before this time, the longest first."""
        waiting = takewhile(lambda item: item[1].arrived_ms < time_ms, self._pending.items())
        return [transaction_id for transaction_id, _ in waiting]

    def settle(self, transaction_ids: Iterable[Hash], now: Millis) -> None:
        """Let go of what became final; what still waits begins to count anew (`count_for_view`)."""
        ids = [transaction_id for transaction_id in transaction_ids if transaction_id in self._pending]
        if ids:
            self._progress += 1
            self._settled_ms = now
            newest = max(self._pending[transaction_id].arrived_ms for transaction_id in ids)
            self._overtaken_ms = max(self._overtaken_ms, newest)
        self.remove(ids)

    def passed_over_before(self, now: Millis, patience_ms: int) -> Millis:
        """What arrived before this and is here still was passed over: somebody may not have it.

        Leaders take in the order of arrival. So while transactions become final, those are left out that
        younger ones have overtaken; while none does, those that have waited longer than `patience_ms`.
        """
        late = Millis(now - patience_ms)
        is_moving = now - self._settled_ms <= MOVING_MS
        return min(late, Millis(self._overtaken_ms - OVERTAKEN_MS)) if is_moving else late

    def remove(self, transaction_ids: Iterable[Hash]) -> None:
        """Let go of transactions whose fate is known. Unknown ids are passed over."""
        for transaction_id in transaction_ids:
            pending = self._pending.pop(transaction_id, None)
            if pending is None:
                continue
            self._give_back(pending.account, len(pending.transaction.encoded))
            self._uncounted.pop(transaction_id, None)
            self._held.discard(transaction_id)
            slot = pending.transaction.body.expires_ms // _EXPIRY_SLOT_MS
            del self._expiring[slot][transaction_id]
            if not self._expiring[slot]:
                del self._expiring[slot]

    def _give_back(self, account: str, size: int) -> None:
        self._size_bytes -= size
        self._sizes_bytes[account] -= size
        self._counts[account] -= 1
        if not self._counts[account]:
            del self._counts[account], self._sizes_bytes[account]

    def expire(self, time_ms: Millis) -> list[Hash]:
        """Let go of what no block of this time or later may hold, and return the ids.

        Sure of their fate is who gives the newest final block's time, since block times only rise.
        """
        slots = sorted(slot for slot in self._expiring if slot * _EXPIRY_SLOT_MS < time_ms)
        expired = [
            transaction_id
            for slot in slots
            for transaction_id, expires_ms in self._expiring[slot].items()
            if expires_ms < time_ms
        ]
        self.remove(expired)
        return expired

    def candidates(
        self, count_max: int, bytes_max: int, min_age_ms: int, now: Millis, exclude: Container[Hash]
    ) -> list[Transaction]:
        """What a leader may put into a block, in the order of arrival, within count and bytes.

        Left out: `exclude` (the ids in ancestors that are not final), what is held, and what came less
        than `min_age_ms` ago, so that voters have had time to get it too.
        """
        chosen: list[Transaction] = []
        for transaction_id, pending in self._pending.items():
            if len(chosen) == count_max:
                break
            if transaction_id in self._held or transaction_id in exclude:
                continue
            if pending.arrived_ms + min_age_ms > now:
                break
            size = len(pending.transaction.encoded)
            if size > bytes_max:
                break
            bytes_max -= size
            chosen.append(pending.transaction)
        return chosen

    def count_for_view(
        self,
        epoch: Epoch,
        view: View,
        views_max: int,
        exclude: Container[Hash],
        arrived_by_ms: Millis,
    ) -> list[Transaction]:
        """The transactions that newly count towards the deadline of a view: send them to its leader.

        At most COUNTED_MAX, the oldest: one is enough to make work of a view.

        Each is returned once per view, and in at most `views_max` views in which nothing became final
        (PROTOCOL: the number of authorities), so that one which leaders refuse cannot burn views for ever,
        and one that finds no room in a block does not have to wait until the ledger is idle. One in
        `exclude`, that is held, or that arrived after `arrived_by_ms`, is left for a later call. Views
        only rise.
        """
        if self._turn != (epoch, view):
            self._turn = (epoch, view)
            self._uncounted = dict.fromkeys(self._pending)
        counted: list[Transaction] = []
        done: list[Hash] = []
        for transaction_id in self._uncounted:
            if len(counted) == COUNTED_MAX:
                break
            pending = self._pending[transaction_id]
            if pending.progress != self._progress:
                pending.views, pending.progress = 0, self._progress
            if pending.views >= views_max:
                done.append(transaction_id)
                continue
            is_early = transaction_id in self._held or pending.arrived_ms > arrived_by_ms
            if is_early or transaction_id in exclude:
                continue
            pending.views += 1
            counted.append(pending.transaction)
            done.append(transaction_id)
        for transaction_id in done:
            del self._uncounted[transaction_id]
        return counted

    def has_uncounted(self, exclude: Container[Hash]) -> bool:
        """Whether a later `count_for_view` in the present view may find more: one too young is waiting."""
        return any(i not in exclude and i not in self._held for i in self._uncounted)
