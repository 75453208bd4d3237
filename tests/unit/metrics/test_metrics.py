import re

import pytest
from p2pledger.metrics import SYNC_STATES, Metrics
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

SERIES = """
build_info chain_height chain_finalized_height chain_best_known_height chain_head_timestamp_seconds
chain_block_interval_seconds finality_latency_seconds tx_finality_latency_seconds
gossip_block_propagation_seconds chain_block_size_bytes chain_block_txs chain_conflicting_finality_total
sync_state consensus_view consensus_epoch consensus_authorities consensus_is_authority consensus_is_voting
consensus_authority_last_signed_height consensus_blocks_finalized_total consensus_proposals_missed_total
consensus_views_skipped_total signer_refusals_total p2p_peers_banned_total consensus_votes_total
consensus_equivocations_total consensus_evidence_recorded_total consensus_evidence_pending
consensus_trouble block_execution_seconds signature_verify_seconds store_commit_seconds
event_loop_lag_seconds p2p_ping_rtt_seconds mempool_txs mempool_bytes mempool_capacity_bytes
mempool_txs_received_total txs_finalized_total p2p_peers gossip_mesh_peers
store_size_bytes api_subscribers store_free_bytes store_pruned_height p2p_bytes_total p2p_dials_total
gossip_messages_total log_messages_total gossip_peer_score gossip_queue_drops_total
stage_cpu_seconds_total divergence_total records_total api_request_seconds access_total
programs_points_total custody_discrepancies_open consent_erasures_open governance_proposals_open
registry_gateways clock_offset_seconds log_suppressed_total
"""


def make() -> Metrics:
    return Metrics(
        version="0.1.0",
        chain_id="test",
        node="a",
        authorities=["north", "south"],
        kinds=["record.append"],
        codes=["expired_already"],
        schemas=["meter"],
        routes=["/v1/status"],
        causes=["no_quorum_heard"],
    )


def exported(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("name", SERIES.split())
def test_every_series_is_there_before_anything_happened(name):
    names = {sample for sample, _ in exported(make())}
    assert {f"p2pledger_{name}", f"p2pledger_{name}_count"} & names


def test_the_client_librarys_own_series_come_on_top():
    names = {name for name, _ in exported(make())}
    assert {"process_start_time_seconds", "process_resident_memory_bytes"} <= names
    assert "python_gc_collections_total" in names


def test_processor_time_is_counted_towards_its_stage_also_when_the_work_fails():
    metrics = make()
    with pytest.raises(ZeroDivisionError), metrics.spending("execute"):
        sum(range(200_000))
        _ = 1 / 0
    values, series = exported(metrics), "p2pledger_stage_cpu_seconds_total"
    spent = {dict(labels)["stage"]: values[name, labels] for name, labels in values if name == series}
    assert spent["execute"] > 0 and not sum(spent[stage] for stage in spent if stage != "execute")


def test_an_unknown_label_value_is_counted_as_other_and_makes_no_series():
    metrics = make()
    before = len(exported(metrics))
    for stranger in range(100):
        metrics.mempool_txs_received_total.at("gossip", f"made-up-{stranger}").inc()
        metrics.consensus_equivocations_total.at(f"stranger-{stranger}").inc()
    after = exported(metrics)
    assert len(after) == before
    other = frozenset({("source", "gossip"), ("result", "other")})
    assert after["p2pledger_mempool_txs_received_total", other] == 100


def test_authorities_that_come_are_named_and_those_that_went_leave_no_series():
    metrics, series = make(), "p2pledger_consensus_blocks_finalized_total"

    def counted() -> dict[str, float]:
        values = exported(metrics)
        return {dict(labels)["proposer"]: values[name, labels] for name, labels in values if name == series}

    before = len(exported(metrics))
    metrics.consensus_blocks_finalized_total.at("south").inc()
    metrics.consensus_blocks_finalized_total.at("west").inc()
    assert counted() == {"north": 0, "south": 1, "other": 1}
    metrics.name_authorities({"south", "west"})
    metrics.consensus_blocks_finalized_total.at("west").inc()
    metrics.consensus_blocks_finalized_total.at("north").inc()
    assert counted() == {"south": 1, "west": 1, "other": 2}
    for number in range(100):
        metrics.name_authorities({"south", f"guest-{number}"})
        metrics.consensus_equivocations_total.at(f"guest-{number}").inc()
    assert counted() == {"south": 1, "guest-99": 0, "other": 2}
    assert len(exported(metrics)) == before


def test_two_nodes_in_one_process_count_apart():
    one, other = make(), make()
    one.chain_height.set(7)
    assert exported(one)["p2pledger_chain_height", frozenset()] == 7
    assert exported(other)["p2pledger_chain_height", frozenset()] == 0


def test_scores_below_zero_can_be_told_from_zero():
    text = generate_latest(make().registry).decode()
    assert 'p2pledger_gossip_peer_score_bucket{le="0.0"}' in text


@pytest.mark.parametrize("state", [*SYNC_STATES, "no such state"])
def test_exactly_one_sync_state_is_set(state):
    metrics = make()
    metrics.set_sync_state("in_sync")
    metrics.set_sync_state(state)
    series = exported(metrics).items()
    set_to_1 = {labels for (name, labels), value in series if name == "p2pledger_sync_state" and value}
    expected = state if state in SYNC_STATES else "other"
    assert set_to_1 == {frozenset({("state", expected)})}


def test_names_are_in_base_units():
    for name, _ in exported(make()):
        assert not re.search(r"_(ms|millis|kb|mb|minutes)(_|$)", name), name
