"""Whoever contradicts itself is recorded: once in the chain, whoever learns of it, and within a limit."""

from collections import Counter
from dataclasses import replace

import pytest
from p2pledger.chain.block import evidence_root
from p2pledger.chain.genesis import LAN
from p2pledger.chain.vote import Evidence, evidence_of, notarise
from p2pledger.consensus.checks import EVIDENCE_OF_ONE_MAX
from p2pledger.consensus.events import Gossiped, Received
from p2pledger.types import Epoch, Height, View
from tests.sim.bench import Bench, n_, x
from tests.sim.cluster import Cluster, tx

LIAR = 3


def offence(cluster: Cluster | Bench, view: int, epoch: int = 0, signer: int = LIAR) -> Evidence:
    """Two blocks voted for by one authority in one view."""
    ballots = (notarise(Epoch(epoch), View(view), tx((view, i))) for i in range(2))
    return evidence_of(*(cluster.vote(signer, ballot) for ballot in ballots))


def tell(cluster: Cluster, item: Evidence, *nodes: int) -> None:
    """These nodes learn of it, as by gossip."""
    for node in nodes:
        cluster.post(node, Gossiped(item))


def recorded(cluster: Cluster, node: int = 0) -> list[tuple]:
    """What the final blocks of a node hold, in order."""
    return [item.offence for block in cluster.nodes[node].disk.chain for item in block.evidence]


def settle(cluster: Cluster, ms: int = 45_000) -> None:
    """Time enough that every authority has led, idle; all nodes have the same chain."""
    cluster.run(ms=ms)
    height = max(cluster.heights())
    assert cluster.run(lambda: min(cluster.heights()) >= height, ms=20_000), cluster.describe()
    cluster.check_agreement()
    everyone = range(len(cluster.nodes))
    assert all(recorded(cluster, i)[: len(recorded(cluster))] == recorded(cluster) for i in everyone)


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(4, seed=5)
    cluster.run(ms=2_000)
    return cluster


@pytest.mark.parametrize("knowing", [(0,), (2,), (0, 1, 2), (0, 1, 2, 3)])
def test_evidence_is_recorded_once_whoever_knows_it(cluster, knowing):
    item = offence(cluster, 1)
    tell(cluster, item, *knowing)
    settle(cluster)
    assert recorded(cluster) == [item.offence]
    assert all(node.core.situation.evidence == {} for node in cluster.nodes)


def test_evidence_from_a_stream_is_recorded_once(cluster):
    s = cluster.nodes[0].core.situation
    for digest in (tx("one"), tx("other")):
        for peer in (0, 1):
            vote = cluster.vote(LIAR, notarise(s.epoch, View(s.view + 1), digest))
            cluster.post(peer, Received(LIAR, vote))
    settle(cluster)
    assert len(recorded(cluster)) == 1


def test_what_is_recorded_is_known_again_after_a_start_and_not_recorded_twice(cluster):
    item = offence(cluster, 1)
    tell(cluster, item, 1)
    settle(cluster)
    for i in range(4):
        cluster.crash(i)
        cluster.restart(i)
    cluster.run(ms=3_000)
    tell(cluster, item, 0, 1, 2, 3)
    cluster.submit(tx("after"))
    settle(cluster)
    assert recorded(cluster) == [item.offence]


def test_what_only_one_node_knew_when_it_stopped_is_recorded_once_another_tells():
    cluster = Cluster(4, seed=8)
    cluster.run(ms=2_000)
    item = offence(cluster, 1)
    tell(cluster, item, 0)
    cluster.run(ms=1)
    cluster.crash(0)
    cluster.restart(0)
    tell(cluster, item, 2)
    settle(cluster)
    assert recorded(cluster) == [item.offence]


def test_evidence_that_comes_one_epoch_late_is_recorded_and_two_epochs_late_no_more():
    cluster = Cluster(4, seed=2, parameters=replace(LAN, epoch_blocks=6))
    late, too_late = offence(cluster, 1), offence(cluster, 2)

    def reach(epoch: int) -> None:
        for i in range(200):
            if all(node.core.situation.epoch >= epoch for node in cluster.nodes):
                return
            cluster.submit(tx((epoch, i)))
            cluster.run(ms=100)
        raise AssertionError(cluster.describe())

    reach(1)
    tell(cluster, late, 0, 1)
    settle(cluster)
    assert recorded(cluster) == [late.offence]
    [block] = [block for block in cluster.nodes[0].disk.chain if block.evidence]
    assert block.header.epoch == 1
    reach(2)
    tell(cluster, too_late, 0, 1, 2, 3)
    tell(cluster, late, 0, 1, 2, 3)
    settle(cluster)
    assert recorded(cluster) == [late.offence]


def test_one_liar_fills_no_more_than_its_share_of_the_chain_though_each_node_knows_others():
    cluster = Cluster(7, seed=5)  # two of whom will be silent
    cluster.run(ms=2_000)
    for node in range(3):
        for view in range(1, 21):
            tell(cluster, offence(cluster, 100 * (node + 1) + view), node)
    tell(cluster, offence(cluster, 7, signer=2), 1)
    settle(cluster, ms=60_000)
    assert Counter(signer for _, _, signer in recorded(cluster)) == {LIAR: EVIDENCE_OF_ONE_MAX, 2: 1}
    # Nothing is left to be done: the network rests.
    assert all(node.core.situation.evidence == {} for node in cluster.nodes)
    height = max(cluster.heights())
    cluster.run(ms=5_000)
    assert max(cluster.heights()) <= height + 1


@pytest.mark.parametrize("count", [EVIDENCE_OF_ONE_MAX, EVIDENCE_OF_ONE_MAX + 1])
def test_a_block_with_more_than_that_is_invalid(count):
    bench = Bench()
    bench.speak()
    one = bench.header(1)
    bench.receive(1, bench.proposal(one))
    items = tuple(offence(bench, view) for view in range(50, 50 + count))
    first, rest = items[:3], items[3:]
    bench.give(n_(1, one))
    two = bench.header(2, one, evidence_root=evidence_root(first))
    bench.receive(2, replace(bench.proposal(two, parent=bench.certificate(n_(1, one))), evidence=first))
    bench.give(n_(2, two))
    three = bench.header(3, two, evidence_root=evidence_root(rest))
    bench.receive(3, replace(bench.proposal(three, parent=bench.certificate(n_(2, two))), evidence=rest))
    is_allowed = count <= EVIDENCE_OF_ONE_MAX
    assert (n_(3, three) in bench.ballots()) == is_allowed
    assert (x(3) in bench.ballots()) != is_allowed


def test_a_block_is_invalid_with_evidence_of_what_an_unfinal_ancestor_has_recorded():
    bench = Bench()
    bench.speak()
    item = offence(bench, 50)
    one = bench.header(1, evidence_root=evidence_root((item,)))
    bench.receive(1, replace(bench.proposal(one), evidence=(item,)))
    bench.give(n_(1, one))
    assert bench.s.recorded(one.digest) == {item.offence}
    assert bench.s.recorded(one.parent_digest) == frozenset()
    two = bench.header(2, one, evidence_root=evidence_root((item,)), height=Height(2))
    bench.receive(2, replace(bench.proposal(two, parent=bench.certificate(n_(1, one))), evidence=(item,)))
    assert x(2) in bench.ballots()
