from collections import Counter
from dataclasses import replace

from p2pledger.bench.scale.assumptions import Assumptions
from p2pledger.bench.scale.gateways import links_of, spread
from p2pledger.network.transport import MAX_CONNECTIONS

SHORT = Assumptions(seconds=1, rate=20)


def test_everybody_dials_whom_the_assumptions_say() -> None:
    links, refused = links_of(50, SHORT)
    assert refused == 0
    assert {(one, other) for one, other in links if other < 4} == {
        (one, other) for one in range(4) for other in range(4) if one < other
    }
    to_authorities = Counter(other for one, other in links if one < 4 <= other)
    assert set(to_authorities.values()) == {2} and len(to_authorities) == 50
    between_gateways = [link for link in links if link[0] >= 4]
    assert 50 * 4 * 0.8 < len(between_gateways) <= 50 * 4


def test_nobody_takes_more_connections_than_a_node_does() -> None:
    links, refused = links_of(600, SHORT)
    connections = Counter(node for link in links for node in link)
    assert max(connections.values()) == MAX_CONNECTIONS
    assert refused == 600 * 2 - 4 * (MAX_CONNECTIONS - 3)


def test_messages_reach_everybody_and_the_busiest_is_above_the_mean() -> None:
    found = spread(30, SHORT)
    assert found.published > 0 and found.missed == 0
    assert found.p50_ms is not None and found.p99_ms is not None and found.max_ms is not None
    assert SHORT.delay_ms / 2 < found.p50_ms <= found.p99_ms <= found.max_ms
    assert 1 <= found.copies <= 12
    assert 0 < found.mean.share < found.busiest.share < 1
    assert found.mean.rpcs < found.busiest.rpcs and found.mean.size_bytes < found.busiest.size_bytes


def test_at_the_rate_that_is_told_the_busiest_node_is_about_full() -> None:
    rate = spread(30, SHORT).breaks_at_rate
    assert 0.7 < spread(30, replace(SHORT, rate=rate)).busiest.share < 1.3


def test_who_is_connected_to_nobody_is_missed_and_told() -> None:
    alone = spread(5, replace(SHORT, dial_gateways=0, dial_authorities=0))
    # What an authority publishes reaches the other three of nine nodes; what a gateway does reaches nobody.
    assert 5 * alone.published < alone.missed < 8 * alone.published
