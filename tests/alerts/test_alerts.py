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
from tests.alerts.watch import POLL_S, watched
from tests.monitoring.prometheus import program

pytestmark = pytest.mark.campaign

LOAD = ("--replay", "all", "--rate", "20")
LOAD_OF_ONE = ("--replay", "water", "--rate", "5")
"""All of it goes through gateway-1, so that another gateway can be cut off without holding it up."""

MEMPOOL_TRANSACTIONS_MAX = 40
"""Two seconds of the load, and much less than a replay has under way at most: it is full soon when nothing
becomes final, and the replay goes on to offer more."""

STARTS = 3
START_S = 60.0
SCRAPES_S = 3.0


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


LIES = {"P2pledgerDoubleSign", "P2pledgerFork", "P2pledgerDivergence"}


def test_authorities_are_lost_one_after_the_other(path: Path) -> None:
    away = {"P2pledgerNodeDown", "P2pledgerAuthorityNotSigning", "P2pledgerQuorumAtRisk"}
    standing = {"P2pledgerQuorumLost", "P2pledgerFinalityStalled", "P2pledgerMempoolFull"}
    with watched(path, away | standing | LIES, *LOAD, prepare=with_small_mempools) as (net, watch):
        print(net.fault(Kind.KILL, "authority-4"))
        watch.until_fired(
            {
                ("P2pledgerNodeDown", "authority-4"),
                ("P2pledgerAuthorityNotSigning", "authority-4"),
                ("P2pledgerQuorumAtRisk", ""),
            }
        )

        print(net.fault(Kind.KILL, "authority-3"))
        watch.until_fired(
            {
                ("P2pledgerNodeDown", "authority-3"),
                ("P2pledgerQuorumLost", ""),
                ("P2pledgerFinalityStalled", ""),
                ("P2pledgerMempoolFull", "gateway-1"),
            },
            may=away | {"P2pledgerMempoolFull"},
        )
        assert ("P2pledgerQuorumAtRisk", "") not in watch.firing()

        print(net.fault(Kind.HEAL))
        # How soon an authority that was away votes again is another campaign's matter.
        watch.until_resolved("P2pledgerAuthorityNotSigning")


def test_a_gateway_starts_over_an_authority_has_a_twin_and_the_gateway_is_cut_off(path: Path) -> None:
    names = {"P2pledgerNodeBehind", "P2pledgerRestarting", "P2pledgerAuthorityNotVoting"}
    quorum = {"P2pledgerQuorumAtRisk", "P2pledgerQuorumLost"}
    with watched(path, names | quorum | LIES, *LOAD_OF_ONE) as (net, watch):
        for _ in range(STARTS):
            print(net.fault(Kind.RESTART, "gateway-2"))
            until_it_was_seen(net.directory, "gateway-2")
        restarting = {"P2pledgerRestarting"}  # it looks back for a quarter of an hour, here 90 s
        watch.until_fired({("P2pledgerRestarting", "gateway-2")}, may={"P2pledgerNodeBehind"})

        print(net.fault(Kind.TWIN, "authority-2"))
        # The honest one falls silent once it knows, so three of four vote from then on.
        for_good = {
            ("P2pledgerDoubleSign", "authority-2"),
            ("P2pledgerAuthorityNotVoting", "authority-2"),
            ("P2pledgerQuorumAtRisk", ""),
        }
        watch.until_fired(for_good, may=restarting)
        print(net.fault(Kind.HEAL))
        watch.until_resolved(*(name for name, _ in for_good))

        print(net.fault(Kind.DISCONNECT, "gateway-2", is_silent=True))
        watch.until_fired({*for_good, ("P2pledgerNodeBehind", "gateway-2")})
        print(net.fault(Kind.HEAL))
        watch.until_resolved(*(name for name, _ in for_good))


def until_it_was_seen(directory: Directory, name: str) -> None:
    """Wait until a node's metrics are there, and then for some scrapes."""
    (url,) = [node.metrics_url for node in directory.nodes if node.name == name]
    deadline = time.monotonic() + START_S
    while True:
        try:
            httpx.get(url)
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
    time.sleep(SCRAPES_S)
