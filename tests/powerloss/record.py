"""The record that `shim.c` writes: what was done to files, in order, and what had been shown by then."""

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from p2pledger.chain.vote import Vote
from p2pledger.codec import decode, encode
from p2pledger.types import Hash

_HEAD = struct.Struct("<cQQI")


class Kind(StrEnum):
    """What a note is of; see `shim.c`."""

    OPEN = "O"
    WRITE = "W"
    TRUNCATE = "T"
    SYNC = "S"
    FAILED_SYNC = "E"
    UNLINK = "U"
    RENAME = "R"
    MKDIR = "M"
    MARK = "K"


MADE, EMPTIED = 1, 2
"""Bits of an OPEN's number: the file was made by it, or emptied by it."""


@dataclass(frozen=True)
class Note:
    """One operation. `handle` names an open file, `number` is an offset, a length or the bits above."""

    kind: Kind
    handle: int
    number: int
    data: bytes


def notes_of(log: Path) -> Iterator[Note]:
    """Every note of a record."""
    content = log.read_bytes()
    at = 0
    while at < len(content):
        kind, handle, number, length = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        yield Note(Kind(kind.decode()), handle, number, content[at : at + length])
        at += length


# --- marks: what a workload has shown to others


@dataclass(frozen=True)
class Told:
    """A client was told that this block is final."""

    height: int
    digest: Hash


def say(shown: Vote | Told | str) -> None:
    """Note that this was shown. Only in a process under the shim."""
    match shown:
        case Vote():
            data = b"V" + encode(shown)
        case Told(height, digest):
            data = b"T" + height.to_bytes(8, "big") + digest
        case _:
            data = b"S" + shown.encode()
    ctypes.CDLL(None).powerloss_mark(data, len(data))


def shown_by(note: Note) -> Vote | Told | str:
    """What a mark says."""
    tag, data = note.data[:1], note.data[1:]
    if tag == b"V":
        vote: Vote = decode(Vote, data)
        return vote
    if tag == b"T":
        return Told(int.from_bytes(data[:8], "big"), Hash(data[8:]))
    return data.decode()
