"""Writes what operators watch by as files: the same source gives the same bytes. Floor 5."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from p2pledger.monitoring import cluster, dashboards
from p2pledger.monitoring.alerts import RUNBOOKS, Alert, alerts
from p2pledger.monitoring.pace import IN_EARNEST, Pace
from p2pledger.monitoring.recording import Recording, recordings

RULES = "rules/p2pledger.yml"
HEAD = """\
# Prometheus' rules for p2pledger. Made by `make monitoring` from p2pledger/monitoring: change that.
# Scrape job `p2pledger`, target labels `chain` and `role` (authority or gateway).
"""
OBJECT_HEAD = "# Made by `make monitoring` from p2pledger/monitoring: change that.\n"
WIDTH = 110
"""Longer scalars are folded, which YAML reads back as the one line that they were."""


def files(pace: Pace = IN_EARNEST, runbooks: str = RUNBOOKS) -> Mapping[str, str]:
    """Every file by its path below `deploy/monitoring`. `runbooks`: a directory or URL that holds them."""
    groups, pages = _groups(pace, runbooks), dashboards.files()
    objects = {
        cluster.RULE_OBJECT: cluster.rule_object(groups),
        cluster.OBJECTS: cluster.kustomization(pages),
    }
    written = {name: OBJECT_HEAD + _as_yaml(document) for name, document in objects.items()}
    return {RULES: rule_file(pace, runbooks), **pages, **written}


def write(directory: Path, pace: Pace = IN_EARNEST, runbooks: str = RUNBOOKS) -> list[Path]:
    """Write every file below a directory, which is made; what was written. Raises: OSError."""
    written = []
    for name, text in files(pace, runbooks).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def rule_file(pace: Pace = IN_EARNEST, runbooks: str = RUNBOOKS) -> str:
    """Prometheus' rule file: recording rules, then alerts."""
    return HEAD + _as_yaml({"groups": _groups(pace, runbooks)})


def _as_yaml(document: Mapping[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=WIDTH, allow_unicode=True)


def _groups(pace: Pace, runbooks: str) -> list[dict[str, Any]]:
    # One group: its rules are evaluated in this order, so an alert sees what was recorded just before.
    rules = [*_recorded(recordings(pace)), *_alerting(alerts(pace), pace, runbooks)]
    return [{"name": "p2pledger", "rules": rules}]


def _recorded(rules: Iterable[Recording]) -> Iterable[dict[str, Any]]:
    for rule in rules:
        yield {"record": rule.record, "expr": rule.expr}


def _alerting(rules: Iterable[Alert], pace: Pace, runbooks: str) -> Iterable[dict[str, Any]]:
    for rule in rules:
        yield {
            "alert": rule.name,
            "expr": rule.expr,
            **({"for": pace(rule.for_s)} if rule.for_s else {}),
            "labels": {"severity": rule.severity.value},
            "annotations": {
                "summary": rule.summary,
                "description": rule.description,
                "runbook_url": f"{runbooks.rstrip('/')}/{rule.runbook}",
            },
        }
