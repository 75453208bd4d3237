"""Proposes one block to one half, another to the other half, and votes for both everywhere. Floor 8."""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pledger.chain.block import Proposal
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, signed_again
from p2pledger.types import Millis

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class EquivocatingProposer(Liar):
    """Forks, if two quorums can be had."""

    def say(self, node: "Node", send: Send) -> list[Send]:
        """See `Liar.say`."""
        s = node.core.situation
        match send.frame:
            case Proposal(header) as proposal if proposal.vote.signer == s.voice.index:
                other = signed_again(node, proposal, replace(header, time_ms=Millis(header.time_ms + 1)))
                halves = [Send((proposal, other)[peer % 2], peer) for peer in range(len(s.authorities))]
                return [*halves, Send(proposal.vote), Send(other.vote)]
            case _:
                return [send]
