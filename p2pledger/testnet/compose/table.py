"""Where a compose testnet is reached, and how it is. Floor 8."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2pledger.testnet.compose.engine import Container

AUTHORITIES = ("authority-1", "authority-2", "authority-3", "authority-4")
GATEWAYS = ("gateway-1", "gateway-2")
NODES = (*AUTHORITIES, *GATEWAYS)
API_PORT, METRICS_PORT = 7_010, 7_040
"""On the loopback interface, of the first node; the others follow."""

SERVICES = {
    "prometheus": ("TESTNET_PROMETHEUS_PORT", 9_090),
    "alertmanager": ("TESTNET_ALERTMANAGER_PORT", 9_093),
    "grafana": ("TESTNET_GRAFANA_PORT", 3_000),
}
"""What else can be looked at: the variable that moves its port, and the port."""

REQUEST_S = 2.0
ANSWER_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Standing:
    """How a node is: `state` in a word; None for the height of one that does not answer."""

    name: str
    state: str
    height: int | None


def api_url(name: str) -> str:
    """A node's HTTP API."""
    return f"http://127.0.0.1:{API_PORT + NODES.index(name)}"


def metrics_url(name: str) -> str:
    """A node's metrics."""
    return f"http://127.0.0.1:{METRICS_PORT + NODES.index(name)}/metrics"


def service_url(name: str, variables: Mapping[str, str]) -> str:
    """Prometheus, Alertmanager or Grafana. `variables`: those that compose was started with."""
    variable, port = SERVICES[name]
    return f"http://127.0.0.1:{variables.get(variable) or port}"


def height_of(name: str) -> int | None:
    """The final height that a node tells; None when it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{api_url(name)}/v1/status", timeout=REQUEST_S) as answer:
            return int(json.loads(answer.read(ANSWER_BYTES_MAX))["height"])
    except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError):
        return None


def standings(containers: Mapping[str, Container], p2p: str) -> list[Standing]:
    """How each node is. `p2p`: the network that it is cut off from when it is not in it."""
    return [_standing(name, containers.get(name), p2p) for name in NODES]


def _standing(name: str, container: Container | None, p2p: str) -> Standing:
    if container is None:
        return Standing(name, "not made", None)
    if not container.is_running:
        return Standing(name, container.state, None)
    state = container.health or container.state
    if p2p not in container.networks:
        apart = sorted(net for net in container.networks if "_side-" in net)
        state = f"in {apart[0].partition('_')[2]}" if apart else "disconnected"
    return Standing(name, state, height_of(name))


def endpoints(
    nodes: Sequence[Standing], containers: Mapping[str, Container], variables: Mapping[str, str]
) -> str:
    """The table of endpoints, and what to try. `variables`: those that compose was started with."""
    rows = [("node", "state", "height", "HTTP API", "metrics")]
    for node in nodes:
        height = "-" if node.height is None else f"{node.height:,}"
        rows.append((node.name, node.state, height, api_url(node.name), metrics_url(node.name)))
    rows += [
        (name, containers[name].state, "", service_url(name, variables), "")
        for name in SERVICES
        if name in containers
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column == 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    gateway = GATEWAYS[0]
    tries = [
        "testnet/testnet load --rate 20" if "load" not in containers else "testnet/testnet load --stop",
        f"curl {api_url(gateway)}/v1/status",
        f"curl -s {metrics_url(gateway)} | grep txs_finalized",
        "testnet/testnet fault pause authority-2 --for 5",
    ]
    return "\n".join([*lines, "Try next:", *(f"  {command}" for command in tries)])
