"""How accepted transactions ended. Floor 4, pure.

Every accepted id ends as exactly one of: final, refused with a code, expired. The chain remembers what
is final for ever; this remembers the rest, and what has just become final, within a bound.
"""

from collections.abc import Collection, Mapping
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
    """How the last `finals` ids that are final ended, and the last `others`; of each an eighth more at most.

    A final one is in the chain, and has to be known here only while gossip may bring it once more.
    """

    def __init__(self, others: int, finals: int) -> None:
        self._others_max, self._finals_max = others, finals
        self._others: dict[Hash, Fate] = {}
        self._finals: dict[Hash, Fate] = {}

    def get(self, transaction_id: Hash) -> Fate | None:
        """How an id ended; None when it has not, or long ago."""
        return self._finals.get(transaction_id) or self._others.get(transaction_id)

    def __len__(self) -> int:
        return len(self._finals) + len(self._others)

    def end(self, transaction_id: Hash, fate: Fate) -> bool:
        """Note an end; the first one stands. Returns whether this one does.

        Final alone replaces another end: a node may refuse on its own parent, or let expire, what
        another leader has made final, and the chain is right.
        """
        if transaction_id in self._finals:
            return False
        if fate.outcome is Outcome.FINAL:
            self._others.pop(transaction_id, None)
            self._finals[transaction_id] = fate
            _forget(self._finals, self._finals_max)
        elif transaction_id in self._others:
            return False
        else:
            self._others[transaction_id] = fate
            _forget(self._others, self._others_max)
        return True

    def end_final(self, transaction_ids: Collection[Hash], height: Height) -> None:
        """Note the transactions of a final block, each as `end` would."""
        finals, new = self._finals, dict.fromkeys(transaction_ids, Fate(Outcome.FINAL, height=height))
        for transaction_id in _among(finals, transaction_ids):
            del new[transaction_id]
        for transaction_id in _among(self._others, transaction_ids):
            del self._others[transaction_id]
        finals.update(new)
        _forget(finals, self._finals_max)

    def among(self, transaction_ids: Collection[Hash]) -> set[Hash]:
        """Those of these that have ended."""
        return _among(self._finals, transaction_ids) | _among(self._others, transaction_ids)

    def reopen(self, transaction_ids: Collection[Hash]) -> None:
        """Forget ends that were not final: the ids were sent again and accepted again."""
        for transaction_id in _among(self._others, transaction_ids):
            del self._others[transaction_id]


def _among(ends: Mapping[Hash, Fate], transaction_ids: Collection[Hash]) -> set[Hash]:
    if ends.keys().isdisjoint(transaction_ids):
        return set()
    return {transaction_id for transaction_id in transaction_ids if transaction_id in ends}


def _forget(ends: dict[Hash, Fate], count: int) -> None:
    """Let go of the oldest, many at once: a dict looks for its first past all that was deleted before."""
    excess = len(ends) - count
    if excess > count // 8:
        for transaction_id in list(islice(ends, excess)):
            del ends[transaction_id]
