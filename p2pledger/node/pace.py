"""How many transactions a leader proposes at a time. Floor 6."""

from p2pledger.chain.block import BLOCK_TRANSACTIONS_MAX

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

    def __init__(self, block_ms: float) -> None:
        self._block_ms = block_ms
        self._transaction_ms = TRANSACTION_MS

    def observe(self, transactions: int, elapsed_ms: float) -> None:
        """A block of so many took so long to build."""
        if transactions < SAMPLE_MIN:
            return
        self._transaction_ms += WEIGHT * (elapsed_ms / transactions - self._transaction_ms)

    @property
    def transactions_max(self) -> int:
        """How many to propose now: TRANSACTIONS_MIN at least, BLOCK_TRANSACTIONS_MAX at most."""
        wanted = round(self._block_ms / max(self._transaction_ms, 0.001))
        return min(BLOCK_TRANSACTIONS_MAX, max(TRANSACTIONS_MIN, wanted))
