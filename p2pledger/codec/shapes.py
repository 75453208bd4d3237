"""How each annotation is read, written and shown.

A shape reads and writes by source: statements on a variable that hold a plain value (what cbor2 reads and
writes) before and the field's value after, or the other way round. A record puts those of its fields into
one function. JSON, which people read, is walked shape by shape.
"""

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Annotated, Any

from p2pledger.codec.limits import LENGTHS, Length, Pattern, Range
from p2pledger.codec.source import Lines, Names, Refused, function, indented, refuse_if

Json = Any
Convert = Callable[[Any], Any]


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

    def reading(self, it: str, names: Names) -> Lines:
        """The statements of `read` on the variable of this name."""
        return [f"{it} = {names.bind(self.read)}({it})"]

    def writing(self, it: str, names: Names) -> Lines:
        """The statements of `write` on the variable of this name."""
        return [f"{it} = {names.bind(self.write)}({it})"] if self.converts else self.reading(it, names)

    def show(self, value: Any) -> Json:
        """The JSON form of a value."""
        return value

    def parse(self, shown: Json) -> Any:
        """The value of a JSON form. Raises: Refused."""
        return self.read(shown)


class _Int(Shape):
    def __init__(self, limits: Range) -> None:
        self.least, self.most = limits.least, limits.most

    def reading(self, it: str, names: Names) -> Lines:
        return refuse_if(
            f"type({it}) is not int or not {self.least} <= {it} <= {self.most}",
            f"not an integer from {self.least} to {self.most}",
        )


class _Bool(Shape):
    def reading(self, it: str, names: Names) -> Lines:
        return refuse_if(f"type({it}) is not bool", "not true or false")


class _Bytes(Shape):
    def __init__(self, length: Length) -> None:
        self.least, self.most = length.least, length.most

    def reading(self, it: str, names: Names) -> Lines:
        return refuse_if(
            f"type({it}) is not bytes or not {self.least} <= len({it}) <= {self.most}",
            f"not {self.least} to {self.most} bytes",
        )

    def show(self, value: Any) -> Json:
        return value.hex()

    def parse(self, shown: Json) -> Any:
        if type(shown) is not str or not re.fullmatch("(?:[0-9a-f]{2})*", shown):
            raise Refused("not lower-case hexadecimal")
        return self.read(bytes.fromhex(shown))


class _Text(Shape):
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


class _Enum(Shape):
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

    def show(self, value: Any) -> Json:
        return value.name.lower()

    def parse(self, shown: Json) -> Any:
        for member in self.members:
            if member.name.lower() == shown:
                return member
        raise Refused(self._refusal)


class _Tuple(Shape):
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

    def show(self, value: Any) -> Json:
        return [self.item.show(item) for item in value]

    def parse(self, shown: Json) -> Any:
        if type(shown) is not list or not self.least <= len(shown) <= self.most:
            raise Refused(self._refusal)
        return tuple([self.item.parse(item) for item in shown])


class _Optional(Shape):
    def __init__(self, item: Shape) -> None:
        self.item, self.nesting, self.converts = item, item.nesting, item.converts

    def reading(self, it: str, names: Names) -> Lines:
        return [f"if {it} is not None:", *indented(self.item.reading(it, names))]

    def writing(self, it: str, names: Names) -> Lines:
        return [f"if {it} is not None:", *indented(self.item.writing(it, names))]

    def show(self, value: Any) -> Json:
        return None if value is None else self.item.show(value)

    def parse(self, shown: Json) -> Any:
        return None if shown is None else self.item.parse(shown)


