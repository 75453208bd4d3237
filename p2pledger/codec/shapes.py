"""How each annotation is read, written and shown.

A shape reads and writes by source: statements on a variable that hold a plain value (what cbor2 reads and
writes) before and the field's value after, or the other way round. A record puts those of its fields into
one function. The size of the one encoding is an expression, and a number where it is known beforehand.
JSON, which people read, is walked shape by shape.
"""

import enum
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import cbor2

from p2pledger.codec.limits import Length, Range
from p2pledger.codec.source import Lines, Names, Refused, function, indented, refuse_if, total

Json = Any
Convert = Callable[[Any], Any]

_HEADS = ((24, 1), (2**8, 2), (2**16, 3), (2**32, 5), (2**64, 9))
"""Below which number a head takes how many bytes (RFC 8949, section 3)."""


def _head(it: str, least: int, most: int) -> str:
    """The source of the size of the shortest head for the number `it`, which lies between two others."""
    source = ""
    for bound, size in _HEADS:
        if most < bound:
            return f"({source}{size})" if source else str(size)
        if least < bound:
            source += f"{size} if {it} < {bound} else "
    raise AssertionError("no number is above 2**64 - 1")


def head_of(number: int) -> int:
    """The size of the shortest head for a number."""
    return int(_head("", number, number))


class Shape:
    """What one annotation allows. `converts`: a value is not what cbor2 reads and writes for it."""

    nesting = 0
    converts = False

    @cached_property
    def read(self) -> Convert:
        """The value of what cbor2 has read. Raises: Refused."""
        names = Names()
        return function(type(self).__name__, [*self.reading("it", names), "return it"], names)

    @cached_property
    def write(self) -> Convert:
        """What cbor2 writes for a value. Raises: Refused."""
        names = Names()
        return function(type(self).__name__, [*self.writing("it", names), "return it"], names)

    @cached_property
    def size(self) -> Callable[[Any], int]:
        """How many bytes the one encoding of what was read takes."""
        names = Names()
        return function(type(self).__name__, [f"return {self.sizing('it', names)}"], names)

    def reading(self, it: str, names: Names) -> Lines:
        """The statements of `read` on the variable of this name."""
        return [f"{it} = {names.bind(self.read)}({it})"]

    def writing(self, it: str, names: Names) -> Lines:
        """The statements of `write` on the variable of this name."""
        return [f"{it} = {names.bind(self.write)}({it})"] if self.converts else self.reading(it, names)

    def sizing(self, it: str, names: Names) -> str:
        """The expression of `size` on the variable of this name: a number where every value has the same."""
        return f"{names.bind(self.size)}({it})"

    def show(self, value: Any) -> Json:
        """The JSON form of a value."""
        return value

    def parse(self, shown: Json) -> Any:
        """The value of a JSON form. Raises: Refused."""
        return self.read(shown)


class Int(Shape):
    def __init__(self, limits: Range) -> None:
        self.least, self.most = limits.least, limits.most

    def reading(self, it: str, names: Names) -> Lines:
        return refuse_if(
            f"type({it}) is not int or not {self.least} <= {it} <= {self.most}",
            f"not an integer from {self.least} to {self.most}",
        )

    def sizing(self, it: str, names: Names) -> str:
        if self.least >= 0:
            return _head(it, self.least, self.most)
        return _head(f"({it} if {it} >= 0 else ~{it})", 0, max(self.most, ~self.least))


class Bool(Shape):
    def reading(self, it: str, names: Names) -> Lines:
        return refuse_if(f"type({it}) is not bool", "not true or false")

    def sizing(self, it: str, names: Names) -> str:
        return "1"


class Bytes(Shape):
    def __init__(self, length: Length) -> None:
        self.least, self.most = length.least, length.most

    def reading(self, it: str, names: Names) -> Lines:
        return refuse_if(
            f"type({it}) is not bytes or not {self.least} <= len({it}) <= {self.most}",
            f"not {self.least} to {self.most} bytes",
        )

    def sizing(self, it: str, names: Names) -> str:
        length = str(self.most) if self.least == self.most else f"len({it})"
        return total(_head(length, self.least, self.most), length)

    def show(self, value: Any) -> Json:
        return value.hex()

    def parse(self, shown: Json) -> Any:
        if type(shown) is not str or not re.fullmatch("(?:[0-9a-f]{2})*", shown):
            raise Refused("not lower-case hexadecimal")
        return self.read(bytes.fromhex(shown))


