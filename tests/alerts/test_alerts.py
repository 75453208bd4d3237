"""Alerts fire for real: each by the fault that it is for, made in a testnet of processes under load, and seen
in a real Prometheus. None of them fires before, and each is seen to end, but for the double signature.

`make alerts-test` runs this, in about six minutes. The rules are the committed ones at ten times the speed;
`tests/monitoring` has the cases with real durations. It wants Debian's package `prometheus`.
"""

import time
from pathlib import Path

import httpx
import pytest
from p2pledger.testnet.directory import Directory
from p2pledger.testnet.fault import Kind
from tests.alerts.watch import watched
from tests.monitoring.prometheus import program

pytestmark = pytest.mark.campaign

LOAD = ("--replay", "all", "--rate", "40")
MEMPOOL_TRANSACTIONS_MAX = 60
"""A second and a half of the load: little while blocks become final, soon full when none does."""

STARTS = 3


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a short name: a path to the testnet's socket has 107 bytes at most."""
    program("prometheus")
    return tmp_path_factory.mktemp("alerts")


def with_small_mempools(directory: Directory) -> None:
    """Gateways that may keep few transactions."""
    for node in directory.nodes:
        if node.name.startswith("gateway"):
            text = node.configuration.read_text()
            assert "[mempool]" not in text
            node.configuration.write_text(
                f"{text}\n[mempool]\ntransactions_max = {MEMPOOL_TRANSACTIONS_MAX}\n"
            )


def test_authorities_and_a_gateway_are_lost(path: Path) -> None:
    names = {
        "P2pledgerNodeDown",
        "P2pledgerNodeBehind",
        "P2pledgerAuthorityNotSigning",
        "P2pledgerQuorumAtRisk",
        "P2pledgerQuorumLost",
        "P2pledgerFinalityStalled",
        "P2pledgerMempoolFull",
        "P2pledgerDoubleSign",
        "P2pledgerRestarting",
        "P2pledgerFork",
        "P2pledgerDivergence",
    }
    with watched(path, names, *LOAD, prepare=with_small_mempools) as (net, watch):
        print(net.fault(Kind.DISCONNECT, "gateway-2", is_silent=True))
        watch.until_fired({("P2pledgerNodeBehind", "gateway-2")}, frozenset({"P2pledgerMempoolFull"}))
        print(net.fault(Kind.HEAL))
        watch.until_resolved()

        print(net.fault(Kind.KILL, "authority-4"))
        lost = {("P2pledgerNodeDown", "authority-4"), ("P2pledgerAuthorityNotSigning", "authority-4")}
        watch.until_fired({*lost, ("P2pledgerQuorumAtRisk", "")})

        print(net.fault(Kind.KILL, "authority-3"))
        stalled = {("P2pledgerQuorumLost", ""), ("P2pledgerFinalityStalled", "")}
        full = {("P2pledgerMempoolFull", "gateway-1")}
        watch.until_fired(
            {*stalled, *full, ("P2pledgerNodeDown", "authority-3")}, frozenset(names) - OF_LIARS
        )
        assert ("P2pledgerQuorumAtRisk", "") not in watch.firing()

        print(net.fault(Kind.HEAL))
        watch.until_resolved()


OF_LIARS = frozenset({"P2pledgerDoubleSign", "P2pledgerFork", "P2pledgerDivergence"})


def test_a_node_starts_over_and_an_authority_has_a_twin(path: Path) -> None:
    names = {
        "P2pledgerRestarting",
        "P2pledgerDoubleSign",
        "P2pledgerAuthorityNotVoting",
        "P2pledgerQuorumAtRisk",
        "P2pledgerQuorumLost",
        "P2pledgerFork",
        "P2pledgerDivergence",
    }
    with watched(path, names, *LOAD) as (net, watch):
        for _ in range(STARTS):
            print(net.fault(Kind.RESTART, "gateway-2"))
            until_it_runs(net.directory, "gateway-2")
        watch.until_fired({("P2pledgerRestarting", "gateway-2")})

        print(net.fault(Kind.TWIN, "authority-2"))
        # The honest one falls silent once it knows, so three of four vote from then on.
        watch.until_fired(
            {
                ("P2pledgerDoubleSign", "authority-2"),
                ("P2pledgerAuthorityNotVoting", "authority-2"),
                ("P2pledgerQuorumAtRisk", ""),
            },
            frozenset({"P2pledgerRestarting"}),
        )
        print(net.fault(Kind.HEAL))
        watch.until_resolved("P2pledgerDoubleSign", "P2pledgerAuthorityNotVoting", "P2pledgerQuorumAtRisk")


def until_it_runs(directory: Directory, name: str) -> None:
    """Wait until a node's metrics are there, and a scrape will have seen them."""
    (url,) = [node.metrics_url for node in directory.nodes if node.name == name]
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(url)
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    time.sleep(3)
