"""Who is connected to whom, what gossip carries, and what is lost or turned away. Pure."""

from p2pledger.monitoring.dashboards.model import Colour, Dashboard, Panel, Row, Target, Threshold, Unit
from p2pledger.monitoring.dashboards.queries import (
    at_nodes,
    growth,
    having,
    named,
    quantile,
    quantiles,
    rate,
    ratio,
    total,
)

DIRECTION, TOPIC, RESULT = named("direction"), named("topic"), named("result")


def messages(result: str) -> str:
    """How many messages had this result, a second, by topic."""
    return total(rate(at_nodes("gossip_messages_total", TOPIC, having("result", result))), "topic")


PEERS = Row(
    "Who is connected?",
    (
        Panel(
            "Peers",
            "Connections of each node, by who dialled. Each node should have all authorities: below two it"
            " is nearly alone.",
            Unit.COUNT,
            (
                Target(
                    total(at_nodes("p2p_peers", DIRECTION), "instance", "direction"),
                    "{{instance}} {{direction}}",
                ),
            ),
        ),
        Panel(
            "Dials",
            "A second, by how they went. Nodes dial for ever: errors that go on are a node that is down, a"
            " wrong address or a closed port.",
            Unit.PER_SECOND,
            (Target(total(rate(at_nodes("p2p_dials_total", RESULT)), "result"), "{{result}}"),),
        ),
        Panel(
            "Peers cut off",
            "In the last hour, by what for. Strangers come by themselves; any other reason is a peer of"
            " ours that sent what no honest node sends.",
            Unit.COUNT,
            (Target(total(growth(at_nodes("p2p_peers_banned_total")), "reason"), "{{reason}}"),),
            thresholds=(Threshold(1, Colour.DOUBTFUL),),
        ),
        Panel(
            "Peer round trip p95",
            "Of pings to peers. Consensus waits for the slowest of the quorum: beyond its Δ views are"
            " skipped.",
            Unit.SECONDS,
            (Target(quantile(0.95, at_nodes("p2p_ping_rtt_seconds_bucket"), "instance"), "{{instance}}"),),
        ),
        Panel(
            "Share of peer scores below zero",
            "Of the scores that a node gives its peers. Below zero gossip has something against a peer; at"
            " -100 it is cut off.",
            Unit.SHARE,
            (
                Target(
                    ratio(
                        total(rate(at_nodes("gossip_peer_score_bucket", having("le", "-1.0"))), "instance"),
                        total(rate(at_nodes("gossip_peer_score_count")), "instance"),
                    ),
                    "{{instance}}",
                ),
            ),
            maximum=1,
        ),
        Panel(
            "Clock offset",
            "How far a node's clock is ahead of the other authorities' clocks, by the times in their"
            " blocks; a gateway's holds what an agreement takes. At half a second (`clock_drift_ms` of the"
            " genesis file) blocks get no votes: set the clocks by NTP.",
            Unit.SECONDS,
            (Target(at_nodes("clock_offset_seconds"), "{{instance}}"),),
            thresholds=(Threshold(0.25, Colour.DOUBTFUL), Threshold(0.5, Colour.BAD)),
            minimum=None,
        ),
    ),
)

GOSSIP = Row(
    "What does gossip carry?",
    (
        Panel(
            "Smallest mesh by topic",
            "Peers that a node passes a topic's messages on to at once, at the node that has fewest. Below"
            " two, one loss is a delay.",
            Unit.COUNT,
            (Target(f"min by (topic) ({at_nodes('gossip_mesh_peers', TOPIC)})", "{{topic}}"),),
        ),
        Panel(
            "Block propagation",
            "From a block's header time until its gossip is at a node.",
            Unit.SECONDS,
            quantiles(at_nodes("gossip_block_propagation_seconds_bucket")),
        ),
        Panel(
            "Messages by topic",
            "A second, in and out, duplicates included.",
            Unit.PER_SECOND,
            (
                Target(
                    total(rate(at_nodes("gossip_messages_total", TOPIC)), "topic"),
                    "{{topic}}",
                ),
            ),
            is_stacked=True,
        ),
        Panel(
            "Messages by result",
            "A second: accepted, known already (duplicate), of no use (ignore), broken (reject), or our"
            " own (published).",
            Unit.PER_SECOND,
            (
                Target(
                    total(rate(at_nodes("gossip_messages_total", RESULT)), "result"),
                    "{{result}}",
                ),
            ),
        ),
        Panel(
            "Duplicates per accepted message",
            "How often the same message comes again: what the mesh's safety costs. About its degree less"
            " one.",
            Unit.COUNT,
            (
                Target(
                    ratio(messages("duplicate"), messages("accept")),
                    "{{topic}}",
                ),
            ),
        ),
        Panel(
            "Messages dropped",
            "In the last hour, from full queues. A node that drops does not get its processor, or a peer"
            " does not read.",
            Unit.COUNT,
            (
                Target(
                    total(growth(at_nodes("gossip_queue_drops_total", DIRECTION)), "instance", "direction"),
                    "{{instance}} {{direction}}",
                ),
            ),
            thresholds=(Threshold(1, Colour.DOUBTFUL),),
        ),
    ),
)

BANDWIDTH = Row(
    "How much is sent?",
    (
        Panel(
            "Bandwidth by direction",
            "Of all nodes shown, libp2p's own overhead left out.",
            Unit.BYTES_PER_SECOND,
            (
                Target(
                    total(rate(at_nodes("p2p_bytes_total", DIRECTION)), "direction"),
                    "{{direction}}",
                ),
            ),
        ),
        Panel(
            "Sent by protocol",
            "Gossip, frames of the agreement, answers to other nodes, and what is said to those who ask to"
            " join.",
            Unit.BYTES_PER_SECOND,
            (
                Target(
                    total(
                        rate(at_nodes("p2p_bytes_total", having("direction", "outbound"), named("protocol"))),
                        "protocol",
                    ),
                    "{{protocol}}",
                ),
            ),
            is_stacked=True,
        ),
        Panel(
            "Sent by node",
            "Who sends much more than the others has many peers, or somebody who catches up from it.",
            Unit.BYTES_PER_SECOND,
            (
                Target(
                    total(rate(at_nodes("p2p_bytes_total", having("direction", "outbound"))), "instance"),
                    "{{instance}}",
                ),
            ),
        ),
    ),
)

NETWORK = Dashboard(
    "p2pledger-network",
    "p2pledger / Network and gossip",
    "Who is connected to whom, what gossip carries, and what is lost or turned away.",
    (PEERS, GOSSIP, BANDWIDTH),
)
