"""`testnet/.env`: what compose takes where the environment says nothing else. Floor 8.

Read as both composes read it (https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/),
but for values that refer to other variables or run over several lines: the table of endpoints has none.
"""

import re
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(
    r"""
    \s* (?:export\s+)? (?P<name>[A-Za-z_]\w*) \s*=\s*
    (?: '(?P<single>[^']*)' | "(?P<double>[^"]*)" | (?P<bare>[^'"].*?)?? )
    \s* (?:\s\#.*)?
    """,
    re.VERBOSE,
)


def read_env_file(path: Path) -> Mapping[str, str]:
    """Its variables by name; none when there is no such file. Lines that are no assignment are left out."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    return {match["name"]: match["single"] or match["double"] or match["bare"] or "" for match in found}
