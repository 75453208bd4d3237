"""What docs/kubernetes.md tells an operator to type is there to be typed, and every refusal has its row."""

import re
import shlex
from pathlib import Path

import click
import pytest
from p2pledger.cli import main
from p2pledger.kubernetes.refusals import Refusal

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "kubernetes.md").read_text()
TYPED = re.findall(r"^    (p2pledger .+)$|`(p2pledger [a-z]+ .+?)`", TEXT.replace("\\\n", " "), re.MULTILINE)
COMMANDS = sorted({(block or inline).partition("  #")[0].strip() for block, inline in TYPED})


def found(words: list[str]) -> click.Command:
    """The command that words begin with."""
    command: click.Command = main
    for word in words[1:]:
        if not isinstance(command, click.Group):
            break
        if word not in command.commands:
            pytest.fail(f"there is no {' '.join(words)}")
        command = command.commands[word]
    return command


@pytest.mark.parametrize("typed", COMMANDS)
def test_every_command_and_option_exists(typed: str) -> None:
    words = shlex.split(typed.partition(" && ")[0])
    command = found(words)
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert set(used) <= options, f"{command.name}: {set(used) - options}"
    if len(words) > 3 and not isinstance(command, click.Group):
        required = {one.opts[0] for one in command.params if one.required and isinstance(one, click.Option)}
        assert required <= set(used), f"{typed} lacks {required - set(used)}"


def test_the_important_ones_were_looked_at() -> None:
    assert len(COMMANDS) >= 12
    assert {"k8s init", "k8s node", "k8s permit", "authority rotate", "authority ready"} <= {
        " ".join(command.split()[1:3]) for command in COMMANDS
    }


def test_every_refusal_has_a_row_with_its_cure() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]+\. \| [^|]+\. \|$", TEXT, re.MULTILINE)
    assert rows == [refusal.value for refusal in Refusal]
