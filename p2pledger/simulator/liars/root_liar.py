"""Its blocks carry false roots; it votes for invalid blocks, and skips valid ones. Floor 8.

Tries to have a block made final that is not what executing it gives. Stopped by: N only for what the voter
has executed itself; invalid blocks are skipped at once, and fewer than a quorum vote for them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from p2pledger.chain.block import Proposal
from p2pledger.chain.vote import Vote, VoteKind, finalise, notarise, skip
from p2pledger.consensus.events import Judgement, Send
from p2pledger.simulator.liars.liar import Liar, Said, is_own, nothing, signed_again, vote_of

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

ROOTS = ("tx_root", "state_root", "receipts_root", "evidence_root", "next_set_hash", "parent_digest")


class RootLiar(Liar):
    """Says of what is false that it is true, and of what is true that it is false."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        s = node.core.situation
        match send.frame:
            case Proposal(header) as proposal if is_own(node, proposal):
                wrong: dict[str, Any] = {self.random.choice(ROOTS): nothing(header.height)}
                false = replace(header, **wrong)
                lie = signed_again(node, proposal, false)
                return [Send(lie), Send(vote_of(node, finalise(lie.epoch, lie.view, false.digest)))]
            case Vote(ballot):
                heard = s.tally.proposals.get(ballot.view)
                block = s.tree.get(heard.header.digest) if heard is not None else None
                at = ballot.epoch, ballot.view
                if block is not None and block.judgement is Judgement.INVALID:
                    digest = block.header.digest
                    return [Send(vote_of(node, vote(*at, digest))) for vote in (notarise, finalise)]
                if ballot.kind is VoteKind.NOTARISE and self.random.random() < 0.5:
                    return [Send(vote_of(node, skip(*at)))]
                return [send]
            case _:
                return [send]
