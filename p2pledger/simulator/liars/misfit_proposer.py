"""Proposes blocks that are true in themselves and of another place: ledger, epoch, view, proposer. Floor 8.

Tries to have a header taken for what it is not, in another round or on another ledger. Stopped by: every
field of a header is compared with the round's values, and a digest covers them all.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from p2pledger.chain.block import Proposal
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, is_own, nothing, signed_again
from p2pledger.types import Epoch, Height

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class MisfitProposer(Liar):
    """Says who, where and when it is not."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        frame = send.frame
        if not isinstance(frame, Proposal) or not is_own(node, frame) or frame.header.view != frame.view:
            return [send]
        header, n = frame.header, len(node.core.situation.authorities)
        lies: tuple[dict[str, Any], ...] = (
            {"genesis_hash": nothing(0)},
            {"epoch": Epoch(header.epoch + 1)},
            {"height": Height(header.height + 1)},
            {"proposer": (header.proposer + 1) % n},
        )
        return [Send(signed_again(node, frame, replace(header, **self.random.choice(lies))))]
