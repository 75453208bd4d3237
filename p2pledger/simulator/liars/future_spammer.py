"""Votes in views far ahead and far behind, and proposes in views to come. Floor 8.

Tries to fill memories, and to have what comes too early taken for what is due. Stopped by: a window of
views in which votes are counted, a shorter one for proposals, and headers that name their view.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pledger.chain.block import Proposal
from p2pledger.chain.vote import notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, is_own, nothing, vote_of
from p2pledger.types import Height, View

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class FutureSpammer(Liar):
    """Is never in the view that the others are in."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        s, random = node.core.situation, self.random
        view = View(max(1, s.view + random.choice((-100, -3, 1, 2, 7, 60, 3_000, 2**60))))
        digest = random.choice((nothing(view), s.tree.root.digest))
        ballots = (skip(s.epoch, view), notarise(s.epoch, view, digest))
        said: list[Said] = [send, Send(vote_of(node, random.choice(ballots)), send.peer)]
        if isinstance(send.frame, Proposal) and is_own(node, send.frame):
            later = View(s.view + len(s.authorities) * random.randint(1, 3))
            parent = random.choice((nothing(later), send.frame.header.digest))
            height = Height(random.choice((10**9, send.frame.header.height + 1)))
            header = replace(send.frame.header, view=later, height=height, parent_digest=parent)
            vote = vote_of(node, notarise(s.epoch, later, header.digest))
            said.append(Send(replace(send.frame, header=header, vote=vote)))
        return said
