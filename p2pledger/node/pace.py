"""How many transactions a leader proposes at a time, and how old they are. Floor 6."""

from p2pledger.types import Millis

AGE_MS_MIN = 10
AGE_MS_MAX = 1_000
LAGS = 2
"""Transactions are proposed once they are so many times older than gossip takes."""

SAMPLE_MIN = 32
"""A block of fewer transactions says little about what one of them costs."""
WEIGHT = 0.2
"""Of the newest block among all that were measured."""
TRANSACTIONS_MIN = 64
TRANSACTION_MS = 0.1
"""What one costs, until it was measured."""


class Pace:
    """Keeps proposals so small that building one takes about `block_ms` here, and no longer.

    A leader that proposes all that waits makes blocks that others cannot execute within a view's deadline:
    the view is skipped, more waits meanwhile, and the next block is larger still.
    """

    def __init__(self, block_ms: float, transactions_max: int) -> None:
        self._block_ms, self._transactions_max = block_ms, transactions_max
        self._transaction_ms = TRANSACTION_MS

    def observe(self, transactions: int, elapsed_ms: float) -> None:
        """A block of so many took so long to build."""
        if transactions < SAMPLE_MIN:
            return
        self._transaction_ms += WEIGHT * (elapsed_ms / transactions - self._transaction_ms)

    @property
    def transactions_max(self) -> int:
        """How many to propose now: TRANSACTIONS_MIN at least, what the genesis file allows at most."""
        wanted = round(self._block_ms / max(self._transaction_ms, 0.001))
        return min(self._transactions_max, max(TRANSACTIONS_MIN, wanted))


class Spreading:
    """How long transactions take until the others have them: as long, it is assumed, as theirs take to here.

    A proposal of what the voters do not have yet costs each of them a question, and the view its deadline.
    """

    def __init__(self) -> None:
        self._lag_ms = 0.0

    def observe(self, said_ms: Millis, now: Millis) -> None:
        """Transactions are taken that their sender gossiped at `said_ms`, by its own clock."""
        lag_ms = min(max(0, now - said_ms), AGE_MS_MAX)
        self._lag_ms += WEIGHT * (lag_ms - self._lag_ms)

    @property
    def age_ms(self) -> int:
        """Only transactions this old are proposed: by then the voters have got them by gossip."""
        return min(AGE_MS_MAX, max(AGE_MS_MIN, round(LAGS * self._lag_ms)))
