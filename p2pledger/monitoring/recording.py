"""Recording rules: what several alerts and panels say of a chain or a node, worked out once.

Named `level:series:operation`, as Prometheus' own documentation advises. `chain` and `role` are labels that
the scrape configuration gives. Every node exports the facts of its chain, so these are taken by `max by`.
"""

from dataclasses import dataclass

from p2pledger.monitoring.pace import DAY, IN_EARNEST, MINUTE, Pace

TARGETS = "chain:p2pledger_authority_targets:count"
SCRAPED = "chain:p2pledger_authority_targets:max"
HEIGHT = "chain:p2pledger_finalized_height:max"
AUTHORITIES = "chain:p2pledger_authorities:max"
QUORUM = "chain:p2pledger_quorum:max"
VOTING = "chain:p2pledger_authorities_voting:sum"
SIGNING_LAG = "chain_authority:p2pledger_signing_lag_blocks:min"
BEHIND = "instance:p2pledger_blocks_behind:max"
FINALITY = "chain:p2pledger_finality_latency_seconds:p95"
TRANSACTIONS = "chain:p2pledger_txs_finalized:rate"

AUTHORITY_UP = 'up{job="p2pledger",role="authority"}'

REMEMBERED_S = DAY
"""So long an authority that service discovery has dropped still counts as one that is missing."""


@dataclass(frozen=True)
class Recording:
    """One recording rule. `what` says what its value is, which the rule file has no place for."""

    record: str
    expr: str
    what: str


def recordings(pace: Pace = IN_EARNEST) -> tuple[Recording, ...]:
    """All recording rules; a later one may use earlier ones."""
    own_lag = "(p2pledger_chain_best_known_height - p2pledger_chain_height)"
    # Targets are scraped at different times of an interval, in which a busy chain grows by a hundred blocks.
    before = f"{HEIGHT} offset {pace(MINUTE)}"
    lag = f"({before} - on (chain) group_right () p2pledger_chain_height)"
    return (
        Recording(
            TARGETS, f"count by (chain) ({AUTHORITY_UP})", "Authorities that are scraped, answering or not."
        ),
        Recording(
            SCRAPED,
            f"max_over_time({TARGETS}[{pace(REMEMBERED_S)}])",
            "The most that were within a day: a pod that waits for a machine is not scraped.",
        ),
        Recording(
            HEIGHT, "max by (chain) (p2pledger_chain_finalized_height)", "The height that some node has."
        ),
        Recording(
            AUTHORITIES,
            f"max by (chain) (p2pledger_consensus_authorities) or {SCRAPED}",
            "Members of the authority list; while no node says, the authorities that were scraped.",
        ),
        Recording(
            QUORUM, f"floor((2 * {AUTHORITIES} + 2) / 3)", "How many of them decide: (2n + 2) div 3, rule R1."
        ),
        Recording(
            VOTING,
            '(sum by (chain) (p2pledger_consensus_is_authority{role="authority"}'
            ' * p2pledger_consensus_is_voting{role="authority"}'
            f" or {AUTHORITY_UP} * 0) or {SCRAPED} * 0)"
            f" and on (chain) {SCRAPED} >= on (chain) {AUTHORITIES}",
            "Authorities that answer and vote. Not there where only some of the authorities were scraped.",
        ),
        Recording(
            SIGNING_LAG,
            f"clamp_min({before} - on (chain) group_right () max by (chain, authority)"
            ' (p2pledger_consensus_authority_last_signed_height{authority!="other"}), 0)',
            "Blocks up to a minute ago, since the newest that any node saw this authority vote for.",
        ),
        Recording(
            BEHIND,
            f"{lag} > {own_lag} or {own_lag}",
            "Blocks that a node lacks of what its peers have shown it, or any scraped node had a minute ago.",
        ),
        Recording(
            FINALITY,
            "min by (chain) (histogram_quantile(0.95, sum by (chain, instance, le)"
            f" (rate(p2pledger_finality_latency_seconds_bucket[{pace(5 * MINUTE)}]))))",
            "From a block's time until it is final, where that is soonest: one that catches up says nothing.",
        ),
        Recording(
            TRANSACTIONS,
            "max by (chain) (sum by (chain, instance)"
            f' (rate(p2pledger_txs_finalized_total{{result="final"}}[{pace(5 * MINUTE)}])))',
            "Transactions that become final, a second.",
        ),
    )
