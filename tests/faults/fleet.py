"""Testnets of real processes on loopback, to be broken: killed, stopped, starved, given rubbish."""

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import trio
from p2pledger.chain.genesis import Genesis
from p2pledger.client import AsyncClient
from p2pledger.client.asynchronous import own_body
from p2pledger.codec import to_json
from p2pledger.node.config import Role
from p2pledger.node.home import GUARD, create_guard
from p2pledger.testnet.directory import GENESIS, Directory, Node, Plan, create_directory
from p2pledger.testnet.fault import Fault, Kind
from p2pledger.testnet.faults import Faults
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.ports import claimed_ports
from p2pledger.testnet.proxy import Links, open_links
from p2pledger.types import Hash, Height

PATIENCE_S = 40
POLL_S = 0.1

Change = Callable[[Genesis], Genesis]


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something becomes so; a test that waits in vain fails."""
    with trio.fail_after(PATIENCE_S):
        while not await is_so():
            await trio.sleep(POLL_S)


class Fleet:
    """The nodes of one testnet, each in a process of its own."""

    def __init__(self, directory: Directory, links: Links | None = None) -> None:
        self.directory = directory
        self.processes = Nodes(directory, links)
        self.genesis = directory.genesis
        self.nodes = {node.name: node for node in directory.nodes}
        self.authorities = [name for name, node in self.nodes.items() if node.role is Role.AUTHORITY]
        # No connection outlives its request: fixtures and tests run under trio one after the other.
        self._http = httpx.AsyncClient(
            limits=httpx.Limits(max_keepalive_connections=0),
            event_hooks={"request": [own_body]},
            trust_env=False,
        )

    @cached_property
    def gateway(self) -> Gateway:
        """The first gateway, with its key."""
        return self.directory.gateways()[0]

    def client(self, *names: str) -> AsyncClient:
        """A client of these nodes, in that order."""
        return AsyncClient([self.nodes[name].http_url for name in names], self.genesis)

    # --- processes

    async def start(self, *names: str) -> None:
        """Start nodes (all unless some are named) and wait until they are in sync."""
        await self.processes.launch(*names)
        await self.until_ready(*names)

    async def until_ready(self, *names: str) -> None:
        """Wait until nodes (all unless some are named) are in sync."""
        await self.processes.wait_until_ready(self._http, *names)

    def kill(self, *names: str) -> None:
        """SIGKILL: none of them gets to do anything more."""
        for name in names:
            self.processes.kill(name)

    async def end(self, name: str) -> str:
        """SIGTERM; how it ended."""
        return await self.processes.end(name)

    def is_alive(self, name: str) -> bool:
        return self.processes.is_alive(name)

    def log_of(self, name: str) -> str:
        return self.nodes[name].log.read_text()

    async def close(self) -> None:
        await self.processes.stop()
        await self._http.aclose()

    # --- asking

    async def post(self, name: str, content: bytes, media_type: str = "application/cbor") -> httpx.Response:
        """Hand in bytes as a transaction."""
        headers = {"Content-Type": media_type}
        return await self._http.post(
            f"{self.nodes[name].http_url}/v1/transactions", content=content, headers=headers
        )

    async def status(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._http.get(f"{self.nodes[name].http_url}/v1/status")).json()
        return answer

    async def height(self, name: str) -> Height:
        return Height((await self.status(name))["height"])

    async def digest(self, name: str, height: int) -> str:
        shown = (await self._http.get(f"{self.nodes[name].http_url}/v1/blocks/{height}")).json()
        return str(shown["digest"])

    async def receipt(self, name: str, transaction_id: Hash) -> bytes:
        """The encoded receipt of a final transaction, unverified; waited for while none is ready."""
        url = f"{self.nodes[name].http_url}/v1/transactions/{transaction_id.hex()}/receipt"
        content = b""

        async def is_ready() -> bool:
            nonlocal content
            answer = await self._http.get(url, headers={"Accept": "application/cbor"})
            content = answer.content
            return answer.status_code == 200

        await until(is_ready)
        return content

    async def metrics(self, name: str) -> dict[str, float]:
        """Every series of a node by its name and labels as they are exposed, `p2pledger_` left out."""
        text = (await self._http.get(self.nodes[name].metrics_url)).text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {series.removeprefix("p2pledger_"): float(value) for series, _, value in lines}

    async def health(self, name: str) -> dict[str, Any]:
        """What a node's readiness probe says."""
        answer: dict[str, Any] = (await self._http.get(f"{self.nodes[name].http_url}/healthz/ready")).json()
        return answer

    async def trouble(self, name: str) -> set[str]:
        """The causes of trouble that a node's diagnosis names: what `why-stalled` shows of it."""
        shown = (await self._http.get(f"{self.nodes[name].http_url}/v1/consensus")).json()
        return {reason["code"] for reason in shown["reasons"] if reason["is_trouble"]}

    async def equivocations(self, name: str, culprit: str) -> float:
        """How many contradictions of an authority a node has counted."""
        counted = (await self.metrics(name)).items()
        series = f'consensus_equivocations_total{{authority="{culprit}"'
        return sum(value for key, value in counted if key.startswith(series))

    async def until_height(self, height: int, *names: str) -> None:
        """Wait until these nodes (all that run unless some are named) have reached a height."""

        async def is_there() -> bool:
            return all([await self.height(name) >= height for name in names or self._alive()])

        await until(is_there)

    async def check_agreement(self) -> Height:
        """Fail unless all running nodes have the same block at the height that all have reached."""
        height = min([await self.height(name) for name in self._alive()])
        digests = {await self.digest(name, height) for name in self._alive()}
        assert len(digests) == 1 and height > 0
        return height

    async def leader(self) -> str:
        """Who leads the view that the first running authority is in. Of epoch 0 only."""
        status = await self.status(next(name for name in self.authorities if self.is_alive(name)))
        assert status["epoch"] == 0
        return self.authorities[self.genesis.authorities.leader(status["view"], 0)]

    def _alive(self) -> list[str]:
        return [name for name in self.nodes if self.is_alive(name)]


