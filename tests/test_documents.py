"""The documents point at what is there. `.ci/run` runs the README's commands."""

import ast
import re
import runpy
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("testnet/**/*.md")]
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    missing = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert missing == []


def test_the_tests_that_show_a_guarantee_are_there() -> None:
    named = re.findall(r"`(tests/[^`*]+?)(?:::(\w+))?`", (ROOT / "docs" / "guarantees.md").read_text())
    assert len(named) > 50
    for path, function in named:
        assert (ROOT / path).exists(), path
        assert not function or f"def {function}(" in (ROOT / path).read_text(), function


def test_what_the_judge_says_of_a_broken_promise_is_what_the_guarantees_quote() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    rows = re.findall(
        r"\| (registry|records|custody|programs|consent|governance): (.+) \|$", text, re.MULTILINE
    )
    assert len(rows) > 30
    for module, told in rows:
        books = (ROOT / "p2pledger" / "simulator" / "invariants" / f"{module}.py").read_text()
        assert [one for one in re.findall(r'"([^"]+)"', told) if one not in books] == []


def test_the_readme_shows_both_commands_and_the_runner_finds_all() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "readme.py"))
    commands = script["commands"]((ROOT / "README.md").read_text())
    assert commands[0] == "make testnet"
    assert {"make test", 'make testnet ARGS="--duration 30 --json"'} <= set(commands)
    assert [command for command in commands if script["is_staying"](command)] == ["make testnet"]
    assert not any(command.startswith("curl") and "--fail" not in command for command in commands)


def test_what_the_readme_calls_the_ports_is_what_a_first_testnet_gets() -> None:
    from p2pledger.testnet.directory import Plan

    readme = (ROOT / "README.md").read_text()
    for node in Plan(4, 1, 7_100).nodes(Path("/")):
        assert f"{node.name} " in readme and node.http_url in readme and node.metrics_url in readme


def test_every_configuration_key_is_documented() -> None:
    from p2pledger.node.config import CHECKS

    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    assert [key for keys in CHECKS.values() for key in keys if f"`{key}`" not in text] == []


def _rows_below(document: str, head: str) -> list[list[str]]:
    """The cells of a table of a document that begins with this row."""
    lines = (ROOT / "docs" / document).read_text().split(f"{head}\n", 1)[1].splitlines()[1:]
    rows = takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in re.split(r"\s*\|(?=\s|$)", row)[1:-1]] for row in rows]


def test_the_table_of_series_is_what_a_node_exports() -> None:
    from p2pledger.metrics import Labelled, Metrics
    from prometheus_client import Counter, Gauge, Histogram

    families = [
        each.family if isinstance(each, Labelled) else each
        for each in vars(Metrics(version="0", chain_id="a", node="b")).values()
        if isinstance(each, Counter | Gauge | Histogram | Labelled)
    ]
    exported = [["`build_info`", "info", "version, chain_id, node, allocator", "What runs here."]]
    for family in families:
        (one,) = family.describe()
        name = one.name.removeprefix("p2pledger_") + ("_total" if one.type == "counter" else "")
        exported.append([f"`{name}`", one.type, ", ".join(family._labelnames), one.documentation])
    documented = _rows_below("OPERATIONS.md", "| series | type | labels | what it says |")
    assert documented == exported


def test_the_labels_take_the_values_that_are_documented() -> None:
    from p2pledger.metrics import labels

    lists = {
        tuple(value)
        for name, value in vars(labels).items()
        if isinstance(value, tuple) and name != "STATUSES"
    }
    told = [
        tuple(re.findall("`([^`]+)`", values.partition(": ")[2] or values))
        for _, values in _rows_below("OPERATIONS.md", "| label | values |")
    ]
    assert lists - set(told) == set()


LOG_LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def _events() -> set[tuple[str, str, str]]:
    """Every event that the source logs, with its level and its fields in their order."""
    found = set()
    for path in (ROOT / "p2pledger").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            match call:
                case ast.Call(
                    ast.Attribute(ast.Name("_log"), level), [ast.Constant(event), *_], keywords
                ) if level in LOG_LEVELS:
                    fields = [each.arg for each in keywords if each.arg not in ("extra", "exc_info")]
                    for extra in (each.value for each in keywords if each.arg == "extra"):
                        assert isinstance(extra, ast.Dict), f"{path}: `extra` of {event} is not written out"
                        fields += [ast.literal_eval(key) for key in extra.keys if key is not None]
                    if level == "exception" or any(each.arg == "exc_info" for each in keywords):
                        fields.append("exception")
                    found.add((event, level.replace("exception", "error"), ", ".join(filter(None, fields))))
    return found


def test_the_table_of_log_events_is_what_the_source_logs() -> None:
    rows = _rows_below("OPERATIONS.md", "| event | level | fields | what happened |")
    documented = {(event.strip("`"), level, fields) for event, level, fields, _ in rows}
    assert len(rows) == len(documented)
    assert documented - {("library", "warning and above", "logger, message")} == _events()
