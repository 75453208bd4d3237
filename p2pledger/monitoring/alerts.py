"""Alerts: what somebody has to look at, and how soon. Each has a runbook, `docs/runbooks/NAME.md`.

`critical` is for a person now: nothing becomes final, or soon may not, or somebody lies. `warning` is for
today. Every expression uses only series that a node exports (`metrics`), rules of `recording`, `up` and
`process_start_time_seconds`; a test holds them against these. Ranges go through `pace`. Why an expression is
not the obvious one stands in docs/decisions/monitoring.md.
"""

from dataclasses import dataclass
from enum import Enum

from p2pledger.monitoring.pace import DAY, HOUR, IN_EARNEST, MINUTE, Pace
from p2pledger.monitoring.recording import (
    AUTHORITIES,
    AUTHORITY_UP,
    BEHIND,
    FINALITY,
    HEIGHT,
    QUORUM,
    REMEMBERED_S,
    SCRAPED,
    SIGNING_LAG,
    TARGETS,
    VOTING,
)

GIB = 1024**3

RUNBOOKS = "docs/runbooks"
"""Where a runbook is in this repository: `runbook_url` begins with it unless another place is named."""


class Severity(Enum):
    """How soon."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True)
class Alert:
    """One alert. `for_s`: it fires once the expression has held so long, at a speed of 1.

    `summary` and `description` are Prometheus' templates over the labels and the value.
    """

    name: str
    severity: Severity
    expr: str
    for_s: int
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """Its file under RUNBOOKS."""
        return f"{self.name}.md"


def alerts(pace: Pace = IN_EARNEST) -> tuple[Alert, ...]:
    """All alerts."""
    return (*_finality(pace), *_quorum(pace), *_honesty(pace), *_work(pace), *_nodes(pace), *_machines(pace))


def _finality(pace: Pace) -> tuple[Alert, ...]:
    def per_node(series: str) -> str:
        return f"max by (chain) (sum by (chain, instance) (rate({series}[{pace(10 * MINUTE)}])))"

    skipped = per_node("p2pledger_consensus_views_skipped_total")
    finalized = per_node("p2pledger_consensus_blocks_finalized_total")
    return (
        Alert(
            name="P2pledgerFinalityStalled",
            severity=Severity.CRITICAL,
            expr=f"delta({HEIGHT}[{pace(2 * MINUTE)}]) <= 0 unless on (chain)"
            " (max by (chain) (p2pledger_mempool_txs) == 0"
            " and on (chain) max by (chain) (p2pledger_consensus_trouble) == 0)",
            for_s=MINUTE,
            summary="Nothing becomes final on {{ $labels.chain }}",
            description="No node's height on {{ $labels.chain }} has grown for three minutes, though"
            " transactions wait or a node says that it is in trouble.",
        ),
        Alert(
            name="P2pledgerAgreementTrouble",
            severity=Severity.WARNING,
            expr="count by (chain, cause) (p2pledger_consensus_trouble == 1)",
            for_s=MINUTE,
            summary="{{ $labels.cause }} on {{ $labels.chain }}",
            description="{{ $value }} node(s) of {{ $labels.chain }} have said {{ $labels.cause }} for a"
            " minute: it keeps their agreement from going on.",
        ),
        Alert(
            name="P2pledgerFinalitySlow",
            severity=Severity.WARNING,
            expr=f"{FINALITY} > 10",
            for_s=10 * MINUTE,
            summary="Blocks of {{ $labels.chain }} take {{ $value | humanizeDuration }} to become final",
            description="At every node of {{ $labels.chain }} one block in twenty takes"
            " {{ $value | humanizeDuration }} or longer from its time until it is final.",
        ),
        Alert(
            name="P2pledgerViewsSkipped",
            severity=Severity.WARNING,
            expr=f"{skipped} / {finalized} > 0.2",
            for_s=10 * MINUTE,
            summary="Many views of {{ $labels.chain }} end without a block",
            description="For each final block of {{ $labels.chain }} authorities skip"
            ' {{ $value | printf "%.2f" }} views; one dead authority of four makes it 0.33.',
        ),
    )


def _quorum(pace: Pace) -> tuple[Alert, ...]:
    def by_proposer(series: str) -> str:
        return f'max by (chain, proposer) (increase({series}{{proposer!="other"}}[{pace(30 * MINUTE)}]))'

    missed = by_proposer("p2pledger_consensus_proposals_missed_total")
    finalized = by_proposer("p2pledger_consensus_blocks_finalized_total")
    return (
        Alert(
            name="P2pledgerQuorumLost",
            severity=Severity.CRITICAL,
            expr=f"{VOTING} < on (chain) {QUORUM}",
            for_s=30,
            summary="Too few authorities of {{ $labels.chain }} vote: nothing can become final",
            description="{{ $value }} authorities of {{ $labels.chain }} answer and vote, fewer than decide.",
        ),
        Alert(
            name="P2pledgerQuorumAtRisk",
            severity=Severity.CRITICAL,
            expr=f"{VOTING} == on (chain) {QUORUM} and on (chain) {AUTHORITIES} >= 4",
            for_s=MINUTE,
            summary="One more authority of {{ $labels.chain }} lost, and nothing becomes final",
            description="Only {{ $value }} authorities of {{ $labels.chain }} answer and vote: just as many"
            " as decide.",
        ),
        Alert(
            name="P2pledgerAuthorityNotSigning",
            severity=Severity.WARNING,
            expr=f"{SIGNING_LAG} > 50 or min_over_time({SIGNING_LAG}[{pace(10 * MINUTE)}]) > 5",
            for_s=2 * MINUTE,
            summary="{{ $labels.authority }} signs nothing on {{ $labels.chain }}",
            description="No node has seen a vote of {{ $labels.authority }} for any of {{ $value }} final"
            " blocks of {{ $labels.chain }}, the newest of which is a minute old.",
        ),
        Alert(
            name="P2pledgerAuthorityNotVoting",
            severity=Severity.WARNING,
            expr="p2pledger_consensus_is_authority == 1 and p2pledger_consensus_is_voting == 0",
            for_s=5 * MINUTE,
            summary="{{ $labels.instance }} runs, is an authority, and does not vote",
            description="{{ $labels.instance }} of {{ $labels.chain }} follows only: its guard is missing, or"
            " its key is used elsewhere, or it hears nobody after its start. `notice` in its status says"
            " which.",
        ),
        Alert(
            name="P2pledgerProposerMissing",
            severity=Severity.WARNING,
            expr=f"{missed} > 0 and on (chain, proposer) {finalized} == 0",
            for_s=5 * MINUTE,
            summary="No block of {{ $labels.proposer }} becomes final on {{ $labels.chain }}",
            description="{{ $labels.proposer }} missed {{ $value | humanize }} turns in half an hour and made"
            " no block of {{ $labels.chain }}.",
        ),
    )


def _honesty(pace: Pace) -> tuple[Alert, ...]:
    return (
        Alert(
            name="P2pledgerDoubleSign",
            severity=Severity.CRITICAL,
            expr="max by (chain, authority)"
            f" (increase(p2pledger_consensus_equivocations_total[{pace(HOUR)}])) > 0",
            for_s=0,
            summary="{{ $labels.authority }} has contradicted itself on {{ $labels.chain }}",
            description="There is proof that {{ $labels.authority }} signed two things of which an honest"
            " authority signs one; `/v1/evidence` of any node has it.",
        ),
        Alert(
            name="P2pledgerFork",
            severity=Severity.CRITICAL,
            expr=f"max by (chain) (increase(p2pledger_chain_conflicting_finality_total[{pace(HOUR)}])) > 0",
            for_s=0,
            summary="Two final blocks at one height on {{ $labels.chain }}",
            description="A node of {{ $labels.chain }} was shown a certified block other than its own at the"
            " same height: more than a third of the authorities have lied, or keys were stolen.",
        ),
        Alert(
            name="P2pledgerDivergence",
            severity=Severity.CRITICAL,
            expr="max by (chain, instance)"
            f' (increase(p2pledger_consensus_views_skipped_total{{reason="invalid"}}[{pace(HOUR)}])) > 0'
            f" or max by (chain, instance) (increase(p2pledger_divergence_total[{pace(HOUR)}])) > 0",
            for_s=0,
            summary="{{ $labels.instance }} comes to other results than a proposer of {{ $labels.chain }}",
            description="{{ $labels.instance }} has turned down {{ $value | humanize }} block(s) within the"
            " hour as not what it works out itself: another version, damaged state, or a liar.",
        ),
        Alert(
            name="P2pledgerSignerRefused",
            severity=Severity.CRITICAL,
            expr="sum by (chain, instance, reason)"
            f" (increase(p2pledger_signer_refusals_total[{pace(10 * MINUTE)}])) > 0",
            for_s=0,
            summary="The signer of {{ $labels.instance }} refused a vote: {{ $labels.reason }}",
            description="The guard of {{ $labels.instance }} of {{ $labels.chain }} kept it from signing"
            " {{ $value | humanize }} vote(s) that contradict what its key has signed.",
        ),
    )


def _work(pace: Pace) -> tuple[Alert, ...]:
    received = "sum by (chain, instance) (rate(p2pledger_mempool_txs_received_total"
    window = pace(5 * MINUTE)
    return (
        Alert(
            name="P2pledgerMempoolFull",
            severity=Severity.WARNING,
            expr="max by (chain, instance) (p2pledger_mempool_bytes / p2pledger_mempool_capacity_bytes) > 0.9"
            f' or {received}{{result="mempool_full"}}[{window}])) > 0',
            for_s=5 * MINUTE,
            summary="The mempool of {{ $labels.instance }} is full",
            description="{{ $labels.instance }} of {{ $labels.chain }} has turned transactions away for five"
            " minutes because too many wait, or holds nine tenths of the bytes that it may.",
        ),
        Alert(
            name="P2pledgerOverloaded",
            severity=Severity.WARNING,
            expr=f'{received}{{result="too_busy"}}[{window}])) / {received}[{window}])) > 0.05',
            for_s=10 * MINUTE,
            summary="{{ $labels.instance }} is offered more than becomes final",
            description="{{ $labels.instance }} of {{ $labels.chain }} refuses"
            " {{ $value | humanizePercentage }} of what it is offered as too_busy.",
        ),
        Alert(
            name="P2pledgerNodeBehind",
            severity=Severity.WARNING,
            expr=f"{BEHIND} > 20",
            for_s=5 * MINUTE,
            summary="{{ $labels.instance }} is {{ $value }} blocks behind",
            description="{{ $labels.instance }} of {{ $labels.chain }} runs, and lacks {{ $value }} blocks"
            " that others have had for a minute; it has not caught up for five.",
        ),
    )


def _nodes(pace: Pace) -> tuple[Alert, ...]:
    peers = "sum by (chain, instance) (p2pledger_p2p_peers)"
    mesh = 'min by (chain, instance, topic) (p2pledger_gossip_mesh_peers{topic!="other"})'
    # Service discovery drops a pod without a machine, and `up` with it. Gateways come and go on purpose; an
    # authority does not, but for one that came back by another name: then there are as many as there were.
    dropped = (
        f"last_over_time({AUTHORITY_UP}[{pace(REMEMBERED_S)}]) unless on (chain, instance) {AUTHORITY_UP}"
        f" unless on (chain) {TARGETS} == on (chain) {SCRAPED}"
    )
    return (
        Alert(
            name="P2pledgerNodeDown",
            severity=Severity.WARNING,
            expr=f'up{{job="p2pledger"}} == 0 or ({dropped})',
            for_s=2 * MINUTE,
            summary="{{ $labels.instance }} does not answer",
            description="Prometheus has not been able to read the metrics of {{ $labels.instance }}"
            " ({{ $labels.role }} of {{ $labels.chain }}) for two minutes.",
        ),
        Alert(
            name="P2pledgerRestarting",
            severity=Severity.WARNING,
            expr=f'changes(process_start_time_seconds{{job="p2pledger"}}[{pace(15 * MINUTE)}]) > 2',
            for_s=0,
            summary="{{ $labels.instance }} starts again and again",
            description="{{ $labels.instance }} of {{ $labels.chain }} was started {{ $value }} times within"
            " a quarter of an hour.",
        ),
        Alert(
            name="P2pledgerPeersLow",
            severity=Severity.WARNING,
            expr=f"{peers} < 2 and on (chain) {AUTHORITIES} >= 4",
            for_s=5 * MINUTE,
            summary="{{ $labels.instance }} has {{ $value }} peer(s)",
            description="{{ $labels.instance }} of {{ $labels.chain }} is connected to {{ $value }} node(s):"
            " one more failure cuts it off.",
        ),
        Alert(
            name="P2pledgerMeshThin",
            severity=Severity.WARNING,
            expr=f"{mesh} < 2 and on (chain, instance) {peers} >= 3",
            for_s=10 * MINUTE,
            summary="Gossip of {{ $labels.topic }} reaches {{ $labels.instance }} from few",
            description="{{ $labels.instance }} of {{ $labels.chain }} is connected to three nodes or more,"
            " and {{ $value }} of them pass on {{ $labels.topic }} to it.",
        ),
    )


def _machines(pace: Pace) -> tuple[Alert, ...]:
    def p99(histogram: str) -> str:
        rate = f"rate({histogram}_bucket[{pace(5 * MINUTE)}])"
        return f"histogram_quantile(0.99, sum by (chain, instance, le) ({rate}))"

    free = "p2pledger_store_free_bytes"
    return (
        Alert(
            name="P2pledgerStoreFull",
            severity=Severity.WARNING,
            expr=f"{free} < {GIB} or (predict_linear({free}[{pace(6 * HOUR)}], {pace.seconds(DAY):g}) < 0"
            f" and {free} offset {pace(HOUR)} > 0)",
            for_s=30 * MINUTE,
            summary="The volume under the chain of {{ $labels.instance }} fills up",
            description="The volume of {{ $labels.instance }} of {{ $labels.chain }} has less than 1 GiB"
            " free, or will be full within a day if it goes on like this.",
        ),
        Alert(
            name="P2pledgerCommitSlow",
            severity=Severity.WARNING,
            expr=f"{p99('p2pledger_store_commit_seconds')} > 0.5",
            for_s=10 * MINUTE,
            summary="The disk of {{ $labels.instance }} is slow",
            description="One block in a hundred takes {{ $labels.instance }} of {{ $labels.chain }}"
            " {{ $value | humanizeDuration }} or longer to store.",
        ),
        Alert(
            name="P2pledgerLoopLag",
            severity=Severity.WARNING,
            expr=f"{p99('p2pledger_event_loop_lag_seconds')} > 0.25",
            for_s=10 * MINUTE,
            summary="{{ $labels.instance }} has too little processor time",
            description="One timer in a hundred wakes {{ $value | humanizeDuration }} late or later at"
            " {{ $labels.instance }} of {{ $labels.chain }}.",
        ),
        Alert(
            name="P2pledgerClockSkew",
            severity=Severity.WARNING,
            expr='abs(p2pledger_clock_offset_seconds{role="authority"}) > 0.25',
            for_s=5 * MINUTE,
            summary="The clock of {{ $labels.instance }} is wrong",
            description="The clock of {{ $labels.instance }} is {{ $value | humanizeDuration }} away from the"
            " other authorities' of {{ $labels.chain }}; blocks too far ahead get no votes.",
        ),
    )
