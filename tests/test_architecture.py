"""The house keeps its floors: what may import what, what stays pure, how long things may get.

Every rule is a function from a module's name and source to what is wrong with it, so that the same
functions are tried on planted faults below: a rule that catches nothing would fail here.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "p2pledger"

FLOORS = {
    "types": 0,
    "errors": 0,
    "codec": 1,
    "crypto": 1,
    "merkle": 2,
    "chain": 3,
    "consensus": 4,
    "ledger": 4,
    "directories": 3,
    "metrics": 4,
    "wal": 4,
    "storage": 5,
    "signer": 5,
    "network": 5,
    "allocator": 5,
    "monitoring": 5,
    "vault": 5,
    "node": 6,
    "api": 7,
    "client": 7,
    "backup": 8,
    "daemon": 8,
    "healthcheck": 8,
    "why_stalled": 8,
    "verify_chain": 8,
    "simulator": 8,
    "testnet": 8,
    "bench": 9,
    "backup_command": 9,
    "governance_command": 9,
    "kubernetes": 9,
    "monitoring_command": 9,
    "query_command": 9,
    "testnet_command": 9,
    "verify_command": 9,
    "cli": 10,
    "__main__": 11,
}
CEILINGS = {"client": 3}
"""Packages that look no higher than this, wherever they stand themselves."""

PURE = {name for name, floor in FLOORS.items() if floor <= 4} - {"directories", "metrics", "wal"}
IMPURE = {
    "anyio", "asyncio", "datetime", "fcntl", "glob", "httpx", "importlib", "io", "libp2p", "logging",
    "multiprocessing", "opentelemetry", "os", "pathlib", "prometheus_client", "random", "secrets", "select",
    "shutil", "signal", "socket", "sqlite3", "ssl", "structlog", "subprocess", "sys", "tempfile", "threading",
    "time", "trio", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "__import__", "eval", "exec"}
COMPILES = {"codec.source"}
"""Runs source that it wrote itself, for the package's own classes: once each, and never a message's words."""

LIBP2P_FREE = {"network.seam"}
FILE_LINES_MAX = 420
FUNCTION_LINES_MAX = 70
NAMELESS = {"base", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}

Rule = Callable[[str, str], Iterator[str]]


def sources() -> dict[str, str]:
    """Every module of the package by its name without the `p2pledger.` prefix; `""` is the root."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)] = path.read_text()
    found[""] = found.pop("__init__")
    return found


def imports(name: str, source: str) -> Iterator[str]:
    """The full names of what a module imports, wherever in it; relative ones are resolved."""
    package = ["p2pledger", *name.split(".")]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(part for part in (start, node.module) if part)
            if module == "p2pledger":
                yield from (f"p2pledger.{alias.name}" for alias in node.names)
            else:
                yield module


def breaks_floors(name: str, source: str) -> Iterator[str]:
    """A module imports only from lower floors or from its own package."""
    own = name.split(".")[0]
    ceiling = CEILINGS.get(own, FLOORS.get(own, 0) - 1)
    for imported in imports(name, source):
        root, _, rest = imported.partition(".")
        target = rest.split(".")[0]
        if root != "p2pledger" or target in ("", "__version__", own):
            continue
        if target not in FLOORS:
            yield f"{name} imports {imported}, which stands on no floor"
        elif FLOORS[target] > ceiling:
            yield f"{name} (floor {FLOORS.get(own, 0)}) imports {imported} (floor {FLOORS[target]})"


def stands_nowhere(name: str, source: str) -> Iterator[str]:
    """Every top-level name has a floor."""
    if name and name.split(".")[0] not in FLOORS:
        yield f"{name} stands on no floor"


def is_impure(name: str, source: str) -> Iterator[str]:
    """The pure floors know no clock, file, socket, random number, task or log."""
    if name and name.split(".")[0] not in PURE:
        return
    for imported in imports(name, source):
        if imported.split(".")[0] in IMPURE:
            yield f"{name} is pure and imports {imported}"
    forbidden = IMPURE_CALLS - {"exec"} if name in COMPILES else IMPURE_CALLS
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in forbidden:
            yield f"{name} is pure and calls {node.func.id}"


def knows_libp2p(name: str, source: str) -> Iterator[str]:
    """Only the network package knows libp2p, and not its seam."""
    if name.split(".")[0] == "network" and name not in LIBP2P_FREE:
        return
    for imported in imports(name, source):
        if imported.split(".")[0] == "libp2p":
            yield f"{name} imports {imported}"


