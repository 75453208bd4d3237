"""Goes on voting in the epoch before, and votes ahead in the next, under any list. Floor 8.

Tries to have votes of one epoch counted in another, those of a former member above all. Stopped by:
signatures over the epoch and the hash of its list, tallies per epoch, and certificates that are judged by
the list of their own epoch.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import Certificates, Frame, Status
from p2pledger.chain.vote import Ballot, Evidence, Vote, certificate_of, finalise, notarise, skip
from p2pledger.consensus.events import Send
from p2pledger.simulator.liars.liar import Liar, Rumour, Said, accomplices, is_own, vote_of
from p2pledger.types import Epoch, View

if TYPE_CHECKING:
    from p2pledger.simulator.node import Node


class StaleEpochVoter(Liar):
    """Does not care which epoch it is."""

    def say(self, node: "Node", send: Send) -> list[Said]:
        """See `Liar.say`."""
        frame = send.frame
        epoch = self._other_epoch(node)
        match frame:
            case Vote(ballot):
                other = replace(ballot, epoch=epoch)
                return [send, Send(self._vote(node, other)), Send(self._vote(node, ballot))]
            case Proposal(header) as proposal if is_own(node, proposal) and self.random.random() < 0.5:
                other_header = replace(header, epoch=epoch)
                ballot = notarise(epoch, proposal.view, other_header.digest)
                lie = replace(proposal, header=other_header, vote=self._vote(node, ballot))
                return [send, Send(lie)]
            case Status() as status if self.random.random() < 0.5:
                return [replace(send, frame=replace(status, epoch=epoch, view=View(status.view + 3)))]
            case Certificates():
                return [send, Send(self._certificates(node, epoch), send.peer)]
            case _:
                return [send]

    def hear(self, node: "Node", heard: Frame | FinalBlock | Evidence) -> list[Said]:
        """Once it is no member any more it still hears gossip, and votes upon it, in both epochs."""
        s = node.core.situation
        if s.voice.index is not None or not isinstance(heard, FinalBlock):
            return []
        header = heard.header
        said: list[Said] = []
        for epoch in (s.epoch, Epoch(max(0, s.epoch - 1))):
            view = View(header.view + self.random.randint(0, 2))
            ballots = (
                notarise(epoch, view, header.digest),
                skip(epoch, view),
                finalise(epoch, view, header.digest),
            )
            vote = self._vote(node, self.random.choice(ballots))
            said += [
                Send(vote),
                Send(Status(epoch, view, view, header.height, header.digest, (vote,), False)),
            ]
        return [*said, Rumour(replace(heard, certificate=self._certificates(node, s.epoch).certificates[0]))]

    def _other_epoch(self, node: "Node") -> Epoch:
        return Epoch(max(0, node.core.situation.epoch + self.random.choice((-1, 1))))

    def _vote(self, node: "Node", ballot: Ballot) -> Vote:
        """Signed under the list of a random epoch."""
        sets = node.core.situation.sets
        return vote_of(node, ballot, sets[self.random.choice(sorted(sets))])

    def _certificates(self, node: "Node", epoch: Epoch) -> Certificates:
        """Certificates of an epoch that only liars signed, and this epoch's own, said to be of that one."""
        s = node.core.situation
        ballot = skip(epoch, View(s.view))
        votes = {vote.signer: vote for vote in (vote_of(liar, ballot) for liar in (node, *accomplices(node)))}
        true = [*s.tally.notarised.values(), *s.tally.skipped.values()][-2:]
        moved = [replace(c, ballot=replace(c.ballot, epoch=epoch)) for c in true]
        return Certificates((certificate_of(votes.values(), len(s.authorities)), *moved))
