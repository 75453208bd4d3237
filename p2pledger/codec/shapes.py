"""How each annotation is read, written and shown.

A shape reads and writes by source: statements on a variable that hold a plain value (what cbor2 reads and
writes) before and the field's value after, or the other way round. A record puts those of its fields, and
of the records among them, into one function. Reading works out the size of the one encoding on the way.
JSON, which people read, is walked shape by shape.
"""

import enum
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import cbor2

from p2pledger.codec.limits import Length, Range
from p2pledger.codec.source import Lines, Names, Reading, Refused, function, indented, refuse_if, total

Json = Any
Read = Callable[[Any], tuple[Any, int]]
ReadAll = Callable[[Iterable[Any], Iterable[int]], list[Any]]
Write = Callable[[Any], Any]

TEXTS_MAX = 4_096
"""Texts that each field remembers as good: a ledger has a few dozen kinds, schemas and organisations."""

_HEADS = ((24, 1), (2**8, 2), (2**16, 3), (2**32, 5), (2**64, 9))
"""Below which number a head takes how many bytes (RFC 8949, section 3)."""


def _head(it: str, least: int, most: int) -> str:
    """The source of the size of the shortest head for the number `it`, which lies between two others.

    The longest stands first: most numbers are small, or are times.
    """
    sizes = [(bound, size) for bound, size in _HEADS if least < bound]
    sizes = sizes[: next(i for i, (bound, _) in enumerate(sizes) if most < bound) + 1]
    (_, last), shorter = sizes[-1], sizes[:-1]
    if not shorter:
        return str(last)
    ladder = "".join(f"{size} if {it} < {bound} else " for bound, size in shorter[:-1])
    bound, size = shorter[-1]
    return f"({last} if {it} >= {bound} else {ladder}{size})"


def head_of(number: int) -> int:
    """The size of the shortest head for a number."""
    return next(size for bound, size in _HEADS if number < bound)


class Shape:
    """What one annotation allows. `converts`: a value is not what cbor2 reads and writes for it."""

    nesting = 0
    converts = False
    name = "field"
    """Whose the compiled functions are, for tracebacks."""

    @cached_property
    def read(self) -> Read:
        """The value of what cbor2 has read, and the size of its one encoding. Raises: Refused."""
        names = Names()
        lines, size = self.reading("it", names)
        return function(self.name, "it", [*lines, f"return it, {size}"], names)

    @cached_property
    def read_all(self) -> ReadAll:
        """The values of many, each of which was this long. Raises: Refused."""
        names = Names()
        lines, size = self.reading("it", names)
        each = [*lines, *refuse_if(f"{size} != length", "not the canonical encoding"), "append(it)"]
        body = ["values = []", "append = values.append"]
        body += ["for it, length in zip(plain, lengths):", *indented(each), "return values"]
        return function(self.name, "plain, lengths", body, names)

    @cached_property
    def write(self) -> Write:
        """What cbor2 writes for a value. Raises: Refused."""
        names = Names()
        return function(self.name, "it", [*self.writing("it", names), "return it"], names)

    def reading(self, it: str, names: Names) -> Reading:
        """The statements of `read` on the variable of this name."""
        raise NotImplementedError

    def writing(self, it: str, names: Names) -> Lines:
        """The statements of `write` on the variable of this name."""
        return self.reading(it, names).lines

    def show(self, value: Any) -> Json:
        """The JSON form of a value."""
        return value

    def parse(self, shown: Json) -> Any:
        """The value of a JSON form. Raises: Refused."""
        return self.read(shown)[0]


class Int(Shape):
    def __init__(self, limits: Range) -> None:
        self.least, self.most = limits.least, limits.most

    def reading(self, it: str, names: Names) -> Reading:
        lines = refuse_if(
            f"type({it}) is not int or not {self.least} <= {it} <= {self.most}",
            f"not an integer from {self.least} to {self.most}",
        )
        if self.least >= 0:
            return Reading(lines, _head(it, self.least, self.most))
        return Reading(lines, _head(f"({it} if {it} >= 0 else ~{it})", 0, max(self.most, ~self.least)))


class Bool(Shape):
    def reading(self, it: str, names: Names) -> Reading:
        return Reading(refuse_if(f"type({it}) is not bool", "not true or false"), "1")


class Bytes(Shape):
    def __init__(self, length: Length) -> None:
        self.least, self.most = length.least, length.most
        self.refusal = f"not {self.least} to {self.most} bytes"

    def reading(self, it: str, names: Names) -> Reading:
        if self.least == self.most:
            lines = refuse_if(f"type({it}) is not bytes or len({it}) != {self.most}", self.refusal)
            return Reading(lines, str(head_of(self.most) + self.most))
        size = names.variable("size")
        bounds = f"{self.least} <= ({size} := len({it})) <= {self.most}"
        lines = refuse_if(f"type({it}) is not bytes or not {bounds}", self.refusal)
        return Reading(lines, total(_head(size, self.least, self.most), size))

    def show(self, value: Any) -> Json:
        return value.hex()

    def parse(self, shown: Json) -> Any:
        if type(shown) is not str or not re.fullmatch("(?:[0-9a-f]{2})*", shown):
            raise Refused("not lower-case hexadecimal")
        return super().parse(bytes.fromhex(shown))


