"""What a dashboard is, before it is Grafana's: rows of panels, each with its queries and its unit. Pure.

Nothing here has an id or a place on the grid: both follow from the order in which panels are written down
(`grafana`). A panel says what its figure means and, where it can be bad, from which value on.
"""

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """How a figure is to be read, by Grafana's names."""

    COUNT = "none"
    SECONDS = "s"
    BYTES = "bytes"
    BYTES_PER_SECOND = "Bps"
    PER_SECOND = "ops"
    SHARE = "percentunit"
    """Of 1, shown in per cent."""


class Kind(StrEnum):
    """How a panel is drawn, by Grafana's names."""

    TIME_SERIES = "timeseries"
    STAT = "stat"
    BARS = "bargauge"
    """One bar for each series, by its value now."""


class Colour(StrEnum):
    """What a threshold says."""

    GOOD = "green"
    DOUBTFUL = "orange"
    BAD = "red"


@dataclass(frozen=True)
class Target:
    """One query. `legend` names its series, with `{{label}}` for what tells them apart."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Threshold:
    """From this value on it is of this colour."""

    value: float
    colour: Colour


@dataclass(frozen=True)
class Panel:
    """One figure or one drawing. `description` says what it means, and what to look at next."""

    title: str
    description: str
    unit: Unit
    targets: tuple[Target, ...]
    kind: Kind = Kind.TIME_SERIES
    below: Colour = Colour.GOOD
    """The colour below the first threshold."""
    thresholds: tuple[Threshold, ...] = ()
    is_stacked: bool = False
    """The series are parts of a whole."""
    minimum: float | None = 0.0
    maximum: float | None = None
    """The ends of the scale; None where the figures say."""


@dataclass(frozen=True)
class Row:
    """Panels that answer one question."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """One page. `uid` is its name in links and files, and is never changed."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in reading order."""
        return tuple(panel for row in self.rows for panel in row.panels)
