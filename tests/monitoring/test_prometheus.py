"""The Prometheus that other tests look through answers, and says what is missing where it cannot be."""

from pathlib import Path

import httpx
import pytest
from tests.monitoring.prometheus import NoPrometheus, Target, program, prometheus

pytestmark = pytest.mark.campaign
NOBODY = Target("nobody", "127.0.0.1:1", "authority", "here")


def test_it_scrapes_its_targets_and_answers_queries(tmp_path: Path) -> None:
    with prometheus(tmp_path, [NOBODY]) as server:
        (up,) = server.wait_for("up")
        labels = {"job": "p2pledger", "instance": "nobody", "role": "authority", "chain": "here"}
        assert (up.value, up.labels) == (0.0, {"__name__": "up", **labels})
        assert server.targets() == {"nobody": "down"}
        (now,) = server.query("time()")
        assert server.query("up", at=now.value - 3_600) == []
        (series,) = server.query_range("up", now.value - 60, now.value)
        assert {value for _, value in series.points} == {0.0}
        with pytest.raises(httpx.HTTPStatusError, match="parse error"):
            server.query("up{")


def test_alerts_are_seen_pending_firing_and_gone(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups: [{name: g, rules: ["
        "{alert: Down, expr: up == 0, labels: {severity: warning},"
        " annotations: {summary: '{{ $labels.instance }}'}},"
        "{alert: Later, expr: up == 0, for: 1h}, {alert: Never, expr: up == 1}]}]\n"
    )
    with prometheus(tmp_path, [NOBODY], rules=[rules]) as server:
        server.wait_for('ALERTS{alertstate="firing"}')
        alerts = {alert.name: alert for alert in server.alerts()}
        assert {name: alert.state for name, alert in alerts.items()} == {"Down": "firing", "Later": "pending"}
        assert alerts["Down"].labels["severity"] == "warning"
        assert alerts["Down"].annotations == {"summary": "nobody"}
        assert server.rules() == dict.fromkeys(("Down", "Later", "Never"), "ok")


def test_it_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMTOOL", "/nowhere/promtool")
    with pytest.raises(NoPrometheus, match="apt-get install"):
        program("promtool")


def test_what_keeps_it_from_starting_is_told(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: none\n")
    with pytest.raises(NoPrometheus, match=r"rules\.yml"), prometheus(tmp_path, [NOBODY], rules=[rules]):
        pass
