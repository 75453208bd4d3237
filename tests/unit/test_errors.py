"""The documented codes are the codes."""

import ast
import re
from pathlib import Path

from p2pledger.errors import Code, InvalidMessage, InvalidTransaction

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `(?P<code>[a-z_]+)` \| (?P<cause>[^|]+) \| (?P<cure>[^|]+) \|$")


def rows(section: str) -> list[re.Match[str]]:
    text = (ROOT / "docs" / "errors.md").read_text()
    part = next(part for part in text.split("\n## ") if part.startswith(section))
    return [row for line in part.splitlines() if (row := ROW.match(line))]


def test_every_code_has_a_cause_and_a_cure():
    assert [row["code"] for row in rows("Codes of the ledger")] == [code.value for code in Code]


def test_every_code_is_used_and_none_is_written_by_hand():
    used: set[str] = set()
    for path in sorted((ROOT / "p2pledger").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "Code"
            ):
                used.add(Code[node.attr].value)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InvalidTransaction":
                assert not isinstance(node.args[0], ast.Constant), f"{path.name}: take the code from Code"
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InvalidMessage":
                codes = [word.value for word in node.keywords if word.arg == "code"]
                used |= {code.value for code in codes if isinstance(code, ast.Constant)}
    assert used - {code.value for code in Code} == set()
    assert {code.value for code in Code} - used - {Code.BAD_SIGNATURE, Code.MALFORMED} == set()


def test_codes_read_as_plain_text():
    error = InvalidTransaction(Code.DUPLICATE, "seven was taken")
    assert (str(error), error.code, error.message) == (
        "duplicate: seven was taken",
        "duplicate",
        "seven was taken",
    )
    assert InvalidMessage("what").code == Code.MALFORMED