class _Record(Shape):
    converts = True

    def __init__(self, cls: type) -> None:
        hints = typing.get_type_hints(cls, include_extras=True)
        self.cls = cls
        self.shapes = {field.name: shape_of(hints[field.name]) for field in dataclasses.fields(cls)}
        self.nesting = 1 + max((shape.nesting for shape in self.shapes.values()), default=0)
        self._variables = "".join(f"{name}_, " for name in self.shapes)  # so that none hides a builtin

    @cached_property
    def read(self) -> Convert:
        """See `Shape.read`: the fields in their order, then what the class itself checks.

        The instance is filled as the `__init__` of a frozen dataclass would do it, which calls
        `object.__setattr__` for each field: most of what a small record costs.
        """
        names, count, refused = Names(), len(self.shapes), f"fields of a {self.cls.__name__}"
        cls, new = names.bind(self.cls), names.bind(object.__new__)
        body = [
            *refuse_if(f"type(it) is not tuple or len(it) != {count}", f"not the {count} {refused}"),
            f"{self._variables}= it",
        ]
        for name, shape in self.shapes.items():
            body += shape.reading(f"{name}_", names)
        body += [f"made = {new}({cls})", "fields = made.__dict__"]
        body += [f"fields[{name!r}] = {name}_" for name in self.shapes]
        if hasattr(self.cls, "__post_init__"):  # a class may check there what spans its fields
            body += ["try:", "    made.__post_init__()"]
            body += ["except ValueError as error:", "    raise Refused(str(error)) from None"]
        return function(self.cls.__name__, [*body, "return made"], names)

    @cached_property
    def write(self) -> Convert:
        """See `Shape.write`."""
        names = Names()
        body = refuse_if(f"type(it) is not {names.bind(self.cls)}", f"not a {self.cls.__name__}")
        for name, shape in self.shapes.items():
            body += [f"{name}_ = it.{name}", *shape.writing(f"{name}_", names)]
        return function(self.cls.__name__, [*body, f"return ({self._variables})"], names)

    def show(self, value: Any) -> Json:
        return {name: shape.show(getattr(value, name)) for name, shape in self.shapes.items()}

    def parse(self, shown: Json) -> Any:
        if not isinstance(shown, Mapping):
            raise Refused(f"not an object with the fields of a {self.cls.__name__}")
        if unknown := set(shown) - set(self.shapes):
            raise Refused(f"unknown field {min(map(str, unknown))!r}")
        fields = []
        for name, shape in self.shapes.items():
            if name not in shown:
                raise Refused(f"field {name!r} is missing")
            try:
                fields.append(shape.parse(shown[name]))
            except Refused as error:
                raise Refused(f"{name}: {error}") from None
        try:
            return self.cls(*fields)
        except ValueError as error:
            raise Refused(str(error)) from None


class _Union(Shape):
    """One of several records: the tag of its class, then its fields."""

    converts = True

    def __init__(self, records: list[_Record]) -> None:
        self.by_tag = {record.cls.TAG: record for record in records}  # type: ignore[attr-defined]
        self.by_class = {record.cls: record for record in records}
        if len(self.by_tag) != len(records):
            raise TypeError("two classes of one union share a TAG")
        self.nesting = max(record.nesting for record in records)

    @cached_property
    def read(self) -> Convert:
        """See `Shape.read`."""
        readers = {tag: record.read for tag, record in self.by_tag.items()}

        def read(plain: Any) -> Any:
            is_tagged = type(plain) is tuple and plain and type(plain[0]) is int
            if not is_tagged or plain[0] not in readers:
                raise Refused("unknown tag")
            return readers[plain[0]](plain[1:])

        return read

    @cached_property
    def write(self) -> Convert:
        """See `Shape.write`."""
        writers = {cls: record.write for cls, record in self.by_class.items()}

        def write(value: Any) -> Any:
            if type(value) not in writers:
                raise Refused("not one of the union's classes")
            return (value.TAG, *writers[type(value)](value))

        return write

    def show(self, value: Any) -> Json:
        return {"type": type(value).__name__, **self.by_class[type(value)].show(value)}

    def parse(self, shown: Json) -> Any:
        fields = dict(shown) if isinstance(shown, Mapping) else {}
        name = fields.pop("type", None)
        for cls, record in self.by_class.items():
            if cls.__name__ == name:
                return record.parse(fields)
        raise Refused("unknown type")


@cache
def shape_of(annotation: Any) -> Shape:
    """The shape of a class, of a union of classes, or of a field's annotation.

    Raises: TypeError where an annotation has no encoding, or no limit.
    """
    metadata: tuple[Any, ...] = ()
    if typing.get_origin(annotation) is Annotated:
        metadata = annotation.__metadata__
        annotation = annotation.__origin__
    known = LENGTHS.get(annotation)
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    length = next((m for m in metadata if isinstance(m, Length)), known)
    if annotation is int:
        return _Int(next((m for m in metadata if isinstance(m, Range)), Range(0, 2**64 - 1)))
    if annotation is bool:
        return _Bool()
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _Record(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _Enum(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if types.NoneType in arguments:
            return _Optional(shape_of(typing.Union[tuple(a for a in arguments if a is not types.NoneType)]))  # noqa: UP007
        return _Union([_Record(argument) for argument in arguments])
    if length is None:
        raise TypeError(f"{annotation} needs a Length: everything has a limit")
    if annotation is bytes:
        return _Bytes(length)
    if annotation is str:
        return _Text(length, next((m.expression for m in metadata if isinstance(m, Pattern)), None))
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return _Tuple(shape_of(arguments[0]), length)
    raise TypeError(f"no encoding for {annotation}")
