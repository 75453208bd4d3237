"""What counts and times come to. Pure. Floor 9."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from p2pledger.testnet.tally import percentile
from p2pledger.types import Hash, Height

PERCENTS = (50, 95, 99)


def percentiles(values_ms: Iterable[float]) -> dict[str, float | None]:
    """The percentiles that are reported, by nearest rank; None of nothing."""
    ordered = sorted(values_ms)
    return {f"p{percent}": percentile(ordered, percent) for percent in PERCENTS}


def ceiling(verified_per_s: float, nodes: int) -> float:
    """Transactions a second that so many nodes could take at best, each of which verifies every one."""
    return verified_per_s / nodes


def share(part: float, whole: float) -> float | None:
    """A ratio to four digits; None of nothing."""
    return round(part / whole, 4) if whole else None


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> Counter[str]:
    """How far counters have come."""
    return Counter({name: value - before.get(name, 0.0) for name, value in after.items()})


@dataclass(frozen=True)
class Account:
    """What became of the transactions that were taken, over all nodes.

    `early` counts those that every node held final by `first`, `final` the others of them by `last`; `late`
    came later, `missing` did not come.
    """

    early: int
    final: int
    late: int
    missing: int


def account(
    taken: Collection[Hash], held: Sequence[Mapping[Hash, Height]], first: Height, last: Height
) -> Account:
    """Look each taken id up in the final blocks of every node; a node's `held` gives ids their height."""
    early = final = late = 0
    for transaction_id in taken:
        heights = [at[transaction_id] for at in held if transaction_id in at]
        if len(heights) == len(held):
            height = max(heights)
            early += height <= first
            final += first < height <= last
            late += height > last
    return Account(early, final, late, len(taken) - early - final - late)
