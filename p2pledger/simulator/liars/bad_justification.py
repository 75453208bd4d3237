"""Proposes on an older block as if nothing had been notarised since. Floor 8.

Tries to have voters leave a block that may be final already. Stopped by: the parent must be certified and
every view above it skipped, by certificates that the voter holds itself (R4); a forged one is a lie of
whoever passes it on, and counts for nothing.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pledger.chain.block import Justification, Proposal
from p2pledger.chain.vote import notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, forged, is_own, rebuilt
from p2pledger.types import Height, View

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class BadJustification(Liar):
    """Hides the parent that it should have, behind nothing or behind certificates that nobody signed."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        frame = send.frame
        if not isinstance(frame, Proposal) or not is_own(node, frame) or self.random.random() < 0.2:
            return [send]
        s, view = node.core.situation, frame.view
        root, below = s.tree.root, View(view - 1)
        is_forged = self.random.random() < 0.5
        parent_view = max(below, s.final_view) if is_forged else s.final_view
        lie = rebuilt(
            node,
            frame,
            height=Height(root.height + 1),
            parent_digest=root.digest,
            parent_view=parent_view,
            time_ms=node.core.situation.now,
        )
        if lie is None:
            return [send]
        if is_forged:
            parent = forged(node, notarise(s.epoch, below, root.digest))
            return [Send(replace(lie, justification=Justification(parent, ()))), send]
        skips = tuple(forged(node, skip(s.epoch, View(v))) for v in range(parent_view + 1, view)[-8:])
        skips = self.random.choice(((), skips, frame.justification.skips))
        true = s.tally.final
        return [Send(replace(lie, justification=Justification(true, skips))), Send(lie.vote)]
