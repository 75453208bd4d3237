"""What a field may hold, said in its annotation."""

import dataclasses
from typing import Annotated, TypeVar

from p2pledger.types import Hash, PeerId, PublicKey, Signature


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


T = TypeVar("T")


class Kept(tuple[T, ...]):
    """A tuple that keeps its encoding: for long ones that stay when other fields of a value change.

    All fields that hold the same one have to say the same of it.
    """

    encoded: bytes | None = None
    """Its canonical encoding, once it was needed."""


U8 = Annotated[int, Range(0, 2**8 - 1)]
U32 = Annotated[int, Range(0, 2**32 - 1)]
U64 = Annotated[int, Range(0, 2**64 - 1)]

LENGTHS: dict[object, Length] = {
    Hash: Length(32, 32),
    PublicKey: Length(33, 33),
    Signature: Length(64, 64),
    PeerId: Length(1, 64),
}
"""The lengths that some types have wherever they stand."""
