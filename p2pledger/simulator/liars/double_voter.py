"""Votes twice in each view: N for two blocks, or X beside F; to everybody, or to two halves. Floor 8.

Tries to complete two certificates that exclude each other. Stopped by: quorums that share an honest signer
(R1), honest signers that never give X beside F (R2). Its votes become evidence.
"""

from typing import TYPE_CHECKING

from p2pledger.chain.vote import Vote, finalise, notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, halves, nothing, vote_of

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class DoubleVoter(Liar):
    """Signs everything."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        if not isinstance(send.frame, Vote):
            return [send]
        epoch, view = send.frame.ballot.epoch, send.frame.ballot.view
        proposal = node.core.situation.tally.proposals.get(view)
        digest = proposal.header.digest if proposal is not None else nothing(view + 1)
        true, false = notarise(epoch, view, digest), notarise(epoch, view, nothing(view))
        final, skipped = finalise(epoch, view, digest), skip(epoch, view)
        pairs = (
            (true, false),
            (final, skipped),
            (true, skipped),
            (final, finalise(epoch, view, nothing(view))),
        )
        one, other = (vote_of(node, ballot) for ballot in self.random.choice(pairs))
        if self.random.random() < 0.5:
            return [Send(one), Send(other)]
        return [send, *halves(node, one, other)]
