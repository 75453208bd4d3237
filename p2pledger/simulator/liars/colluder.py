"""Makes certificates of honest votes and the keys of all liars, and shows each to those it suits. Floor 8.

Tries, with as few honest votes as possible, to have a view both notarised and skipped, then skipped and
final: it proposes to as few as it needs, keeps the N certificate until others have skipped the view, gives
different certificates to different peers, and as a leader builds on the oldest parent that certificates
allow. Stopped by: quorums that share an honest signer (R1), X and F that exclude each other (R2), and parents
that nobody may pass over (R4).
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from p2pledger.chain.block import FinalBlock, Justification, Proposal
from p2pledger.chain.message import Certificates, Frame
from p2pledger.chain.vote import Ballot, Certificate, Evidence, Vote, VoteKind, finalise, notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Said, accomplices, colluded, is_own, rebuilt, vote_of
from p2pledger.types import Height, Millis, View

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node

HELD_MAX = 64


class Colluder(Liar):
    """All liars together, by one mouth."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._held: dict[Ballot, Certificate] = {}
        """What was made with others' keys, the oldest first; also when shown, so that it is made once."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        match send.frame:
            case Vote(ballot) if ballot.kind is VoteKind.NOTARISE and self.random.random() < 0.5:
                return []  # it stands in the certificate that it makes
            case Proposal() as proposal if is_own(node, proposal):
                return self.propose(node, proposal)
            case _:
                return [send]

    def propose(self, node: "Node", proposal: Proposal) -> list[Said]:
        """On the oldest parent there is a justification for, and to as few as will do."""
        proposal = _on_oldest(node, proposal) or proposal
        if self.random.random() < 0.4:
            return [Send(proposal)]
        authorities = node.core.situation.authorities
        honest = sorted(set(range(len(authorities))) - {_index(node, liar) for liar in accomplices(node)})
        enough = max(1, authorities.quorum - (len(authorities) - len(honest)))
        return [Send(proposal, peer) for peer in self.random.sample(honest, min(enough, len(honest)))]

    def hear(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """See `Liar.hear`."""
        s = node.core.situation
        match heard:
            case Proposal() as proposal if s.voice.index is not None and proposal.epoch == s.epoch:
                if proposal.vote.signer not in [_index(node, liar) for liar in accomplices(node)]:
                    return []
                at = proposal.epoch, proposal.view, proposal.header.digest
                return [Send(vote_of(node, notarise(*at))), Send(vote_of(node, finalise(*at)))]
            case Vote(ballot) if ballot.epoch == s.epoch and ballot.view >= s.final_view:
                return self._combine(node, ballot)
            case _:
                return []

    def _combine(self, node: "Node", ballot: Ballot) -> list[Said]:
        said: list[Said] = []
        if ballot not in self._held and (made := colluded(node, ballot)) is not None:
            self._held[ballot] = made
            while len(self._held) > HELD_MAX:
                del self._held[next(iter(self._held))]
            if ballot.kind is not VoteKind.NOTARISE or self.random.random() < 0.3:
                said += self._show(node, made)
        if ballot.kind is VoteKind.SKIP:  # whoever has skipped the view learns now that it was notarised
            for held, certificate in list(self._held.items()):
                if held.kind is VoteKind.NOTARISE and held.view == ballot.view:
                    said += self._show(node, certificate)
        return said

    def _show(self, node: "Node", certificate: Certificate) -> list[Said]:
        n = len(node.core.situation.authorities)
        some = self.random.sample(range(n), self.random.choice((1, n // 2, n)))
        return [Send(Certificates((certificate,)), peer) for peer in some]


def _index(node: "Node", liar: "Node") -> int | None:
    return node.core.situation.authorities.index_of(liar.peer)


def _on_oldest(node: "Node", proposal: Proposal) -> Proposal | None:
    """The leader's block on the lowest parent above which every view is skipped or can be said to be."""
    s = node.core.situation
    view, skips = View(proposal.view - 1), []
    while view > s.final_view:
        skipped = s.tally.skipped.get(view) or colluded(node, skip(s.epoch, view))
        if skipped is None:
            break
        skips.append(skipped)
        view = View(view - 1)
    if proposal.header.view != proposal.view or view >= proposal.header.parent_view:
        return None
    certificate = s.tally.notarised.get(view) or (s.tally.final if view == s.final_view else None)
    digest = certificate.ballot.digest if certificate is not None else s.tree.root.digest
    known = s.known(digest)
    if known is None or (certificate is None and view > 0):
        return None
    other = rebuilt(
        node,
        proposal,
        height=Height(known[0] + 1),
        parent_digest=digest,
        parent_view=view,
        time_ms=Millis(max(s.now, known[1] + 1)),
    )
    justification = Justification(certificate, tuple(skips[::-1]))
    return replace(other, justification=justification) if other is not None else None
