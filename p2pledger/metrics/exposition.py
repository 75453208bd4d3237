"""What a scrape is answered: Prometheus' text format, at a fraction of the client library's price. Floor 4.

The library makes an object for every sample, escapes and sorts its labels, at every scrape: 44 ms for 1,800
series, with the interpreter's lock held, for which the event loop waits. Names and labels of a series never
change, and most values do not between two scrapes: here each is written once, and again when it moved.
Values are read where the library keeps them, which is not its public face; a test holds all that is written
here against what the library writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from p2pledger.metrics.labels import Labelled

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Single = Counter | Gauge | Histogram
Family = Single | Labelled[Counter] | Labelled[Gauge] | Labelled[Histogram]

_SUFFIX = {"counter": "_total", "info": "_info"}
_TYPE = {"info": "gauge", "unknown": "untyped"}


class Exposition:
    """Renders these families, and then what other collectors find; `spending` counts what that takes.

    `render` may be called from any thread, while others count, but from one at a time.
    """

    def __init__(
        self,
        families: Iterable[Family],
        others: Iterable[Collector],
        spending: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._families = [_Written(family) for family in families]
        self._others, self._spending = tuple(others), spending

    def render(self) -> bytes:
        """All series as they stand now; when one was created is left out."""
        with self._spending():
            parts = [family.text() for family in self._families]
            for other in self._others:
                for found in other.collect():
                    parts.append(_head(found))
                    parts += [_line(*sample[:3]) for sample in found.samples]
            return "".join(parts).encode()


class _Written:
    """A family, and what was written of it last."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._metric = family.family if isinstance(family, Labelled) else family
        (described,) = self._metric.describe()
        self._name, self._head = described.name + _SUFFIX.get(described.type, ""), _head(described)
        self._version = -1
        self._series: list[_Series] = []
        self._cells: list[Any] = []
        self._values: list[float] = []
        self._text = ""

    def text(self) -> str:
        family = self._family
        version = family.version if isinstance(family, Labelled) else 0
        if version != self._version:
            self._version = version
            self._begin()
        values: list[float] = [
            cell._value for cell in self._cells
        ]  # by `get` it would take three times as long
        if values != self._values:
            before, self._values = self._values, values
            for series in self._series:
                series.renew(before, values)
            self._text = self._head + "".join([series.text for series in self._series])
        return self._text

    def _begin(self) -> None:
        """Write all of it anew: series came, or went."""
        family = self._family
        names = family.names if isinstance(family, Labelled) else ()
        present = family.series() if isinstance(family, Labelled) else [((), family)]
        self._series, self._cells, self._values, self._text = [], [], [], self._head
        for labels, metric in present:
            named = tuple(zip(names, labels, strict=True))
            series = _Series(self._name, named, metric, len(self._cells))
            self._series.append(series)
            self._cells += series.cells


class _Series:
    """One series, of several lines when it is a histogram's. Its cells begin at `start` of the family's."""

    def __init__(self, name: str, labels: Sequence[tuple[str, str]], metric: Single, start: int) -> None:
        self.text = ""
        self._buckets = 0
        self.cells: list[Any]
        if isinstance(metric, Histogram):
            bounds = metric._upper_bounds
            self._buckets = len(bounds)
            self._heads = [_name(f"{name}_bucket", [*labels, ("le", _number(bound))]) for bound in bounds]
            self._heads.append(_name(f"{name}_count", labels))
            self.cells = [*metric._buckets]
            if bounds[0] >= 0:  # a sum that can fall is no counter
                self._heads.append(_name(f"{name}_sum", labels))
                self.cells.append(metric._sum)
        else:
            self.cells, self._heads = [metric._value], [_name(name, labels)]
        self._cut = slice(start, start + len(self.cells))

    def renew(self, before: Sequence[float], now: Sequence[float]) -> None:
        """Write it again, if it is not as before."""
        values = now[self._cut]
        if values == before[self._cut]:
            return
        if self._buckets:
            values = _accumulated(values, self._buckets)
        lines = zip(self._heads, values, strict=True)
        self.text = "".join([f"{head}{_number(value)}\n" for head, value in lines])


def _accumulated(values: Sequence[float], buckets: int) -> list[float]:
    """A histogram's lines: in each bucket all that is below, the count, and the sum if there is one."""
    total, lines = 0.0, []
    for value in values[:buckets]:
        total += value
        lines.append(total)
    return [*lines, total, *values[buckets:]]


def _head(family: Metric) -> str:
    name = family.name + _SUFFIX.get(family.type, "")
    meaning = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {meaning}\n# TYPE {name} {_TYPE.get(family.type, family.type)}\n"


def _name(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """A series' own spelling: its labels in the alphabet's order, as the library has them."""
    shown = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(labels))
    return f"{name}{{{shown}}} " if shown else f"{name} "


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    return f"{_name(name, labels.items())}{_number(value)}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text
