"""The rows that were read or written last, kept in memory. Floor 5.

A reader on one thread must not put back what a commit on another has just replaced: a row is kept only
if nothing was committed while it was being read.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock

ROWS_MAX = 65_536
ROW_BYTES_MAX = 1_024
"""Longer values are not kept: this bounds the cache to about 64 MB at the very worst, mostly far below."""


class RowCache:
    """Values by key, None for a key that is not there; the longest unused goes first. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: OrderedDict[bytes, bytes | None] = OrderedDict()
        self._generation = 0

    def get(self, key: bytes, read: Callable[[bytes], bytes | None]) -> bytes | None:
        """The value under a key, by `read` where it is not kept."""
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
                return self._rows[key]
            generation = self._generation
        value = read(key)
        with self._lock:
            if generation == self._generation:
                self._keep(key, value)
        return value

    def replace(self, writes: Mapping[bytes, bytes | None]) -> None:
        """These writes are committed now."""
        with self._lock:
            self._generation += 1
            for key, value in writes.items():
                self._keep(key, value)

    def _keep(self, key: bytes, value: bytes | None) -> None:
        if value is not None and len(value) > ROW_BYTES_MAX:
            self._rows.pop(key, None)
            return
        self._rows[key] = value
        self._rows.move_to_end(key)
        if len(self._rows) > ROWS_MAX:
            self._rows.popitem(last=False)
