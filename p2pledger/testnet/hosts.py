"""Where the nodes of a testnet are found that have a host each, such as a container. Floor 8."""

from dataclasses import dataclass

from p2pledger.testnet.ports import NODES_MAX

EVERYWHERE = "0.0.0.0"  # noqa: S104 - who may come in is what the host's own network decides
API_PORT, METRICS_PORT, P2P_PORT = 7_100, 7_130, 7_160
LINKS_PORT = 7_200
"""The first port of the host that has the links; there are NODES_MAX for each dialler."""

NAME, NUMBER = "{name}", "{number}"


@dataclass(frozen=True)
class Hosts:
    """DNS names, in which `{name}` stands for the node's, `{number}` for its number among those of its role.

    They are looked up at each dial.

    Two, because what peers and what users reach a node by may be different networks.
    """

    api: str = NAME
    p2p: str = NAME
    links: str = ""
    """The host of links that can be broken; empty: there is none."""

    def api_host(self, name: str) -> str:
        """Where a node serves its API and its metrics."""
        return _filled(self.api, name)

    def p2p_host(self, name: str) -> str:
        """Where a node listens for its peers."""
        return _filled(self.p2p, name)

    def link(self, dialler: int, dialled: int) -> str:
        """Where one node, by its index, reaches another one by a link that can be broken."""
        return f"/dns4/{self.links}/tcp/{link_port(dialler, dialled)}"


def _filled(host: str, name: str) -> str:
    return host.replace(NAME, name).replace(NUMBER, name.rpartition("-")[2])


def link_port(dialler: int, dialled: int) -> int:
    """The port of a link: each pair of dialler and dialled has its own."""
    return LINKS_PORT + dialler * NODES_MAX + dialled
