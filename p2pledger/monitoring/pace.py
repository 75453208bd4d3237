"""How long a rule looks back and how long it waits: in earnest, or faster so that a test sees it fire."""

from dataclasses import dataclass

SECOND = 1
MINUTE = 60
HOUR = 3_600
DAY = 24 * HOUR

SPEED_MAX = 60
_UNITS_MS = (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


@dataclass(frozen=True)
class Pace:
    """Spans of time divided by `speed`: every one that a rule names goes through here.

    A range has to hold several scrapes: at ten times the speed scrape each second.
    """

    speed: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.speed <= SPEED_MAX:
            raise ValueError(f"speed is from 1 to {SPEED_MAX}, not {self.speed}")

    def seconds(self, span_s: int) -> float:
        """So many seconds, at this speed, as a number in an expression."""
        return span_s / self.speed

    def __call__(self, span_s: int) -> str:
        """So many seconds, at this speed, as Prometheus writes a duration: `2m`, `90s`, `500ms`."""
        span_ms = round(self.seconds(span_s) * 1_000)
        unit, size_ms = next(found for found in _UNITS_MS if span_ms % found[1] == 0)
        return f"{span_ms // size_ms}{unit}"


IN_EARNEST = Pace()
