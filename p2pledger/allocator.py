"""The memory allocator of a node's process: jemalloc, for nodes that carry load. Floor 5.

A node under load makes and frees some two dozen small objects for each transaction. CPython's own allocator
scatters them more the longer a process has run, and gives pages back that are wanted again a moment later: a
transaction costs a tenth to a fifth more of the processor than with jemalloc (docs/performance.md). An idle
node is smaller by 46 MiB without it.

A process has its allocator before its first line runs, by its environment. So whoever starts a node chooses:
testnets and benches give it to authorities, and the image has the same variables, which small gateways undo.

Source: jemalloc(3) for MALLOC_CONF; https://docs.python.org/3/using/cmdline.html#envvar-PYTHONMALLOC.
"""

import ctypes
import ctypes.util
import os
from collections.abc import Mapping
from functools import cache

TUNING = "narenas:1,dirty_decay_ms:-1,thp:always"
"""One arena: Python's own lock lets one thread at a time allocate. Pages are large ones where the kernel lets
a process ask for it, and are never given back: giving a part of a large page back breaks it up, and within a
minute of load half of all would be small. So a process keeps what it needed most at any time."""

PACKAGE = "libjemalloc2"
"""What Debian and Ubuntu call it."""

_CHOICES = ("LD_PRELOAD", "PYTHONMALLOC", "MALLOC_CONF")


def jemalloc(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to add to an environment, so that a process that starts in it allocates with jemalloc.

    None where jemalloc is not installed, and where the environment already chooses an allocator or preloads
    something: what somebody chose stands.
    """
    library = _library()
    if library is None or any(name in environment for name in _CHOICES):
        return {}
    return variables(library)


def variables(library: str) -> dict[str, str]:
    """What makes a Python process allocate with jemalloc, which the loader finds by this name.

    All of them or none: Python's objects in the C library's own heap cost more than any other choice.
    """
    return {"LD_PRELOAD": library, "PYTHONMALLOC": "malloc", "MALLOC_CONF": TUNING}


def current() -> str:
    """Who allocates this process's objects: `jemalloc`, `malloc` (the C library) or `pymalloc` (Python)."""
    if os.environ.get("PYTHONMALLOC", "").removesuffix("_debug") != "malloc":
        return "pymalloc"
    return "jemalloc" if hasattr(ctypes.CDLL(None), "mallctl") else "malloc"


@cache
def _library() -> str | None:
    return ctypes.util.find_library("jemalloc")
