"""How blocks become final, whose turn it is, and who misses theirs. Pure."""

from p2pledger.monitoring.dashboards.model import Colour, Dashboard, Panel, Row, Target, Threshold, Unit
from p2pledger.monitoring.dashboards.queries import (
    at_nodes,
    fact,
    growth,
    mean,
    named,
    on_chain,
    quantile,
    quantiles,
    rate,
    total,
)

PROPOSER, AUTHORITY = named("proposer"), named("authority")
TURNS = "15m"
"""So long that every authority has had many turns."""

SKIPPED = on_chain("consensus_views_skipped_total", named("reason"))
PROPOSED = fact(rate(on_chain("consensus_blocks_finalized_total", PROPOSER), TURNS), "proposer")

FINALITY = Row(
    "Finality",
    (
        Panel(
            "Finality latency",
            "From a block's header time until it is final at a node.",
            Unit.SECONDS,
            quantiles(at_nodes("finality_latency_seconds_bucket"), (0.5, 0.95, 0.99)),
        ),
        Panel(
            "Block interval",
            "Between the header times of successive blocks. Without load a block comes once in an idle"
            " interval.",
            Unit.SECONDS,
            quantiles(at_nodes("chain_block_interval_seconds_bucket")),
        ),
        Panel(
            "Blocks final",
            "A second, by who proposed them.",
            Unit.PER_SECOND,
            (
                Target(
                    fact(rate(on_chain("consensus_blocks_finalized_total", PROPOSER)), "proposer"),
                    "{{proposer}}",
                ),
            ),
            is_stacked=True,
        ),
        Panel(
            "Transactions per block",
            "The mean of recent blocks. Many small blocks under load: the leaders do not get what waits.",
            Unit.COUNT,
            (Target(mean("chain_block_txs"), "transactions"),),
        ),
        Panel(
            "Block size",
            "The mean of recent blocks: their encoded transactions.",
            Unit.BYTES,
            (Target(mean("chain_block_size_bytes"), "size"),),
        ),
        Panel(
            "Execution p95",
            "Executing one block. It is done before each vote, so it bounds how fast views can follow each"
            " other.",
            Unit.SECONDS,
            (
                Target(
                    quantile(0.95, at_nodes("block_execution_seconds_bucket"), "instance"),
                    "{{instance}}",
                ),
            ),
        ),
    ),
)

TURN = Row(
    "Whose turn is it?",
    (
        Panel(
            "View by node",
            "The view that each node is in. Lines run together: a node that hangs back hears too little.",
            Unit.COUNT,
            (Target(at_nodes("consensus_view"), "{{instance}}"),),
            minimum=None,
        ),
        Panel(
            "Views skipped by reason",
            "A minute, at the authority that signed most skips: a deadline passed, the leader was silent,"
            " or its block was invalid or stale.",
            Unit.COUNT,
            (
                Target(
                    fact(rate(SKIPPED), "reason") + " * 60",
                    "{{reason}}",
                ),
            ),
        ),
        Panel(
            "Missed turns per hour",
            "Views that passed without a block, by whose turn it was. One authority that misses all of its"
            " turns is down or cut off; all that miss some are slow, or their network is.",
            Unit.COUNT,
            (
                Target(
                    fact(growth(on_chain("consensus_proposals_missed_total", PROPOSER)), "proposer"),
                    "{{proposer}}",
                ),
            ),
        ),
        Panel(
            "Proposer share",
            "Of the blocks of a quarter of an hour. The shares of healthy authorities are equal.",
            Unit.SHARE,
            (
                Target(
                    f"{PROPOSED} / ignoring(proposer) group_left() {total(PROPOSED)}",
                    "{{proposer}}",
                ),
            ),
            is_stacked=True,
            maximum=1,
        ),
        Panel(
            "Signing lag",
            "By how many blocks the newest verified vote of an authority is behind the newest final block."
            " One that grows does not vote: down, cut off, or without its guard.",
            Unit.COUNT,
            (
                Target(
                    f"scalar({fact(on_chain('chain_finalized_height'))}) - "
                    f"{fact(on_chain('consensus_authority_last_signed_height', AUTHORITY), 'authority')}",
                    "{{authority}}",
                ),
            ),
            thresholds=(Threshold(50, Colour.DOUBTFUL),),
        ),
        Panel(
            "Votes received",
            "A second, before they are verified. Stale ones are of views that are over, early ones of"
            " views to come: many of either mean that nodes have drifted apart.",
            Unit.PER_SECOND,
            (
                Target(
                    total(
                        rate(at_nodes("consensus_votes_total", named("type"), named("result"))),
                        "type",
                        "result",
                    ),
                    "{{type}} {{result}}",
                ),
            ),
        ),
    ),
)

