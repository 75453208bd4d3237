"""PromQL as the dashboards say it, so that each says the same thing in the same way. Pure.

Two kinds of figures are told apart by their selector. What every node counts of the chain itself is one fact,
seen many times: `on_chain` selects it, and `fact` takes the greatest, as nodes that started later, or are
behind, have counted less. What is a node's own is selected by `at_nodes`, for the nodes that the page shows.
"""

from collections.abc import Sequence

from p2pledger.monitoring.dashboards.model import Target

LIVELY = "$__rate_interval"
"""Grafana's own: as short as the scrape interval and the width of the drawing let it be."""

HOUR = "1h"
"""For what happens seldom: so much of it stays to be seen."""


CHAIN, NODES = 'chain="$chain"', 'instance=~"$instance"'
"""What is chosen at the head of each page."""


def on_chain(series: str, *matchers: str) -> str:
    """A selector over all nodes of the chain. `series` without its prefix."""
    return _selector(f"p2pledger_{series}", (CHAIN, *matchers))


def at_nodes(series: str, *matchers: str) -> str:
    """A selector over the nodes that the page shows."""
    return on_chain(series, NODES, *matchers)


def of_process(series: str, *matchers: str) -> str:
    """As `at_nodes`, of the client library's series, Prometheus' own, and those that rules record."""
    return _selector(series, (CHAIN, NODES, *matchers))


def having(label: str, value: str) -> str:
    """A matcher of one value."""
    return f'{label}="{value}"'


def named(label: str) -> str:
    """A matcher that leaves out what stands for all values that are on no list."""
    return f'{label}!="other"'


def rate(selector: str, window: str = LIVELY) -> str:
    """How fast a counter grows, a second."""
    return f"rate({selector}[{window}])"


def growth(selector: str, window: str = HOUR) -> str:
    """By how much a counter has grown within a window."""
    return f"increase({selector}[{window}])"


def fact(expr: str, *labels: str) -> str:
    """One value of what all nodes tell of the chain: the greatest, for each value of the labels."""
    return f"max{_by(labels)}({expr})"


def total(expr: str, *labels: str) -> str:
    """The sum, for each value of the labels."""
    return f"sum{_by(labels)}({expr})"


def ratio(part: str, whole: str) -> str:
    """One of the other, where both have the same labels."""
    return f"{part} / {whole}"


def greatest(n: int, expr: str) -> str:
    """The n greatest series."""
    return f"topk({n}, {expr})"


def quantile(q: float, histogram: str, *labels: str) -> str:
    """Of a histogram's recent observations. `histogram` is a selector of its `_bucket`."""
    return f"histogram_quantile({q}, {total(rate(histogram), *labels, 'le')})"


def quantiles(histogram: str, qs: Sequence[float] = (0.5, 0.95)) -> tuple[Target, ...]:
    """One target for each quantile."""
    return tuple(Target(quantile(q, histogram), f"p{q * 100:.0f}") for q in qs)


def mean(histogram: str) -> str:
    """The mean of a histogram's recent observations at the nodes that the page shows. Without its suffix."""
    sums, counts = (total(rate(at_nodes(f"{histogram}_{part}"))) for part in ("sum", "count"))
    return ratio(sums, counts)


def _selector(series: str, matchers: Sequence[str]) -> str:
    return f"{series}{{{','.join(matchers)}}}"


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""
