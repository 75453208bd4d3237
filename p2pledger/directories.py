"""Directories: held by one process at a time, and what stands in them made to last. Floor 3."""

import os
from pathlib import Path

from p2pledger.errors import Fatal

LOCK_FILE = "lock"


class Held(Fatal):
    """Another process works in this directory."""

    code = "directory_held"


def hold(directory: Path) -> int:
    """Hold a directory for as long as the descriptor is open: the kernel lets go of it however we end.

    The lock is `flock`'s on a file in the directory, so that it holds between containers that mount the same
    volume on one machine; between machines it holds as far as the file system carries it (NFS from 4 on).
    Raises: Held; OSError.
    """
    import fcntl  # a Python in WebAssembly has none, and verifies a chain that it only reads

    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Held(
            f"{directory} is held by another process: stop that one first, or choose another directory"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync(path: Path) -> None:
    """Have a file's bytes, or the names in a directory, survive a power loss. Raises: OSError.

    A file that was synced and whose name is lost is lost: a new one needs its directory synced, too.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
