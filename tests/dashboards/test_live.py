"""Every query of every dashboard and rule, asked of a real Prometheus that watched a city and its faults."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from p2pledger.monitoring.alerts import alerts
from p2pledger.monitoring.pace import Pace
from p2pledger.monitoring.recording import recordings
from tests.dashboards.pages import Query, queries
from tests.dashboards.promql import Selector, askable, expand, grouped_by, selectors
from tests.dashboards.watch import Watched, watched_city
from tests.monitoring.prometheus import Series

pytestmark = pytest.mark.campaign

VALUES = {"chain": "testnet", "instance": ".+", "__rate_interval": "5s"}
TARGET_LABELS = {"chain", "role", "instance", "job"}
OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
"""Series that no node exports, and their labels beside the target's."""

QUIET = {
    "Forks and divergences",
    "Forks",
    "Divergences",
    "Evidence that waits",
    "Signer refusals",
    "Peers cut off",
    "Share of peer scores below zero",
    "Messages dropped",
    "Pruned height",
    "Server errors",
    "Log lines left out",
}
"""Their data may be 0 throughout: it takes a liar or a broken node to raise them, or it is over at once."""


PACE = Pace(30)
"""No hour passes here: Prometheus has the rules as shipped, and is asked the same with shorter ranges."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_city(tmp_path_factory.mktemp("d")) as seen:  # short: there is a socket in it
        yield seen


def unknown(expr: str, exposed: dict[str, set[str]]) -> list[str]:
    """What an expression names and nothing exports: series, labels of matchers, labels of groupings."""
    said = []
    for selector in selectors(expr):
        if selector.series not in {*exposed, *OF_PROMETHEUS}:
            said.append(f"no series {selector.series}")
        elif more := set(selector.labels) - labels_of(selector, exposed):
            said.append(f"{selector.series} has no label {', '.join(more)}")
    for labels, below in grouped_by(expr):
        if more := labels - {label for selector in below for label in labels_of(selector, exposed)}:
            said.append(f"nothing to group by {', '.join(more)}")
    return said


def labels_of(selector: Selector, exposed: dict[str, set[str]]) -> set[str]:
    own = exposed.get(selector.series) or OF_PROMETHEUS.get(selector.series, set())
    return own | TARGET_LABELS


def wrong_with(query: Query, found: Sequence[Series]) -> Iterator[str]:
    """What keeps a panel from showing what it is for."""
    if not found:
        yield "no data"
    elif query.panel not in QUIET and not any(value for one in found for _, value in one.points):
        yield "nothing but 0"
    names = Counter(_name(query.legend, one) for one in found)
    for name, times in names.items():
        if "{{" in name:
            yield f"a label is missing in {name!r}"
        elif times > 1:
            yield f"{times} series are called {name!r}"


def _name(legend: str, series: Series) -> str:
    """As Grafana writes it; a label that is not there stays as it was."""
    return re.sub(r"{{(\w+)}}", lambda label: series.labels.get(label[1], label[0]), legend)


def rules() -> dict[str, str]:
    """The expression of each rule, by its name."""
    return {
        **{rule.record: rule.expr for rule in recordings(PACE)},
        **{rule.name: rule.expr for rule in alerts(PACE)},
    }


def test_every_series_and_label_is_there(watched: Watched) -> None:
    asked = {str(query): expand(query.expr, VALUES) for query in queries()} | rules()
    assert len(asked) > 120
    assert {name: said for name, expr in asked.items() if (said := unknown(expr, watched.exposed))} == {}


def test_every_panel_shows_something(watched: Watched) -> None:
    faults = {
        str(query): said
        for query in queries()
        if (said := list(wrong_with(query, watched.seen(expand(query.expr, VALUES)))))
    }
    assert faults == {}


def test_every_rule_is_evaluated_and_has_something_to_go_by(watched: Watched) -> None:
    """An alert that compares with nothing never fires: each side of what it compares has to be there."""
    assert {name: health for name, health in watched.server.rules().items() if health != "ok"} == {}
    assert watched.server.rules().keys() == rules().keys()
    asked = [(name, side) for name, expr in rules().items() for side in askable(expr)]
    assert [(name, side) for name, side in asked if not watched.seen(side)] == []


def test_what_is_wrong_with_a_panel_is_found(watched: Watched) -> None:
    def of(expr: str, legend: str) -> list[str]:
        return list(wrong_with(Query("page", "panel", expr, legend), watched.seen(expr)))

    assert of("p2pledger_chain_hight", "x") == ["no data"]
    assert of("p2pledger_chain_height * 0", "{{instance}}") == ["nothing but 0"]
    assert of("max(p2pledger_chain_height)", "{{instance}}") == ["a label is missing in '{{instance}}'"]
    assert of('p2pledger_chain_height{role="authority"}', "{{role}}") == ["4 series are called 'authority'"]
    assert unknown("rate(p2pledger_chain_hight[5m])", watched.exposed) == ["no series p2pledger_chain_hight"]
    assert unknown('sum by (peer) (up{zone="a"})', watched.exposed) == [
        "up has no label zone",
        "nothing to group by peer",
    ]
