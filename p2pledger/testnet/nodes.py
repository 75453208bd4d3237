"""The nodes of a running testnet: which process each of them is, and how it is started anew. Floor 8."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import trio

from p2pledger.allocator import jemalloc
from p2pledger.node.config import Role
from p2pledger.node.home import CONFIGURATION, DATA, GUARD, create_guard
from p2pledger.signer.keyfile import read_public_key
from p2pledger.testnet.directory import Directory, Node, peers_of
from p2pledger.testnet.ports import HOST
from p2pledger.testnet.processes import NodeProcess, stop_all
from p2pledger.testnet.proxy import Links
from p2pledger.types import Hash, PublicKey

TWIN_PROGRAM = ("p2pledger", "testnet", "run-twin")


class Nodes:
    """The processes of one testnet. `links` is what its nodes reach each other through; None: directly."""

    def __init__(self, directory: Directory, links: Links | None = None) -> None:
        self._directory, self._links = directory, links
        self._nodes = {node.name: node for node in directory.nodes}
        self._processes: dict[str, NodeProcess] = {}
        self._ports: dict[tuple[str, str], int] = {}
        self._offsets_ms: dict[str, int] = {}
        self._told: set[str] = set()
        """Whose end is no news: it was wanted, or told already."""

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes, authorities first."""
        return tuple(self._nodes)

    @property
    def authorities(self) -> tuple[str, ...]:
        """The authorities, in the order of the genesis file."""
        return tuple(name for name, node in self._nodes.items() if node.role is Role.AUTHORITY)

    def is_alive(self, name: str) -> bool:
        """Whether its process runs, or is paused."""
        return name in self._processes and self._processes[name].how_it_ended() is None

    def pid(self, name: str) -> int:
        """The id of its process."""
        return self._processes[name].pid

    # --- starting and ending ---------------------------------------------------------------------------

    async def launch(self, *names: str) -> None:
        """Start processes (all unless some are named) and do not wait for them."""
        for node in (self._nodes[name] for name in names or self.names):
            environment = await self._environment(node)
            self._processes[node.name] = NodeProcess(
                node.name, node.configuration, node.log, node.http_url, environment
            )
            self._told.discard(node.name)

    async def wait_until_ready(self, http: httpx.AsyncClient, *names: str) -> None:
        """Return once these nodes (all unless some are named) are in sync. Raises: NodeDied."""
        async with trio.open_nursery() as nursery:
            for name in names or self.names:
                nursery.start_soon(self._processes[name].wait_until_ready, http)

    def kill(self, name: str) -> None:
        """SIGKILL: it gets to do nothing more."""
        self._told.add(name)
        self._processes[name].kill()

    async def end(self, name: str) -> str:
        """SIGTERM, or SIGKILL for one that does not stop by it; how it ended."""
        self._told.add(name)
        await stop_all([self._processes[name]])
        return self._processes[name].how_it_ended() or ""

    def pause(self, name: str) -> None:
        """Stop it where it is."""
        self._processes[name].pause()

    def resume(self, name: str) -> None:
        """Let it go on, if it was paused."""
        self._processes[name].resume()

    def ended(self) -> Iterator[tuple[NodeProcess, str]]:
        """Who ended by itself, and how. Each is told once."""
        for name, process in self._processes.items():
            if name not in self._told and (how := process.how_it_ended()) is not None:
                self._told.add(name)
                yield process, how

    async def stop(self) -> list[str]:
        """Stop all; the names of those that had to be killed."""
        self._told.update(self._processes)
        return await stop_all(list(self._processes.values()))

    def add(self, node: Node) -> None:
        """A node more, whose home is made. It is launched by its name."""
        self._nodes[node.name] = node

    # --- what they are started with --------------------------------------------------------------------

    def offset_ms(self, name: str) -> int:
        """How wrong its clock is, from its next start on."""
        return self._offsets_ms.get(name, 0)

    def set_offset(self, name: str, offset_ms: int) -> None:
        """Have its clock wrong by so much, from its next start on."""
        self._offsets_ms[name] = offset_ms

    async def _environment(self, node: Node) -> dict[str, str]:
        environment = jemalloc(os.environ) if node.role is Role.AUTHORITY else {}
        if self._links is not None:
            environment["P2PLEDGER_NETWORK_PEERS"] = ",".join(await self._detours(node.name, node))
        if offset_ms := self.offset_ms(node.name):
            environment["P2PLEDGER_NODE_CLOCK_OFFSET_MS"] = str(offset_ms)
        return environment

    async def _detours(self, dialler: str, node: Node) -> list[str]:
        """The peers in a node's configuration, those of this testnet at ports of ours."""
        assert self._links is not None
        by_address = {other.p2p: other for other in self._nodes.values()}
        detours = []
        for address in peers_of(node):
            base, _, peer = address.partition("/p2p/")
            if (dialled := by_address.get(base)) is not None:
                base = f"/ip4/{HOST}/tcp/{await self._port(dialler, dialled)}"
            detours.append(f"{base}/p2p/{peer}")
        return detours

    async def _port(self, dialler: str, dialled: Node) -> int:
        assert self._links is not None
        key = (dialler, dialled.name)
        if key not in self._ports:
            port = int(dialled.p2p.rsplit("/", 1)[1])
            self._ports[key] = await self._links.open(*key, HOST, port)
        return self._ports[key]

    # --- a second node with the same keys --------------------------------------------------------------

    def twin_of(self, name: str) -> str:
        """The name of an authority's twin."""
        return f"{name}-twin"

    async def launch_twin(self, name: str) -> None:
        """Start a second process with the keys of an authority, a copy of its chain and a guard of its own.

        It dials whom the first one dials, and nobody dials it.
        """
        node, twin = self._nodes[name], self.twin_of(name)
        home = self._directory.path / twin
        await trio.to_thread.run_sync(_copy_home, node.home, home, self._directory.genesis.hash)
        environment = {
            "P2PLEDGER_NODE_DATA_DIR": str(home / DATA),
            "P2PLEDGER_NODE_GUARD_DIR": str(home / GUARD),
            "P2PLEDGER_NETWORK_LISTEN": f"/ip4/{HOST}/tcp/0",
            "P2PLEDGER_NETWORK_PEERS": ",".join(await self._detours(twin, node)),
            "P2PLEDGER_API_PORT": "0",
            "P2PLEDGER_METRICS_PORT": "0",
        }
        self._processes[twin] = NodeProcess(
            twin, home / CONFIGURATION, home / "node.log", "", environment, TWIN_PROGRAM
        )
        self._told.discard(twin)


def _copy_home(source: Path, home: Path, genesis_hash: Hash) -> None:
    """All of a home but what its guard knows. Its node may be running."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    for name in (CONFIGURATION, "identity.key", "consensus.key"):
        shutil.copy2(source / name, home)
    (home / DATA).mkdir(mode=0o700)
    for file in (source / DATA).glob("*.db"):
        with (
            closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as original,
            closing(sqlite3.connect(home / DATA / file.name)) as copy,
        ):
            original.backup(copy)
    _, key = read_public_key(source / "consensus.key")
    create_guard(home, PublicKey(key), genesis_hash)
