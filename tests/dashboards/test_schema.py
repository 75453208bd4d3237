"""The dashboards' files against Grafana's published types, by TypeScript's compiler. It takes no Grafana."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.dashboards.pages import FILES, load, panels

pytestmark = pytest.mark.campaign

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
"""Node.js comes with the tests' Python packages."""

PATIENCE_S = 300
STRICT = (
    *("--strict", "--noEmit", "--skipLibCheck"),
    *("--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"),
)


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the schema and a compiler, installed as locked."""
    folder = tmp_path_factory.mktemp("schema")
    for name in ("package.json", "package-lock.json", "schema.ts"):
        shutil.copy(HERE / name, folder)
    done = _run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    assert done.returncode == 0, f"npm ci failed: {done.stderr}"
    return folder


def _run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def faults(compiler: Path, **texts: str) -> list[str]:
    """What the compiler says of pages, by their file's text."""
    for name, text in texts.items():
        literal = f"import type {{ Page }} from './schema';\nexport const page: Page = {text.rstrip()};\n"
        (compiler / f"{name}.ts").write_text(literal, encoding="utf-8")
    names = [f"{name}.ts" for name in texts]
    done = _run(compiler, "node", "node_modules/typescript/bin/tsc", *STRICT, *names)
    assert (done.returncode == 0) == (done.stdout == ""), done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith(" ")]


def test_every_file_is_what_grafana_publishes(compiler: Path) -> None:
    texts = {path.stem: path.read_text(encoding="utf-8") for path in FILES}
    assert len(texts) == 5
    assert faults(compiler, **texts) == []


def _of_first(kind: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda page: next(panel for panel in panels(page) if panel["type"] == kind)


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no-title": lambda page: page.pop("title"),
    "unknown-field": lambda page: page.update(titel="x"),
    "version-is-text": lambda page: page.update(schemaVersion="39"),
    "no-such-variable-type": lambda page: page["templating"]["list"][1].update(type="quary"),
    "no-such-refresh": lambda page: page["templating"]["list"][1].update(refresh=7),
    "no-place": lambda page: _of_first("stat")(page).pop("gridPos"),
    "no-unit": lambda page: _of_first("stat")(page)["fieldConfig"]["defaults"].pop("unit"),
    "no-such-colour-mode": lambda page: _of_first("stat")(page)["options"].update(colorMode="valu"),
    "no-such-panel": lambda page: _of_first("stat")(page).update(type="stats"),
    "no-such-legend": lambda page: _of_first("timeseries")(page)["options"]["legend"].update(placement="top"),
    "no-such-drawing": lambda page: _of_first("timeseries")(page)["fieldConfig"]["defaults"]["custom"].update(
        drawStyle="lines"
    ),
    "no-query": lambda page: _of_first("timeseries")(page)["targets"][0].pop("expr"),
}


def test_a_broken_file_is_found(compiler: Path) -> None:
    """Each break by itself: a compiler that says nothing would pass everything."""
    texts = {}
    for name, break_ in BREAKS.items():
        page = load(next(path for path in FILES if path.stem.endswith("overview")))
        break_(page)
        texts[name] = json.dumps(page)
    said = faults(compiler, **texts)
    assert {line.partition(".ts(")[0] for line in said} == set(BREAKS)
