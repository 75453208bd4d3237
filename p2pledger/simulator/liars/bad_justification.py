"""Proposes on an older block as if nothing had been notarised since; at once, before that is final. Floor 8.

Tries to have voters leave a block that may be final already. Stopped by: the parent must be certified and
every view above it skipped, by certificates that the voter holds itself (R4); a forged one is a lie of
whoever passes it on, and counts for nothing.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from p2pledger.chain.block import FinalBlock, Justification, Proposal
from p2pledger.chain.message import Frame
from p2pledger.chain.vote import Evidence, notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, forged, is_own, rebuilt, vote_of
from p2pledger.types import Epoch, Height, Millis, View

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class BadJustification(Liar):
    """Hides the parent that it should have, behind nothing or behind certificates that nobody signed."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._hasty = (Epoch(0), View(0))

    def hear(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """Entering its view it proposes beside the block notarised last, while F votes are on their way."""
        s = node.core.situation
        last, at = s.tally.proposals.get(View(s.view - 1)), (s.epoch, s.view)
        if last is None or last.view != last.header.view or s.leader(s.view) != s.voice.index:
            return []
        parent = s.known(last.header.parent_digest)
        if at == self._hasty or parent is None or self.random.random() < 0.3:
            return []
        self._hasty = at
        ballot = notarise(s.epoch, s.view, last.header.digest)
        beside = rebuilt(
            node,
            replace(last, justification=Justification(None, ()), vote=vote_of(node, ballot)),
            time_ms=Millis(max(s.now, parent[1] + 1)),
        )
        return [Send(beside)] if beside is not None else []

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