ROTATION = Row(
    "Who decides?",
    (
        Panel(
            "Authorities",
            "How many are in the list of this epoch, how many of the nodes here are on it, and how many of"
            " these vote. One that is on it and does not vote says why in its log.",
            Unit.COUNT,
            (
                Target(fact(on_chain("consensus_authorities")), "in the list"),
                Target(total(on_chain("consensus_is_authority")), "here"),
                Target(total(on_chain("consensus_is_voting")), "voting"),
            ),
        ),
        Panel(
            "Epoch by node",
            "A list of authorities changes at the end of an epoch, two epochs after it was decided on.",
            Unit.COUNT,
            (Target(at_nodes("consensus_epoch"), "{{instance}}"),),
            minimum=None,
        ),
        Panel(
            "Nodes that vote",
            "1 while a node votes. An authority that fell to 0 and runs has no guard, or was shown votes"
            " of its key that it does not know.",
            Unit.COUNT,
            (Target(at_nodes("consensus_is_voting"), "{{instance}}"),),
            maximum=1,
        ),
    ),
)

MISBEHAVIOUR = Row(
    "Who misbehaves?",
    (
        Panel(
            "Contradictions by authority",
            "That nodes learnt of in the last hour. `GET /v1/evidence` lists them. Stop the authority first.",
            Unit.COUNT,
            (
                Target(
                    fact(growth(on_chain("consensus_equivocations_total", AUTHORITY)), "authority"),
                    "{{authority}}",
                ),
            ),
            thresholds=(Threshold(1, Colour.BAD),),
        ),
        Panel(
            "Evidence in final blocks",
            "Contradictions that blocks recorded in the last hour: what others can prove, whatever becomes"
            " of us.",
            Unit.COUNT,
            (
                Target(
                    fact(growth(on_chain("consensus_evidence_recorded_total", AUTHORITY)), "authority"),
                    "{{authority}}",
                ),
            ),
        ),
        Panel(
            "Evidence that waits",
            "Known at a node and in no final block yet. It stays above 0 only while nothing becomes final.",
            Unit.COUNT,
            (Target(at_nodes("consensus_evidence_pending"), "{{instance}}"),),
        ),
        Panel(
            "Signer refusals",
            "Votes that a signer would not sign in the last hour, as they could contradict earlier ones."
            " The guard did its work; that it had to is a fault of the node.",
            Unit.COUNT,
            (Target(total(growth(at_nodes("signer_refusals_total")), "reason"), "{{reason}}"),),
            thresholds=(Threshold(1, Colour.BAD),),
        ),
        Panel(
            "Forks",
            "Two different final blocks seen at one height, by the node that saw them.",
            Unit.COUNT,
            (Target(at_nodes("chain_conflicting_finality_total"), "{{instance}}"),),
            thresholds=(Threshold(1, Colour.BAD),),
        ),
        Panel(
            "Divergences",
            "Final blocks that a node's own execution contradicts. It stops, and its count with it; an"
            " authority that goes on skips views as invalid. Compare versions, and run"
            " `p2pledger verify-chain` on its data.",
            Unit.COUNT,
            (Target(at_nodes("divergence_total"), "{{instance}}"),),
            thresholds=(Threshold(1, Colour.BAD),),
        ),
    ),
)

CONSENSUS = Dashboard(
    "p2pledger-consensus",
    "p2pledger / Consensus and rotation",
    "How blocks become final, whose turn it is, who decides, and who misbehaves.",
    (FINALITY, TURN, ROTATION, MISBEHAVIOUR),
)
