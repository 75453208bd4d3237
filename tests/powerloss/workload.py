"""A ledger of one authority under the shim: real guard, real chain store, real loop.

It says each vote as the core sends it and each block as clients are told of it. `python -m
tests.powerloss.workload DIRECTORY BLOCKS SESSIONS SEED [MUTANT]` makes so many more blocks in so many
openings of the same files.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import structlog
import trio
from p2pledger import wal
from p2pledger.chain.block import Proposal
from p2pledger.chain.genesis import LAN
from p2pledger.chain.vote import Vote
from p2pledger.consensus.events import Send
from p2pledger.crypto import is_signed
from p2pledger.ledger.machine import Machine
from p2pledger.node import finals
from p2pledger.signer import guarddisk
from p2pledger.signer.guardfile import GUARD_FILE, GuardMissing
from p2pledger.storage import database
from p2pledger.storage.sqlite import SqliteStore
from tests.ledgers import signer
from tests.powerloss import mutants
from tests.powerloss.files import DATA, GUARD, GUARD_MADE, OPENED, Party
from tests.powerloss.record import Told, say
from tests.unit.node.solo import Solo, fact, genesis
from tests.unit.storage.chains import make_small

GENESIS = genesis(
    replace(LAN, state_buckets=16, block_interval_ms=1, delta_ms=10, idle_interval_ms=60_000, epoch_blocks=9)
)
PARTY = Party(GENESIS, signer("authority 0"), is_signed)
CHECKPOINT_PAGES = 40
"""Few, so that a short run moves the logs into the files many times over."""
PATIENCE_S = 60


def votes_in(send: Send) -> list[Vote]:
    """The own votes that this shows to others."""
    match send.frame:
        case Vote():
            return [send.frame]
        case Proposal():
            return [send.frame.vote]
        case _:
            return []


class Ledger:
    """The node on the files below a directory; `show` is told of every vote and block that others see.

    Raises: GuardMissing; Fatal.
    """

    def __init__(self, directory: Path, show: Callable[[Vote | Told | str], None]) -> None:
        self._show = show
        self.store = SqliteStore(directory / DATA, GENESIS, Machine(GENESIS).start())
        show(OPENED)
        try:
            if not (directory / GUARD / GUARD_FILE).exists():  # Solo would make one
                raise GuardMissing
            self.solo = Solo(directory / GUARD, GENESIS, self.store)
        except BaseException:
            self.store.close()
            raise
        # What a start finds may be shown at once: the core says old votes again, the API answers.
        for vote in self.solo.signer.load().votes:
            show(vote)
        self._tell()
        say_on, self.solo.loop._say = self.solo.loop._say, self._say
        self._say_on = say_on
        self.solo.finals.on_stored = lambda block: self._tell()

    def _tell(self) -> None:
        tip = self.store.tip()
        if tip.header is not None:
            self._show(Told(tip.height, tip.header.digest))

    def _say(self, send: Send) -> None:
        for vote in votes_in(send):
            self._show(vote)
        self._say_on(send)

    async def grow(self, blocks: int, random: Random) -> None:
        """Make so many more blocks final, then close."""
        goal = self.store.tip().height + blocks
        self._stall(random)
        try:
            with trio.fail_after(PATIENCE_S):
                async with self.solo.running():
                    while self.store.tip().height < goal:
                        facts = [fact(GENESIS).encoded for _ in range(random.randint(1, 3))]
                        await self.solo.pool.submit(facts)
                        await trio.sleep(0.002)
        finally:
            self.store.close()

    def _stall(self, random: Random) -> None:
        """Let every tenth proposal come after its view's deadline: then its view is skipped too.

        And let every tenth commit take long, so that the agreement runs some blocks ahead of the store.
        """
        build, commit = self.solo.executor.build, self.store.commit

        def commit_late(*parts):
            if random.random() < 0.1:
                time.sleep(5 * GENESIS.parameters.delta_ms / 1_000)
            commit(*parts)

        self.store.commit = commit_late

        def build_late(*asked):
            built = build(*asked)
            if random.random() < 0.1:
                time.sleep(5 * GENESIS.parameters.delta_ms / 1_000)
            return built

        self.solo.executor.build = build_late


def main(directory: str, blocks: str, sessions: str, seed: str, mutant: str = "") -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    finals.PRUNE_EVERY = 4
    database.CHECKPOINT_PAGES = guarddisk.CHECKPOINT_PAGES = CHECKPOINT_PAGES
    wal.SPREAD = 0  # a seed is to come to the same again
    make_small()
    if mutant:
        mutants.apply(mutant, say)
    random = Random(seed)
    if not (Path(directory) / GUARD).exists():
        PARTY.make_guard(Path(directory))
        say(GUARD_MADE)
    for _ in range(int(sessions)):
        ledger = Ledger(Path(directory), say)
        trio.run(ledger.grow, int(blocks), random)


if __name__ == "__main__":
    main(*sys.argv[1:])
