"""Whether a node lives, and whether it is of use: what its three probes answer. Floor 6.

startup     its store is open and its tasks have begun
live        every long-lived task gives signs of life, or rests because there is nothing to do. A node that
            syncs, idles, waits for others or may not vote is alive: to restart it would help nobody
ready       it lives, is in sync, reaches others, and knows what its key has signed before. Whoever restarts
            nodes one after the other waits for this: an authority that does not vote yet is not there yet.
            One that never votes again, because its key signs elsewhere, is ready and says so as a notice
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import trio

from p2pledger.node.service import Health

STALLED_S = 30.0
"""A long-lived task that gave no sign for so long is stuck."""


@dataclass
class Pulse:
    """The signs of life of one long-lived task. One that rests owes none, nor does one that has not begun."""

    task: str
    beat_s: float = math.inf
    is_resting: bool = False

    def beat(self) -> None:
        """It has come this far, and goes on."""
        self.beat_s, self.is_resting = trio.current_time(), False

    def rest(self) -> None:
        """It waits for something to do."""
        self.is_resting = True

    def is_stalled(self, now_s: float) -> bool:
        """Whether it has been at something for too long. `now_s` is by trio's clock."""
        return not self.is_resting and now_s - self.beat_s > STALLED_S


@dataclass(frozen=True)
class Condition:
    """What readiness asks beside life."""

    is_started: bool
    is_stopping: bool
    is_in_sync: bool
    is_listening: bool
    """An authority that has not heard yet what its key has signed: it is about to vote, and does not vote."""
    is_connected: bool
    notice: str = ""
    """Why an authority will not vote any more, though nothing here can be restarted to mend it."""

    def reasons(self) -> Iterator[str]:
        """Why it is not of use now."""
        if self.is_stopping:
            yield "stopping"
        if not self.is_started:
            yield "starting"
        elif not self.is_in_sync:
            yield "catching up with the chain"
        elif self.is_listening:
            yield "asking other authorities what this key has signed before"
        if not self.is_connected:
            yield "no peer is connected"


def health_of(pulses: Iterable[Pulse], condition: Condition, now_s: float) -> Health:
    """The three probes. `now_s` is by trio's clock."""
    stalled = [f"{pulse.task} gives no sign of life" for pulse in pulses if pulse.is_stalled(now_s)]
    reasons = (*stalled, *condition.reasons())
    notices = (condition.notice,) if condition.notice else ()
    return Health(condition.is_started, not stalled, not reasons, reasons, notices)