def knows_tracing(name: str, source: str) -> Iterator[str]:
    """Only one module knows OpenTelemetry: nobody else imports it, or pays for it."""
    for imported in imports(name, source):
        if imported.split(".")[0] == "opentelemetry" and name != "node.tracing":
            yield f"{name} imports {imported}"


def is_long(name: str, source: str) -> Iterator[str]:
    """Files and functions that a reader can hold in mind."""
    if (lines := source.count("\n")) > FILE_LINES_MAX:
        yield f"{name} has {lines} lines, {FILE_LINES_MAX} at most"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{name}.{node.name} has {lines} lines, {FUNCTION_LINES_MAX} at most"


def is_nameless(name: str, source: str) -> Iterator[str]:
    """A file is named after its idea."""
    for part in name.split("."):
        if part.strip("_") in NAMELESS:
            yield f"{name}: {part!r} says nothing about what is in it"


RULES: list[Rule] = [
    breaks_floors,
    stands_nowhere,
    is_impure,
    knows_libp2p,
    knows_tracing,
    is_long,
    is_nameless,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    modules = sources()
    assert {"", "codec", "chain.genesis", "cli"} <= modules.keys(), "the package was not found"
    assert [fault for name, source in modules.items() for fault in rule(name, source)] == []


PLANTED: list[tuple[Rule, str, str]] = [
    (breaks_floors, "chain.block", "from p2pledger.ledger import machine"),
    (breaks_floors, "ledger.machine", "from p2pledger.consensus.core import Core"),
    (breaks_floors, "consensus.core", "import p2pledger.ledger.state"),
    (breaks_floors, "codec", "from p2pledger import crypto"),
    (breaks_floors, "chain.vote", "from ..storage import store"),
    (breaks_floors, "chain.vote", "def later():\n    from p2pledger.node import loop"),
    (breaks_floors, "node.main", "from p2pledger.api import app"),
    (breaks_floors, "client.plan", "from p2pledger.ledger.machine import Machine"),
    (breaks_floors, "", "from p2pledger.types import Hash\nfrom p2pledger.cli import main"),
    (breaks_floors, "node.main", "from p2pledger.attic import box"),
    (stands_nowhere, "attic.box", ""),
    (is_impure, "consensus.core", "import time"),
    (is_impure, "chain.block", "from time import monotonic as now"),
    (is_impure, "ledger.machine", "def later():\n    import os.path"),
    (is_impure, "merkle", "import trio"),
    (is_impure, "ledger.modules.records", "DATA = open('x').read()"),
    (is_impure, "codec.shapes", "exec('x = 1')"),
    (is_impure, "codec.source", "eval('1')"),
    (knows_libp2p, "node.loop", "import libp2p.host"),
    (knows_libp2p, "network.seam", "from libp2p import new_host"),
    (is_impure, "ledger.machine", "from opentelemetry import trace"),
    (knows_tracing, "node.pool", "def later():\n    from opentelemetry.trace import Span"),
    (is_long, "chain.block", "\n" * (FILE_LINES_MAX + 1)),
    (is_long, "chain.block", "async def f():\n" + "    pass\n" * FUNCTION_LINES_MAX),
    (is_nameless, "node.utils", ""),
    (is_nameless, "chain.base", ""),
]


@pytest.mark.parametrize(("rule", "name", "source"), PLANTED)
def test_a_planted_fault_is_caught(rule: Rule, name: str, source: str) -> None:
    assert list(rule(name, source)) != []


SOUND: list[tuple[Rule, str, str]] = [
    (breaks_floors, "chain.block", "from p2pledger.chain.vote import Vote\nfrom p2pledger import merkle"),
    (breaks_floors, "cli", "from p2pledger import __version__\nfrom p2pledger.node import main"),
    (breaks_floors, "client.plan", "from p2pledger.chain.genesis import Genesis\nfrom .other import x"),
    (is_impure, "metrics", "import prometheus_client"),
    (is_impure, "codec.source", "exec('x = 1')"),
    (is_impure, "storage.sqlite", "import sqlite3"),
    (knows_libp2p, "network.host", "import libp2p"),
    (knows_tracing, "node.tracing", "import opentelemetry.trace"),
    (is_long, "chain.block", "def f():\n" + "    pass\n" * (FUNCTION_LINES_MAX - 1)),
    (is_nameless, "chain.authority", ""),
]


@pytest.mark.parametrize(("rule", "name", "source"), SOUND)
def test_what_is_sound_passes(rule: Rule, name: str, source: str) -> None:
    assert list(rule(name, source)) == []
