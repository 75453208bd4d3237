"""Is the chain alive, what holds it up, and who uses it? The page to open first. Pure."""

from p2pledger.monitoring.dashboards.model import Colour, Dashboard, Kind, Panel, Row, Target, Threshold, Unit
from p2pledger.monitoring.dashboards.queries import (
    CHAIN,
    HOUR,
    at_nodes,
    fact,
    greatest,
    growth,
    having,
    named,
    of_process,
    on_chain,
    quantile,
    quantiles,
    rate,
    ratio,
    total,
)
from p2pledger.monitoring.recording import BEHIND

QUORUM = f"floor((2 * {fact(on_chain('consensus_authorities'))} + 2) / 3)"
"""How many authorities decide, as `chain.authority.quorum` has it."""

ENDED_WELL = on_chain("txs_finalized_total", having("result", "final"))
FIRING = f'ALERTS{{{CHAIN},alertname=~"P2pledger.+",alertstate="firing"}}'
EVER_BAD = (Threshold(1, Colour.BAD),)
"""One is too many."""

ALIVE = Row(
    "Is the chain alive?",
    (
        Panel(
            "Finalized height",
            "The newest final block that any node has. It grows with each block, and at least once in an"
            " idle interval.",
            Unit.COUNT,
            (Target(fact(on_chain("chain_finalized_height")), "height"),),
            Kind.STAT,
        ),
        Panel(
            "Seconds since head",
            "How old the newest final block is. Beyond the idle interval (10 s unless the genesis file"
            " says otherwise) nothing becomes final: see what holds it up below, and ask"
            " `p2pledger why-stalled`.",
            Unit.SECONDS,
            (Target(f"time() - {fact(on_chain('chain_head_timestamp_seconds'))}", "since head"),),
            Kind.STAT,
            thresholds=(Threshold(20, Colour.DOUBTFUL), Threshold(60, Colour.BAD)),
        ),
        Panel(
            "Nodes up",
            "Nodes that answer Prometheus, and nodes that it is to ask.",
            Unit.COUNT,
            (
                Target('sum(up{job="p2pledger",chain="$chain"})', "up"),
                Target('count(up{job="p2pledger",chain="$chain"})', "known"),
            ),
            Kind.STAT,
        ),
        Panel(
            "Authorities that may fail",
            "How many more may stop before nothing becomes final: those that vote, less those that it"
            " takes to decide. Below 0 the chain stands; at 0 the next failure stops it.",
            Unit.COUNT,
            (Target(f"{total(on_chain('consensus_is_voting'))} - {QUORUM}", "to spare"),),
            Kind.STAT,
            below=Colour.BAD,
            thresholds=(Threshold(0, Colour.DOUBTFUL), Threshold(1, Colour.GOOD)),
            minimum=None,
        ),
        Panel(
            "Finality p95",
            "From a block's header time until it is final at a node: 95 of 100 were faster.",
            Unit.SECONDS,
            (Target(quantile(0.95, on_chain("finality_latency_seconds_bucket")), "p95"),),
            Kind.STAT,
            thresholds=(Threshold(2, Colour.DOUBTFUL), Threshold(10, Colour.BAD)),
        ),
        Panel(
            "Transactions final",
            "Of all kinds, a second.",
            Unit.PER_SECOND,
            (
                Target(
                    total(fact(rate(ENDED_WELL), "kind")),
                    "final",
                ),
            ),
            Kind.STAT,
        ),
        Panel(
            "Double signs",
            "Proven contradictions of authorities that nodes learnt of since they started. Stop the"
            " authority: it runs twice with one key, was started on an old copy of its guard, or is in"
            " hostile hands.",
            Unit.COUNT,
            (Target(total(fact(on_chain("consensus_equivocations_total"), "authority")), "contradictions"),),
            Kind.STAT,
            thresholds=EVER_BAD,
        ),
        Panel(
            "Forks and divergences",
            "Two final blocks at one height, or a final block that a node's own execution contradicts."
            " Either one is the end of what the ledger promises: stop writing, keep all data directories.",
            Unit.COUNT,
            (
                Target(fact(on_chain("chain_conflicting_finality_total")), "forks"),
                Target(fact(on_chain("divergence_total")), "divergences"),
            ),
            Kind.STAT,
            thresholds=EVER_BAD,
        ),
    ),
)

