"""One SQLite file in WAL mode: one writer, any number of readers, and what its errors mean. Floor 5."""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from p2pledger import wal
from p2pledger.directories import hold
from p2pledger.errors import Fatal

PAGE_CACHE_KB = 32 * 1024
READER_CACHE_KB = 4 * 1024
CHECKPOINT_PAGES = 8_000
"""About so many pages in the write-ahead log are moved into the file together: 32 MB.

The pages that every block writes are moved once for many blocks: the more, the less often; but after a
crash the log is moved before the node starts."""
LOG_BYTES_KEPT = 64 * 1024 * 1024
PUT_ROWS_MAX = 64
"""Rows that one statement inserts at most."""

_DAMAGED = "it is damaged: put it aside, check the disk, and let this node sync again"

_MEANINGS = (
    ("SQLITE_FULL", "the disk is full: free some space on its volume, then start again"),
    ("SQLITE_READONLY", "it cannot be written: see who owns it, and whether its volume is mounted read-only"),
    ("SQLITE_CANTOPEN", "it cannot be opened: see that its directory exists and who owns it"),
    ("SQLITE_CORRUPT", _DAMAGED),
    ("SQLITE_NOTADB", _DAMAGED),
    ("SQLITE_IOERR", "the disk fails: look into the system's log, and do not trust this disk"),
    ("SQLITE_BUSY", "another process writes to it: stop that one first"),
)

_AS_SQLITE = {
    errno.ENOSPC: "SQLITE_FULL",
    errno.EROFS: "SQLITE_READONLY",
    errno.EACCES: "SQLITE_READONLY",
    errno.EIO: "SQLITE_IOERR",
}
"""What SQLite would call an error of the system's, where we ask before it does."""


Ask = Callable[..., Iterable[Any]]
"""Runs a statement with its parameters: `Database.rows`, or the same within a snapshot (`asking`)."""


class Damaged(Fatal):
    """What is read from a file is not what was written."""

    code = "damaged"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} in chain.db is not what was written; {_DAMAGED}")


def _meaning(name: str, otherwise: str) -> str:
    return next((text for start, text in _MEANINGS if name.startswith(start)), otherwise)


def asking(reader: sqlite3.Connection) -> Ask:
    """Runs statements on this connection."""

    def ask(statement: str, *parameters: Any) -> Iterable[Any]:
        return reader.execute(statement, parameters)

    return ask


def put_all(writer: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """As `executemany` of an INSERT, with many rows in each statement: for short rows, which cost less so.

    Long ones are copied once more. Counts are powers of two, so that the statements stay prepared.
    """
    values, done = f", {statement[statement.rindex('(') :]}", 0
    while done < len(rows):
        count = min(1 << (len(rows) - done).bit_length() - 1, PUT_ROWS_MAX)
        some = rows[done : done + count]
        writer.execute(statement + values * (count - 1), list(chain.from_iterable(some)))
        done += count


def free_bytes(directory: Path) -> int:
    """How many bytes this process may still write on a directory's volume."""
    volume = os.statvfs(directory)
    return volume.f_bavail * volume.f_frsize


class Database:
    """A file to read from any thread and to write from one at a time.

    Durable: when `writing` ends, what was written survives a power loss (the log is synced at every
    commit: synchronous=FULL). After one failed write every later one is refused, because a sync that
    failed once may seem to succeed when it is tried again.
    Its directory is held: a second one on it is refused (`Held`), in this process or another.
    Raises: Fatal, from every method, when the file or its disk fails; the message says how to go on.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._readers: list[sqlite3.Connection] = []
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._failed: BaseException | None = None
        with self._failing():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._held = hold(file.parent)
        try:
            self._writer = self._open_writer()
        except BaseException:
            os.close(self._held)
            raise

    def _open_writer(self) -> sqlite3.Connection:
        with self._failing():
            writer = self._open(PAGE_CACHE_KB)
        try:
            with self._failing():
                wal.rewrite_log(writer, self.file)
                wal.settle(writer, self.file)
                wal.bound(writer, CHECKPOINT_PAGES)
                writer.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}")
                # Some builds of SQLite write zeros over what is deleted: a fifth of all pages of the log.
                writer.execute("PRAGMA secure_delete = OFF")
        except Fatal:
            writer.close()
            raise
        return writer

    def _open(self, cache_kb: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute(f"PRAGMA cache_size = -{cache_kb}")
            connection.execute("PRAGMA temp_store = MEMORY")  # nothing but its directories may be writable
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._fatal(error) from error
        except OSError as error:
            name = _AS_SQLITE.get(error.errno or 0, "")
            raise Fatal(f"{self.file}: {_meaning(name, str(error.strerror))}") from error

    def _fatal(self, error: sqlite3.Error) -> Fatal:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        meaning = _meaning(name, str(error))
        if meaning.startswith("Could not decode"):  # damage has made a text of a column of bytes
            meaning = _DAMAGED
        return Fatal(f"{self.file}: {meaning} ({name})")

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._failing():
            connection = self._open(READER_CACHE_KB)
            connection.execute("PRAGMA query_only = ON")
            self._readers.append(connection)
        return connection

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """All rows that one statement finds."""
        # The state is read this way, key by key, thousands of times a block: hence no `with`.
        connection = self._take()
        try:
            return connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._fatal(error) from error
        finally:
            self._idle.append(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one commit and nothing after it, for reads that belong together."""
        with self._failing():
            connection = self._take()
            try:
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    connection.execute("ROLLBACK")
            finally:
                self._idle.append(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: durable when this ends, undone when anything is raised inside."""
        with self._lock:
            if self._failed is not None:
                raise Fatal(f"an earlier write failed: {self._failed}")
            try:
                with self._failing():
                    self._writer.execute("BEGIN IMMEDIATE")
                    try:
                        yield self._writer
                        self._writer.execute("COMMIT")
                    except BaseException:
                        with suppress(sqlite3.Error):
                            self._writer.execute("ROLLBACK")
                        raise
            except BaseException as error:  # what was to be written is half done in memory, perhaps
                self._failed = error
                raise

    def sizes(self) -> dict[str, int]:
        """The bytes of the file and of its log, by file name."""
        files = (self.file, wal.log_of(self.file))
        return {file.name: file.stat().st_size for file in files if file.exists()}

    def free_bytes(self) -> int:
        """How many bytes are free on the volume."""
        return free_bytes(self.file.parent)

    def close(self) -> None:
        """Close every connection; the last one moves the log into the file."""
        with self._lock:
            if self._held < 0:
                return
            try:
                with self._failing():
                    for connection in (*self._readers, self._writer):
                        connection.close()
            finally:
                os.close(self._held)
                self._held = -1
