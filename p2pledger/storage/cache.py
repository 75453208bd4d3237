"""What was read or written last, kept in memory. Floor 5.

A reader on one thread must not put back what a commit on another has just replaced: what is read is kept
only if nothing was committed meanwhile.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")


class Cache(Generic[K]):
    """Bytes or None by key, of `bytes_max` together; the longest unread goes first. Safe on any thread.

    `overhead_bytes` is what a value costs in memory beside its own bytes.
    """

    def __init__(self, bytes_max: int, overhead_bytes: int) -> None:
        self._bytes_max, self._overhead_bytes = bytes_max, overhead_bytes
        self._lock = Lock()
        self._kept: OrderedDict[K, bytes | None] = OrderedDict()
        self._bytes = 0
        """Those of the values alone."""
        self._generation = 0

    def get(self, key: K, read: Callable[[K], bytes | None]) -> bytes | None:
        """The value under a key, by `read` where it is not kept."""
        try:  # without the lock, as most find what they look for: a value goes or stays as a whole
            value = self._kept[key]
            self._kept.move_to_end(key)
        except KeyError:
            return self._read([key], lambda keys: {key: read(key)})[key]
        return value

    def get_all(
        self, keys: Iterable[K], read: Callable[[Sequence[K]], Mapping[K, bytes | None]]
    ) -> dict[K, bytes | None]:
        """As `get` of each key; those that are not kept are read together."""
        kept, found, unread = self._kept, dict[K, bytes | None](), list[K]()
        for key in keys:
            try:
                found[key] = kept[key]
                kept.move_to_end(key)
            except KeyError:
                unread.append(key)
        if unread:
            found.update(self._read(unread, read))
        return found

    def _read(
        self, keys: Sequence[K], read: Callable[[Sequence[K]], Mapping[K, bytes | None]]
    ) -> Mapping[K, bytes | None]:
        with self._lock:
            generation = self._generation
        values = read(keys)
        with self._lock:
            if generation == self._generation:
                self._keep(values)
        return values

    def replace(self, values: Mapping[K, bytes | None]) -> None:
        """These values are committed now."""
        with self._lock:
            self._generation += 1
            self._keep(values)

    def _keep(self, values: Mapping[K, bytes | None]) -> None:
        kept = self._kept
        self._bytes += _size(values.values()) - _size(map(kept.get, values))
        kept.update(values)  # none is missing for a moment: `get` takes no lock
        while self._bytes + self._overhead_bytes * len(kept) > self._bytes_max:
            _, oldest = kept.popitem(last=False)
            self._bytes -= _size([oldest])


def _size(values: Iterable[bytes | None]) -> int:
    return sum(map(len, filter(None, values)))
