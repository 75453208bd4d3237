"""Every series that a node exports. Floor 4.

`labels` has the closed list of each label's values, `exposition` what a scrape is answered. What each series
means, and when it moves, stands in docs/OPERATIONS.md.

One `Metrics` object per node with a registry of its own, never the global one: a process may hold many
nodes (tests, the simulator's neighbours), and nothing that a library registers leaks in. Base units
(seconds, bytes), `_total` on counters.

Not pure, but it does no I/O of its own: it only counts, times, and reads /proc when it is scraped.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
)

from p2pledger.metrics.exposition import Exposition
from p2pledger.metrics.labels import (
    ACCESSES,
    BAN_REASONS,
    DIAL_RESULTS,
    DIRECTIONS,
    GOSSIP_RESULTS,
    LOG_LEVELS,
    LOOP,
    METHODS,
    OTHER,
    POINTS,
    PROTOCOLS,
    RECEIVED_RESULTS,
    REFUSAL_REASONS,
    STAGES,
    STATUSES,
    STORE_FILES,
    SUBSCRIBERS,
    SYNC_STATES,
    TOPICS,
    TX_SOURCES,
    VIEW_SKIP_REASONS,
    VOTE_RESULTS,
    VOTE_TYPES,
    Labelled,
)
from p2pledger.metrics.spending import Account, Spending

__all__ = ["LOOP", "OTHER", "STAGES", "SYNC_STATES", "Account", "Labelled", "Metrics", "Spending"]

SLOW_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FAST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SIZE_BYTES = (1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216)
BLOCK_TXS = (0, 1, 5, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 15_000)
PEER_SCORES = (-100, -50, -20, -10, -5, -1, 0, 1, 5, 10, 20, 50, 100)


Run = TypeVar("Run", bound=Callable[..., Awaitable[Any]])
"""What a task runs."""


class Metrics:
    """All series of one node, ready to count. Attributes are named like their series.

    `node` is the operator's name for it, `allocator` what its memory comes from, `authorities` those of the
    first authority lists, `kinds` and `codes` the transaction kinds and refusal codes that the ledger knows,
    `schemas` those of its records, `routes` the API's route templates, `causes` those of a stalled agreement:
    the closed lists that only a caller can know.
    """

    def __init__(
        self,
        *,
        version: str,
        chain_id: str,
        node: str,
        allocator: str = "",
        authorities: Iterable[str] = (),
        kinds: Iterable[str] = (),
        codes: Iterable[str] = (),
        schemas: Iterable[str] = (),
        routes: Iterable[str] = (),
        causes: Iterable[str] = (),
    ) -> None:
        self.registry = CollectorRegistry()
        self.account: Account | None = None
        info = Info("build", "What runs here.", namespace="p2pledger", registry=self.registry)
        info.info({"version": version, "chain_id": chain_id, "node": node, "allocator": allocator})
        authorities, codes = tuple(authorities), tuple(codes)
        self._authorities = frozenset(authorities)
        self._make_chain()
        self._make_consensus(authorities, tuple(causes))
        self._make_transactions(tuple(kinds), codes)
        self._make_network()
        self._make_city(tuple(schemas))
        self._make_process(tuple(routes))
        self._others = info, ProcessCollector(registry=self.registry), GCCollector(registry=self.registry)

    def exposition(self) -> Exposition:
        """What writes all of this down for a scrape."""
        families = [
            each for each in vars(self).values() if isinstance(each, Counter | Gauge | Histogram | Labelled)
        ]
        return Exposition(families, self._others, lambda: self.spending("scrape"))

    def set_sync_state(self, state: str) -> None:
        """Exactly one of SYNC_STATES is 1."""
        for each in (*SYNC_STATES, OTHER):
            self.sync_state.at(each).set(each == (state if state in SYNC_STATES else OTHER))

    def name_authorities(self, organisations: Collection[str]) -> None:
        """Label authorities by these names; one that is not among them is OTHER, and its series are gone.

        Those of the lists of a few epochs, so their number is bounded while organisations come and go.
        """
        if organisations == self._authorities:
            return
        self._authorities = frozenset(organisations)
        for family in (
            self.consensus_authority_last_signed_height,
            self.consensus_blocks_finalized_total,
            self.consensus_proposals_missed_total,
            self.consensus_equivocations_total,
            self.consensus_evidence_recorded_total,
        ):
            family.rename(self._authorities)

    def spending(self, stage: str) -> "Spending":
        """Count the processor time that this thread spends inside towards one of STAGES.

        For a batch, not for each of its transactions; without an `await`, behind which others spend.
        """
        return Spending(self.stage_cpu_seconds_total.at(stage), self.account)

    def charged(self, stage: str, run: Run) -> Run:
        """What a task is to run so that it and all that it starts count towards one of STAGES.

        `run` itself, where nobody counts by task.
        """
        if (account := self.account) is None:
            return run

        async def charging(*args: object, **named: object) -> Any:
            account.charge(stage)
            return await run(*args, **named)

        return cast("Run", charging)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, namespace="p2pledger", registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, labels, namespace="p2pledger", registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, what, labels, namespace="p2pledger", registry=self.registry, buckets=buckets)

    def _make_chain(self) -> None:
        gauge, counter, histogram = self._gauge, self._counter, self._histogram
        self.chain_height = gauge("chain_height", "Height of the newest final block whose state is here.")
        self.chain_finalized_height = gauge("chain_finalized_height", "Height of the newest final block.")
        self.chain_best_known_height = gauge(
            "chain_best_known_height",
            "Greatest final height that a certificate shows, or more authorities tell than may lie.",
        )
        self.chain_head_timestamp_seconds = gauge(
            "chain_head_timestamp_seconds",
            "Time in the header of the newest final block; before the first, of the genesis file.",
        )
        self.chain_block_interval_seconds = histogram(
            "chain_block_interval_seconds", "Between the header times of successive blocks.", SLOW_SECONDS
        )
        self.finality_latency_seconds = histogram(
            "finality_latency_seconds", "From a block's header time until it is final here.", SLOW_SECONDS
        )
        self.tx_finality_latency_seconds = histogram(
            "tx_finality_latency_seconds",
            "From a client's submission at this node until it is final here.",
            SLOW_SECONDS,
        )
        self.chain_block_size_bytes = histogram(
            "chain_block_size_bytes", "Encoded transactions of a final block, together.", SIZE_BYTES
        )
        self.chain_block_txs = histogram("chain_block_txs", "Transactions of a final block.", BLOCK_TXS)
        self.chain_conflicting_finality_total = counter(
            "chain_conflicting_finality", "Two different final blocks seen at one height: a fork."
        )
        self.sync_state = Labelled(gauge("sync_state", "1 for the present state.", "state"), SYNC_STATES)
        self.block_execution_seconds = histogram(
            "block_execution_seconds", "Executing one block.", FAST_SECONDS
        )
        self.store_commit_seconds = histogram(
            "store_commit_seconds", "Making one final block durable.", FAST_SECONDS
        )
        self.store_size_bytes = Labelled(
            gauge("store_size_bytes", "Size of a database file.", "file"), STORE_FILES
        )
        self.store_free_bytes = gauge("store_free_bytes", "Free on the volume that holds the chain.")
        self.store_pruned_height = gauge(
            "store_pruned_height", "Up to which block bodies of others were dropped; 0 if none."
        )
        self.divergence_total = counter(
            "divergence", "Final blocks that our own execution contradicts; the node stops."
        )

    def _make_consensus(self, authorities: tuple[str, ...], causes: tuple[str, ...]) -> None:
        gauge, counter = self._gauge, self._counter
        self.consensus_view = gauge("consensus_view", "The view that this node is in.")
        self.consensus_epoch = gauge("consensus_epoch", "The epoch that this node is in.")
        self.consensus_authorities = gauge("consensus_authorities", "Members of the authority list.")
        self.consensus_is_authority = gauge("consensus_is_authority", "1 when this node is one of them.")
        self.consensus_is_voting = gauge(
            "consensus_is_voting", "1 when this node votes; 0 while it follows only, as one without a guard."
        )
        self.consensus_authority_last_signed_height = Labelled(
            gauge(
                "consensus_authority_last_signed_height",
                "Height of the newest block that an authority's verified vote was seen for.",
                "authority",
            ),
            authorities,
        )
        self.consensus_blocks_finalized_total = Labelled(
            counter("consensus_blocks_finalized", "Final blocks by their proposer.", "proposer"), authorities
        )
        self.consensus_proposals_missed_total = Labelled(
            counter("consensus_proposals_missed", "Views that passed without a block.", "proposer"),
            authorities,
        )
        self.consensus_views_skipped_total = Labelled(
            counter("consensus_views_skipped", "Views that this node signed a skip for.", "reason"),
            VIEW_SKIP_REASONS,
        )
        self.consensus_votes_total = Labelled(
            counter("consensus_votes", "Votes received; verified with others, later.", "type", "result"),
            VOTE_TYPES,
            VOTE_RESULTS,
        )
        self.consensus_equivocations_total = Labelled(
            counter("consensus_equivocations", "Proven contradictions that came to be known.", "authority"),
            authorities,
        )
        self.consensus_evidence_recorded_total = Labelled(
            counter("consensus_evidence_recorded", "Proven contradictions in final blocks.", "authority"),
            authorities,
        )
        self.consensus_evidence_pending = gauge(
            "consensus_evidence_pending", "Proven contradictions that no final block has recorded yet."
        )
        self.consensus_trouble = Labelled(
            gauge("consensus_trouble", "1 while this keeps the agreement from going on.", "cause"), causes
        )
        self.signer_refusals_total = Labelled(
            counter("signer_refusals", "Votes that the signer would not sign.", "reason"), REFUSAL_REASONS
        )
        self.signature_verify_seconds = self._histogram(
            "signature_verify_seconds", "Verifying one batch of signatures.", FAST_SECONDS
        )

    def _make_transactions(self, kinds: tuple[str, ...], codes: tuple[str, ...]) -> None:
        gauge, counter = self._gauge, self._counter
        self.mempool_txs = gauge("mempool_txs", "Transactions that wait.")
        self.mempool_bytes = gauge("mempool_bytes", "Their encoded size.")
        self.mempool_capacity_txs = gauge("mempool_capacity_txs", "How many may wait.")
        self.mempool_capacity_bytes = gauge("mempool_capacity_bytes", "What the mempool may hold.")
        self.mempool_txs_received_total = Labelled(
            counter(
                "mempool_txs_received",
                "Transactions offered; `result` is accepted, repeated or the code of the refusal.",
                "source",
                "result",
            ),
            TX_SOURCES,
            (*RECEIVED_RESULTS, *codes),
        )
        self.txs_finalized_total = Labelled(
            counter(
                "txs_finalized",
                "How accepted transactions ended: final by kind; as `other` expired or a refusal's code.",
                "kind",
                "result",
            ),
            kinds,
            ("final", "expired", *codes),
            start=False,
        )
        # What can come stands at 0, or nobody would see the first one; kinds times codes are too many.
        for kind in (*kinds, OTHER):
            self.txs_finalized_total.at(kind, "final")
        for result in ("expired", *codes):
            self.txs_finalized_total.at(OTHER, result)

    def _make_city(self, schemas: tuple[str, ...]) -> None:
        """What the modules of the ledger came to: all nodes of a chain say the same of it."""
        gauge, counter = self._gauge, self._counter
        self.records_total = Labelled(
            counter("records", "Records in final blocks; a batch is one.", "schema"), schemas
        )
        self.access_total = Labelled(
            counter("access", "Access to private data: intents, and what custodians did.", "result"), ACCESSES
        )
        self.programs_points_total = Labelled(
            counter("programs_points", "Points of all programs in final blocks.", "movement"), POINTS
        )
        self.custody_discrepancies_open = gauge(
            "custody_discrepancies_open", "Shipments that are frozen until both sides agree."
        )
        self.consent_erasures_open = gauge(
            "consent_erasures_open", "Data that residents want erased and some custodian still has."
        )
        self.governance_proposals_open = gauge("governance_proposals_open", "Proposals to be voted on.")
        self.registry_gateways = gauge("registry_gateways", "Gateways whose key has not ended.")
        for unknown in (
            self.custody_discrepancies_open,
            self.consent_erasures_open,
            self.governance_proposals_open,
            self.registry_gateways,
        ):
            unknown.set(math.nan)

    def _make_network(self) -> None:
        gauge, counter, histogram = self._gauge, self._counter, self._histogram
        self.p2p_peers = Labelled(
            gauge("p2p_peers", "Connected peers, by who dialled.", "direction"), DIRECTIONS
        )
        self.p2p_bytes_total = Labelled(
            counter("p2p_bytes", "Bytes carried, before encryption.", "direction", "protocol"),
            DIRECTIONS,
            PROTOCOLS,
        )
        self.p2p_dials_total = Labelled(counter("p2p_dials", "Dials made.", "result"), DIAL_RESULTS)
        self.p2p_peers_banned_total = Labelled(
            counter("p2p_peers_banned", "Peers cut off.", "reason"), BAN_REASONS
        )
        self.p2p_ping_rtt_seconds = histogram("p2p_ping_rtt_seconds", "Round trip to a peer.", FAST_SECONDS)
        self.gossip_mesh_peers = Labelled(
            gauge("gossip_mesh_peers", "Peers in the mesh of a topic.", "topic"), TOPICS
        )
        self.gossip_messages_total = Labelled(
            counter("gossip_messages", "Gossip messages by what was done with them.", "topic", "result"),
            TOPICS,
            GOSSIP_RESULTS,
        )
        self.gossip_peer_score = histogram(
            "gossip_peer_score",
            "Score of each peer, looked at once a second; 0 is spotless, at -100 it is cut off.",
            PEER_SCORES,
        )
        self.gossip_queue_drops_total = Labelled(
            counter(
                "gossip_queue_drops",
                "Messages lost: outbound, a peer's queue was full; inbound, one RPC held too many.",
                "direction",
            ),
            DIRECTIONS,
        )
        self.gossip_block_propagation_seconds = histogram(
            "gossip_block_propagation_seconds",
            "From a block's header time until its gossip is here.",
            SLOW_SECONDS,
        )

    def _make_process(self, routes: tuple[str, ...]) -> None:
        gauge, counter, histogram = self._gauge, self._counter, self._histogram
        self.event_loop_lag_seconds = histogram(
            "event_loop_lag_seconds", "How late the event loop wakes a timer.", FAST_SECONDS
        )
        self.stage_cpu_seconds_total = Labelled(
            counter(
                "stage_cpu_seconds",
                "Processor time by stage of the work; all of it with `metrics.by_task` only.",
                "stage",
            ),
            STAGES,
        )
        self.clock_offset_seconds = gauge(
            "clock_offset_seconds", "How far this clock is ahead of the other authorities' clocks."
        )
        self.log_messages_total = Labelled(counter("log_messages", "Log lines.", "level"), LOG_LEVELS)
        self.log_suppressed_total = counter("log_suppressed", "Log lines left out: too many of one event.")
        self.api_subscribers = Labelled(
            gauge("api_subscribers", "Clients that are told of news.", "kind"), SUBSCRIBERS
        )
        self.api_request_seconds = Labelled(
            histogram(
                "api_request_seconds",
                "From a request's head until its answer is sent, by route template.",
                SLOW_SECONDS,
                "route",
                "method",
                "status",
            ),
            routes,
            METHODS,
            STATUSES,
            start=False,
        )
        for route in (*routes, OTHER):
            self.api_request_seconds.at(route, "GET", "200")
