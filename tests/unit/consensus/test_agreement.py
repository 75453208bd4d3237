"""The core as a whole, over a simulated network: it agrees, stays quiet, survives crashes and loss."""

from dataclasses import replace

import pytest
from p2pledger.chain.genesis import LAN
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.events import Output
from p2pledger.consensus.settling import settle
from tests.sim.cluster import Cluster, tx


def finals(cluster, node=0):
    return {i for block in cluster.nodes[node].disk.chain for i in block.transaction_ids}


def all_final(cluster, ids, nodes=None):
    wanted = set(ids)
    return lambda: all(
        wanted <= finals(cluster, n.index)
        for n in cluster.nodes
        if n.alive and (nodes is None or n.index in nodes)
    )


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10])
def test_transactions_become_final_everywhere(n):
    cluster = Cluster(n)
    cluster.run(ms=3_000)
    ids = [tx(i) for i in range(5)]
    cluster.submit(*ids)
    assert cluster.run(all_final(cluster, ids), ms=5_000)
    cluster.check_agreement()


def test_an_idle_network_makes_one_block_per_idle_interval():
    cluster = Cluster()
    cluster.run(ms=101_000)
    assert 8 <= max(cluster.heights()) <= 11
    cluster.check_agreement()


def test_with_one_dead_authority_each_transaction_is_final_within_a_deadline_more():
    cluster = Cluster()
    cluster.run(ms=3_000)
    cluster.crash(2)
    for i in range(12):
        cluster.run(ms=5_000)
        cluster.submit(tx(i))
        start = cluster.now
        assert cluster.run(all_final(cluster, [tx(i)]), ms=10_000)
        assert cluster.now - start < 50 + 3 * 100 * 2 + 200
    cluster.check_agreement()


class SettlingTwice(Consensus):
    """Tries all rules once more after each step: none of them finds anything to do."""

    def step(self, event, now):
        output = super().step(event, now)
        settle(self._s, self._recovered)
        assert self._s.out.take(None) == Output(), event
        return output


@pytest.mark.parametrize("seed", range(4))
def test_a_tick_before_its_time_would_find_nothing_to_do(seed):
    """Which is why it tries no rule."""
    cluster = Cluster(4 + seed, seed, loss=0.1, delay_ms=(1, 150), core=SettlingTwice)
    for i in range(10):
        cluster.submit(tx(i))
        cluster.run(ms=700)
        if i % 4 == 2:
            cluster.crash(i % 3)
        elif i % 4 == 0 and i:
            cluster.restart((i - 2) % 3)
    cluster.check_agreement()


@pytest.mark.parametrize("seed", range(6))
def test_loss_delays_and_crashes_before_sending_never_fork_and_heal(seed):
    cluster = Cluster(4 + seed % 4, seed, loss=0.2, delay_ms=(1, 150))
    ids = []
    crashes = {"left": 12}

    def crash_sometimes(index):
        alive = sum(node.alive for node in cluster.nodes)
        if crashes["left"] and alive > cluster.set.quorum - 1 and cluster.random.random() < 0.02:
            crashes["left"] -= 1
            return True
        return False

    cluster.crash_before_send = crash_sometimes
    for i in range(30):
        ids.append(tx(i))
        cluster.submit(ids[-1])
        cluster.run(ms=700)
        cluster.check_agreement()
        for node in list(cluster.nodes):
            if not node.alive and cluster.random.random() < 0.5:
                cluster.restart(node.index)
    cluster.loss, crashes["left"] = 0.0, 0
    cluster.delay_ms = (1, 20)
    for node in list(cluster.nodes):
        if not node.alive:
            cluster.restart(node.index)
    cluster.submit(*ids)
    assert cluster.run(all_final(cluster, ids), ms=60_000), cluster.describe()
    cluster.check_agreement()


def test_the_whole_network_restarts_and_goes_on():
    cluster = Cluster()
    cluster.run(ms=2_000)
    cluster.submit(tx(1))
    cluster.run(ms=30)  # in the middle of a round
    for i in range(4):
        cluster.crash(i)
    for i in range(4):
        cluster.restart(i)
    assert cluster.run(all_final(cluster, [tx(1)]), ms=10_000)
    cluster.check_agreement()


def test_epochs_follow_each_other():
    cluster = Cluster(parameters=replace(LAN, epoch_blocks=5))
    cluster.run(ms=2_000)
    for i in range(23):
        cluster.submit(tx(i))
        assert cluster.run(all_final(cluster, [tx(i)]), ms=10_000)
    assert cluster.nodes[0].core.situation.epoch >= 4
    cluster.check_agreement()


def test_one_that_was_away_over_an_epoch_catches_up():
    cluster = Cluster(parameters=replace(LAN, epoch_blocks=5))
    cluster.run(ms=2_000)
    cluster.crash(3)
    for i in range(13):
        cluster.submit(tx(i))
        assert cluster.run(all_final(cluster, [tx(i)]), ms=20_000)
    cluster.restart(3)
    cluster.nodes[3].mempool.clear()
    assert cluster.run(all_final(cluster, [tx(i) for i in range(13)]), ms=20_000)
    cluster.submit(tx("after"))
    assert cluster.run(all_final(cluster, [tx("after")]), ms=20_000)
    cluster.check_agreement()


def test_a_partition_without_a_quorum_stops_and_heals():
    cluster = Cluster()
    cluster.run(ms=2_000)
    cluster.cut = lambda a, b: (a < 2) != (b < 2)
    cluster.submit(tx(1))
    before = max(cluster.heights())
    assert not cluster.run(all_final(cluster, [tx(1)]), ms=20_000)
    assert max(cluster.heights()) <= before + 1
    cluster.cut = lambda a, b: False
    assert cluster.run(all_final(cluster, [tx(1)]), ms=10_000)
    cluster.check_agreement()
