"""How many examples a property is tried with, how many times as many in a campaign, and where."""

import os
import tempfile
from pathlib import Path

from hypothesis import settings

FACTOR = max(1, int(os.environ.get("PROPERTIES", "1")))
IS_CAMPAIGN = "PROPERTIES" in os.environ


def effort(examples: int, steps: int = 50) -> settings:
    """So many examples (of so many steps, where it is stateful); in a campaign FACTOR times as many."""
    return settings(max_examples=examples * FACTOR, stateful_step_count=steps)


def scratch() -> Path:
    """A new directory, in memory where the system has such: these properties are not about the disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="p2pledger-", dir=memory if os.access(memory, os.W_OK) else None))
