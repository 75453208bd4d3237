"""A second node with the keys of a first one, which contradicts it: `p2pledger testnet fault twin`. Floor 8.

An honest node that finds its key at work elsewhere falls silent (PROTOCOL, R8), and two honest nodes with
one key therefore hardly ever contradict each other. So this one differs from a node in two things, and in
nothing else: it does not care who else signs with its key, and all that it ever signs is a skip of each view
that it knows to be final. The first one has voted to finalise most of these views, if not all: the two votes
prove that their key was used twice. A skip of any earlier view could make the first one fall silent before
it has voted.
"""

from pathlib import Path

from p2pledger.chain.vote import Ballot, VoteKind, skip
from p2pledger.consensus import recovery
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import Event, Output
from p2pledger.consensus.voice import Voice
from p2pledger.node import node
from p2pledger.testnet.directory import MARK
from p2pledger.types import Millis, View


class TwinVoice(Voice):
    """Speaks against what is final, whatever others heard its key say."""

    final_view = View(0)
    """The newest of this epoch that is known to be final; 0 before the first."""

    def wait(self) -> None:
        """It does not."""

    def fall_silent(self) -> None:
        """It looks the other way."""

    def allows(self, ballot: Ballot) -> bool:
        """A skip of a final view, if its own guard allows it."""
        is_against = ballot.kind is VoteKind.SKIP and 0 < ballot.view == self.final_view
        return is_against and super().allows(ballot)


class TwinConsensus(Consensus):
    """A core that signs what `TwinVoice` has in mind. Made after `become_twin`."""

    def step(self, event: Event, now: Millis) -> Output:
        s = self.situation
        assert isinstance(s.voice, TwinVoice)
        s.voice.final_view = s.final_view
        s.ask_for_vote(skip(s.epoch, s.final_view), reason="deadline")
        return super().step(event, now)


class NotInATestnet(Exception):
    """A twin runs beside a testnet's nodes, and nowhere else."""


def become_twin(configuration: Path) -> None:
    """Have this process's node, which is yet to be made, be a twin. Raises: NotInATestnet."""
    if not (configuration.absolute().parent.parent / MARK).exists():
        raise NotInATestnet(f"{configuration} is no testnet's: a twin runs nowhere else")
    vars(recovery).update(Voice=TwinVoice)
    vars(node).update(Consensus=TwinConsensus)
