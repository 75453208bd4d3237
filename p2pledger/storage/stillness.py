"""Reads that belong together, beside a thread that commits. Floor 5."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

T = TypeVar("T")

TRIES_MAX = 4
"""How often reads are begun anew before a commit has to wait for them."""


class Stillness:
    """Tells reads whether something changed under them.

    They do not hold up the writer, but when blocks come so fast that reads never get through in between:
    then it waits once for one of them. So they have to be short.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._changes = 0
        """Odd while something changes."""

    @contextmanager
    def changing(self) -> Iterator[None]:
        """What is read meanwhile may be half of one height and half of the next. For one thread."""
        with self._lock:
            self._changes += 1
            try:
                yield
            finally:
                self._changes += 1

    def together(self, read: Callable[[], T]) -> T:
        """What `read` finds while nothing changes.

        It may be called several times, and finds what never was together in all calls but the last: it must
        not raise because of that.
        """
        for _ in range(TRIES_MAX):
            before = self._changes
            if before % 2:
                with self._lock:  # what changes is done when this is to be had
                    before = self._changes
                if before % 2:
                    continue
            found = read()
            if self._changes == before:
                return found
        with self._lock:
            return read()
