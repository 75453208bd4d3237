"""Metrics that the node itself must go and read, and the network's counters. Floor 6."""

from typing import Protocol

import trio

from p2pledger.metrics import Metrics
from p2pledger.network.seam import Topic

GAUGES_S = 1.0


class NetworkMeter:
    """`seam.Meter` over the node's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def gossip(self, topic: Topic, result: str) -> None:
        """See `Meter.gossip`."""
        self._metrics.gossip_messages_total.at(topic.value, result).inc()

    def traffic(self, direction: str, protocol: str, n_bytes: int) -> None:
        """See `Meter.traffic`."""
        self._metrics.p2p_bytes_total.at(direction, protocol).inc(n_bytes)

    def dial(self, result: str) -> None:
        """See `Meter.dial`."""
        self._metrics.p2p_dials_total.at(result).inc()

    def dropped(self, direction: str, count: int = 1) -> None:
        """See `Meter.dropped`."""
        self._metrics.gossip_queue_drops_total.at(direction).inc(count)

    def banned(self, reason: str) -> None:
        """See `Meter.banned`."""
        self._metrics.p2p_peers_banned_total.at(reason).inc()

    def ping(self, rtt_ms: float) -> None:
        """See `Meter.ping`."""
        self._metrics.p2p_ping_rtt_seconds.observe(rtt_ms / 1_000)


class Measured(Protocol):
    """What has gauges to be read."""

    def measure(self) -> None:
        """Bring the gauges up to date."""

    def count_lag(self, seconds: float) -> None:
        """The event loop woke this task so much too late."""


async def keep_gauges(node: Measured) -> None:
    """Read the gauges now and once a second, and notice by the way how late the event loop is."""
    node.measure()
    while True:
        due = trio.current_time() + GAUGES_S
        await trio.sleep_until(due)
        node.count_lag(max(0.0, trio.current_time() - due))
        node.measure()
