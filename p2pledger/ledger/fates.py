"""How accepted transactions ended. Floor 4, pure.

Every accepted id ends as exactly one of: final, refused with a code, expired. The chain remembers what
is final for ever; this remembers the rest, and the recent, within a bound.
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
    """The ends of the last `count` ids that ended, and of an eighth more at most."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._ends: dict[Hash, Fate] = {}

    def get(self, transaction_id: Hash) -> Fate | None:
        """How an id ended; None when it has not, or long ago."""
        return self._ends.get(transaction_id)

    def __len__(self) -> int:
        return len(self._ends)

    def end(self, transaction_id: Hash, fate: Fate) -> bool:
        """Note an end; the first one stands. Returns whether this one does.

        Final alone replaces another end: a node may refuse on its own parent, or let expire, what
        another leader has made final, and the chain is right.
        """
        known = self._ends.get(transaction_id)
        if known is not None and (known.outcome is Outcome.FINAL or fate.outcome is not Outcome.FINAL):
            return False
        self._ends.pop(transaction_id, None)
        self._ends[transaction_id] = fate
        self._forget()
        return True

    def end_final(self, transaction_ids: Collection[Hash], height: Height) -> None:
        """Note the transactions of a final block, each as `end` would."""
        ends, new = self._ends, dict.fromkeys(transaction_ids, Fate(Outcome.FINAL, height=height))
        for transaction_id in self.among(transaction_ids):
            if ends[transaction_id].outcome is Outcome.FINAL:
                del new[transaction_id]
            else:
                del ends[transaction_id]
        ends.update(new)
        self._forget()

    def _forget(self) -> None:
        """Let go of the oldest, many at once: a dict looks for its first past all that was deleted before."""
        excess = len(self._ends) - self._count
        if excess > self._count // 8:
            for transaction_id in list(islice(self._ends, excess)):
                del self._ends[transaction_id]

    def among(self, transaction_ids: Collection[Hash]) -> set[Hash]:
        """Those of these that have ended."""
        if self._ends.keys().isdisjoint(transaction_ids):
            return set()
        return {transaction_id for transaction_id in transaction_ids if transaction_id in self._ends}

    def reopen(self, transaction_ids: Collection[Hash]) -> None:
        """Forget ends that were not final: the ids were sent again and accepted again."""
        for transaction_id in self.among(transaction_ids):
            if self._ends[transaction_id].outcome is not Outcome.FINAL:
                del self._ends[transaction_id]
