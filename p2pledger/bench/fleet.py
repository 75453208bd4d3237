"""A ledger to be measured: real nodes in processes of their own, with the LAN's parameters. Floor 9."""

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import httpx
import trio

from p2pledger.bench import usage
from p2pledger.bench.chains import Chains
from p2pledger.bench.devices import Device, devices, enrolment
from p2pledger.chain.genesis import LAN, Genesis, Parameters
from p2pledger.client import AsyncClient
from p2pledger.client.outcomes import Accepted
from p2pledger.testnet.directory import Charter, Directory, Plan, create_directory
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.ports import claimed_ports
from p2pledger.testnet.processes import NodeDied
from p2pledger.testnet.proxy import Links, open_links

DEVICES = 1_000
REQUEST_S = 30.0
SETTLE_S = 30.0
TEMPORARY = "p2pledger-bench-"


class CannotMeasure(Exception):
    """The nodes do not do what a measurement needs; the message says what."""


@dataclass(frozen=True)
class Shape:
    """How many nodes; `delay_ms` is how much later every piece of bytes arrives, on every link, each way.

    Without gateways one is on the ledger all the same, since devices stand behind one, but does not run.
    """

    authorities: int
    gateways: int = 0
    delay_ms: float = 0.0
    parameters: Parameters = LAN


class Fleet:
    """The nodes of one ledger. `names`: the authorities first."""

    def __init__(self, directory: Directory, nodes: Nodes, names: tuple[str, ...]) -> None:
        self.directory, self.names = directory, names
        self._nodes = nodes
        self._entries = {node.name: node for node in directory.nodes}
        self.http = httpx.AsyncClient(timeout=REQUEST_S, trust_env=False)
        self._clients = [AsyncClient([self.url(name)], self.genesis) for name in names]
        self.chains = Chains(self._clients)

    @property
    def genesis(self) -> Genesis:
        """The ledger that the nodes are on."""
        return self.directory.genesis

    @property
    def authorities(self) -> tuple[str, ...]:
        """Who decides."""
        return self.names[: self.directory.plan.authorities]

    @property
    def sponsor(self) -> str:
        """The organisation that the devices belong to, which pays for their records."""
        return self.genesis.gateways[0].organisation

    def url(self, name: str) -> str:
        """Where a node's API is."""
        return self._entries[name].http_url

    def metrics_url(self, name: str) -> str:
        """Where a node's metrics are."""
        return self._entries[name].metrics_url

    def memory(self, name: str) -> usage.Memory:
        """What a node's process holds."""
        return usage.memory(self._nodes.pid(name))

    async def readings(self) -> dict[str, usage.Reading]:
        """The counters of all nodes."""
        return {
            name: await usage.read(self.http, self._nodes.pid(name), self._entries[name].metrics_url)
            for name in self.names
        }

    async def enrol(self, new: Iterable[Device] | None = None) -> None:
        """Have devices begin behind the first gateway, DEVICES unless they are given.

        Returns when every node has that final. Raises: CannotMeasure.
        """
        (gateway, *_) = self.directory.gateways()
        made = [
            enrolment(self.genesis, device, gateway.organisation, gateway.peer, gateway.signer)
            for device in (devices(DEVICES) if new is None else new)
        ]
        for answer in await self._clients[0].submit_many(made):
            if not isinstance(answer, Accepted):
                raise CannotMeasure(f"a device could not be enrolled: {answer}")
        wanted = {transaction.id for transaction in made}
        await self.chains.await_final(wanted, SETTLE_S)
        if not all(wanted <= held.keys() for held in self.chains.held):
            raise CannotMeasure(f"after {SETTLE_S:.0f} s not all devices are enrolled at every node")

    async def start(self, *names: str) -> float:
        """Start nodes, all unless some are named; the seconds until they were in sync. Raises: NodeDied."""
        began_s = time.monotonic()
        await self._nodes.launch(*names or self.names)
        await self._nodes.wait_until_ready(self.http, *names or self.names)
        return time.monotonic() - began_s

    async def stop(self, *names: str) -> None:
        """End nodes in order, all unless some are named."""
        for name in names or self.names:
            await self._nodes.end(name)

    def check_alive(self) -> None:
        """Raises: NodeDied when one ended by itself."""
        for process, how in self._nodes.ended():
            raise NodeDied(f"{process.name} {how}; the end of its log:\n{process.tail()}")

    async def aclose(self) -> None:
        """Close all connections."""
        await self.http.aclose()
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def prepared(shape: Shape) -> AsyncIterator[Fleet]:
    """A fleet that can be started, in a temporary directory; at the end all that runs is stopped.

    Raises: NoPorts.
    """
    plan_gateways = max(1, shape.gateways)
    path = Path(tempfile.mkdtemp(prefix=TEMPORARY))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        ports = stack.enter_context(claimed_ports(shape.authorities + plan_gateways))
        directory = create_directory(
            path, Plan(shape.authorities, plan_gateways, ports.base), Charter(shape.parameters)
        )
        links = await stack.enter_async_context(open_links()) if shape.delay_ms else None
        names = tuple(node.name for node in directory.nodes)[: shape.authorities + shape.gateways]
        if links is not None:
            _delay(links, names, shape.delay_ms)
        nodes = Nodes(directory, links)
        stack.push_async_callback(_stop, nodes)
        fleet = Fleet(directory, nodes, names)
        stack.push_async_callback(fleet.aclose)
        yield fleet


def _delay(links: Links, names: tuple[str, ...], delay_ms: float) -> None:
    for source, sink in permutations(names, 2):
        links.way(source, sink).delay_ms = delay_ms


async def _stop(nodes: Nodes) -> None:
    with trio.CancelScope(shield=True):
        await nodes.stop()
