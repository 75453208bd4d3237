"""How accepted transactions ended that are not in the chain. Floor 4, pure.

Every accepted id ends as exactly one of: final, refused with a code, expired. The chain remembers what is
final for ever; this remembers the rest, within a bound.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from p2pledger.chain.transaction import Outcome
from p2pledger.types import Hash, Height


@dataclass(frozen=True)
class Fate:
    """What is known of a transaction id. `height` when final; `code` and `message` when refused."""

    outcome: Outcome
    height: Height | None = None
    code: str | None = None
    message: str | None = None


EXPIRED = Fate(Outcome.EXPIRED)


class Fates:
    """The ends of the last `count` ids that ended otherwise than final, and of an eighth more at most.

    What is final is not kept here: of thousands a second each would be a small object that stays where all
    else of its transaction goes, and the store finds it as fast.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._ends: dict[Hash, Fate] = {}

    def get(self, transaction_id: Hash) -> Fate | None:
        """How an id ended; None when it has not, or long ago, or is final."""
        return self._ends.get(transaction_id)

    def __len__(self) -> int:
        return len(self._ends)

    def end(self, transaction_id: Hash, fate: Fate) -> bool:
        """Note an end that is not final; the first one stands. Returns whether this one does."""
        if transaction_id in self._ends:
            return False
        self._ends[transaction_id] = fate
        self._forget()
        return True

    def remove(self, transaction_ids: Collection[Hash]) -> None:
        """These were sent again and accepted again, or are final.

        A node may refuse on its own parent, or let expire, what another leader has made final: the chain is
        right.
        """
        if not self._ends.keys().isdisjoint(transaction_ids):
            for transaction_id in transaction_ids:
                self._ends.pop(transaction_id, None)

    def _forget(self) -> None:
        """Let go of the oldest, many at once: a dict looks for its first past all that was deleted before."""
        excess = len(self._ends) - self._count
        if excess > self._count // 8:
            for transaction_id in list(islice(self._ends, excess)):
                del self._ends[transaction_id]
