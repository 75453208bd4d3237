"""Whole cores among liars: up to f of them neither fork the honest nor stop them."""

import pytest
from tests.sim.cluster import Cluster, Liar, tx
from tests.sim.liars import LIARS


def run_among(cluster: Cluster, liars: list[Liar], rounds: int = 12) -> None:
    """Transactions become final at every honest node, though the first authorities lie."""
    cluster.liars = dict(enumerate(liars))
    ids = []
    for i in range(rounds):
        ids.append(tx(i))
        cluster.submit(ids[-1])
        cluster.run(ms=700)
        cluster.check_agreement()
    wanted = set(ids)

    def is_final_everywhere() -> bool:
        chains = (node.disk.chain for node in cluster.honest)
        return all(wanted <= {i for block in chain for i in block.transaction_ids} for chain in chains)

    assert cluster.run(is_final_everywhere, ms=30_000), cluster.describe()
    cluster.check_agreement()


@pytest.mark.parametrize("name", LIARS)
@pytest.mark.parametrize("loss", [0.0, 0.15])
def test_one_liar_of_four_neither_forks_nor_stops_the_others(name, loss):
    run_among(Cluster(4, seed=1, loss=loss, delay_ms=(1, 60)), [LIARS[name]()])


@pytest.mark.parametrize("seed", range(3))
def test_two_liars_of_seven_who_lie_in_different_ways(seed):
    cluster = Cluster(7, seed, loss=0.1, delay_ms=(1, 60))
    run_among(cluster, [LIARS[name]() for name in cluster.random.sample(list(LIARS), 2)], rounds=8)


def test_whoever_equivocates_is_known_by_evidence_in_the_chain():
    cluster = Cluster(4)
    run_among(cluster, [LIARS["DoubleVoter"]()])
    cluster.run(ms=2_000)
    recorded = {item.offence[2] for block in cluster.nodes[1].disk.chain for item in block.evidence}
    assert recorded == {0}


def test_what_liars_send_is_not_kept_without_bound():
    cluster = Cluster(4, seed=2)
    run_among(cluster, [LIARS["FutureSpammer"]()], rounds=30)
    for node in cluster.honest:
        s = node.core.situation
        window = cluster.parameters.vote_window_views + 200
        assert len(s.tally._votes) < window
        assert len(s.tree) < 32
        assert len(s.asking) < 8
        assert len(s.evidence) <= 16
