"""One fault, as it is asked for. Floor 8. Imports next to nothing: the command that asks is to be quick."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The faults, by the names that the command has for them."""

    KILL = "kill"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"
    CLOCK = "clock"
    TWIN = "twin"
    DISCONNECT = "disconnect"
    PARTITION = "partition"
    DELAY = "delay"
    LOSS = "loss"
    HEAL = "heal"


class FaultRefused(Exception):
    """What was asked for cannot be done. The message says why, and what can be."""


@dataclass(frozen=True)
class Fault:
    """One fault, as it is asked for.

    `nodes`: the nodes that it befalls; for a partition its sides, the nodes of each with commas between
    them; none for a delay or a loss of all links, and for `heal`. Undone after `for_s`, if that is given.
    """

    kind: Kind
    nodes: tuple[str, ...] = ()
    for_s: float | None = None
    ms: int = 0
    """A delay, or how far a clock is ahead."""
    jitter_ms: int = 0
    percent: float = 0.0
    is_silent: bool = False
    """Bytes are swallowed instead of connections being reset."""
