"""Alerts ask for what nodes export, say something of use, and each has a runbook."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from p2pledger.cli import FAULTS
from p2pledger.monitoring.alerts import RUNBOOKS, Alert, Severity, alerts
from p2pledger.monitoring.pace import Pace
from p2pledger.monitoring.recording import recordings
from p2pledger.testnet.compose.faults import ELSEWHERE
from p2pledger.testnet.fault import Kind
from tests.dashboards.pages import queries
from tests.unit.monitoring.series import asked, exported, unknown
from tests.unit.monitoring.told import code, not_there

ROOT = Path(__file__).resolve().parents[3]
SECTIONS = ["## What it means", "## How to look", "## How to mend"]
SHARED = "README.md"
"""What all runbooks share: where a log is, how to try one on a testnet."""
THERE = exported()


def by_name(alert: Alert) -> str:
    return alert.name


def test_there_are_some_and_no_two_of_one_name() -> None:
    names = [alert.name for alert in alerts()]
    assert len(names) >= 20 and len(set(names)) == len(names)
    assert {alert.severity for alert in alerts()} == set(Severity)


@pytest.mark.parametrize("alert", alerts(), ids=by_name)
def test_an_alert_asks_only_for_what_is_there(alert: Alert) -> None:
    assert next(asked(alert.expr), None) is not None
    assert unknown(alert.expr, THERE) == []


def test_what_is_not_there_would_be_noticed() -> None:
    assert unknown('rate(p2pledger_nothing_total[5m]) / up{job="p2pledger"}', THERE) == [
        "p2pledger_nothing_total"
    ]
    assert unknown('p2pledger_mempool_txs_received_total{result="mempool_ful"}', THERE) == [
        'p2pledger_mempool_txs_received_total{result="mempool_ful"}'
    ]
    assert unknown('p2pledger_mempool_txs{topic="blocks"}', THERE) == [
        'p2pledger_mempool_txs{topic="blocks"}'
    ]
    assert unknown('up{role="witness"}', THERE) == ['up{role="witness"}']
    assert unknown("chain:p2pledger_nothing:max", THERE) == ["chain:p2pledger_nothing:max"]


@pytest.mark.parametrize("alert", alerts(), ids=by_name)
def test_an_alert_says_where(alert: Alert) -> None:
    assert "$labels." in alert.summary
    assert alert.summary != alert.description and "$labels.chain" in alert.summary + alert.description


@pytest.mark.parametrize("alert", alerts(), ids=by_name)
def test_an_alert_has_a_runbook_of_three_parts(alert: Alert) -> None:
    text = (ROOT / RUNBOOKS / alert.runbook).read_text()
    assert text.startswith(f"# {alert.name}\n")
    assert re.findall(r"^## .*", text, re.MULTILINE) == SECTIONS
    assert f"{alert.severity.value}" in text.split("## ")[0]


@pytest.mark.parametrize("alert", alerts(), ids=by_name)
def test_how_to_look_begins_with_what_to_type(alert: Alert) -> None:
    """As a block of code, all of it: where the first line is a paragraph, so are those below it."""
    parts = MarkdownIt().parse((ROOT / RUNBOOKS / alert.runbook).read_text())
    (look,) = [at for at, part in enumerate(parts) if part.content == SECTIONS[1].removeprefix("## ")]
    assert [part.type for part in parts[look : look + 3]] == ["inline", "heading_close", "code_block"]


@pytest.mark.parametrize("alert", alerts(), ids=by_name)
def test_a_runbook_names_what_is_there(alert: Alert) -> None:
    text = (ROOT / RUNBOOKS / alert.runbook).read_text()
    assert [name for name, _ in asked(text) if name not in THERE] == []
    assert not_there(text) == []
    assert set(re.findall(r"\btestnet fault\s+([a-z]+)", text)) <= set(FAULTS)
    assert set(re.findall(r"\bP2pledger\w+", text)) <= {other.name for other in alerts()}


@pytest.mark.parametrize("alert", alerts(), ids=by_name)
def test_a_log_is_where_the_shared_passage_says(alert: Alert) -> None:
    """A node logs to standard error: it depends on who runs it where that goes."""
    text = (ROOT / RUNBOOKS / alert.runbook).read_text()
    assert f"({SHARED}#where-the-log-is)" in text and "node.log" not in text


def test_the_shared_passage_says_it_for_processes_compose_and_kubernetes() -> None:
    shared = (ROOT / RUNBOOKS / SHARED).read_text()
    assert not_there(shared) == []
    told = set(code(shared.split("\n## Where the log is\n")[1].split("\n## ")[0]))
    for words in ("journalctl -u", "testnet/testnet logs", "kubectl -n NAMESPACE logs", "logs --previous"):
        assert any(words in one for one in told), words


@pytest.mark.parametrize("alert", alerts(), ids=by_name)
def test_a_fault_is_named_for_processes_and_for_containers(alert: Alert) -> None:
    spans = list(code((ROOT / RUNBOOKS / alert.runbook).read_text()))
    of_processes = {one.split("fault ")[1] for one in spans if one.startswith("p2pledger testnet fault")}
    of_containers = {one.split("fault ")[1] for one in spans if one.startswith("testnet/testnet fault")}
    # A network without links that is gone is silent as it is.
    can_be = {one.removesuffix(" --silent") for one in of_processes if Kind(one.split()[0]) not in ELSEWHERE}
    assert of_containers == can_be


@pytest.mark.parametrize(
    "told",
    [
        "`p2pledger query custody open-discrepancies`",
        "`p2pledger\nwhy-stuck`",
        "`p2pledger testnet faults kill`",
        "`p2pledger why-stalled --nodes URL`",
        "Do\n\n    p2pledger verify-chains HOME    # twice\n",
        "`curl URL/v1/block/7`",
        "`/healthz/alive`",
    ],
)
def test_what_cannot_be_typed_would_be_noticed(told: str) -> None:
    assert len(not_there(told)) == 1


def test_what_can_be_typed_is_passed() -> None:
    assert not_there("`p2pledger testnet fault kill a --for 3; curl URL/v1/blocks/7`, `/healthz/live`") == []
    assert not_there("`p2pledger query custody.open-discrepancies --api URL`, `p2pledger query`") == []


def test_a_runbook_asks_for_the_buckets_that_the_pages_ask_for() -> None:
    """Zero is the score of a healthy peer: no reader sees which of two neighbours is meant."""

    def buckets(text: str) -> set[tuple[str, str]]:
        return {
            (name, value) for name, matchers in asked(text) for label, _, value in matchers if label == "le"
        }

    told = buckets("".join((ROOT / RUNBOOKS / alert.runbook).read_text() for alert in alerts()))
    assert told and told <= buckets(" ".join(query.expr for query in queries()))


def test_the_table_of_alerts_is_complete() -> None:
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    rows = re.findall(r"^\| \[(P2pledger\w+)\]\((\S+)\) \| (\w+) \| (\w*) \|", text, re.MULTILINE)
    assert rows == [
        (
            alert.name,
            f"runbooks/{alert.runbook}",
            alert.severity.value,
            Pace()(alert.for_s) if alert.for_s else "",
        )
        for alert in alerts()
    ]


def test_there_is_no_runbook_without_its_alert() -> None:
    ours = {alert.runbook for alert in alerts()} | {SHARED}
    assert {path.name for path in (ROOT / RUNBOOKS).iterdir()} == ours


def test_every_range_follows_the_speed() -> None:
    ranges = re.compile(r"\[(\w+)\]|offset (\w+)|, (\d+)\) <")
    for real, fast in zip(alerts(), alerts(Pace(10)), strict=True):
        assert len(ranges.findall(real.expr)) == len(ranges.findall(fast.expr))
        assert not set(ranges.findall(real.expr)) & set(ranges.findall(fast.expr)), real.name
        assert ranges.sub("", real.expr) == ranges.sub("", fast.expr)
    for one, other in zip(recordings(), recordings(Pace(10)), strict=True):
        assert not set(ranges.findall(one.expr)) & set(ranges.findall(other.expr)), one.record
