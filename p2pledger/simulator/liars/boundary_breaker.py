"""Builds a child on the boundary block within the epoch, and has all liars vote for it. Floor 8.

Tries to have an epoch go on after its end, while others begin the next one: two blocks of one height. Needs
a boundary block that is notarised and not yet final at the next leader's. Stopped by: no child of it is voted
for in its epoch; it is proposed again instead (R5).
"""

from typing import TYPE_CHECKING

from p2pledger.chain.block import Proposal
from p2pledger.chain.vote import Vote
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.colluder import Colluder
from p2pledger.simulator.liars.liar import Said, rebuilt
from p2pledger.types import Height, Millis

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class BoundaryBreaker(Colluder):
    """Lets no epoch end."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        s = node.core.situation
        if isinstance(send.frame, Vote):
            block = s.tree.get(send.frame.ballot.digest)
            if block is not None and block.header.height >= s.boundary_height:
                return []  # the honest ones may end their epoch without it
        return super().say(node, send)

    def propose(self, node: "Node", proposal: Proposal) -> list[Said]:
        """See `Colluder.propose`."""
        s, header = node.core.situation, proposal.header
        if header.view == proposal.view:
            return super().propose(node, proposal) if header.height == s.boundary_height else [Send(proposal)]
        notarised = [v for v, c in s.tally.notarised.items() if c.ballot.digest == header.digest]
        child = rebuilt(
            node,
            proposal,
            height=Height(header.height + 1),
            parent_digest=header.digest,
            parent_view=max((view for view in notarised if view < proposal.view), default=header.view),
            time_ms=Millis(max(s.now, header.time_ms + 1)),
        )
        return [Send(child), Send(child.vote)] if child is not None else [Send(proposal)]
