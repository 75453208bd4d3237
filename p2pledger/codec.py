"""One encoding per value: canonical CBOR to and from frozen dataclasses. Floor 1.

A dataclass is an array of its fields in order (RFC 8949, section 4.2.1: shortest integers, definite
lengths; no maps, floats or tags). What a field may hold is read from its annotation, once per class:

    int with a range     U8, U32, U64, or a NewType over int (unsigned, 64 bits)
    bytes, str, tuple    Annotated[..., Length(least, most)]; Hash, PublicKey, Signature know their own
    str                  Annotated[str, Pattern("...")] beside its Length
    bool, None           exactly
    an Enum              its value
    A | B of dataclasses [A.TAG, fields...], the classes declaring distinct TAGs
    X | None             null, or X

Decoding refuses everything that encoding would not have written: it compares the re-encoded value
with the input. The JSON form (for people and for the HTTP API) is an object of the same fields, with
bytes as lower-case hexadecimal; it is never hashed or signed.
"""

import dataclasses
import enum
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, TypeVar

import cbor2

from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash, PeerId, PublicKey, Signature

T = TypeVar("T")
Json = Any


@dataclasses.dataclass(frozen=True)
class Range:
    """The least and greatest integer that a field may hold."""

    least: int
    most: int


@dataclasses.dataclass(frozen=True)
class Length:
    """The least and greatest number of bytes, of UTF-8 bytes, or of items that a field may hold."""

    least: int
    most: int


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A regular expression that a text must match as a whole."""

    expression: str


U8 = Annotated[int, Range(0, 2**8 - 1)]
U32 = Annotated[int, Range(0, 2**32 - 1)]
U64 = Annotated[int, Range(0, 2**64 - 1)]

_LENGTHS: dict[object, Length] = {
    Hash: Length(32, 32),
    PublicKey: Length(33, 33),
    Signature: Length(64, 64),
    PeerId: Length(1, 64),
}


class _Refused(Exception):
    """A value that its shape does not allow."""


class _Shape:
    """How one annotation is written, read and shown. `plain` is what cbor2 reads and writes."""

    nesting = 0

    def write(self, value: Any) -> Any:
        return self.read(value)

    def read(self, plain: Any) -> Any:
        raise AssertionError("every shape reads")

    def show(self, value: Any) -> Json:
        return value

    def parse(self, shown: Json) -> Any:
        return self.read(shown)


class _Int(_Shape):
    def __init__(self, limits: Range) -> None:
        self.least, self.most = limits.least, limits.most

    def read(self, plain: Any) -> Any:
        if type(plain) is not int or not self.least <= plain <= self.most:
            raise _Refused(f"not an integer from {self.least} to {self.most}")
        return plain


class _Bool(_Shape):
    def read(self, plain: Any) -> Any:
        if type(plain) is not bool:
            raise _Refused("not true or false")
        return plain


class _Bytes(_Shape):
    def __init__(self, length: Length) -> None:
        self.least, self.most = length.least, length.most

    def read(self, plain: Any) -> Any:
        if type(plain) is not bytes or not self.least <= len(plain) <= self.most:
            raise _Refused(f"not {self.least} to {self.most} bytes")
        return plain

    def show(self, value: Any) -> Json:
        return value.hex()

    def parse(self, shown: Json) -> Any:
        if type(shown) is not str or not re.fullmatch("(?:[0-9a-f]{2})*", shown):
            raise _Refused("not lower-case hexadecimal")
        return self.read(bytes.fromhex(shown))


class _Text(_Shape):
    def __init__(self, length: Length, pattern: str | None) -> None:
        self.least, self.most = length.least, length.most
        self.pattern = re.compile(pattern) if pattern is not None else None

    def read(self, plain: Any) -> Any:
        if type(plain) is not str:
            raise _Refused("not a text")
        try:
            size = len(plain.encode())
        except UnicodeEncodeError:
            raise _Refused("not a Unicode text") from None
        if not self.least <= size <= self.most:
            raise _Refused(f"not a text of {self.least} to {self.most} bytes")
        if self.pattern is not None and not self.pattern.fullmatch(plain):
            raise _Refused(f"does not match {self.pattern.pattern}")
        return plain


class _Enum(_Shape):
    def __init__(self, members: type[enum.Enum]) -> None:
        self.members = members
        self.by_value = {member.value: member for member in members}

    def write(self, value: Any) -> Any:
        if type(value) is not self.members:
            raise _Refused(f"not a {self.members.__name__}")
        return value.value

    def read(self, plain: Any) -> Any:
        member = self.by_value.get(plain) if type(plain) in (int, str) else None
        if member is None:
            raise _Refused(f"not a {self.members.__name__}")
        return member

    def show(self, value: Any) -> Json:
        return value.name.lower()

    def parse(self, shown: Json) -> Any:
        for member in self.members:
            if member.name.lower() == shown:
                return member
        raise _Refused(f"not a {self.members.__name__}")


class _Tuple(_Shape):
    def __init__(self, item: _Shape, length: Length) -> None:
        self.item, self.least, self.most = item, length.least, length.most
        self.nesting = item.nesting + 1

    def _each(self, values: Any, convert: Callable[[Any], Any], kind: type[Any]) -> Any:
        if type(values) is not kind or not self.least <= len(values) <= self.most:
            raise _Refused(f"not a list of {self.least} to {self.most} items")
        return tuple([convert(value) for value in values])

    def write(self, value: Any) -> Any:
        return self._each(value, self.item.write, tuple)

    def read(self, plain: Any) -> Any:
        return self._each(plain, self.item.read, tuple)

    def show(self, value: Any) -> Json:
        return [self.item.show(item) for item in value]

    def parse(self, shown: Json) -> Any:
        return self._each(shown, self.item.parse, list)


class _Optional(_Shape):
    def __init__(self, item: _Shape) -> None:
        self.item, self.nesting = item, item.nesting

    def write(self, value: Any) -> Any:
        return None if value is None else self.item.write(value)

    def read(self, plain: Any) -> Any:
        return None if plain is None else self.item.read(plain)

    def show(self, value: Any) -> Json:
        return None if value is None else self.item.show(value)

    def parse(self, shown: Json) -> Any:
        return None if shown is None else self.item.parse(shown)


class _Record(_Shape):
    def __init__(self, cls: type) -> None:
        hints = typing.get_type_hints(cls, include_extras=True)
        self.cls = cls
        self.names = tuple(field.name for field in dataclasses.fields(cls))
        self.shapes = tuple(_shape_of(hints[name]) for name in self.names)
        self.nesting = 1 + max((shape.nesting for shape in self.shapes), default=0)
        values = attrgetter(*self.names)
        self.values: Callable[[Any], tuple[Any, ...]] = (
            values if len(self.names) > 1 else lambda value: (values(value),)
        )

    def _build(self, fields: list[Any]) -> Any:
        try:
            return self.cls(*fields)
        except ValueError as error:  # a class may check what spans its fields in __post_init__
            raise _Refused(str(error)) from None

    def write(self, value: Any) -> Any:
        if type(value) is not self.cls:
            raise _Refused(f"not a {self.cls.__name__}")
        return tuple(
            [shape.write(field) for shape, field in zip(self.shapes, self.values(value), strict=True)]
        )

    def read(self, plain: Any) -> Any:
        if type(plain) is not tuple or len(plain) != len(self.shapes):
            raise _Refused(f"not the {len(self.shapes)} fields of a {self.cls.__name__}")
        return self._build([shape.read(field) for shape, field in zip(self.shapes, plain, strict=True)])

    def show(self, value: Any) -> Json:
        return {
            name: shape.show(getattr(value, name))
            for name, shape in zip(self.names, self.shapes, strict=True)
        }

    def parse(self, shown: Json) -> Any:
        if not isinstance(shown, Mapping):
            raise _Refused(f"not an object with the fields of a {self.cls.__name__}")
        if unknown := set(shown) - set(self.names):
            raise _Refused(f"unknown field {min(map(str, unknown))!r}")
        fields = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            if name not in shown:
                raise _Refused(f"field {name!r} is missing")
            try:
                fields.append(shape.parse(shown[name]))
            except _Refused as error:
                raise _Refused(f"{name}: {error}") from None
        return self._build(fields)


class _Union(_Shape):
    """One of several records: the tag of its class, then its fields."""

    def __init__(self, records: list[_Record]) -> None:
        self.by_tag = {record.cls.TAG: record for record in records}  # type: ignore[attr-defined]
        self.by_class = {record.cls: record for record in records}
        if len(self.by_tag) != len(records):
            raise TypeError("two classes of one union share a TAG")
        self.nesting = max(record.nesting for record in records)

    def write(self, value: Any) -> Any:
        record = self.by_class.get(type(value))
        if record is None:
            raise _Refused("not one of the union's classes")
        return (value.TAG, *record.write(value))

    def read(self, plain: Any) -> Any:
        record = (
            self.by_tag.get(plain[0]) if type(plain) is tuple and plain and type(plain[0]) is int else None
        )
        if record is None:
            raise _Refused("unknown tag")
        return record.read(plain[1:])

    def show(self, value: Any) -> Json:
        return {"type": type(value).__name__, **self.by_class[type(value)].show(value)}

    def parse(self, shown: Json) -> Any:
        fields = dict(shown) if isinstance(shown, Mapping) else {}
        name = fields.pop("type", None)
        for cls, record in self.by_class.items():
            if cls.__name__ == name:
                return record.parse(fields)
        raise _Refused("unknown type")


@cache
def _shape_of(annotation: Any) -> _Shape:
    metadata: tuple[Any, ...] = ()
    if typing.get_origin(annotation) is Annotated:
        metadata = annotation.__metadata__
        annotation = annotation.__origin__
    known = _LENGTHS.get(annotation)
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
            return _Optional(_shape_of(typing.Union[tuple(a for a in arguments if a is not types.NoneType)]))  # noqa: UP007
        return _Union([_Record(argument) for argument in arguments])
    if length is None:
        raise TypeError(f"{annotation} needs a Length: everything has a limit")
    if annotation is bytes:
        return _Bytes(length)
    if annotation is str:
        return _Text(length, next((m.expression for m in metadata if isinstance(m, Pattern)), None))
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return _Tuple(_shape_of(arguments[0]), length)
    raise TypeError(f"no encoding for {annotation}")


class _RefuseTags(dict[int, Any]):
    """Takes the place of cbor2's table of tag decoders: one of them compiles a peer's regular expression."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: int) -> Any:
        return _refuse_tag

    def get(self, key: int, default: Any = None) -> Any:
        return _refuse_tag


