"""What a text in Markdown tells its reader to type: commands of `p2pledger`, and paths of a node's API."""

import re
import shlex
from collections.abc import Iterator

import click
from markdown_it import MarkdownIt
from p2pledger.api.routes import ROUTES
from p2pledger.cli import main

_COMMAND = re.compile(r"(?<![\w/.-])p2pledger (?=[a-z])([^;#`|]*)")
_PATH = re.compile(r"/(?:v1|healthz)/[\w/.-]*\w")
_ROUTES = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route))) for route in ROUTES]


def code(text: str) -> Iterator[str]:
    """Each line of its blocks of code, and each span of code, which may go on in its next line."""
    for part in MarkdownIt().parse(text):
        if part.type in ("code_block", "fence"):
            yield from part.content.splitlines()
        for span in part.children or ():
            if span.type == "code_inline":
                yield span.content


def not_there(text: str) -> list[str]:
    """Commands that the command line does not have, or not with such an option; paths that the API lacks."""
    wrong = []
    for line in code(text):
        wrong += [words for words in _COMMAND.findall(line) if not _is_a_command(shlex.split(words))]
        wrong += [path for path in _PATH.findall(line) if not any(r.fullmatch(path) for r in _ROUTES)]
    return wrong


def _is_a_command(words: list[str]) -> bool:
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return False
        command, words = found, words[1:]
    options = {name for one in command.params if isinstance(one, click.Option) for name in one.opts}
    return {word.partition("=")[0] for word in words if word.startswith("-")} <= options
