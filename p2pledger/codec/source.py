"""Python source that is compiled once for each class, as dataclasses and attrs do it.

What a field may hold is known from its annotation, before any message comes. A function without a loop over
the fields, without a call for each of them or for a record inside, takes a third of the time that walking
their shapes does.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Lines = list[str]
"""Statements, each line indented relative to the first."""


class Reading(NamedTuple):
    """Statements that turn a variable's plain value into the field's.

    `size`: an expression that holds after them, how many bytes the one encoding takes: a number where it is
    the same for every value.
    """

    lines: Lines
    size: str


Part = str | bytes
"""Of an encoding: an expression for bytes, or the bytes themselves."""


class Writing(NamedTuple):
    """Statements that check the value of a variable, and the parts of its encoding, which hold after them."""

    lines: Lines
    parts: list[Part]


class Refused(Exception):
    """A value that its shape does not allow."""


class Names(dict[str, Any]):
    """What compiled source knows by name, beside the builtins and `Refused`.

    Everything that is not the package's own goes in here and never into the text of the source.
    """

    def __init__(self) -> None:
        super().__init__(Refused=Refused)
        self._variables = 0

    def bind(self, value: object) -> str:
        """A name for this value."""
        name = f"_{len(self)}"
        self[name] = value
        return name

    def variable(self, name: str) -> str:
        """A variable that no other statement has: it hides no builtin, whatever a field is called."""
        self._variables += 1
        return f"{name}_{self._variables}"


def indented(lines: Sequence[str]) -> Lines:
    """The same statements one block deeper."""
    return [f"    {line}" for line in lines]


def refuse_if(condition: str, message: str) -> Lines:
    """Statements that raise Refused where this condition holds."""
    return [f"if {condition}:", f"    raise Refused({message!r})"]


def total(*terms: int | str) -> str:
    """The source of a sum of terms, its numbers added up beforehand."""
    unknown = [term for term in terms if isinstance(term, str) and not term.isdecimal()]
    known = sum(int(term) for term in terms if term not in unknown)
    return " + ".join([*unknown, *([str(known)] if known or not unknown else [])])


def sources(parts: Sequence[Part]) -> list[str]:
    """The sources of these parts, with bytes that stand side by side as one."""
    merged: list[Part] = []
    for part in parts:
        if merged and isinstance(part, bytes) and isinstance(merged[-1], bytes):
            merged[-1] += part
        else:
            merged.append(part)
    return [repr(part) if isinstance(part, bytes) else part for part in merged]


def joined(parts: Sequence[Part]) -> str:
    """The source of the bytes that these parts make."""
    each = sources(parts)
    return " + ".join(each) if len(each) <= 2 else f"b''.join(({', '.join(each)}))"


def function(of: str, parameters: str, body: Sequence[str], names: Names) -> Callable[..., Any]:
    """The function of these parameters and statements. `of`: whose it is, for tracebacks."""
    source = "\n".join([f"def compiled({parameters}):", *indented(body)])
    known = dict(names)  # a function whose globals are no plain dict is looked up three times as slowly
    exec(compile(source, f"<codec of {of}>", "exec"), known)  # noqa: S102 - no byte of it is a peer's
    compiled: Callable[..., Any] = known["compiled"]
    return compiled
