"""What a replay has come to so far. Floor 8."""

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

LATENCIES_MAX = 1_000_000
"""The newest latencies that percentiles are taken of."""


@dataclass
class Tally:
    """Counts of transactions that ended, and how long the final ones took at the submitting client."""

    transactions_final: int = 0
    readings_final: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_MAX))

    def final(self, readings: int, latency_ms: float) -> None:
        """Count a transaction that became final, with so many readings."""
        self.transactions_final += 1
        self.readings_final += readings
        self.latencies_ms.append(latency_ms)

    def latency_ms(self) -> dict[str, float | None]:
        """The percentiles that are reported; None before anything was final."""
        ordered = sorted(self.latencies_ms)
        return {f"p{percent}": percentile(ordered, percent) for percent in (50, 95, 99)}


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that so many percent of the values do not exceed (nearest rank)."""
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 1)
