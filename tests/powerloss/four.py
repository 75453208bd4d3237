"""One of four simulated authorities on real files under the shim, among crashes, losses and partitions.

Its guard and its chain are real; the network, the others and time are the simulator's, so a run needs no
waiting, and its votes are of every kind. `python -m tests.powerloss.four DIRECTORY SEED`.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from p2pledger import wal
from p2pledger.chain.block import FinalBlock
from p2pledger.consensus.events import Send
from p2pledger.signer import guarddisk
from p2pledger.simulator.city import city
from p2pledger.simulator.disk import Disk
from p2pledger.simulator.faults import BUDGETED
from p2pledger.simulator.node import Node
from p2pledger.simulator.run import case_of, run
from p2pledger.simulator.world import World
from p2pledger.storage import database
from tests.powerloss.files import GUARD_MADE, OPENED, Files, Party
from tests.powerloss.record import Told, say
from tests.powerloss.workload import CHECKPOINT_PAGES, votes_in
from tests.unit.storage.chains import make_small

NUMBER = 0
"""The authority whose files are real."""
CITY = city(4, False, False)
PARTY = Party(CITY.genesis, CITY.signer(NUMBER + 1), CITY.is_signed)


def _open(directory: Path) -> Files:
    files = Files.open(directory, PARTY)
    say(OPENED)
    for vote in files.signer.load().votes:
        say(vote)
    header = files.store.tip().header
    if header is not None:
        say(Told(header.height, header.digest))
    commit = files.store.commit

    def commit_and_tell(block: FinalBlock, *rest: object) -> None:
        commit(block, *rest)
        say(Told(block.header.height, block.header.digest))

    files.store.commit = commit_and_tell
    return files


def _prepare(directory: Path) -> Callable[[World], None]:
    """Put the real files under the node, at its start and at every later one."""

    def prepare(world: World) -> None:
        files = _open(directory)
        disk = Disk(files.store, files.guard)
        world.nodes[NUMBER].is_alive = False
        world.nodes[NUMBER] = world._boot(NUMBER, disk)
        restart = world.restart

        def restart_on_files(number: int) -> None:
            nonlocal files
            if number == NUMBER and not world.nodes[NUMBER].is_alive:
                files.close()
                files = _open(directory)
                disk.store, disk.guard = files.store, files.guard
            restart(number)

        world.restart = restart_on_files

    return prepare


def _watch_votes() -> None:
    send = Node._send

    def send_and_say(self: Node, said: object) -> None:
        if self.number == NUMBER and isinstance(said, Send):
            for vote in votes_in(said):
                if vote.signer == self.core.situation.voice.index:
                    say(vote)
        send(self, said)

    Node._send = send_and_say


def main(directory: str, seed: str) -> None:
    database.CHECKPOINT_PAGES = guarddisk.CHECKPOINT_PAGES = CHECKPOINT_PAGES
    wal.SPREAD = 0  # a seed is to come to the same again
    make_small()
    _watch_votes()
    PARTY.make_guard(Path(directory))
    say(GUARD_MADE)
    case = case_of(int(seed), n=4)
    faults = tuple(fault for fault in case.faults if fault.kind not in BUDGETED)
    report = run(replace(case, is_changing=False, followers=0, faults=faults), _prepare(Path(directory)))
    assert report.violation is None, report.violation
    print(report.height, dict(report.counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
