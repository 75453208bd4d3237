"""What an annotation means: the shape of the values that it allows."""

import dataclasses
import enum
import types
import typing
from functools import cache
from typing import Annotated, Any

from p2pledger.codec.limits import LENGTHS, Kept, Length, Pattern, Range
from p2pledger.codec.records import Record, Union
from p2pledger.codec.shapes import Bool, Bytes, Enumeration, Int, KeptTuple, Optional, Shape, Text, Tuple


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
        return Int(next((m for m in metadata if isinstance(m, Range)), Range(0, 2**64 - 1)))
    if annotation is bool:
        return Bool()
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _record(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return Enumeration(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if types.NoneType in arguments:
            return Optional(shape_of(typing.Union[tuple(a for a in arguments if a is not types.NoneType)]))  # noqa: UP007
        return Union([_record(argument) for argument in arguments])
    if length is None:
        raise TypeError(f"{annotation} needs a Length: everything has a limit")
    if annotation is bytes:
        return Bytes(length)
    if annotation is str:
        return Text(length, next((m.expression for m in metadata if isinstance(m, Pattern)), None))
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return Tuple(shape_of(arguments[0]), length)
    if origin is Kept:
        return KeptTuple(shape_of(arguments[0]), length)
    raise TypeError(f"no encoding for {annotation}")


def _record(cls: type) -> Record:
    hints = typing.get_type_hints(cls, include_extras=True)
    own = [field.name for field in dataclasses.fields(cls) if field.init]
    return Record(cls, {name: shape_of(hints[name]) for name in own})
