"""Transactions that were accepted and are not final yet. Floor 4, pure, bounded.

What is here has been judged once (`Machine.check`); nothing here judges. A transaction stays while it
is in a block that is not final, because that block may never be: leaders and counts leave it out by the
ids of the ancestors, and it is removed when its fate is known.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import filterfalse, islice, takewhile
from typing import NamedTuple

from p2pledger.chain.genesis import Quota
from p2pledger.chain.transaction import Transaction
from p2pledger.types import Epoch, Hash, Millis, View

EXPIRING_MS = 5_000
"""Only what expires so soon is held apart to be found: mostly a transaction is final long before."""

MOVING_MS = 1_000
"""While something became final so short a time ago, whoever still waits may just be waiting its turn."""
OVERTAKEN_MS = 1_000
"""Nodes need not agree on the order of arrival: so much later a younger one has come."""

COUNTED_MAX = 128
"""So many count at a time towards a view's deadline."""

SPONSOR_PART = 2
"""A sponsor may fill this part of the mempool: a half. The others always find the other half."""
CROWDED_TIMES = 3
"""Of what may wait now a sponsor has at most so many times what it leaves free: alone three quarters, one of
two who want it all three sevenths each. However many do, a newcomer finds room (Choudhury and Hahne, "Dynamic
queue length thresholds for shared-memory packet switches", 1998)."""
URGENT_MAX = 64
"""So many of a sponsor's urgent transactions find room beside its share, which a thief may have filled."""
URGENT_BYTES_MAX = 64 * 1_024
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


@dataclass(slots=True)
class _Account:
    """What an account holds now."""

    name: str
    count: int = 0
    size_bytes: int = 0


_NOBODY = _Account("")
"""Stands for every account that holds nothing: never charged."""


class _Arrival(NamedTuple):
    """When transactions came, and whose account holds them: one for all that came together."""

    at_ms: Millis
    account: _Account


