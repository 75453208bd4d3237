"""Gives its votes and proposals to some peers only, or to nobody. Floor 8.

Tries to have certificates form at some nodes only, and to make every honest vote needed: one that is lost
over a crash then stops the chain. Stopped by: certificates that statuses spread (R6), own votes that count
and are said again after a restart (R7).
"""

from typing import TYPE_CHECKING

from p2pledger.chain.block import Proposal
from p2pledger.chain.vote import Vote
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class VoteWithholder(Liar):
    """Silent, but for a few."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        if not isinstance(send.frame, Vote | Proposal):
            return [send]
        peers = range(len(node.core.situation.authorities))
        some = self.random.sample(peers, self.random.choice((0, 0, 1, len(peers) // 2)))
        return [Send(send.frame, peer) for peer in some if send.peer in (None, peer)]
