"""One fault, as it is asked for, and whether it makes sense. Floor 8.

Imports next to nothing: the command that asks is to be quick, and a compose testnet's runs where nothing is
installed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

DELAY_MS_MAX = 60_000
DURATION_S_MAX = 3_600
CLOCK_MS_MAX = 86_400_000


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


ENDS_BY_ITSELF = {Kind.RESTART, Kind.RESUME, Kind.HEAL}
"""There is nothing to undo about these."""


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

    @property
    def sides(self) -> list[list[str]]:
        """The nodes that it befalls: each by itself, of a partition side by side."""
        if self.kind is Kind.PARTITION:
            return [[name.strip() for name in side.split(",")] for side in self.nodes]
        return [[name] for name in self.nodes]


def check(fault: Fault, names: Sequence[str], authorities: Sequence[str]) -> None:
    """Whether a fault can be meant, where there are nodes of these names. Raises: FaultRefused."""
    if fault.for_s is not None and not 0 < fault.for_s <= DURATION_S_MAX:
        raise FaultRefused(f"--for is more than 0 and at most {DURATION_S_MAX} seconds")
    if fault.for_s is not None and fault.kind in ENDS_BY_ITSELF:
        raise FaultRefused(f"{fault.kind.value} is over when it is done: leave out --for")
    named = [name for side in fault.sides for name in side]
    if unknown := [name for name in named if name not in names]:
        raise FaultRefused(f"no node is called {unknown[0]!r}: there are {', '.join(names)}")
    if len(set(named)) != len(named):
        raise FaultRefused("a node is named twice: name each once")
    match fault.kind:
        case Kind.PARTITION if len(fault.nodes) < 2:
            raise FaultRefused("a partition has two sides or more: 'authority-1|authority-2,authority-3'")
        case Kind.HEAL if named:
            raise FaultRefused("heal undoes everything: name no node")
        case Kind.DELAY if not 0 <= fault.ms <= DELAY_MS_MAX or not 0 <= fault.jitter_ms <= DELAY_MS_MAX:
            raise FaultRefused(f"--ms and --jitter are from 0 to {DELAY_MS_MAX}")
        case Kind.LOSS if not 0 <= fault.percent < 100:
            raise FaultRefused("--percent is at least 0 and less than 100")
        case Kind.CLOCK if abs(fault.ms) > CLOCK_MS_MAX:
            raise FaultRefused(f"--ms is at most a day, {CLOCK_MS_MAX}, either way")
        case Kind.TWIN if len(named) != 1 or named[0] not in authorities:
            raise FaultRefused("one authority has a twin: name one of " + ", ".join(authorities))
        case Kind.DELAY | Kind.LOSS | Kind.HEAL:
            pass
        case _ if not named:
            raise FaultRefused(f"{fault.kind.value} befalls nodes: name one of {', '.join(names)}")