def with_parameters(**changes: int) -> Change:
    """A change of the genesis file's numbers."""
    return lambda genesis: replace(genesis, parameters=replace(genesis.parameters, **changes))


@contextmanager
def running(
    path: Path,
    change: Change = lambda genesis: genesis,
    allow_peers: Sequence[str] = (),
    *,
    authorities: int = 4,
    gateways: int = 1,
) -> Iterator[Fleet]:
    """A testnet whose nodes are all in sync; `change` has a say in its genesis file.

    Only gateways let the peers of `allow_peers` in. For fixtures: it runs trio itself.
    """
    with claimed_ports(authorities + gateways) as ports:
        fleet = Fleet(_changed(create_directory(path, Plan(authorities, gateways, ports.base)), change))
        for node in fleet.nodes.values():
            if node.role is Role.GATEWAY:
                configure(node, "allow_peers", [], list(allow_peers))

        async def start() -> None:
            with trio.fail_after(2 * PATIENCE_S):
                await fleet.start()

        try:
            trio.run(start)
            yield fleet
        finally:
            trio.run(fleet.close)


class Troubled(Fleet):
    """A fleet whose links can be broken."""

    def __init__(self, directory: Directory, links: Links, nursery: trio.Nursery) -> None:
        super().__init__(directory, links)
        self._http = httpx.AsyncClient(event_hooks={"request": [own_body]}, trust_env=False)
        self._faults = Faults(self.processes, links, nursery)

    async def make(self, kind: Kind, *nodes: str, **how: Any) -> None:
        """Make a fault, as `p2pledger testnet fault` does."""
        await self._faults.make(Fault(kind, nodes, **how))


@asynccontextmanager
async def troubled(path: Path, change: Change = lambda genesis: genesis) -> AsyncIterator[Troubled]:
    """Four authorities and a gateway, all in sync, whose links can be broken."""
    with claimed_ports(5) as ports:
        directory = _changed(create_directory(path, Plan(4, 1, ports.base)), change)
        async with open_links() as links, trio.open_nursery() as nursery:
            fleet = Troubled(directory, links, nursery)
            try:
                with trio.fail_after(2 * PATIENCE_S):
                    await fleet.start()
                yield fleet
            finally:
                with trio.CancelScope(shield=True):
                    await fleet.close()
            nursery.cancel_scope.cancel()


def configure(node: Node, key: str, before: Any, after: Any) -> None:
    """Give a key of a node's configuration another value."""
    text = node.configuration.read_text()
    assert text.count(f"{key} = {json.dumps(before)}\n") == 1
    node.configuration.write_text(
        text.replace(f"{key} = {json.dumps(before)}", f"{key} = {json.dumps(after)}")
    )


def _changed(directory: Directory, change: Change) -> Directory:
    genesis = change(directory.genesis)
    (directory.path / GENESIS).write_text(json.dumps(to_json(genesis)))
    for node, member in zip(directory.nodes, genesis.authorities.members, strict=False):
        shutil.rmtree(node.home / GUARD)
        create_guard(node.home, member.key, genesis.hash)
    return replace(directory, genesis=genesis)
