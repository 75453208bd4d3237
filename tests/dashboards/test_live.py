"""Every query of every dashboard and rule, asked of a real Prometheus that watched a city and its faults."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from p2pledger.monitoring.alerts import alerts
from p2pledger.monitoring.recording import recordings
from p2pledger.testnet.control import ask
from p2pledger.testnet.directory import Directory, NotATestnet, open_directory
from p2pledger.testnet.fault import Fault, Kind
from prometheus_client.parser import text_string_to_metric_families
from tests.dashboards.day import TOLD
from tests.dashboards.pages import ROOT, Query, queries
from tests.dashboards.promql import Selector, askable, expand, grouped_by, selectors
from tests.monitoring.prometheus import Prometheus, Series, Target, prometheus

pytestmark = pytest.mark.campaign

PATIENCE_S = 480.0
POLL_S = 0.2
SETTLE_S = 8.0
"""Until rates and rules have seen what was done last."""

NEWCOMERS = (("gateway-3", "gateway"), ("gateway-4", "gateway"))
RULES = ROOT / "deploy" / "monitoring" / "rules" / "p2pledger.yml"
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


@dataclass(frozen=True)
class Watched:
    """What was seen, from its beginning to its end."""

    server: Prometheus
    exposed: dict[str, set[str]]
    """The labels of each series in real nodes' `/metrics`, and of those that rules record."""
    began_s: float
    ended_s: float

    def seen(self, expr: str) -> list[Series]:
        """What an expression was throughout, as a page with this time range draws it."""
        found = self.server.query_range(expr, self.began_s, self.ended_s)
        numbers = [replace(one, points=tuple(p for p in one.points if not math.isnan(p[1]))) for one in found]
        return [one for one in numbers if one.points]


@contextmanager
def city(directory: Path) -> Iterator[Directory]:
    """The city, from the moment when its directory is there."""
    with (directory.parent / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.dashboards.day", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                yield open_directory(directory)
                break
            except NotATestnet:
                assert process.poll() is None and time.monotonic() < deadline, said_in(directory)
                time.sleep(POLL_S)
    finally:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(POLL_S)
        process.wait(PATIENCE_S)


def said_in(directory: Path) -> str:
    return (directory.parent / "said.txt").read_text()


def all_nodes(directory: Directory) -> list[Target]:
    """Those that are there, and those that will join: their ports are known."""
    nodes = replace(directory.plan, newcomers=NEWCOMERS).nodes(directory.path)
    return [
        Target(node.name, urlsplit(node.metrics_url).netloc, node.role.value, directory.genesis.chain_id)
        for node in nodes
    ]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    path = tmp_path_factory.mktemp("d")  # short: there is a socket in it
    with city(path / "net") as directory:
        targets = all_nodes(directory)
        with prometheus(path, targets, rules=[RULES]) as server:
            began_s = time.time()
            _wait_until_told(directory.path)
            break_things(directory.path, server, len(targets))
            time.sleep(SETTLE_S)
            yield Watched(server, {**exposed_by(targets), **recorded_by(server)}, began_s, time.time())


def _wait_until_told(directory: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while TOLD not in (said := said_in(directory)):
        assert "Error" not in said and time.monotonic() < deadline, said
        time.sleep(POLL_S)


def break_things(directory: Path, server: Prometheus, nodes: int) -> None:
    """Each fault until Prometheus has seen what it is to show."""
    server.wait_for("up == 1", nodes)
    ask(directory, Fault(Kind.KILL, ("authority-4",)))
    server.wait_for("increase(p2pledger_consensus_proposals_missed_total[1m]) > 0")
    server.wait_for("increase(p2pledger_consensus_views_skipped_total[1m]) > 0")
    ask(directory, Fault(Kind.KILL, ("authority-3",)))
    server.wait_for("p2pledger_consensus_trouble > 0")
    ask(directory, Fault(Kind.RESTART, ("authority-3", "authority-4")))
    server.wait_for('p2pledger_sync_state{state="in_sync"} == 1', nodes)
    server.wait_for("p2pledger_consensus_is_voting == 1", 4)
    ask(directory, Fault(Kind.TWIN, ("authority-2",)))
    server.wait_for("increase(p2pledger_consensus_evidence_recorded_total[1m]) > 0")


def exposed_by(targets: Sequence[Target]) -> dict[str, set[str]]:
    """What an authority and a gateway export."""
    found: dict[str, set[str]] = {}
    for target in (targets[0], targets[-1]):
        text = httpx.get(f"http://{target.address}/metrics", trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def recorded_by(server: Prometheus) -> dict[str, set[str]]:
    """What recording rules have made of it."""
    return {
        rule.record: {label for one in server.query(rule.record) for label in one.labels}
        for rule in recordings()
    }


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
        **{rule.record: rule.expr for rule in recordings()},
        **{rule.name: rule.expr for rule in alerts()},
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
