"""How the guard's SQLite file is opened and locked, and what its errors ask for. Floor 5."""

import sqlite3
from pathlib import Path

from p2pledger import wal
from p2pledger.directories import Held, hold
from p2pledger.errors import Fatal

REPLACE_KEY = (
    "stop, do not put an old copy in its place, and replace this authority's key; until then the node"
    " runs as a follower with an empty guard directory"
)

CHECKPOINT_PAGES = 4_000
"""About so many pages in the write-ahead log are moved into the file together: 16 MB.

Of what is pruned before that nothing is moved: its pages are written over in the log. Under full load a
proposal and its bodies are 90 pages, so that is most."""

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
    connection = sqlite3.connect(
        f"{file.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA temp_store = MEMORY")  # nothing but its directories may be writable
    wal.bound(connection, CHECKPOINT_PAGES)
    # Some builds of SQLite write zeros over what is deleted: bodies of blocks that are final, a second time.
    connection.execute("PRAGMA secure_delete = OFF")
    return connection


def lock(directory: Path) -> int:
    """Hold the directory while the descriptor is open: two signers of one key contradict each other.

    Raises: Fatal when another process holds it, or nobody can.
    """
    try:
        return hold(directory)
    except Held:
        raise Held(f"{directory} is held by another process: one key signs in one place only") from None
    except OSError as error:
        raise Fatal(
            f"{directory}: {error.strerror}: the guard must be written; see who owns its directory, and"
            " whether its volume is mounted read-only"
        ) from error
