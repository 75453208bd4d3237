"""What the chain recorded against authorities outlives a restart."""

from dataclasses import replace

import pytest
from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.vote import Vote, evidence_of, notarise
from p2pledger.codec import encode
from p2pledger.consensus.events import Gossiped, Misbehaved
from p2pledger.network.seam import Topic, Verdict
from p2pledger.node import offences
from p2pledger.node.recovery import recovered
from p2pledger.storage.memory import MemoryStore
from p2pledger.types import Epoch, Hash, Signature, View
from structlog.testing import capture_logs
from tests import ledgers
from tests.unit.node.solo import Solo
from tests.unit.storage.chains import GENESIS, Chain, start


def evidence(epoch, view, signer):
    votes = (
        Vote(notarise(Epoch(epoch), View(view), Hash(bytes([i]) * 32)), signer, Signature(bytes(64)))
        for i in (1, 2)
    )
    return evidence_of(*votes)


@pytest.fixture
def store():
    return MemoryStore(GENESIS, start())


def record(store, *items):
    """Commit a block as the node does; its evidence root is of no matter to the store's index."""
    block = replace(Chain().step(store).block, evidence=items)
    Chain().commit(store, index_rows=offences.rows(block))


def test_a_start_knows_what_is_recorded(store):
    assert recovered(GENESIS, store, None).offences == frozenset()
    record(store, evidence(0, 5, 3), evidence(0, 5, 200))
    record(store, evidence(0, 2**40, 3))
    assert recovered(GENESIS, store, None).offences == {(0, 5, 3), (0, 5, 200), (0, 2**40, 3)}


def test_only_what_evidence_may_still_name_is_loaded(store):
    for epoch in range(6):
        record(store, evidence(epoch, 1, 1))
    assert offences.load(store, Epoch(3)) == {(2, 1, 1), (3, 1, 1), (4, 1, 1)}


def test_many_are_read_page_by_page(store, monkeypatch):
    monkeypatch.setattr(offences, "_SCAN", 2)
    record(store, *(evidence(0, view, 1) for view in range(1, 8)))
    assert len(offences.load(store, Epoch(0))) == 7


def test_an_epochs_offences_are_told_in_the_order_in_which_they_were_recorded(store):
    record(store, evidence(0, 9, 1))
    record(store, evidence(1, 4, 2))
    record(store, evidence(0, 5, 3), evidence(0, 2, 0))
    assert offences.of_epoch(store, Epoch(0)) == (((0, 9, 1), 1), ((0, 2, 0), 3), ((0, 5, 3), 3))
    assert offences.of_epoch(store, Epoch(1)) == (((1, 4, 2), 2),)
    assert offences.of_epoch(store, Epoch(2)) == ()


def test_a_page_has_whole_epochs_and_says_where_to_go_on(store, monkeypatch):
    names = [member.organisation for member in GENESIS.authorities.members]
    record(store, evidence(0, 9, 1), evidence(0, 2, 0))
    record(store, evidence(1, 4, 1), evidence(1, 2**63, 0))
    monkeypatch.setattr(offences, "PAGE_MAX", 3)
    first, next_epoch = offences.page(store, GENESIS, Epoch(0))
    assert [(a.view, a.organisation, a.height) for a in first] == [(2, names[0], 1), (9, names[1], 1)]
    assert next_epoch == 1
    second, end = offences.page(store, GENESIS, next_epoch)
    assert [(a.epoch, a.view, a.height) for a in second] == [(1, 4, 2), (1, 2**63, 2)]
    assert end is None
    assert offences.page(store, GENESIS, Epoch(2)) == ((), None)


async def test_evidence_that_is_of_no_use_here_is_not_passed_on(tmp_path):
    solo = Solo(tmp_path)

    def offence(view, epoch=0, digests=(1, 2)):
        ballots = [notarise(Epoch(epoch), View(view), Hash(bytes([i]) * 32)) for i in digests]
        signer, lists = ledgers.signer("authority 0"), solo.genesis.authorities
        votes = (Vote(b, 0, signer.sign(b.sign_digest(solo.genesis.hash, lists.hash))) for b in ballots)
        return evidence_of(*votes)

    async def verdict(item):
        return await solo.exchange.check_gossip(Topic.EVIDENCE, "somebody", encode(item))

    assert await verdict(evidence(0, 5, 0)) is Verdict.REJECT  # signed by nobody
    for view in range(1, 9):
        assert callable(await verdict(offence(view)))
        solo.core.step(Gossiped(offence(view)), solo.clock.now())
        assert await verdict(offence(view, digests=(3, 4))) is Verdict.IGNORE
    assert await verdict(offence(9)) is Verdict.IGNORE  # eight of one are enough
    assert callable(await verdict(offence(1, epoch=1)))  # others may be there already
    solo.signer.close()


async def test_what_was_proved_of_an_earlier_epoch_is_told_of_whoever_stood_there_then(tmp_path):
    solo = Solo(tmp_path)
    then = ledgers.genesis().authorities
    situation = solo.core.situation
    situation.sets = {Epoch(0): then, Epoch(1): AuthoritySet(then.members[::-1])}
    situation.epoch = Epoch(1)
    with capture_logs() as logs:
        await solo.loop._report(Misbehaved(0, "equivocation", evidence(0, 5, 0)))
    solo.signer.close()
    assert [entry["authority"] for entry in logs] == ["authority-0"]
