"""A node that was started by the launcher ends with it. Floor 8."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """From now on, the end of the process `parent` sends this one SIGTERM (Linux only; else nothing).

    Called in the child itself, by its first thread: what runs between fork and exec has to be simpler.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we could ask
        os.kill(os.getpid(), signal.SIGTERM)
