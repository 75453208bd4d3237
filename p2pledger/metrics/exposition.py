"""What a scrape is answered: Prometheus' text format, at a fraction of the client library's price. Floor 4.

The library escapes and sorts the labels of every sample at every scrape, 44 ms for a node's 2,000 series.
Names and labels of a series never change, so here each is written once and kept.
"""

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.utils import floatToGoString

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SUFFIX = {"counter": "_total", "info": "_info"}
_TYPE = {"info": "gauge", "unknown": "untyped"}


class Exposition:
    """Renders one registry. `render` may be called from any thread, from one at a time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._heads: dict[str, str] = {}
        self._names: dict[tuple[str, ...], str] = {}

    def render(self) -> bytes:
        """All series as they stand now; samples of when one was created are left out."""
        lines: list[str] = []
        names = self._names
        for family in self._registry.collect():
            lines.append(self._heads.get(family.name) or self._head(family))
            for name, labels, value, *_ in family.samples:
                key = (name, *labels.values())
                known = names.get(key) or self._name(key, labels)
                if known is not _LEFT_OUT:
                    number: str = floatToGoString(value)  # type: ignore[no-untyped-call]
                    lines.append(f"{known}{number}\n")
        if len(names) > 2 * len(lines):  # authorities come and go
            names.clear()
        return "".join(lines).encode()

    def _head(self, family: Metric) -> str:
        name = family.name + _SUFFIX.get(family.type, "")
        meaning = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        head = f"# HELP {name} {meaning}\n# TYPE {name} {_TYPE.get(family.type, family.type)}\n"
        return self._heads.setdefault(family.name, head)

    def _name(self, key: tuple[str, ...], labels: dict[str, str]) -> str:
        name = key[0]
        if name.endswith("_created"):
            return self._names.setdefault(key, _LEFT_OUT)
        shown = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
        return self._names.setdefault(key, f"{name}{{{shown}}} " if shown else f"{name} ")


_LEFT_OUT = "left out"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