def _refuse_tag(*_: object) -> None:
    raise ValueError("tags are not used here")


_REFUSE_TAGS = _RefuseTags()


def _refuse_map(*_: object) -> None:
    # The first one ends it: a message of nothing but empty maps would take 136 times its size.
    raise ValueError("maps are not used here")


def _kind_of(value: Any, kind: Any) -> Any:
    return type(value) if kind is None else kind


def encode(value: Any, kind: Any = None) -> bytes:
    """The canonical encoding of a dataclass, or of `value` as a `kind` (a union of dataclasses).

    Pure. Raises ValueError when a field holds what its annotation does not allow: what this writes,
    `decode` accepts.
    """
    try:
        return cbor2.dumps(_shape_of(_kind_of(value, kind)).write(value))
    except _Refused as error:
        raise ValueError(f"{type(value).__name__} cannot be encoded: {error}") from None


def decode(kind: Any, data: bytes) -> Any:
    """The value of class or union `kind` that `data` is the one encoding of. Pure.

    Raises: InvalidMessage for every other byte string: code `not_canonical` when it is another encoding
    of a good value, else `malformed` (truncated, of another shape, a field beyond its limits).
    """
    shape = _shape_of(kind)
    try:
        plain = cbor2.loads(
            data,
            semantic_decoders=_REFUSE_TAGS,
            tag_hook=_refuse_tag,
            object_hook=_refuse_map,
            strict_hashable_types=True,  # keys whose hashes collide take time squared, before any hook
            max_depth=shape.nesting + 1,
            allow_indefinite=False,
            immutable=True,
        )
        value = shape.read(plain)
    except _Refused as error:
        raise InvalidMessage(str(error)) from None
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError) as error:
        raise InvalidMessage(f"not CBOR: {error}") from None
    if cbor2.dumps(plain) != data:
        raise InvalidMessage("not the canonical encoding", code="not_canonical")
    return value


def to_json(value: Any, kind: Any = None) -> Json:
    """The JSON form of a dataclass (or of `value` as a union `kind`): objects, lists, text, integers."""
    return _shape_of(_kind_of(value, kind)).show(value)


def from_json(kind: Any, shown: Json) -> Any:
    """The value of class or union `kind` whose JSON form is `shown`.

    Raises: InvalidMessage, naming the field.
    """
    try:
        return _shape_of(kind).parse(shown)
    except _Refused as error:
        raise InvalidMessage(str(error)) from None
