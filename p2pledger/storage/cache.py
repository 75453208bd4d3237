"""What was read or written last, kept in memory. Floor 5.

A reader on one thread must not put back what a commit on another has just replaced: what is read is kept
only if nothing was committed meanwhile.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
C = TypeVar("C")


class Cache(Generic[K, V]):
    """Values by key, of `size_max` together; the longest unused goes first. Safe on any thread."""

    def __init__(self, size_max: int, size_of: Callable[[V], int]) -> None:
        self._size_max, self._size_of = size_max, size_of
        self._lock = Lock()
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self._generation = 0

    def get(self, key: K, read: Callable[[K], V]) -> V:
        """The value under a key, by `read` where it is not kept."""
        try:  # without the lock, as most find what they look for: a value goes or stays as a whole
            value = self._kept[key]
            self._kept.move_to_end(key)
        except KeyError:
            return self._read(key, read)
        return value

    def peek(self, key: K) -> V | None:
        """The value under a key, if it is kept; nothing is read, and its use does not count."""
        return self._kept.get(key)

    def get_all(self, keys: Iterable[K], read: Callable[[Sequence[K]], Mapping[K, V]]) -> dict[K, V]:
        """As `get` of each key; those that are not kept are read together."""
        kept, found, unread = self._kept, dict[K, V](), list[K]()
        for key in keys:
            try:
                found[key] = kept[key]
                kept.move_to_end(key)
            except KeyError:
                unread.append(key)
        if unread:
            with self._lock:
                generation = self._generation
            values = read(unread)
            with self._lock:
                if generation == self._generation:
                    for key, value in values.items():
                        self._keep(key, value)
            found.update(values)
        return found

    def _read(self, key: K, read: Callable[[K], V]) -> V:
        with self._lock:
            generation = self._generation
        value = read(key)
        with self._lock:
            if generation == self._generation:
                self._keep(key, value)
        return value

    def replace(self, values: Mapping[K, V]) -> None:
        """These values are committed now."""
        with self._lock:
            self._generation += 1
            for key, value in values.items():
                self._keep(key, value)

    def revise(self, changes: Mapping[K, C], revised: Callable[[V, C], V]) -> None:
        """These changes are committed now: `revised` makes the new value of a kept one."""
        with self._lock:
            self._generation += 1
            for key, change in changes.items():
                if key in self._kept:
                    self._keep(key, revised(self._kept[key], change))

    def _keep(self, key: K, value: V) -> None:
        if key in self._kept:
            self._size -= self._size_of(self._kept[key])
        self._kept[key] = value
        self._kept.move_to_end(key)
        self._size += self._size_of(value)
        while self._size > self._size_max:
            _, oldest = self._kept.popitem(last=False)
            self._size -= self._size_of(oldest)
