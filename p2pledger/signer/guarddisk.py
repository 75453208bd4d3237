"""How the guard's SQLite file is opened, locked and synced, and what its errors ask for. Floor 5."""

import fcntl
import os
import sqlite3
from pathlib import Path

from p2pledger.errors import Fatal

LOCK_FILE = "lock"
REPLACE_KEY = (
    "stop, do not put an old copy in its place, and replace this authority's key; until then the node"
    " runs as a follower with an empty guard directory"
)

_CURES = (
    ("SQLITE_FULL", "the disk is full: free some space on the guard's volume, then start again"),
    ("SQLITE_READONLY", "it cannot be written: see who owns it, and whether its volume is mounted read-only"),
    ("SQLITE_CANTOPEN", "it cannot be opened: see who owns its directory, and whether it may be written"),
    ("SQLITE_IOERR", "the disk fails: look into the system's log; if in doubt of it, replace the key"),
    ("SQLITE_BUSY", "another process uses it: stop that one first"),
)


def cure(error: sqlite3.Error) -> str:
    """What an operator does about an error. A guard that cannot be read whole is lost, never mended."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    text = next((text for start, text in _CURES if name.startswith(start)), REPLACE_KEY)
    return f"{error} ({name}): {text}"


def connect(file: Path) -> sqlite3.Connection:
    """Open a file that is there: one that is not must not come into being by being looked for."""
    return sqlite3.connect(
        f"{file.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )


def set_durable(connection: sqlite3.Connection, file: Path) -> None:
    """From here on a commit that has returned survives a power loss, and so does all that is read.

    A process that was killed between a write and its sync, or whose sync failed, has left rows in the
    log that are read like any others and may yet be lost: a vote that is sent again because of them could
    be contradicted. The checkpoint writes them anew, into the file itself. Syncing the emptied log keeps
    its old frames from coming back over newer pages.
    Raises: Fatal, sqlite3.Error, OSError.
    """
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise Fatal(f"{file}: this file system cannot hold a write-ahead log; choose a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cell_size_check = ON")
    is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise Fatal(f"{file}: another process uses it: stop that one first")
    log = file.with_name(f"{file.name}-wal")
    if log.exists():
        _sync(log, os.O_RDWR)
    for directory in (file.parent, file.parent.parent):  # a synced file whose name is lost is lost
        _sync(directory, os.O_RDONLY | os.O_DIRECTORY)


def lock(directory: Path) -> int:
    """Hold the directory while the descriptor is open: two signers of one key contradict each other.

    Raises: Fatal when another process holds it, or nobody can.
    """
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Fatal(
            f"{directory}: {error.strerror}: the guard must be written; see who owns its directory, and"
            " whether its volume is mounted read-only"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Fatal(f"{directory} is held by another process: one key signs in one place only") from error
    return descriptor


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
