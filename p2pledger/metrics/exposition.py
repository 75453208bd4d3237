"""What a scrape is answered: Prometheus' text format, at a fraction of the client library's price. Floor 4.

The library makes an object for every sample, escapes and sorts its labels, at every scrape: 44 ms for 1,800
series, with the interpreter's lock held, for which the event loop waits. Names and labels of a series never
change, and most values do not between two scrapes: here each is written once, and again when it moved.
Values are read where the library keeps them, which is not its public face; a test holds all that is written
here against what the library writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

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
            parts: list[str] = []
            for family in self._families:
                family.write(parts)
            for other in self._others:
                for found in other.collect():
                    parts.append(_head(found))
                    parts += [_line(*sample[:3]) for sample in found.samples]
            return "".join(parts).encode()


class _Written:
    """A family, and what was written of each of its series last."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._metric = family.family if isinstance(family, Labelled) else family
        (described,) = self._metric.describe()
        self._name, self._head = described.name + _SUFFIX.get(described.type, ""), _head(described)
        self._series: dict[tuple[str, ...], _Series] = {}

    def write(self, parts: list[str]) -> None:
        parts.append(self._head)
        family = self._family
        if not isinstance(family, Labelled):
            parts.append(self._text((), (), family))
            return
        present = family.series()
        for labels, metric in present:
            parts.append(self._text(labels, family.names, metric))
        if len(self._series) > len(present):  # authorities come and go
            self._series = {labels: self._series[labels] for labels, _ in present}

    def _text(self, labels: tuple[str, ...], names: Sequence[str], metric: Single) -> str:
        known = self._series.get(labels)
        if known is None or known.metric is not metric:
            known = self._series[labels] = _Series(self._name, tuple(zip(names, labels, strict=True)), metric)
        return known.text()


class _Series:
    """One series, of several lines when it is a histogram's."""

    def __init__(self, name: str, labels: Sequence[tuple[str, str]], metric: Single) -> None:
        self.metric = metric
        self._values: list[float] | None = None
        self._text = ""
        if not isinstance(metric, Histogram):
            self._cells, self._heads = [metric._value], [_name(name, labels)]
            return
        bounds = metric._upper_bounds
        self._heads = [_name(f"{name}_bucket", [*labels, ("le", _number(bound))]) for bound in bounds]
        self._heads.append(_name(f"{name}_count", labels))
        self._cells = [*metric._buckets]
        if bounds[0] >= 0:  # a sum that can fall is no counter
            self._heads.append(_name(f"{name}_sum", labels))
            self._cells.append(metric._sum)

    def text(self) -> str:
        values = [cell.get() for cell in self._cells]
        if values != self._values:
            self._values = values
            if isinstance(self.metric, Histogram):
                values = _accumulated(values, len(self.metric._buckets))
            lines = zip(self._heads, values, strict=True)
            self._text = "".join([f"{head}{_number(value)}\n" for head, value in lines])
        return self._text


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
    shown = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
    return f"{name}{{{shown}}} " if shown else f"{name} "


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    return f"{_name(name, labels.items())}{_number(value)}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text
