"""The closed list of each label's values, and families of series over them. Floor 4.

A peer id, an address or a transaction id is never a label: what a stranger can choose must not be able to
make series. A value that is not on a label's list is counted as `other`.
"""

import itertools
from collections.abc import Collection
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

OTHER = "other"

SYNC_STATES = ("starting", "catching_up", "in_sync")
VIEW_SKIP_REASONS = ("deadline", "invalid", "silent", "stale")
REFUSAL_REASONS = ("below_guard", "skipped", "finalised", "other_block", "not_a_member")
BAN_REASONS = ("gossip", "frame", "request", "muxer", "invalid", "stranger")
VOTE_TYPES = ("notarise", "skip", "finalise")
VOTE_RESULTS = ("accepted", "stale", "early")
TX_SOURCES = ("api", "gossip")
RECEIVED_RESULTS = ("accepted", "repeated", "mempool_full", "too_busy")
DIRECTIONS = ("inbound", "outbound")
TOPICS = ("transactions", "blocks", "evidence")
PROTOCOLS = ("gossip", "frames", "asks", "join")
DIAL_RESULTS = ("ok", "error")
GOSSIP_RESULTS = ("accept", "ignore", "reject", "duplicate", "published")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
STORE_FILES = ("chain.db", "chain.db-wal")
LOOP = "loop"
STAGES = ("decode", "verify", "admit", "consensus", "execute", "store", "scrape", "network", "api", LOOP)
"""The last three are counted by task only (`Metrics.account`): libp2p, HTTP, and what is left of the loop.

By task `consensus` also has the handing over to the signer and the sending, `store` what follows a commit,
`scrape` HTTP too.
"""

SUBSCRIBERS = ("events", "waits")
METHODS = ("GET", "HEAD", "POST")
ACCESSES = ("requested", "served", "refused")
POINTS = ("minted", "redeemed", "revoked")
STATUSES = (
    "200",
    "202",
    "400",
    "404",
    "405",
    "406",
    "408",
    "409",
    "410",
    "413",
    "415",
    "422",
    "429",
    "500",
    "503",
)

Family = TypeVar("Family", Counter, Gauge, Histogram)


def _with_other(values: tuple[str, ...]) -> tuple[str, ...]:
    return (*values, OTHER)


class Labelled(Generic[Family]):
    """A family of series whose labels take their values from closed lists; every one starts at 0.

    `family.at("api", "accepted").inc()`: a lookup in a dict, no lock, no new series. Of gauges `other` is
    there only once something was: a 0 that nobody set would be the least of all, for whoever asks for that.
    """

    def __init__(self, family: Family, *values: tuple[str, ...], start: bool = True) -> None:
        self.family: Family = family
        self.version = 0
        """Another number whenever series came or went."""
        closed: list[tuple[str, ...]] = list(map(_with_other, values))
        self._allowed: list[frozenset[str]] = list(map(frozenset, closed))
        self._series: dict[tuple[str, ...], Family] = {}
        if start:
            for labels in itertools.product(*(values if isinstance(family, Gauge) else closed)):
                self.at(*labels)

    def at(self, *labels: str) -> Family:
        """The series with these label values, in the order of the label names."""
        series = self._series.get(labels)
        if series is None:
            known = tuple(
                label if label in allowed else OTHER
                for label, allowed in zip(labels, self._allowed, strict=True)
            )
            series = self._series.get(known)
            if series is None:
                series = self._series[known] = self.family.labels(*known)
                self.version += 1
        return series

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the labels."""
        return tuple(self.family._labelnames)

    def series(self) -> list[tuple[tuple[str, ...], Family]]:
        """Every series that is there, by its labels' values. From any thread."""
        return list(self._series.items())

    def rename(self, values: Collection[str]) -> None:
        """Let the only label take these values from now on; series of others are taken away."""
        (before,) = self._allowed
        for gone in before - {*values, OTHER}:
            if self._series.pop((gone,), None) is not None:
                self.family.remove(gone)
                self.version += 1
        self._allowed = [frozenset({*values, OTHER})]
        for value in values:
            self.at(value)