class Text(Shape):
    def __init__(self, length: Length, pattern: str | None) -> None:
        self.least, self.most, self.pattern = length.least, length.most, pattern

    def reading(self, it: str, names: Names) -> Lines:
        lines = [
            *refuse_if(f"type({it}) is not str", "not a text"),
            "try:",
            f"    size = len({it}.encode())",
            "except UnicodeEncodeError:",
            "    raise Refused('not a Unicode text') from None",
            *refuse_if(
                f"not {self.least} <= size <= {self.most}",
                f"not a text of {self.least} to {self.most} bytes",
            ),
        ]
        if self.pattern is not None:
            matches = names.bind(re.compile(self.pattern).fullmatch)
            lines += refuse_if(f"not {matches}({it})", f"does not match {self.pattern}")
        return lines

    def sizing(self, it: str, names: Names) -> str:
        return total(f"(size := len({it}.encode()))", _head("size", self.least, self.most))


class Enumeration(Shape):
    converts = True

    def __init__(self, members: type[enum.Enum]) -> None:
        self.members = members

    @property
    def _refusal(self) -> str:
        return f"not a {self.members.__name__}"

    def reading(self, it: str, names: Names) -> Lines:
        member_of = names.bind({member.value: member for member in self.members}.get)
        return [
            f"{it} = {member_of}({it}) if type({it}) is int or type({it}) is str else None",
            *refuse_if(f"{it} is None", self._refusal),
        ]

    def writing(self, it: str, names: Names) -> Lines:
        members = names.bind(self.members)
        return [*refuse_if(f"type({it}) is not {members}", self._refusal), f"{it} = {it}._value_"]

    def sizing(self, it: str, names: Names) -> str:
        sizes = {member.value: len(cbor2.dumps(member.value)) for member in self.members}
        return str(max(sizes.values())) if len({*sizes.values()}) == 1 else f"{names.bind(sizes)}[{it}]"

    def show(self, value: Any) -> Json:
        return value.name.lower()

    def parse(self, shown: Json) -> Any:
        for member in self.members:
            if member.name.lower() == shown:
                return member
        raise Refused(self._refusal)


class Tuple(Shape):
    def __init__(self, item: Shape, length: Length) -> None:
        self.item, self.least, self.most = item, length.least, length.most
        self.nesting, self.converts = item.nesting + 1, item.converts
        self._refusal = f"not a list of {self.least} to {self.most} items"

    def _bounded(self, it: str) -> Lines:
        condition = f"type({it}) is not tuple or not {self.least} <= len({it}) <= {self.most}"
        return refuse_if(condition, self._refusal)

    def reading(self, it: str, names: Names) -> Lines:
        if self.converts:
            read = names.bind(self.item.read)
            return [*self._bounded(it), f"{it} = tuple([{read}(item) for item in {it}])"]
        each = f"{it}_item"
        return [*self._bounded(it), f"for {each} in {it}:", *indented(self.item.reading(each, names))]

    def writing(self, it: str, names: Names) -> Lines:
        if not self.converts:
            return self.reading(it, names)
        write = names.bind(self.item.write)
        return [*self._bounded(it), f"{it} = tuple([{write}(item) for item in {it}])"]

    def sizing(self, it: str, names: Names) -> str:
        each = f"{it}_item"
        item = self.item.sizing(each, names)
        items = f"len({it}) * {item}" if item.isdecimal() else f"sum([{item} for {each} in {it}])"
        return total(_head(f"len({it})", self.least, self.most), items)

    def show(self, value: Any) -> Json:
        return [self.item.show(item) for item in value]

    def parse(self, shown: Json) -> Any:
        if type(shown) is not list or not self.least <= len(shown) <= self.most:
            raise Refused(self._refusal)
        return tuple([self.item.parse(item) for item in shown])


class Optional(Shape):
    def __init__(self, item: Shape) -> None:
        self.item, self.nesting, self.converts = item, item.nesting, item.converts

    def reading(self, it: str, names: Names) -> Lines:
        return [f"if {it} is not None:", *indented(self.item.reading(it, names))]

    def writing(self, it: str, names: Names) -> Lines:
        return [f"if {it} is not None:", *indented(self.item.writing(it, names))]

    def sizing(self, it: str, names: Names) -> str:
        return f"(1 if {it} is None else {self.item.sizing(it, names)})"

    def show(self, value: Any) -> Json:
        return None if value is None else self.item.show(value)

    def parse(self, shown: Json) -> Any:
        return None if shown is None else self.item.parse(shown)