class Mempool:
    """Accepted transactions in the order of arrival, at most `count_max` of `bytes_max` together."""

    def __init__(self, count_max: int, bytes_max: int, retry_after_ms: int) -> None:
        self._count_max, self._bytes_max = count_max, bytes_max
        self._retry_after_ms = retry_after_ms
        self._pending: dict[Hash, Transaction] = {}
        self._arrivals: dict[Hash, _Arrival] = {}
        self._accounts: dict[str, _Account] = {}
        self._size_bytes = 0
        self._expiring: dict[Hash, Transaction] = {}
        """All that expires before `_expiring_by_ms`."""
        self._expiring_by_ms = Millis(0)
        self._turn: tuple[Epoch, View] | None = None
        self._counted: set[Hash] = set()
        """What counts in the view of `_turn`, or was passed over as having counted in enough of them."""
        self._views: dict[Hash, int] = {}
        """In how many views each has counted since something became final: in `_views_begun` at most."""
        self._views_begun = 0
        self._held: set[Hash] = set()
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
        oldest = next(iter(self._pending), None)
        return self._arrivals[oldest].at_ms if oldest is not None else None

    def get(self, transaction_id: Hash) -> Transaction | None:
        """A transaction by id; None when it is not here."""
        return self._pending.get(transaction_id)

    def lacking(self, transactions: Iterable[Transaction]) -> list[Transaction]:
        """Those of these that are not here."""
        return [transaction for transaction in transactions if transaction.id not in self._pending]

    def transactions(self) -> list[Transaction]:
        """All of them, in the order of arrival."""
        return list(self._pending.values())

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

    def urgent_share(self, sponsor: str) -> Share:
        """The share of what `Rule.is_urgent`, beside all else that a sponsor has waiting."""
        return Share(f"{sponsor} urgently", URGENT_MAX, URGENT_BYTES_MAX)

    def is_crowded(self, sponsor: str, waiting_max: int) -> bool:
        """Whether a sponsor has its part of so many transactions waiting already: see CROWDED_TIMES."""
        free = waiting_max - len(self._pending)
        return self._accounts.get(sponsor, _NOBODY).count >= CROWDED_TIMES * free

    def add(self, transaction: Transaction, now: Millis, share: Share) -> bool:
        """Take a transaction; False when it is here already. Raises: Full, ShareFull."""
        if transaction.id in self._pending:
            return False
        size = len(transaction.encoded)
        if not self._has_room(1, size):
            raise Full(self._retry_after_ms)
        if not self._has_share(share, 1, size):
            raise ShareFull(self._retry_after_ms)
        self._pending[transaction.id] = transaction
        self._arrivals[transaction.id] = self._charge(share.account, 1, size, now)
        self._watch([transaction])
        return True

    def add_many(
        self, transactions: Sequence[Transaction], now: Millis, shares: Sequence[Share]
    ) -> list[bool | Full]:
        """What `add` returns or raises for one after the other, each with its share.

        For much less where all of them are new and find room, which is told from their sums.
        """
        new = {transaction.id: transaction for transaction in transactions}
        parts = _parts(transactions, shares)
        is_new = len(new) == len(transactions) and self._pending.keys().isdisjoint(new)
        if not is_new or not self._fits(parts):
            return [self._try(*offered, now) for offered in zip(transactions, shares, strict=True)]
        self._pending.update(new)
        for share, (ids, size) in parts.items():
            arrival = self._charge(share.account, len(ids), size, now)
            self._arrivals.update(dict.fromkeys(ids, arrival))
        self._watch(transactions)
        return [True] * len(transactions)

    def _try(self, transaction: Transaction, share: Share, now: Millis) -> bool | Full:
        try:
            return self.add(transaction, now, share)
        except Full as full:
            return full

    def _fits(self, parts: "_Parts") -> bool:
        """Whether none of so many would be refused: the last one of an account finds the least room."""
        count, size = sum([len(ids) for ids, _ in parts.values()]), sum([part[1] for part in parts.values()])
        return (
            len({share.account for share in parts}) == len(parts)
            and self._has_room(count, size)
            and all(self._has_share(share, len(ids), size) for share, (ids, size) in parts.items())
        )

    def _has_room(self, count: int, size: int) -> bool:
        return len(self._pending) + count <= self._count_max and self._size_bytes + size <= self._bytes_max

    def _has_share(self, share: Share, count: int, size: int) -> bool:
        account = self._accounts.get(share.account, _NOBODY)
        return account.count + count <= share.count_max and account.size_bytes + size <= share.bytes_max

    def _charge(self, name: str, count: int, size: int, now: Millis) -> _Arrival:
        """Have an account hold so many more, of so many bytes together, and give their arrival."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(name)
        account.count += count
        account.size_bytes += size
        self._size_bytes += size
        return _Arrival(now, account)

    def hold(self, transaction_ids: Iterable[Hash]) -> None:
        """Have nobody count on these before they were sent to others: see `release`."""
        self._held.update(filter(self._pending.__contains__, transaction_ids))

    def release(self, transaction_ids: Iterable[Hash], now: Millis) -> None:
        """What was held was sent to others: it counts from now on, as if it had arrived now."""
        arrivals: dict[str, _Arrival] = {}
        for transaction_id in filter(self._held.__contains__, transaction_ids):
            self._held.remove(transaction_id)
            account = self._arrivals[transaction_id].account
            if account.name not in arrivals:
                arrivals[account.name] = _Arrival(now, account)
            self._arrivals[transaction_id] = arrivals[account.name]
            self._pending[transaction_id] = self._pending.pop(transaction_id)

    def of_before(self, transactions: Iterable[Transaction], time_ms: Millis) -> list[Transaction]:
        """Those of these that are here, and have been since before this time."""
        arrivals = self._arrivals
        return [one for one in transactions if one.id in arrivals and arrivals[one.id].at_ms < time_ms]

    def arrived_before(self, time_ms: Millis) -> list[Hash]:
        """The ids of those that have waited since before this time, the longest first."""
        arrivals = self._arrivals
        return list(takewhile(lambda i: arrivals[i].at_ms < time_ms, self._pending))

    def settle(self, transaction_ids: Iterable[Hash], now: Millis) -> None:
        """Let go of what became final; what still waits begins to count anew (`count_for_view`)."""
        arrivals = self._let_go(transaction_ids)
        if arrivals:
            self._views, self._views_begun = {}, 1
            self._settled_ms = now
            self._overtaken_ms = max(self._overtaken_ms, *{arrival.at_ms for arrival in arrivals})

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
        self._let_go(transaction_ids)

    def _let_go(self, transaction_ids: Iterable[Hash]) -> list[_Arrival]:
        """Let go of those of these that are here, and give their arrivals."""
        ids = dict.fromkeys(filter(self._pending.__contains__, transaction_ids))
        sizes = [len(transaction.encoded) for transaction in map(self._pending.pop, ids)]
        arrivals = list(map(self._arrivals.pop, ids))
        for size, (_, account) in zip(sizes, arrivals, strict=True):
            account.size_bytes -= size
            account.count -= 1
            if not account.count:
                del self._accounts[account.name]
        self._size_bytes -= sum(sizes)
        self._counted.difference_update(ids)
        self._held.difference_update(ids)
        for known in (self._views, self._expiring):
            for transaction_id in known.keys() & ids.keys():
                del known[transaction_id]
        return arrivals

    def expire(self, time_ms: Millis) -> list[Hash]:
        """Let go of what no block of this time or later may hold, and return the ids.

        Sure of their fate is who gives the newest final block's time, since block times only rise.
        """
        if time_ms > self._expiring_by_ms:
            self._expiring_by_ms = Millis(time_ms + EXPIRING_MS)
            self._watch(self._pending.values())
        expired = [i for i, one in self._expiring.items() if one.body.expires_ms < time_ms]
        self.remove(expired)
        return expired

    def _watch(self, transactions: Iterable[Transaction]) -> None:
        """Hold apart what of these expires soon."""
        by_ms = self._expiring_by_ms
        self._expiring.update({one.id: one for one in transactions if one.body.expires_ms < by_ms})

    def candidates(
        self, count_max: int, bytes_max: int, min_age_ms: int, now: Millis, exclude: Container[Hash]
    ) -> list[Transaction]:
        """What a leader may put into a block, in the order of arrival, within count and bytes.

        Left out: `exclude` (the ids in ancestors that are not final), what is held, and what came less
        than `min_age_ms` ago, so that voters have had time to get it too.
        """
        chosen: list[Transaction] = []
        for transaction_id in islice(self._free(exclude), count_max):
            if self._arrivals[transaction_id].at_ms + min_age_ms > now:
                break
            transaction = self._pending[transaction_id]
            size = len(transaction.encoded)
            if size > bytes_max:
                break
            bytes_max -= size
            chosen.append(transaction)
        return chosen

    def _free(self, exclude: Container[Hash]) -> Iterator[Hash]:
        """What is neither held nor among `exclude`, the oldest first; a call of Python for none of it."""
        return filterfalse(self._held.__contains__, filterfalse(exclude.__contains__, self._pending))

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
            self._turn, self._counted = (epoch, view), set()
            self._views_begun += 1
        spent: set[Hash] = set()
        if self._views_begun >= views_max:
            spent = {transaction_id for transaction_id, views in self._views.items() if views >= views_max}
        waiting = self._uncounted(exclude)
        if spent:
            waiting = filterfalse(spent.__contains__, waiting)
        arrivals = self._arrivals
        counted = list(islice((i for i in waiting if arrivals[i].at_ms <= arrived_by_ms), COUNTED_MAX))
        if spent:  # what was passed on the way does not count in this view any more, whatever comes
            is_cut = len(counted) == COUNTED_MAX
            passed = takewhile(counted[-1].__ne__, self._pending) if is_cut else self._pending
            self._counted.update(spent.intersection(passed))
        self._counted.update(counted)
        self._views.update({i: self._views.get(i, 0) + 1 for i in counted})
        return [self._pending[transaction_id] for transaction_id in counted]

    def _uncounted(self, exclude: Container[Hash]) -> Iterator[Hash]:
        return filterfalse(self._counted.__contains__, self._free(exclude))

    def has_uncounted(self, exclude: Container[Hash]) -> bool:
        """Whether a later `count_for_view` in the present view may find more: one too young is waiting."""
        return next(self._uncounted(exclude), None) is not None


_Parts = Mapping[Share, tuple[Sequence[Hash], int]]
"""By their shares, the ids of transactions and how many bytes these have together."""


def _parts(transactions: Sequence[Transaction], shares: Sequence[Share]) -> _Parts:
    if shares and shares.count(shares[0]) == len(shares):
        return {shares[0]: _sum(transactions)}
    parts: dict[Share, list[Transaction]] = {}
    for transaction, share in zip(transactions, shares, strict=True):
        parts.setdefault(share, []).append(transaction)
    return {share: _sum(part) for share, part in parts.items()}


def _sum(transactions: Sequence[Transaction]) -> tuple[Sequence[Hash], int]:
    ids = [transaction.id for transaction in transactions]
    return ids, sum([len(transaction.encoded) for transaction in transactions])
