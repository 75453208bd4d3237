"""Values by their encoding, of those that were decoded or encoded last. Floor 4, pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from p2pledger.codec import decode, decode_all


class Decoded:
    """Some `count_max` values of any kinds, which have to be true.

    Once half of so many are new, those from before are forgotten: all that nobody has asked for meanwhile. So
    nothing has to be put in order for each that is found.
    """

    def __init__(self, count_max: int) -> None:
        self._count, self._count_max = 0, count_max
        self._new: defaultdict[Any, dict[bytes, Any]] = defaultdict(dict)
        self._old = self._new.copy()

    def get(self, kind: Any, data: bytes) -> Any:
        """The value of a kind that this is the encoding of. Raises: InvalidMessage."""
        return self._new[kind].get(data) or self._found(kind, data)

    def get_all(self, kind: Any, data: Mapping[bytes, bytes | None]) -> dict[bytes, Any]:
        """As `get` of each, by key, new ones decoded together; None stays None. Raises: InvalidMessage."""
        if len(data) > 1:
            self.read_ahead(kind, [value for value in data.values() if value is not None])
        return {key: None if value is None else self.get(kind, value) for key, value in data.items()}

    def read_ahead(self, kind: Any, data: Collection[bytes]) -> None:
        """Decode these together where that was not done yet, for `get` to find. Raises: InvalidMessage."""
        new, old = self._new[kind], self._old[kind]
        unread = [one for one in data if one not in new and one not in old]
        if unread:
            self.keep(kind, dict(zip(unread, decode_all(kind, unread), strict=True)))

    def keep(self, kind: Any, values: Mapping[bytes, Any]) -> None:
        """These are the values of a kind with these encodings."""
        self._new[kind].update(values)
        self._count += len(values)
        if 2 * self._count >= self._count_max:
            self._old, self._new, self._count = self._new, defaultdict(dict), 0

    def _found(self, kind: Any, data: bytes) -> Any:
        value = self._old[kind].get(data) or decode(kind, data)
        self.keep(kind, {data: value})
        return value

    def cache_clear(self) -> None:
        """Forget them all."""
        self._old, self._new, self._count = defaultdict(dict), defaultdict(dict), 0
