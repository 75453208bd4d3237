"""Sends certificates that nobody signed, or too few, of all kinds, for views near and far. Floor 8.

Tries to move others to views that nobody reached, and to have them hold a block for final. Stopped by: each
signature of a certificate is verified, and there must be a quorum of them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.message import Certificates, Reply, Request
from p2pledger.chain.vote import Ballot, Certificate, certificate_of, finalise, notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Rumour, Said, forged, nothing, vote_of
from p2pledger.types import View

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class CertificateForger(Liar):
    """Makes up quorums."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        if self.random.random() < 0.5:
            return [send]
        s = node.core.situation
        view = View(s.view + self.random.choice((0, 0, 1, 5, 10_000)))
        proposal = s.tally.proposals.get(view)
        digest = (
            proposal.header.digest
            if proposal is not None
            else self.random.choice((nothing(view), s.tree.root.digest))
        )
        ballots = (notarise(s.epoch, view, digest), skip(s.epoch, view), finalise(s.epoch, view, digest))
        lie = self._certificate(node, self.random.choice(ballots))
        said: list[Said] = [send, Send(Certificates((lie,)))]
        if proposal is not None and self.random.random() < 0.2:
            block = FinalBlock(proposal.header, proposal.transaction_ids, proposal.evidence, lie)
            said.append(Rumour(block))
        return said

    def answer(self, node: "Node", request: Request, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """See `Liar.answer`. Its final blocks are certified by nobody."""
        return tuple(
            replace(reply, certificate=forged(node, reply.certificate.ballot))
            if isinstance(reply, FinalBlock) and reply.certificate is not None
            else reply
            for reply in replies
        )

    def _certificate(self, node: "Node", ballot: Ballot) -> Certificate:
        """False signatures; or one true one, as often as there are authorities; or too few true ones."""
        s = node.core.situation
        own = vote_of(node, ballot)
        held = (s.tally.vote_of(ballot.view, ballot.kind, signer) for signer in range(len(s.authorities)))
        true = [v for v in held if v is not None and v.ballot == ballot and v.signer != own.signer]
        match self.random.randrange(3):
            case 0:
                return forged(node, ballot)
            case 1:
                repeated = (replace(own, signer=signer) for signer in range(len(s.authorities)))
                return certificate_of(repeated, len(s.authorities))
            case _:
                return certificate_of([own, *true][: s.authorities.quorum - 1], len(s.authorities))
