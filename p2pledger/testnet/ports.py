"""Loopback ports for a testnet: a block of a hundred, claimed while the testnet runs. Floor 8.

The first testnet on a machine gets 7100 and up, so that what the README says to try works as it stands;
a second one gets 7200, and so on. All lie below the range from which Linux picks ports for outgoing
connections. The last port of a block is held by the launcher itself: that is the claim, and it ends with
the process however that ends.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

HOST = "127.0.0.1"
NODES_MAX = 30
_FIRST, _LAST, _STEP = 7_100, 31_900, 100


@dataclass(frozen=True)
class PortBlock:
    """The ports of the nodes of one testnet, by the node's index."""

    base: int

    def http(self, index: int) -> int:
        """Where a node serves its API."""
        return self.base + index

    def metrics(self, index: int) -> int:
        """Where Prometheus finds a node's metrics."""
        return self.base + NODES_MAX + index

    def p2p(self, index: int) -> int:
        """Where a node listens for its peers."""
        return self.base + 2 * NODES_MAX + index

    def of(self, index: int) -> tuple[int, int, int]:
        """A node's three ports."""
        return self.http(index), self.metrics(index), self.p2p(index)


class NoPorts(Exception):
    """Every block of ports is taken, or one of a kept testnet is; the message names the cure."""


def _bound(port: int) -> socket.socket:
    """A socket that holds a port. Raises OSError when it is taken."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A port that is only waiting out its last connections is free.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((HOST, port))
        held.listen(1)
    except OSError:
        held.close()
        raise
    return held


def is_free(port: int) -> bool:
    """Whether a port can be bound now."""
    with suppress(OSError):
        _bound(port).close()
        return True
    return False


@contextmanager
def claimed_ports(nodes: int, base: int | None = None) -> Iterator[PortBlock]:
    """A block with free ports for so many nodes, nobody else's while this lasts.

    `base` asks for that very block (a kept testnet has it in its configurations).
    Raises: NoPorts.
    """
    for start in range(_FIRST, _LAST, _STEP) if base is None else (base,):
        block = PortBlock(start)
        try:
            claim = _bound(start + _STEP - 1)
        except OSError:
            continue
        with claim:
            if all(is_free(port) for index in range(nodes) for port in block.of(index)):
                yield block
                return
    if base is not None:
        raise NoPorts(
            f"a port from {base} to {base + _STEP - 1} is taken: stop what listens there (ss -ltnp)"
        )
    raise NoPorts(f"no block of {_STEP} loopback ports is free from {_FIRST} to {_LAST}: stop some listeners")
