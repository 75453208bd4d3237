"""Passes on the blocks of others with other transactions, evidence or certificates. Floor 8.

Tries to have an honest leader's block refused, or another one taken for it. Stopped by: what the header
does not commit to is judged by what the voter holds, and what it does commit to is compared before anything
is kept; the fault is the sender's, not the block's.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, TypeVar

from p2pledger.chain.block import FinalBlock, Justification, Proposal
from p2pledger.chain.message import Frame, Reply, Request
from p2pledger.chain.transaction import Batch, decode_transaction
from p2pledger.chain.vote import Evidence, notarise
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import FALSE, Liar, Rumour, Said, forged, nothing
from p2pledger.types import Hash

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


B = TypeVar("B", bound=FinalBlock | Proposal)


class WrongContent(Liar):
    """Says what others said, but not quite."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._passed: set[Hash] = set()
        """What it has passed on: once each, or several of them would go on for ever among themselves."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        s = node.core.situation
        heard = s.tally.proposals.get(s.view)
        if heard is None or heard.vote.signer == s.voice.index or self.random.random() < 0.6:
            return [send]
        return [Send(self._bent(node, heard)), send]

    def hear(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """See `Liar.hear`. It is quick, so that its copy may arrive before the leader's own."""
        if not isinstance(heard, FinalBlock | Proposal) or self.random.random() < 0.6:
            return []
        if heard.header.digest in self._passed:
            return []
        self._passed.add(heard.header.digest)
        return [Rumour(_more(heard)) if isinstance(heard, FinalBlock) else Send(self._bent(node, heard))]

    def answer(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """See `Liar.answer`."""
        if self.random.random() < 0.3:
            return replies
        return tuple(
            _more(reply)
            if isinstance(reply, FinalBlock | Proposal)
            else self._bent_bodies(reply)
            if isinstance(reply, Batch)
            else reply
            for reply in replies
        )

    def _bent_bodies(self, batch: Batch) -> Batch:
        """One body less, or the right ones with signatures that nobody made: the id does not cover those."""
        if self.random.random() < 0.5:
            return replace(batch, transactions=batch.transactions[1:])
        bodies = map(decode_transaction, batch.transactions)
        return Batch(tuple(replace(b, signatures=(FALSE,) * len(b.signatures)).encoded for b in bodies))

    def _bent(self, node: "Node", proposal: Proposal) -> Proposal:
        match self.random.randrange(4):
            case 0:
                return _more(proposal)
            case 1:
                return replace(proposal, transaction_ids=())
            case 2:
                below = notarise(proposal.epoch, proposal.header.parent_view, proposal.header.parent_digest)
                return replace(proposal, justification=Justification(forged(node, below), ()))
            case _:
                return replace(proposal, newest_final=None, justification=Justification(None, ()))


def _more(block: B) -> B:
    return replace(block, transaction_ids=(*block.transaction_ids, nothing(block.header.height)))
