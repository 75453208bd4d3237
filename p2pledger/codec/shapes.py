"""How each annotation is read, written and shown.

A shape reads by source: statements on a variable that holds a plain value (what cbor2 reads) before and the
field's value after, and that work out the size of the one encoding on the way. It writes by statements that
check a value and expressions for the parts of its encoding. A record puts those of its fields, and of the
records among them, into one function.
JSON, which people read, is walked shape by shape.
"""

import enum
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import cbor2

from p2pledger.codec.heads import (
    ARRAY,
    ARRAYS,
    BYTES,
    NEGATIVES,
    STRINGS,
    TEXT,
    UNSIGNEDS,
    as_long,
    head,
    size_source,
)
from p2pledger.codec.limits import Kept, Length, Range
from p2pledger.codec.source import (
    Lines,
    Names,
    Reading,
    Refused,
    Writing,
    function,
    indented,
    joined,
    refuse_if,
    sources,
    total,
)
from p2pledger.codec.templates import Column, Layout, contents, numbers, side_by_side

Json = Any
Read = Callable[[Any], tuple[Any, int]]
ReadAll = Callable[[Iterable[Any], Iterable[int]], list[Any]]
Write = Callable[[Any], bytes]

TEXTS_MAX = 4_096
"""Texts that each field remembers as good: a ledger has a few dozen kinds, schemas and organisations."""


def writer(name: str, writing: Writing, names: Names) -> Write:
    """The function that writes the value `it`. `name`: whose it is, for tracebacks."""
    return function(name, "it", [*writing.lines, f"return {joined(writing.parts)}"], names)


class Shape:
    """What one annotation allows. `converts`: a value is not what cbor2 reads for it."""

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
        """The encoding of a value. Raises: Refused."""
        names = Names()
        return writer(self.name, self.writing("it", names), names)

    def reading(self, it: str, names: Names) -> Reading:
        """The statements of `read` on the variable of this name."""
        raise NotImplementedError

    def writing(self, it: str, names: Names) -> Writing:
        """The statements and the encoding of `write` for the variable of this name."""
        raise NotImplementedError

    def column(self, value: Any, layout: Layout) -> Column | None:
        """Lay a value out, and tell how to read such values from encodings of that layout.

        None when nothing of it is open: in all of them it is this value.
        """
        layout.fix(self.write(value))
        return None

    def show(self, value: Any) -> Json:
        """The JSON form of a value."""
        return value

    def parse(self, shown: Json) -> Any:
        """The value of a JSON form. Raises: Refused."""
        return self.read(shown)[0]


class Int(Shape):
    def __init__(self, limits: Range) -> None:
        self.least, self.most = limits.least, limits.most

    def _bounded(self, it: str) -> Lines:
        condition = f"type({it}) is not int or not {self.least} <= {it} <= {self.most}"
        return refuse_if(condition, f"not an integer from {self.least} to {self.most}")

    def reading(self, it: str, names: Names) -> Reading:
        if self.least >= 0:
            return Reading(self._bounded(it), size_source(it, self.least, self.most))
        size = size_source(f"({it} if {it} >= 0 else ~{it})", 0, max(self.most, ~self.least))
        return Reading(self._bounded(it), size)

    def writing(self, it: str, names: Names) -> Writing:
        encoding = f"{names.bind(UNSIGNEDS)}[{it}]"
        if self.most >= 2**32:  # a time or a sequence number, of which few come twice
            encoding = f"(b'\\x1b' + {it}.to_bytes(8, 'big') if {it} >= {2**32} else {encoding})"
        if self.least < 0:
            encoding = f"({encoding} if {it} >= 0 else {names.bind(NEGATIVES)}[~{it}])"
        return Writing(self._bounded(it), [encoding])

    def column(self, value: Any, layout: Layout) -> Column | None:
        """See `Shape.column`: numbers are open whose heads are as long."""
        if value < 0:
            return super().column(value, layout)
        width, code, least, most = as_long(value)
        layout.fix(width)
        return numbers(layout.leave_open(code), max(self.least, least), min(self.most, most))


class Bool(Shape):
    def reading(self, it: str, names: Names) -> Reading:
        return Reading(refuse_if(f"type({it}) is not bool", "not true or false"), "1")

    def writing(self, it: str, names: Names) -> Writing:
        return Writing(self.reading(it, names).lines, [f"(b'\\xf5' if {it} else b'\\xf4')"])


