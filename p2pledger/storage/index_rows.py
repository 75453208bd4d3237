"""The rows that modules are found by: the file's with the newest ones in front of them. Floor 5."""

from collections.abc import Sequence
from itertools import islice, takewhile

from p2pledger.storage.checks import prefix_end
from p2pledger.storage.database import Database
from p2pledger.storage.parcels import rows_from, shelves
from p2pledger.storage.tail import Tail


class IndexRows:
    """Reads the index rows of the last commit. Raises: Fatal when one is not what was written."""

    def __init__(self, database: Database, tail: Tail) -> None:
        self._database, self._tail = database, tail

    def scan(self, name: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See `Store.scan`."""
        end = prefix_end(prefix)
        found = self._tail.over(
            lambda: self._stored(name, prefix, after, end, limit),
            lambda rows, newer: rows | newer.scan(name, prefix, after, end, limit),
        )
        return sorted(found.items())[:limit]

    def _stored(
        self, name: str, prefix: bytes, after: bytes, end: bytes | None, limit: int
    ) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        with self._database.snapshot() as reader:
            for shelf in shelves(reader, name):
                # What is behind so many rows is not asked for: of an index by time, most shelves are.
                is_behind = shelf.first >= end if end is not None else False
                is_behind = is_behind or (len(found) == limit and shelf.first > max(found))
                if is_behind or shelf.last < prefix or shelf.last <= after:
                    continue
                rows = takewhile(
                    lambda row: end is None or row[0] < end, rows_from(reader, shelf, max(prefix, after))
                )
                found.update(islice(((k, v) for k, v in rows if k >= prefix and k > after), limit))
                if len(found) > limit:
                    found = dict(sorted(found.items())[:limit])
        return found
