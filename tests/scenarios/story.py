"""Reads a story and tells it anew: the same lines, with what the cores do now below each command.

A line that begins with `#` is prose, an indented line is output, any other line is a command.
"""

from p2pledger.errors import InvalidMessage
from tests.scenarios.commands import Script
from tests.scenarios.names import Unknown


class StoryError(Exception):
    """A story that cannot be told: the line, and what is wrong with it."""


def retell(text: str) -> str:
    """The same story with the outputs of today.

    Raises: StoryError at a line that is no command, or after which what must hold in every story does not.
    """
    script = Script()
    told: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1] == " ":
            continue
        told.append(line.rstrip())
        if line.strip() and not line.startswith("#"):
            try:
                told += script.do(line.strip())
            except (Unknown, ValueError, KeyError, InvalidMessage, AssertionError) as error:
                raise StoryError(f"line {number}, {line!r}: {error}") from error
    return "\n".join(told) + "\n"