class Bytes(Shape):
    def __init__(self, length: Length) -> None:
        self.least, self.most = length.least, length.most
        self.refusal = f"not {self.least} to {self.most} bytes"

    def _sized(self, it: str, names: Names) -> tuple[Lines, str]:
        """The statements that check its length, and the expression for it."""
        if self.least == self.most:
            return refuse_if(f"type({it}) is not bytes or len({it}) != {self.most}", self.refusal), str(
                self.most
            )
        size = names.variable("size")
        bounds = f"{self.least} <= ({size} := len({it})) <= {self.most}"
        return refuse_if(f"type({it}) is not bytes or not {bounds}", self.refusal), size

    def reading(self, it: str, names: Names) -> Reading:
        lines, size = self._sized(it, names)
        return Reading(lines, total(size_source(size, self.least, self.most), size))

    def writing(self, it: str, names: Names) -> Writing:
        lines, size = self._sized(it, names)
        is_fixed = self.least == self.most
        return Writing(lines, [head(BYTES, self.most) if is_fixed else f"{names.bind(STRINGS)}[{size}]", it])

    def column(self, value: Any, layout: Layout) -> Column | None:
        """See `Shape.column`: the contents are open, their length is not."""
        layout.fix(head(BYTES, len(value)))
        return contents(layout.leave_open(f"{len(value)}s"))

    def show(self, value: Any) -> Json:
        return value.hex()

    def parse(self, shown: Json) -> Any:
        if type(shown) is not str or not re.fullmatch("(?:[0-9a-f]{2})*", shown):
            raise Refused("not lower-case hexadecimal")
        return super().parse(bytes.fromhex(shown))


class _Texts(dict[str, bytes]):
    """The encodings of good texts. What is not in it yet is judged. Raises: Refused."""

    def __init__(self, length: Length, pattern: str | None) -> None:
        super().__init__()
        self._least, self._most = length.least, length.most
        self._pattern = None if pattern is None else re.compile(pattern)

    def __missing__(self, text: str) -> bytes:
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise Refused("not a Unicode text") from None
        if not self._least <= len(content) <= self._most:
            raise Refused(f"not a text of {self._least} to {self._most} bytes")
        if self._pattern is not None and not self._pattern.fullmatch(text):
            raise Refused(f"does not match {self._pattern.pattern}")
        if len(self) >= TEXTS_MAX:  # whoever fills it with texts of its own makes it no slower than without
            self.clear()
        self[text] = encoding = head(TEXT, len(content)) + content
        return encoding


class Text(Shape):
    def __init__(self, length: Length, pattern: str | None) -> None:
        self._texts = _Texts(length, pattern)

    def reading(self, it: str, names: Names) -> Reading:
        lines, encoding = self._known(it, names)
        return Reading(lines, f"len({encoding})")

    def writing(self, it: str, names: Names) -> Writing:
        lines, encoding = self._known(it, names)
        return Writing(lines, [encoding])

    def _known(self, it: str, names: Names) -> tuple[Lines, str]:
        encoding = names.variable("encoding")
        lines = refuse_if(f"type({it}) is not str", "not a text")
        return [*lines, f"{encoding} = {names.bind(self._texts)}[{it}]"], encoding


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

    def writing(self, it: str, names: Names) -> Writing:
        lines = refuse_if(f"type({it}) is not {names.bind(self.members)}", self._refusal)
        encodings = {member.value: cbor2.dumps(member.value) for member in self.members}
        return Writing(lines, [f"{names.bind(encodings)}[{it}._value_]"])  # a member's own hash is slow

    def show(self, value: Any) -> Json:
        return value.name.lower()

    def parse(self, shown: Json) -> Any:
        for member in self.members:
            if member.name.lower() == shown:
                return member
        raise Refused(self._refusal)


