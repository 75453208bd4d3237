"""What a watch takes for a healthy network: nothing of ours fires, whatever else it looks for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from p2pledger.monitoring.alerts import alerts
from tests.alerts.watch import OF_A_BUSY_MACHINE, Watch
from tests.monitoring.prometheus import Prometheus, Target, prometheus

pytestmark = pytest.mark.campaign
NOBODY = Target("nobody", "127.0.0.1:1", "authority", "here")
RULES = """groups: [{name: g, rules: [
  {alert: P2pledgerMeshThin, expr: up == 0}, {alert: P2pledgerLoopLag, expr: up == 0},
  {alert: Other, expr: up == 0}
]}]
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Prometheus]:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    with prometheus(tmp_path, [NOBODY], rules=[rules]) as running:
        running.wait_for('ALERTS{alertstate="firing"}', count=3)
        yield running


def test_an_alert_that_nobody_looked_for_is_no_calm(server: Prometheus) -> None:
    watch = Watch(server, frozenset({"P2pledgerNodeDown"}))
    with pytest.raises(AssertionError, match="P2pledgerMeshThin"):
        watch.stays_calm(for_s=1)


def test_what_a_busy_machine_raises_counts_only_where_it_is_looked_for(server: Prometheus) -> None:
    calm = Watch(server, frozenset({"P2pledgerNodeDown"}))
    assert calm.of_ours() == {("P2pledgerMeshThin", "nobody")}
    looking = Watch(server, frozenset({"P2pledgerLoopLag"}))
    assert looking.of_ours() == {("P2pledgerMeshThin", "nobody"), ("P2pledgerLoopLag", "nobody")}


def test_what_a_busy_machine_raises_is_named_as_the_rules_name_it() -> None:
    assert {alert.name for alert in alerts()} > OF_A_BUSY_MACHINE
