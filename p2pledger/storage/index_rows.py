"""The rows that modules are found by: the tables' with the newest ones in front of them. Floor 5."""

from collections.abc import Sequence

from p2pledger.storage import schema
from p2pledger.storage.checks import prefix_end
from p2pledger.storage.database import Damaged, Database
from p2pledger.storage.rows import checksum_of
from p2pledger.storage.tail import Generation, Tail


class IndexRows:
    """Reads the index rows of the last commit. Raises: Fatal when one is not what was written."""

    def __init__(self, database: Database, tail: Tail) -> None:
        self._database, self._tail = database, tail

    def value(self, name: str, key: bytes) -> bytes | None:
        """The value of one row; None when there is none."""

        def read() -> bytes | None:
            rows = self._database.rows(schema.INDEX_GET, name, key)
            if rows and checksum_of(name, key, rows[0][0]) != rows[0][1]:
                raise Damaged(f"a row of the index {name}")
            return rows[0][0] if rows else None

        def lay_over(found: bytes | None, newer: Generation) -> bytes | None:
            return newer.index.get(name, {}).get(key, found)

        return self._tail.over(read, lay_over)

    def scan(self, name: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See `Store.scan`."""
        end = prefix_end(prefix)

        def read() -> dict[bytes, bytes]:
            if end is None:
                rows = self._database.rows(schema.INDEX_SCAN_TO_END, name, prefix, after, limit)
            else:
                rows = self._database.rows(schema.INDEX_SCAN, name, prefix, after, end, limit)
            if any(checksum_of(name, key, value) != checksum for key, value, checksum in rows):
                raise Damaged(f"a row of the index {name}")
            return {key: value for key, value, _ in rows}

        found = self._tail.over(read, lambda rows, newer: rows | newer.scan(name, prefix, after, end, limit))
        return sorted(found.items())[:limit]