class Tuple(Shape):
    kind: type[tuple[Any, ...]] = tuple
    """What values are; cbor2 reads tuples."""

    def __init__(self, item: Shape, length: Length) -> None:
        self.item, self.least, self.most = item, length.least, length.most
        self.nesting, self.converts = item.nesting + 1, item.converts
        self._refusal = f"not a list of {self.least} to {self.most} items"

    def _bounded(self, it: str, kind: str = "tuple") -> Lines:
        condition = f"type({it}) is not {kind} or not {self.least} <= len({it}) <= {self.most}"
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
        item, head = self.item.reading(each, names), size_source(f"len({it})", self.least, self.most)
        if not item.size.isdecimal():
            step = [*item.lines, f"{size} += {item.size}"]
            lines = [*self._bounded(it), f"{size} = 0", *self._each(it, step, each)]
            return Reading(lines, total(head, size))
        lines = [*self._bounded(it), *self._each(it, item.lines, each)]
        return Reading(lines, total(head, f"len({it}) * {item.size}"))

    def writing(self, it: str, names: Names) -> Writing:
        each, items = names.variable("item"), names.variable("items")
        bounded = self._bounded(it, names.bind(self.kind))
        item, length = self.item.writing(each, names), f"{names.bind(ARRAYS)}[len({it})]"
        match item.parts:
            case [bytes(before), str(content)] if (
                content == each
            ):  # byte strings of one length, such as hashes
                lines = [*bounded, f"for {each} in {it}:", *indented(item.lines)]
                return Writing(lines, [length, f"({before!r} + {before!r}.join({it}) if {it} else b'')"])
        step = [*item.lines, *(f"{items}.append({source})" for source in sources(item.parts))]
        lines = [*bounded, f"{items} = []", f"for {each} in {it}:", *indented(step)]
        return Writing(lines, [length, f"b''.join({items})"])

    def column(self, value: Any, layout: Layout) -> Column | None:
        """See `Shape.column`: as many items."""
        layout.fix(head(ARRAY, len(value)))
        columns = [self.item.column(item, layout) for item in value]
        return side_by_side(columns, value) if any(columns) else None

    def show(self, value: Any) -> Json:
        return [self.item.show(item) for item in value]

    def parse(self, shown: Json) -> Any:
        if type(shown) is not list or not self.least <= len(shown) <= self.most:
            raise Refused(self._refusal)
        return tuple([self.item.parse(item) for item in shown])


class KeptTuple(Tuple):
    """A `Kept` one."""

    kind = Kept
    _nothing: Kept[Any] = Kept()

    def __init__(self, item: Shape, length: Length) -> None:
        super().__init__(item, length)
        self.converts = True

    def reading(self, it: str, names: Names) -> Reading:
        """See `Shape.reading`: where there are no items, it is the same one for all values."""
        lines, size = super().reading(it, names)
        made = f"{it} = {names.bind(Kept)}({it}) if {it} else {names.bind(self._nothing)}"
        return Reading([*lines, made], size)

    def writing(self, it: str, names: Names) -> Writing:
        """See `Shape.writing`: put together for the first value that holds it."""
        anew, encoding = super().writing(it, names), names.variable("encoding")
        lines = [
            f"{encoding} = {it}.encoded if type({it}) is {names.bind(Kept)} else None",
            f"if {encoding} is None:",
            *indented([*anew.lines, f"{encoding} = {it}.encoded = {joined(anew.parts)}"]),
        ]
        return Writing(lines, [encoding])

    def column(self, value: Any, layout: Layout) -> Column | None:
        """See `Shape.column`: as many items."""
        column = super().column(value, layout)
        return None if column is None else lambda cells: map(Kept, column(cells))

    def parse(self, shown: Json) -> Any:
        return Kept(super().parse(shown))


class Optional(Shape):
    def __init__(self, item: Shape) -> None:
        self.item, self.nesting, self.converts = item, item.nesting, item.converts

    def reading(self, it: str, names: Names) -> Reading:
        item, size = self.item.reading(it, names), names.variable("size")
        some = [*item.lines, f"{size} = {item.size}"]
        return Reading([f"if {it} is None:", f"    {size} = 1", "else:", *indented(some)], size)

    def writing(self, it: str, names: Names) -> Writing:
        item, encoding = self.item.writing(it, names), names.variable("encoding")
        some = [*item.lines, f"{encoding} = {joined(item.parts)}"]
        return Writing(
            [f"if {it} is None:", f"    {encoding} = b'\\xf6'", "else:", *indented(some)], [encoding]
        )

    def column(self, value: Any, layout: Layout) -> Column | None:
        """See `Shape.column`: null in all or in none."""
        return super().column(value, layout) if value is None else self.item.column(value, layout)

    def show(self, value: Any) -> Json:
        return None if value is None else self.item.show(value)

    def parse(self, shown: Json) -> Any:
        return None if shown is None else self.item.parse(shown)
