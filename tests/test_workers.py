"""Tests that start ledgers of processes are all among those that run one after the other."""

import ast
from pathlib import Path

import pytest
from tests.workers import DEAR_TO_PREPARE, LEDGERS_OF_PROCESSES, unit_of

ROOT = Path(__file__).resolve().parent.parent
STARTS = {
    "tests.alerts.watch": {"watched"},
    "tests.dashboards.watch": {"watched_city"},
    "p2pledger.bench.fleet": {"prepared"},
    "p2pledger.bench.scale.processes": {"grow"},
    "p2pledger.testnet.ports": {"claimed_ports"},
    "tests.faults.fleet": {"running", "troubled"},
    "tests.monitoring.testnet": {"testnet"},
    "tests.net.test_testnet": {"launched"},
}
"""By module, what a test starts a ledger of processes with, or takes a block of ports."""


def is_starting(source: str) -> bool:
    """Whether a test file imports something that starts a ledger."""
    return any(
        alias.name in STARTS.get(node.module or "", ())
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def test_what_starts_processes_runs_one_after_the_other() -> None:
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.glob("tests/**/test_*.py")}
    assert files.keys() >= LEDGERS_OF_PROCESSES | DEAR_TO_PREPARE
    starting = {name for name, source in files.items() if is_starting(source)}
    assert len(starting) > 10
    assert starting <= LEDGERS_OF_PROCESSES


@pytest.mark.parametrize(
    ("one", "other", "are_together"),
    [
        ("tests/net/test_testnet.py::test_a", "tests/faults/test_idle.py::test_b[::]", True),
        ("tests/sim/test_campaign.py::test_a", "tests/sim/test_campaign.py::test_b", True),
        ("tests/sim/test_campaign.py::test_a", "tests/benchmarks/test_work.py::test_b", False),
        ("tests/unit/test_codec.py::test_a[1]", "tests/unit/test_codec.py::test_a[2]", False),
    ],
)
def test_what_is_dealt_out_together(one: str, other: str, are_together: bool) -> None:
    assert (unit_of(one) == unit_of(other)) is are_together
