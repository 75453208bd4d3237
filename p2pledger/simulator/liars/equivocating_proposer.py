"""Proposes two valid blocks in one view: to two halves, or the second one views later. Floor 8.

Tries to have two blocks notarised in one view, and both made final. Stopped by: one N vote per view and
honest signer, and quorums that share an honest signer (R1). Both votes of the leader become evidence.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from p2pledger.chain.block import Proposal
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, halves, is_own, rebuilt, signed_again
from p2pledger.types import Millis

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class EquivocatingProposer(Liar):
    """Forks, if two quorums can be had."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._late: Proposal | None = None

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        late = self._late
        if isinstance(send.frame, Proposal) and is_own(node, send.frame):
            proposal = send.frame
            other = _rival(node, proposal)
            if self.random.random() < 0.3:
                self._late = other
                return [send]
            return [*halves(node, proposal, other), Send(proposal.vote), Send(other.vote)]
        if late is not None and node.core.situation.view > late.view:
            self._late = None
            return [Send(late), Send(late.vote), send]
        return [send]


def _rival(node: "Node", proposal: Proposal) -> Proposal:
    """Another valid block in its place: without its transactions, or a millisecond later."""
    later = Millis(proposal.header.time_ms + 1)
    if proposal.header.view == proposal.view and (built := rebuilt(node, proposal, time_ms=later)):
        return built
    return signed_again(node, proposal, replace(proposal.header, time_ms=later))
