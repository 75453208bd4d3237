"""What is written is what is committed, and at another speed the same rules, faster."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from p2pledger.cli import main
from p2pledger.monitoring import dashboards
from p2pledger.monitoring.alerts import alerts
from p2pledger.monitoring.cluster import OBJECTS, RULE_OBJECT
from p2pledger.monitoring.pace import Pace
from p2pledger.monitoring.recording import recordings
from p2pledger.monitoring.render import RULES, files, rule_file

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ROOT / "deploy" / "monitoring"


def rules_of(text: str) -> list[dict]:
    (group,) = yaml.safe_load(text)["groups"]
    return group["rules"]


def test_what_is_committed_is_what_the_source_gives() -> None:
    for name, text in files().items():
        assert (COMMITTED / name).read_text() == text, f"{name} is out of date: make monitoring"


def test_every_rule_is_in_the_file_and_recordings_come_first() -> None:
    written = rules_of(rule_file())
    names = [rule.get("record") or rule.get("alert") for rule in written]
    assert names == [rule.record for rule in recordings()] + [alert.name for alert in alerts()]
    assert [rule["expr"] for rule in written] == [rule.expr for rule in (*recordings(), *alerts())]


def test_a_cluster_is_given_the_same_rules_and_every_page() -> None:
    written = files()
    rule = yaml.safe_load(written[RULE_OBJECT])
    assert (rule["kind"], rule["spec"]) == ("PrometheusRule", yaml.safe_load(written[RULES]))
    objects = yaml.safe_load(written[OBJECTS])
    assert objects["resources"] == [RULE_OBJECT]
    pages = [page for made in objects["configMapGenerator"] for page in made["files"]]
    assert pages == sorted(dashboards.files())
    names = [made["name"] for made in objects["configMapGenerator"]]
    assert len(set(names)) == len(names) and "p2pledger-overview-dashboard" in names


def test_the_command_writes_the_rules_at_a_speed_with_runbooks_elsewhere(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "new"), "--speed", "10", "--runbooks", "https://docs.city.example/runbooks/"]
    done = CliRunner().invoke(main, ["monitoring", "render", *arguments])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "new" / RULES) in done.output.splitlines()
    written = (tmp_path / "new" / RULES).read_text()
    assert written == rule_file(Pace(10), "https://docs.city.example/runbooks")
    down = next(rule for rule in rules_of(written) if rule.get("alert") == "P2pledgerNodeDown")
    assert down["for"] == "12s"
    assert down["annotations"]["runbook_url"] == "https://docs.city.example/runbooks/P2pledgerNodeDown.md"


@pytest.mark.parametrize("document", ["compose.md", "kubernetes.md"])
def test_what_operators_are_told_to_type_makes_urls_of_runbooks(tmp_path: Path, document: str) -> None:
    (typed,) = re.findall(
        r"^ {4}(?:\.venv/bin/)?p2pledger (monitoring render deploy/monitoring .*)$",
        (ROOT / "docs" / document).read_text(),
        re.MULTILINE,
    )
    done = CliRunner().invoke(main, shlex.split(typed.replace("deploy/monitoring", str(tmp_path))))
    assert done.exit_code == 0, done.output
    for name in (RULES, RULE_OBJECT):
        urls = re.findall(r"runbook_url: (\S+)", (tmp_path / name).read_text())
        assert len(urls) == len(alerts())
        assert all(re.fullmatch(r"https://\S+/docs/runbooks/P2pledger\w+\.md", url) for url in urls)
        assert [url for url in urls if not (ROOT / url[url.index("docs/") :]).exists()] == []


def test_the_command_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("a file")
    done = CliRunner().invoke(main, ["monitoring", "render", str(tmp_path)])
    assert done.exit_code == 1 and "name a directory that can be written" in done.output
    assert CliRunner().invoke(main, ["monitoring", "render", str(tmp_path), "--speed", "0"]).exit_code == 2
