"""Which pending transactions count towards the deadline of the view that was entered last. Floor 6.

Kept apart from the loop so that a simulator's nodes count with the same code. No clock of its own.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from p2pledger.chain.transaction import BATCH_BYTES_MAX, Transaction
from p2pledger.consensus.events import Enter, Pending
from p2pledger.ledger.mempool import Mempool
from p2pledger.node.executor import Executor
from p2pledger.types import Millis


class Turn:
    """The view entered last, and when to look into the mempool for it (`due_ms`; None: no reason to)."""

    def __init__(self, executor: Executor, mempool: Mempool) -> None:
        self._executor, self._mempool = executor, mempool
        self.entered: Enter | None = None
        self.due_ms: Millis | None = None

    def enter(self, entered: Enter, now: Millis) -> None:
        """A view was entered: what is pending counts towards it from now on."""
        self.entered, self.due_ms = entered, now

    def expect(self, now: Millis) -> bool:
        """New transactions are pending: they count once the voters have them too. False: it was known."""
        if self.due_ms is not None:
            return False
        self.due_ms = Millis(now + self._executor.gossip_age.ms)
        return True

    def count(self, now: Millis, n: int) -> tuple[Pending, list[Transaction]] | None:
        """What newly counts in the view, in at most n views each; None when nothing does, or not yet."""
        entered = self.entered
        if entered is None or self.due_ms is None or now < self.due_ms:
            return None
        self.due_ms = None
        exclude = self._executor.unfinal_ids(entered.parent_digest)
        counted = self._mempool.count_for_view(
            entered.epoch, entered.view, n, exclude, Millis(now - self._executor.gossip_age.ms)
        )
        if not counted and self._mempool.has_uncounted(exclude):
            self.due_ms = Millis(now + self._executor.gossip_age.ms)
        return (Pending(entered.epoch, entered.view), counted) if counted else None

    def late(self, counted: Sequence[Transaction], now: Millis, patience_ms: int) -> list[Transaction]:
        """Of these, what was passed over although gossip has had time to spread it: for the leader."""
        before = self._mempool.passed_over_before(now, patience_ms)
        if not self._mempool.of_before(counted, before):
            return []
        sizes = list(accumulate(len(transaction.encoded) for transaction in counted))
        return self._mempool.of_before(counted[: bisect_left(sizes, BATCH_BYTES_MAX)], before)
