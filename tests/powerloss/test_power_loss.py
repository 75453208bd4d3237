"""The power goes at any moment of a node's life: nothing that was shown to anybody is lost.

Every image of the disk that could be left is a start: the guard and the chain open, no vote that was sent
is unknown or can be contradicted, no block that was told as final is missing, nothing is executed twice, and
the chain goes on. With POWERLOSS_IMAGES=N so many images are tried, over more faults, instead of a few
hundred; POWERLOSS_SEED chooses which.
"""

import os
from pathlib import Path
from random import Random

import pytest
from p2pledger.chain.vote import VoteKind
from tests.powerloss import four
from tests.powerloss.campaign import Broken, try_images
from tests.powerloss.judge import Shown, check_kept, open_image
from tests.powerloss.mutants import MUTANTS
from tests.powerloss.workload import PARTY, Ledger

IMAGES = int(os.environ.get("POWERLOSS_IMAGES", "0"))
IS_LONG = IMAGES > 0
SEED = int(os.environ.get("POWERLOSS_SEED", "1"))

CRASHES = [
    "sync guard.db-wal 20 kill",
    "sync chain.db-wal 12 fail",
    "sync guard.db-wal 21 fail",
    "sync chain.db-wal 11 kill",
    "sync guard.db 3 kill",
    "sync guard.db 3 fail",
    "sync chain.db 3 kill",
    "sync chain.db 3 fail",
    "sync guard.db-wal 20 5",
    "sync chain.db-wal 12 5",
]
"""What ends a first process: it is killed before a sync, or its sync fails and it is killed, or stops."""

UNSETTLED = {
    "guard-unsettled": "sync guard.db-wal 23 kill",
    "chain-unsettled": "sync chain.db-wal 12 kill",
    "not-rewritten": "sync chain.db-wal 9 fail",
}
"""Mutants that only matter when a process was killed first."""
NAMES = [name for name in MUTANTS if IS_LONG or name not in UNSETTLED]


async def goes_on(directory: Path, shown: Shown, random: Random) -> None:
    """It makes further blocks on what it had; what an only authority had signed F for is among them."""
    later = shown.copy()
    ledger = Ledger(directory, later.add)
    height = ledger.store.tip().height
    kept = {p.header.digest: p.header.height for p in ledger.solo.signer.load().proposals}
    final = max((kept.get(b.digest, 0) for b in shown.votes if b.kind is VoteKind.FINALISE), default=0)
    await ledger.grow(max(final - height, 0) + 2, random)
    later.check_no_contradiction()
    files = open_image(directory, PARTY, later)
    try:
        check_kept(files, later)
        chain = {block.header.digest for block in files.store.blocks(1, files.store.tip().height)}
        for ballot in shown.votes:
            assert ballot.kind is not VoteKind.FINALISE or ballot.digest in chain, "a final block is lost"
    finally:
        files.close()


def test_nothing_that_was_shown_is_lost(recorder):
    recorder.run(blocks=60 if IS_LONG else 20, sessions=3 if IS_LONG else 2)
    tried = try_images(recorder.log, recorder.root, PARTY, goes_on, seed=SEED, cuts=IMAGES // 4 or 160)
    print(f"\n{tried}")
    assert tried.gone_on > 0 and len(tried.kinds) > 5


@pytest.mark.parametrize("seed", range(3, 11) if IS_LONG else [3])
def test_nothing_that_one_of_four_has_shown_is_lost(recorder, seed):
    """Votes of every kind, certificates, other authorities' proposals, crashes: the simulator's."""
    recorder.run_four(seed)
    cuts = IMAGES // 4 // 8 or 80
    tried = try_images(recorder.log, recorder.root, four.PARTY, seed=SEED, cuts=cuts)
    print(f"\nsimulated, seed {seed}: {tried}")


@pytest.mark.parametrize("fault", CRASHES if IS_LONG else CRASHES[:2])
def test_nothing_is_lost_when_the_process_had_crashed_before(recorder, fault):
    """What the next process finds of the one before may never have reached the disk."""
    recorder.run(blocks=20, sessions=1, fault=fault)
    recorder.run(blocks=6, sessions=1, seed=2)
    tried = try_images(
        recorder.log, recorder.root, PARTY, goes_on, seed=SEED, cuts=IMAGES // 2 // len(CRASHES) or 60
    )
    print(f"\nafter {fault}: {tried}")


@pytest.mark.parametrize("mutant", NAMES)
def test_a_fault_that_only_power_loss_shows_is_caught(recorder, mutant):
    if mutant in UNSETTLED:
        recorder.run(blocks=20, sessions=1, mutant=mutant, fault=UNSETTLED[mutant])
    recorder.run(blocks=20, sessions=1, mutant=mutant)
    with pytest.raises(Broken) as caught:
        try_images(recorder.log, recorder.root, PARTY, goes_on, seed=SEED, cuts=1_000 if IS_LONG else 200)
    print(f"\n{mutant}: {caught.value}")
