"""How many examples a property is tried with, and how many times as many in a campaign."""

import os

from hypothesis import settings

FACTOR = max(1, int(os.environ.get("PROPERTIES", "1")))
IS_CAMPAIGN = "PROPERTIES" in os.environ


def effort(examples: int, steps: int = 50) -> settings:
    """So many examples (of so many steps, where it is stateful); in a campaign FACTOR times as many."""
    return settings(max_examples=examples * FACTOR, stateful_step_count=steps)
