"""Keeps certificates to itself, says it has none, and proposes as if nobody had any. Floor 8.

Tries to leave others behind, and to have them accept a block whose justification says nothing. Stopped by:
a complete justification, or the certificates themselves from others (R4), and statuses that everybody
answers (R6).
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pledger.chain.block import Justification, Proposal
from p2pledger.chain.message import Certificates, Reply, Request, Status
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, is_own
from p2pledger.types import View

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class CertificateHider(Liar):
    """Whoever needs a certificate does not get it here."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        match send.frame:
            case Certificates():
                return [] if self.random.random() < 0.8 else [send]
            case Status(_, view, final_view) as status:
                behind = replace(
                    status,
                    view=View(self.random.randint(min(1, view), view)),
                    final_view=View(self.random.randint(0, final_view)),
                )
                return [replace(send, frame=behind)]
            case Proposal(justification=true) as proposal if is_own(node, proposal):
                parent = self.random.choice((None, true.parent))
                skips = tuple(skip for skip in true.skips if self.random.random() < 0.5)
                bare = replace(proposal, justification=Justification(parent, skips), newest_final=None)
                return [replace(send, frame=bare)]
            case _:
                return [send]

    def answer(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """See `Liar.answer`."""
        return tuple(reply for reply in replies if not isinstance(reply, Certificates))
