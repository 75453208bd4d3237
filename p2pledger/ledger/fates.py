"""How accepted transactions ended. Floor 4, pure.

Every accepted id ends as exactly one of: final, refused with a code, expired. The chain remembers what
is final for ever; this remembers the rest, and the recent, within a bound.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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
    """The ends of the last `count_max` ids that ended."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
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
        if len(self._ends) > self._count_max:
            del self._ends[next(iter(self._ends))]
        return True

    def end_final(self, transaction_ids: Iterable[Hash], height: Height) -> None:
        """Note the transactions of a final block."""
        fate = Fate(Outcome.FINAL, height=height)
        for transaction_id in transaction_ids:
            self.end(transaction_id, fate)

    def reopen(self, transaction_id: Hash) -> None:
        """Forget an end that was not final: the id was sent again and accepted again."""
        known = self._ends.get(transaction_id)
        if known is not None and known.outcome is not Outcome.FINAL:
            del self._ends[transaction_id]
