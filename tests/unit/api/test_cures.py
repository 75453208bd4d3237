"""The documented cures are the cures, and every code that the API can answer has one."""

import ast
import re
from pathlib import Path

from p2pledger.api.cures import API_CURES, CURES, LEDGER_CURES
from p2pledger.errors import Code
from p2pledger.node.service import TOO_BUSY, Busy

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| `([a-z_]+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


def table(heading):
    text = (ROOT / "docs" / "errors.md").read_text()
    section = next(part for part in text.split("\n## ") if part.startswith(heading))
    return ROW.findall(section)


def test_the_tables_of_the_documentation_say_the_same():
    assert table("Codes of the ledger") == list(LEDGER_CURES.items())
    assert table("Codes of the API") == list(API_CURES.items())


def test_a_code_stands_in_one_table():
    assert not LEDGER_CURES.keys() & API_CURES.keys(), "the one would hide the other's cure"


def test_every_code_of_the_ledger_has_a_cure():
    assert list(LEDGER_CURES) == [code.value for code in Code]


def test_a_code_that_stands_in_both_tables_has_one_cure():
    both = LEDGER_CURES.keys() & API_CURES.keys()
    assert both == {Code.UNKNOWN_ORGANISATION}
    for code in both:
        assert LEDGER_CURES[code] == API_CURES[code] == CURES[code]


def test_every_code_that_the_api_writes_has_a_cure():
    nodes = [
        node
        for path in sorted((ROOT / "p2pledger" / "api").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
    ]
    refusals = [n for n in nodes if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Refusal"]
    written = {n.args[1].value for n in refusals if isinstance(n.args[1], ast.Constant)}
    assert written <= CURES.keys()
    assert {"body_too_large", "not_final"} <= written
    assert {Busy(1).code, Busy(1, TOO_BUSY).code, Busy(1, Code.TOO_MANY_PENDING).code} <= CURES.keys()
