"""What a leader builds, by limits that governance decided on."""

from dataclasses import replace

import pytest
from p2pledger.chain.block import genesis_digest
from p2pledger.chain.genesis import LAN, KeyRole
from p2pledger.chain.payloads import KeyAdd
from p2pledger.consensus.events import Build
from p2pledger.ledger.mempool import Share
from p2pledger.node.executor import SPARE_MAX
from p2pledger.types import Epoch, Height, Millis, View
from tests.ledgers import START_MS, genesis, signer, transaction
from tests.unit.node.solo import Solo, fact

ALL = Share("city", 10**6, 10**9)


@pytest.mark.parametrize("limit", [{"block_transactions_max": 1}, {"block_bytes_max": 1_024}])
def test_what_is_refused_takes_no_place_in_a_small_block(tmp_path, limit):
    of = genesis(parameters=replace(LAN, **limit))
    solo, after = Solo(tmp_path, of), Millis(START_MS + 1_000)
    bad = [transaction(of, b"\x80", "city", "city 1", kind="record.append") for _ in range(SPARE_MAX)]
    add = KeyAdd(signer("new").public_key, KeyRole.SERVICE, None, Height(0))
    good = transaction(of, add, "city", "city 1", "new")
    for one in (*bad, good):
        solo.pool.mempool.add(one, START_MS, ALL)
    base = genesis_digest(of)
    asked = Build(Epoch(0), View(1), Height(1), base, View(0), after, 0, (), False, False)
    built = solo.executor.build(asked, after)
    assert built.transaction_ids == (good.id,)
    solo.signer.close()


def test_the_bodies_of_a_block_are_at_hand_from_its_execution_until_it_is_stored(tmp_path):
    solo = Solo(tmp_path)
    one, now = fact(solo.genesis), Millis(solo.clock.now() + 1_000)
    solo.pool.mempool.add(one, Millis(now - 1_000), ALL)
    base = genesis_digest(solo.genesis)
    built = solo.executor.build(
        Build(Epoch(0), View(1), Height(1), base, View(0), now, 0, (), False, False), now
    )
    digest = built.header.digest
    assert solo.executor.bodies(base) == ()
    assert solo.executor.bodies(digest) == (one,)
    solo.layers.settle(digest)
    assert solo.executor.bodies(digest) == ()


def test_a_leader_reads_the_blocks_limits_once(tmp_path, monkeypatch):
    solo = Solo(tmp_path)
    read, limits = [], solo.machine.limits

    def counted(parent, at):
        read.append(at.height)
        return limits(parent, at)

    monkeypatch.setattr(solo.machine, "limits", counted)
    now = Millis(solo.genesis.time_ms + 1_000)
    root = solo.core.situation.tree.root
    work = Build(
        epoch=Epoch(0),
        view=View(1),
        height=Height(1),
        parent_digest=root.digest,
        parent_view=View(0),
        time_ms=now,
        proposer=0,
        evidence=(),
        is_boundary=False,
        is_empty=False,
    )
    built = solo.executor.build(work, now)
    assert built.header.height == 1 and read == [1]
