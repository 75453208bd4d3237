"""A second node with the keys of a first one, which contradicts it: `p2pledger testnet fault twin`. Floor 8.

An honest node that finds its key at work elsewhere falls silent (PROTOCOL, R8), and two honest nodes with
one key therefore hardly ever contradict each other. So this one differs from a node in two things, and in
nothing else: it does not care who else signs with its key, and it has no patience. It skips every view the
moment it enters it, and the first one votes to finalise most of these views. A skip and a vote to finalise
of one view prove that their key was used twice.

It runs beside a testnet's nodes only.
"""

import sys
from pathlib import Path

import click

from p2pledger.chain.vote import Vote
from p2pledger.consensus import recovery
from p2pledger.consensus.pacing import Pacing
from p2pledger.consensus.voice import Voice
from p2pledger.daemon import run
from p2pledger.testnet.directory import MARK
from p2pledger.testnet.lifeline import end_with_parent
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


@click.command()
@click.option("--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--parent", type=int, required=True)
def main(config: Path, parent: int) -> None:
    """Run the twin until it is told to stop."""
    if not (config.parent.parent / MARK).exists():
        raise click.ClickException(f"{config} is not in a testnet: a twin runs nowhere else")
    end_with_parent(parent)
    vars(recovery).update(Voice=ShamelessVoice, Pacing=HastyPacing)
    sys.exit(run(config))


if __name__ == "__main__":
    main()
