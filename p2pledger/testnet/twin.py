"""A second node with the keys of a first one, which contradicts it: `p2pledger testnet fault twin`. Floor 8.

An honest node that finds its key at work elsewhere falls silent (PROTOCOL, R8), and two honest nodes with
one key therefore hardly ever contradict each other. So this one differs from a node in two things, and in
nothing else: it does not care who else signs with its key, and it has no patience. It skips every view the
moment it enters it, and the first one votes to finalise most of these views. A skip and a vote to finalise
of one view prove that their key was used twice.
"""

from pathlib import Path

from p2pledger.chain.vote import Vote
from p2pledger.consensus import recovery
from p2pledger.consensus.pacing import Pacing
from p2pledger.consensus.voice import Voice
from p2pledger.testnet.directory import MARK
from p2pledger.types import Millis


class ShamelessVoice(Voice):
    """Speaks whatever others heard its key say."""

    def wait(self) -> None:
        """It does not."""

    def meet(self, vote: Vote) -> bool:
        """It looks the other way."""
        return False


class HastyPacing(Pacing):
    """Gives up each view as it begins."""

    def deadline_ms(self) -> Millis:
        """At once."""
        return self.entered_ms


class NotInATestnet(Exception):
    """A twin runs beside a testnet's nodes, and nowhere else."""


def become_twin(configuration: Path) -> None:
    """Have this process's node, which is yet to be made, be a twin. Raises: NotInATestnet."""
    if not (configuration.absolute().parent.parent / MARK).exists():
        raise NotInATestnet(f"{configuration} is no testnet's: a twin runs nowhere else")
    vars(recovery).update(Voice=ShamelessVoice, Pacing=HastyPacing)