UPRIGHT = Row(
    "What holds it up?",
    (
        Panel(
            "Alerts firing",
            "How many series of each alert fire. Each has a runbook in docs/runbooks: what it means, how"
            " to look, how to mend.",
            Unit.COUNT,
            (
                Target(
                    f"count by (alertname, severity) ({FIRING})",
                    "{{alertname}} ({{severity}})",
                ),
            ),
        ),
        Panel(
            "Trouble by cause",
            "How many nodes say that something keeps the agreement from going on; the codes are those of"
            " `p2pledger why-stalled`, with their cures. A node that was cut off says no_quorum_heard.",
            Unit.COUNT,
            (Target(total(on_chain("consensus_trouble", named("cause")), "cause"), "{{cause}}"),),
            is_stacked=True,
        ),
        Panel(
            "Trouble by node",
            "How many causes of trouble a node names: ask those first by `p2pledger why-stalled --node URL`.",
            Unit.COUNT,
            (Target(total(at_nodes("consensus_trouble"), "instance"), "{{instance}}"),),
        ),
        Panel(
            "Nodes that answer",
            "1 while Prometheus can scrape a node.",
            Unit.COUNT,
            (Target(of_process("up", 'job="p2pledger"'), "{{instance}}"),),
            maximum=1,
        ),
        Panel(
            "Nodes by their state",
            "starting, catching_up or in_sync, by the node's own word. A node that stays behind: see its"
            " peers, its processor, and `p2pledger why-stalled`.",
            Unit.COUNT,
            (Target(total(on_chain("sync_state", named("state")), "state"), "{{state}}"),),
            is_stacked=True,
        ),
        Panel(
            "Height by node",
            "The newest final block of each node. Lines run together; one that is flat stands still by"
            " itself, all of them flat is a chain that stands.",
            Unit.COUNT,
            (Target(at_nodes("chain_finalized_height"), "{{instance}}"),),
            minimum=None,
        ),
        Panel(
            "Blocks behind best known",
            "How far a node is behind the highest block that its peers have shown it; and, by the rule"
            " that the alert asks, behind what any node had a minute ago: one that is cut off is shown"
            " nothing and looks level.",
            Unit.COUNT,
            (
                Target(f"{at_nodes('chain_best_known_height')} - {at_nodes('chain_height')}", "{{instance}}"),
                Target(of_process(BEHIND), "{{instance}}, of all"),
            ),
            thresholds=(Threshold(20, Colour.DOUBTFUL),),
        ),
        Panel(
            "Starts in the last hour",
            "How often a node's process was started anew. A node that keeps starting says why in the last"
            " lines of its log.",
            Unit.COUNT,
            (Target(f"changes({of_process('process_start_time_seconds')}[{HOUR}])", "{{instance}}"),),
            thresholds=(Threshold(2, Colour.DOUBTFUL),),
        ),
    ),
)

USED = Row(
    "Who uses it?",
    (
        Panel(
            "Transactions final by kind",
            "A second, each counted once for the whole chain. Records and batches of devices are most of"
            " them.",
            Unit.PER_SECOND,
            (
                Target(
                    greatest(8, fact(rate(ENDED_WELL), "kind")),
                    "{{kind}}",
                ),
            ),
            is_stacked=True,
        ),
        Panel(
            "Submission to finality",
            "From a transaction's submission at a node until it is final there: what a client waits for.",
            Unit.SECONDS,
            quantiles(at_nodes("tx_finality_latency_seconds_bucket")),
        ),
        Panel(
            "Transactions offered",
            "At each way in, by what became of them at once: accepted, repeated, or the code of the refusal.",
            Unit.PER_SECOND,
            (
                Target(
                    greatest(8, total(rate(at_nodes("mempool_txs_received_total")), "source", "result")),
                    "{{source}} {{result}}",
                ),
            ),
        ),
        Panel(
            "Mempool depth",
            "Transactions that wait at a node. It grows where more comes in than becomes final.",
            Unit.COUNT,
            (Target(at_nodes("mempool_txs"), "{{instance}}"),),
        ),
        Panel(
            "Mempool fill",
            "Of what a node may keep waiting, by number and by bytes. With either full it answers 429 to"
            " who writes.",
            Unit.SHARE,
            (
                Target(
                    ratio(at_nodes("mempool_txs"), at_nodes("mempool_capacity_txs")),
                    "{{instance}} transactions",
                ),
                Target(
                    ratio(at_nodes("mempool_bytes"), at_nodes("mempool_capacity_bytes")), "{{instance}} bytes"
                ),
            ),
            thresholds=(Threshold(0.9, Colour.BAD),),
            maximum=1,
        ),
        Panel(
            "Accepted, and not final",
            "In the last hour: transactions that had been accepted and expired, or were refused as their"
            " turn came.",
            Unit.COUNT,
            (
                Target(
                    fact(
                        total(
                            growth(on_chain("txs_finalized_total", 'result!~"final|other"')),
                            "instance",
                            "result",
                        ),
                        "result",
                    ),
                    "{{result}}",
                ),
            ),
        ),
    ),
)

OVERVIEW = Dashboard(
    "p2pledger-overview",
    "p2pledger / Overview",
    "Is the chain alive, what holds it up, and who uses it?",
    (ALIVE, UPRIGHT, USED),
)
