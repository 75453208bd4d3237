"""When a leader proposes and when it is skipped: all that the agreement does by the clock.

Nothing here decides what is right, only when it is tried: safety needs no clock.
"""

from dataclasses import dataclass, field

from p2pledger.chain.genesis import Parameters
from p2pledger.types import Millis

DELTA_GROWTH_MAX = 8
"""Δ grows by half at each deadline, up to this many times its base."""

FULL_TRANSACTIONS = 128
STRETCH_MAX = 4
"""Each FULL_TRANSACTIONS of the block before make the block interval longer by itself, up to so many times: a
block costs each authority the work of a hundred transactions, and who waits for the processor does not wait
longer for a fuller block."""


@dataclass
class Pacing:
    """The timers of the current view, and how patient this node has become."""

    parameters: Parameters
    now: Millis
    delta_ms: int = 0
    interval_ms: int = 0
    """How long after its parent a block with something in it is due."""
    entered_ms: Millis = Millis(0)
    pending_since_ms: Millis | None = None
    """Since when a transaction or evidence waits to be included in this view."""
    unfinal_since_ms: Millis | None = None
    """Since when in this view a notarised block that carries some waits to become final."""
    resend_ms: Millis | None = None
    """Set once the deadline has passed: when to say again what was said."""
    lapsed_ms: Millis | None = None
    """When the deadline passed; None while it has not."""
    status_ms: Millis = Millis(0)
    heard_ms: dict[int, Millis] = field(default_factory=dict)
    listening_ms: Millis = Millis(0)
    """Since when others could have been heard: nobody was silent for longer than we listened."""

    def __post_init__(self) -> None:
        self.delta_ms = self.parameters.delta_ms
        self.follow(0)
        self.entered_ms = self.status_ms = self.listening_ms = self.now

    def enter(self, now: Millis) -> None:
        """A view begins; nothing is known yet that it has to do."""
        self.entered_ms = now
        self.pending_since_ms = self.unfinal_since_ms = None
        self.resend_ms = self.lapsed_ms = None

    def follow(self, transactions: int) -> None:
        """The next block follows one of so many transactions."""
        stretch = min(STRETCH_MAX, 1 + transactions // FULL_TRANSACTIONS)
        self.interval_ms = self.parameters.block_interval_ms * stretch

    @property
    def work_since_ms(self) -> Millis | None:
        """Since when this view has something to do; None while it is idle."""
        pending, unfinal = self.pending_since_ms, self.unfinal_since_ms
        if pending is None or unfinal is None:
            return unfinal if pending is None else pending
        return min(pending, unfinal)

    def count_work(self, now: Millis) -> None:
        """There is something to include in this view, since now at the latest."""
        self.pending_since_ms = now if self.pending_since_ms is None else min(self.pending_since_ms, now)

    def count_unfinal(self, now: Millis, *, is_waiting: bool) -> None:
        """Whether what is notarised waits to become final: once it is, no block is owed for it any more."""
        if not is_waiting:
            self.unfinal_since_ms = None
        elif self.unfinal_since_ms is None:
            self.unfinal_since_ms = now

    def deadline_ms(self) -> Millis:
        """When this view is given up."""
        p = self.parameters
        patience = self.entered_ms + p.idle_interval_ms
        since = self.work_since_ms
        if since is not None:
            patience = min(patience, since + self.interval_ms)
        return Millis(patience + 3 * self.delta_ms)

    def propose_ms(self, parent_certified_ms: Millis) -> Millis:
        """When a leader proposes a child of a parent that it saw certified then."""
        p = self.parameters
        idle = self.work_since_ms is None
        return Millis(parent_certified_ms + (p.idle_interval_ms if idle else self.interval_ms))

    def is_overdue(self, now: Millis) -> bool:
        """Whether the deadline has passed for the first time in this view."""
        return self.resend_ms is None and now >= self.deadline_ms()

    def lapse(self, now: Millis) -> None:
        """The deadline has passed: be more patient from now on, and repeat every 3Δ."""
        self.delta_ms = min((self.delta_ms * 3 + 1) // 2, self.parameters.delta_ms * DELTA_GROWTH_MAX)
        self.resend_ms = Millis(now + 3 * self.delta_ms)
        self.lapsed_ms = now

    def calm(self) -> None:
        """Something became final: Δ is back to its base."""
        self.delta_ms = self.parameters.delta_ms

    def hear(self, peer: int, now: Millis) -> bool:
        """An authority said something; whether it had been silent before."""
        before = self.heard_ms.get(peer)
        self.heard_ms[peer] = now
        return before is None or before < now - self.parameters.leader_silence_ms

    def listen(self, now: Millis) -> None:
        """Other authorities reign from now on: who was heard before says nothing."""
        self.heard_ms.clear()
        self.listening_ms = now

    def heard(self, now: Millis) -> set[int]:
        """The positions that were heard within `leader_silence_ms`."""
        floor = now - self.parameters.leader_silence_ms
        return {peer for peer, at in self.heard_ms.items() if at >= floor}

    def is_silent(self, peer: int, now: Millis) -> bool:
        """Whether this authority was not heard for `leader_silence_ms`, all of which we listened."""
        return now >= self.silent_ms(peer)

    def silent_ms(self, peer: int) -> Millis:
        """From when on this authority counts as silent if it says nothing more."""
        since = max(self.listening_ms, self.heard_ms.get(peer, self.listening_ms))
        return Millis(since + self.parameters.leader_silence_ms + 1)

    def shift(self, by_ms: int) -> None:
        """The clock was set by this much: what was waited for is still as far away as before."""
        self.entered_ms = Millis(self.entered_ms + by_ms)
        self.status_ms = Millis(self.status_ms + by_ms)
        self.listening_ms = Millis(self.listening_ms + by_ms)
        if self.pending_since_ms is not None:
            self.pending_since_ms = Millis(self.pending_since_ms + by_ms)
        if self.unfinal_since_ms is not None:
            self.unfinal_since_ms = Millis(self.unfinal_since_ms + by_ms)
        if self.resend_ms is not None:
            self.resend_ms = Millis(self.resend_ms + by_ms)
        if self.lapsed_ms is not None:
            self.lapsed_ms = Millis(self.lapsed_ms + by_ms)
        self.heard_ms = {peer: Millis(at + by_ms) for peer, at in self.heard_ms.items()}