class _Sizes(dict[str, int]):
    """The sizes of the encodings of good texts. What is not in it yet is judged. Raises: Refused."""

    def __init__(self, length: Length, pattern: str | None) -> None:
        super().__init__()
        self._least, self._most = length.least, length.most
        self._pattern = None if pattern is None else re.compile(pattern)

    def __missing__(self, text: str) -> int:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise Refused("not a Unicode text") from None
        if not self._least <= size <= self._most:
            raise Refused(f"not a text of {self._least} to {self._most} bytes")
        if self._pattern is not None and not self._pattern.fullmatch(text):
            raise Refused(f"does not match {self._pattern.pattern}")
        if len(self) >= TEXTS_MAX:  # whoever fills it with texts of its own makes it no slower than without
            self.clear()
        self[text] = size = head_of(size) + size
        return size


class Text(Shape):
    def __init__(self, length: Length, pattern: str | None) -> None:
        self._sizes = _Sizes(length, pattern)

    def reading(self, it: str, names: Names) -> Reading:
        size = names.variable("size")
        lines = refuse_if(f"type({it}) is not str", "not a text")
        return Reading([*lines, f"{size} = {names.bind(self._sizes)}[{it}]"], size)


class Enumeration(Shape):
    converts = True

    def __init__(self, members: type[enum.Enum]) -> None:
        self.members = members
        self._refusal = f"not a {members.__name__}"

    def reading(self, it: str, names: Names) -> Reading:
        member_of = names.bind({member.value: member for member in self.members})
        sizes = {member.value: len(cbor2.dumps(member.value)) for member in self.members}
        types = [names.bind(each) for each in {type(value) for value in sizes}]
        # True is equal to 1, and finds what stands under it.
        lines = refuse_if(" and ".join(f"type({it}) is not {each}" for each in types), self._refusal)
        size = str(max(sizes.values()))
        if len({*sizes.values()}) > 1:
            size = names.variable("size")
            lines.append(f"{size} = {names.bind(sizes)}.get({it})")
        lines += ["try:", f"    {it} = {member_of}[{it}]"]
        lines += ["except KeyError:", f"    raise Refused({self._refusal!r}) from None"]
        return Reading(lines, size)

    def writing(self, it: str, names: Names) -> Lines:
        members = names.bind(self.members)
        return [*refuse_if(f"type({it}) is not {members}", self._refusal), f"{it} = {it}._value_"]

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

    def _each(self, it: str, step: Lines, each: str) -> Lines:
        """Statements for each of its items, which they turn into others if this shape converts."""
        if not self.converts:
            return [f"for {each} in {it}:", *indented(step)]
        return [f"if {it}:", *indented(self._made(it, step, each))]

    def _made(self, it: str, step: Lines, each: str) -> Lines:
        made = f"{each}_made"
        step = [*step, f"{made}.append({each})"]
        return [f"{made} = []", f"for {each} in {it}:", *indented(step), f"{it} = tuple({made})"]

    def reading(self, it: str, names: Names) -> Reading:
        each, size = names.variable("item"), names.variable("size")
        item, head = self.item.reading(each, names), _head(f"len({it})", self.least, self.most)
        if not item.size.isdecimal():
            step = [*item.lines, f"{size} += {item.size}"]
            lines = [*self._bounded(it), f"{size} = 0", *self._each(it, step, each)]
            return Reading(lines, total(head, size))
        lines = [*self._bounded(it), *self._each(it, item.lines, each)]
        return Reading(lines, total(head, f"len({it}) * {item.size}"))

    def writing(self, it: str, names: Names) -> Lines:
        if not self.converts:
            return self.reading(it, names).lines
        each = names.variable("item")
        return [*self._bounded(it), *self._each(it, self.item.writing(each, names), each)]

    def show(self, value: Any) -> Json:
        return [self.item.show(item) for item in value]

    def parse(self, shown: Json) -> Any:
        if type(shown) is not list or not self.least <= len(shown) <= self.most:
            raise Refused(self._refusal)
        return tuple([self.item.parse(item) for item in shown])


class Optional(Shape):
    def __init__(self, item: Shape) -> None:
        self.item, self.nesting, self.converts = item, item.nesting, item.converts

    def reading(self, it: str, names: Names) -> Reading:
        item, size = self.item.reading(it, names), names.variable("size")
        some = [*item.lines, f"{size} = {item.size}"]
        return Reading([f"if {it} is None:", f"    {size} = 1", "else:", *indented(some)], size)

    def writing(self, it: str, names: Names) -> Lines:
        return [f"if {it} is not None:", *indented(self.item.writing(it, names))]

    def show(self, value: Any) -> Json:
        return None if value is None else self.item.show(value)

    def parse(self, shown: Json) -> Any:
        return None if shown is None else self.item.parse(shown)
