"""The state that rules read and write, and the stack of writes over it. Floor 4, pure.

The state is a map from keys to values, both bytes. It is read through a `StateReader`: the store for
what is final, an `Overlay` for a block that is not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from p2pledger.types import Hash


@dataclass(frozen=True)
class Entry:
    """One key of the state as the commitment sees it: where it hangs, and what it hangs there.

    `path` is SHA-256 of the key, `leaf` the hash over key and value.
    """

    path: Hash
    leaf: Hash


class StateReader(Protocol):
    """A state that can be read. Reading never changes it."""

    def get(self, key: bytes) -> bytes | None:
        """The value under a key; None when there is none."""

    def entries(self, prefix: str) -> Sequence[Entry]:
        """All entries whose path starts with these hexadecimal digits, by ascending path."""

    def node(self, prefix: str) -> Hash | None:
        """The commitment's hash at these hexadecimal digits; None where the tree has no node of its own."""

    def is_used(self, transaction_id: Hash) -> bool:
        """Whether a transaction with this id is in the chain and has not yet passed its expiry."""


class Changes:
    """Writes over a reader that can be taken back: what a rule works on.

    `mark` and `undo` bracket one transaction: a rule that fails leaves no writes.
    """

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._writes: dict[bytes, bytes | None] = {}
        self._undo: list[tuple[bytes, bool, bytes | None]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value under a key, these writes included."""
        if key in self._writes:
            return self._writes[key]
        return self._reader.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a value under a key; None removes it."""
        self._undo.append((key, key in self._writes, self._writes.get(key)))
        self._writes[key] = value

    def mark(self) -> int:
        """A point to return to. Marks nest; an outer undo takes the inner writes along."""
        return len(self._undo)

    def undo(self, mark: int) -> None:
        """Take back every write since `mark`."""
        while len(self._undo) > mark:
            key, was_written, value = self._undo.pop()
            if was_written:
                self._writes[key] = value
            else:
                del self._writes[key]

    def writes(self) -> Mapping[bytes, bytes | None]:
        """The last write to each key, in the order of first writing; None stands for removed."""
        return dict(self._writes)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._writes)
