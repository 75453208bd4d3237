"""The dashboards' files as they are shipped, read as Grafana reads them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "deploy" / "monitoring" / "dashboards").glob("*.json"))


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    page: str
    panel: str
    expr: str
    legend: str

    def __str__(self) -> str:
        return f"{self.page} / {self.panel}: {self.expr}"


def load(path: Path) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return page


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of a page, rows left out."""
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    """Every query of every page."""
    for path in FILES:
        page = load(path)
        for panel in panels(page):
            for target in panel["targets"]:
                yield Query(page["uid"], panel["title"], target["expr"], target["legendFormat"])


def variables(page: dict[str, Any]) -> set[str]:
    """The names of what can be chosen on a page."""
    return {variable["name"] for variable in page["templating"]["list"]}
