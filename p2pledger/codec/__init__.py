"""One encoding per value: canonical CBOR to and from frozen dataclasses. Floor 1.

A dataclass is an array of its fields in order (RFC 8949, section 4.2.1: shortest integers, definite
lengths; no maps, floats or tags). What a field may hold is read from its annotation, once per class
(`limits` are the words for it), and compiled into functions that do just what it says (`shapes`, `source`):

    int with a range     U8, U32, U64, or a NewType over int (unsigned, 64 bits)
    bytes, str, tuple    Annotated[..., Length(least, most)]; Hash, PublicKey, Signature know their own
    str                  Annotated[str, Pattern("...")] beside its Length
    Kept                 Annotated[Kept[...], Length(...)], a tuple that is put together once
    bool, None           exactly
    an Enum              its value
    A | B of dataclasses [A.TAG, fields...], the classes declaring distinct TAGs
    X | None             null, or X

What spans its fields a class checks in `__post_init__`, or in `check_fields` where the former has more to do:
either raises ValueError. A field that `__init__` does not take (`field(init=False)`) is derived and has no
encoding; whoever decodes a class with such fields fills them, also those of a record inside.

Decoding refuses everything that encoding would not have written. Without maps, floats, tags and indefinite
lengths, the encodings of a value differ only in the lengths of their heads, so of all of them the canonical
one is the shortest: an input is canonical if and only if it has that one's length.

The JSON form (for people and for the HTTP API) is an object of the same fields, with bytes as lower-case
hexadecimal; it is never hashed or signed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import cbor2

from p2pledger.codec.annotations import shape_of
from p2pledger.codec.limits import U8, U32, U64, Kept, Length, Pattern, Range
from p2pledger.codec.shapes import Json, Shape
from p2pledger.codec.source import Refused
from p2pledger.codec.templates import ALIKE_MIN, Templates
from p2pledger.errors import InvalidMessage

__all__ = [
    "U8",
    "U32",
    "U64",
    "Json",
    "Kept",
    "Length",
    "Pattern",
    "Range",
    "decode",
    "decode_all",
    "encode",
    "from_json",
    "to_json",
]


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


def encode(value: Any, kind: Any = None) -> bytes:
    """The canonical encoding of a dataclass, or of `value` as a `kind` (a union of dataclasses).

    Pure. Raises ValueError when a field holds what its annotation does not allow: what this writes,
    `decode` accepts.
    """
    cls: Any = type(value) if kind is None else kind
    try:
        return shape_of(cls).write(value)
    except Refused as error:
        raise ValueError(f"{type(value).__name__} cannot be encoded: {error}") from None


def encode_all(kind: Any, values: Iterable[Any]) -> list[bytes]:
    """The canonical encodings of values of one dataclass, or union of them, `kind`. Pure.

    Raises: ValueError as `encode` does.
    """
    write = shape_of(kind).write
    try:
        return [write(value) for value in values]
    except Refused as error:
        raise ValueError(f"{kind} cannot be encoded: {error}") from None


def _plain(data: bytes, nesting: int) -> Any:
    """What cbor2 reads in these bytes, at their beginning: arrays are tuples."""
    return cbor2.loads(
        data,
        semantic_decoders=_REFUSE_TAGS,
        tag_hook=_refuse_tag,
        object_hook=_refuse_map,
        strict_hashable_types=True,  # keys whose hashes collide take time squared, before any hook
        max_depth=nesting + 1,
        allow_indefinite=False,
        immutable=True,
    )


_UNREADABLE = (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError)
"""What cbor2 raises for bytes that are no CBOR, or whose reading was refused above."""


def decode(kind: Any, data: bytes) -> Any:
    """The value of class or union `kind` that `data` is the one encoding of. Pure.

    Raises: InvalidMessage for every other byte string: code `not_canonical` when it is another encoding
    of a good value, else `malformed` (truncated, of another shape, a field beyond its limits).
    """
    shape = shape_of(kind)
    try:
        value, size = shape.read(_plain(data, shape.nesting))
    except Refused as error:
        raise InvalidMessage(str(error)) from None
    except _UNREADABLE as error:
        raise InvalidMessage(f"not CBOR: {error}") from None
    if size != len(data):
        raise InvalidMessage("not the canonical encoding", code="not_canonical")
    return value


_TEMPLATES = Templates()


def decode_all(kind: Any, data: Sequence[bytes]) -> list[Any]:
    """The values of `kind` that these are the encodings of, at half the price of `decode` for each. Pure.

    A quarter where they are like those that were decoded before (`templates`).

    Raises: InvalidMessage, as `decode` does for the first that is none.
    """
    try:
        return _read_all(shape_of(kind), data)
    except (Refused, *_UNREADABLE):
        return [decode(kind, one) for one in data]


def _read_all(shape: Shape, data: Sequence[bytes]) -> list[Any]:
    """Those of which there are many of one length for themselves, the others together."""
    sizes = Counter(map(len, data))
    groups: dict[int, list[bytes]] = {size: [] for size, count in sizes.items() if count >= ALIKE_MIN}
    if not groups:
        return _read_as_array(shape, data)
    if len(sizes) == 1:
        return _read_alike(shape, data)
    others: list[bytes] = []
    for one in data:
        groups.get(len(one), others).append(one)
    values = {size: iter(_read_alike(shape, some)) for size, some in groups.items()}
    rest = iter(_read_as_array(shape, others))
    return [next(values.get(len(one), rest)) for one in data]


def _read_alike(shape: Shape, data: Sequence[bytes]) -> list[Any]:
    values = _TEMPLATES.read(shape, data)
    if values is None:
        values = _read_as_array(shape, data)
        _TEMPLATES.learn(shape, values[0], len(data[0]))
    return values


def _read_as_array(shape: Shape, data: Sequence[bytes]) -> list[Any]:
    # Its items take no more bytes than there are, and none takes fewer than its one encoding: when every
    # encoding is as long as what was given, each item is what was given.
    head = b"\x9b" + len(data).to_bytes(8, "big")
    return shape.read_all(_plain(head + b"".join(data), shape.nesting + 1), map(len, data))


def to_json(value: Any, kind: Any = None) -> Json:
    """The JSON form of a dataclass (or of `value` as a union `kind`): objects, lists, text, integers."""
    cls: Any = type(value) if kind is None else kind
    return shape_of(cls).show(value)


def from_json(kind: Any, shown: Json) -> Any:
    """The value of class or union `kind` whose JSON form is `shown`.

    Raises: InvalidMessage, naming the field.
    """
    try:
        return shape_of(kind).parse(shown)
    except Refused as error:
        raise InvalidMessage(str(error)) from None
