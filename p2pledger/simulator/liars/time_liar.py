"""Its clock is wrong, and its blocks are of the far future or of the past. Floor 8.

Tries to drag the ledger's time along, to have transactions expire, and to have good blocks held back.
Stopped by: a block's time lies above its parent's and not beyond the voter's clock and the drift; a stale
one is skipped. No clock is used for safety.
"""

from random import Random
from typing import TYPE_CHECKING

from p2pledger.chain.block import Proposal
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, is_own, rebuilt
from p2pledger.types import Millis

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

JUMPS_MS = (-3_600_000, -5_000, -400, 0, 0, 0, 400, 5_000, 3_600_000)


class TimeLiar(Liar):
    """Tells a time of its own."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._jump_ms = random.choice(JUMPS_MS)

    def bend(self, node: "Node") -> None:
        """See `Liar.bend`. Its clock stays as wrong as it is over its restarts."""
        super().bend(node)
        if self._jump_ms:
            node.world.jump(node.number, self._jump_ms)
            self._jump_ms = 0

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        frame = send.frame
        if not isinstance(frame, Proposal) or not is_own(node, frame) or frame.header.view != frame.view:
            return [send]
        s = node.core.situation
        p = s.setting.parameters
        known = s.known(frame.header.parent_digest)
        parent_ms = known[1] if known is not None else frame.header.time_ms
        times = (
            parent_ms,  # not above its parent's
            parent_ms + 1,
            node.world.now - p.clock_drift_ms - p.idle_interval_ms - 1_000,
            node.world.now + p.clock_drift_ms - 20,  # just allowed: the ledger's time runs ahead
            node.world.now + p.clock_drift_ms + 250,  # voters hold back a little
            node.world.now + 3_600_000,
            2**63,
        )
        lie = rebuilt(node, frame, time_ms=Millis(max(0, self.random.choice(times))))
        return [Send(lie)] if lie is not None else [send]
