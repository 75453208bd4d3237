"""The log of a SQLite file: made durable at a start, before anybody builds on it, and bound. Floor 4."""

import os
import secrets
import sqlite3
from pathlib import Path

from p2pledger.directories import sync
from p2pledger.errors import Fatal

SPREAD = 0.25
"""Of a bound: so much more or less is drawn."""

_CHUNK_BYTES = 1024 * 1024


def rewrite_log(connection: sqlite3.Connection, file: Path) -> None:
    """Write the log over itself and sync it. Before anything else is done through the connection.

    A sync that failed leaves pages in memory that read like any others, may never have reached the disk,
    and are taken for clean, so that no later sync writes them. SQLite trusts its own sync of the log and
    moves such pages into the file: a power loss in the midst of that would leave a part of them there, and
    not in the log what the rest is to be mended with. Written anew they are dirty again.
    Raises: sqlite3.Error when another process writes; OSError.
    """
    log = log_of(file)
    if not log.exists():
        return
    connection.execute("BEGIN IMMEDIATE")  # nobody appends to it or empties it meanwhile
    try:
        descriptor = os.open(log, os.O_RDWR)
        try:
            offset = 0
            while chunk := os.pread(descriptor, _CHUNK_BYTES, offset):
                offset += os.pwrite(descriptor, chunk, offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        connection.execute("ROLLBACK")


def settle(connection: sqlite3.Connection, file: Path) -> None:
    """From here on all that is read survives a power loss, and so does a commit that has returned.

    A process that was killed between a write and its sync has left rows in the log that may yet be lost.
    The log, written anew before, is moved into the file; syncing the emptied log keeps its old frames from
    coming back over newer pages.
    Raises: Fatal, sqlite3.Error, OSError.
    """
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise Fatal(f"{file}: this file system cannot hold a write-ahead log; choose a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise Fatal(f"{file}: another process uses it: stop that one first")
    if log_of(file).exists():
        sync(log_of(file))
    for directory in (file.parent, file.parent.parent):
        sync(directory)


def bound(connection: sqlite3.Connection, pages: int) -> None:
    """Have the log moved into the file whenever it has about so many pages.

    How many exactly is drawn anew at each start, from three quarters of `pages` to five quarters: authorities
    write the same blocks at the same pace, and would all move their logs at one moment, and nobody agree.
    Raises: sqlite3.Error.
    """
    margin = int(SPREAD * pages)
    drawn = pages - margin + secrets.randbelow(2 * margin + 1)
    connection.execute(f"PRAGMA wal_autocheckpoint = {drawn}")


def log_of(file: Path) -> Path:
    """Where SQLite keeps a file's log."""
    return file.with_name(f"{file.name}-wal")
