"""Prometheus' own tool takes the rules, and each alert fires in its cases and stays still in the others.

The cases have the real durations. A name begins with its alert, then says that it fires or does not.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from p2pledger.monitoring.alerts import alerts
from p2pledger.monitoring.pace import Pace
from p2pledger.monitoring.render import write
from tests.monitoring.prometheus import program

pytestmark = pytest.mark.campaign
"""Of `make alerts-test`: `make test` asks for nothing that its prerequisites do not name."""

CASES = Path(__file__).parent / "rules"
FILES = sorted(CASES.glob("*.yml"))
COMMITTED = Path(__file__).resolve().parents[2] / "deploy" / "monitoring" / "rules" / "p2pledger.yml"


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("speed", [1, 10])
def test_promtool_takes_the_rules(tmp_path: Path, speed: int) -> None:
    (written,) = [path for path in write(tmp_path, Pace(speed)) if path.parent.name == "rules"]
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(written))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_promtool_finds_every_case_as_it_says(file: Path) -> None:
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_that_is_wrong_would_be_found(tmp_path: Path) -> None:
    text = (CASES / "nodes.yml").read_text().replace("../../../deploy", str(COMMITTED.parents[2]))
    assert text.count("eval_time: 4m\n") >= 1
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("values: 1x4 0x20", "values: 1x24", 1))
    done = promtool("test", "rules", str(wrong))
    assert done.returncode != 0 and "P2pledgerNodeDown" in done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    fires: set[str] = set()
    stays: set[str] = set()
    for file in FILES:
        for case in yaml.safe_load(file.read_text())["tests"]:
            checks = case.get("alert_rule_test", [])
            expected = [bool(check["exp_alerts"]) for check in checks]
            if not checks:
                continue
            (name,) = {check["alertname"] for check in checks}
            kind = re.fullmatch(rf"{name} (fires|does not fire) .+", case["name"])
            assert kind is not None, case["name"]
            assert any(expected) is (kind[1] == "fires"), case["name"]
            (fires if any(expected) else stays).add(name)
    names = {alert.name for alert in alerts()}
    assert fires == names
    assert stays == names
