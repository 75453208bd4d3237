"""A node with nobody around it over a city's chain, and its HTTP API: all of it is the real one.

The chain grows by the town's own blocks, so that a story of a year is told in seconds, and the node takes the
time from it: a transaction that it takes in is judged as for the next block.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from p2pledger.api.app import make_app
from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads.governance import GovPropose, GovVote
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.errors import Code
from p2pledger.ledger.machine import Machine
from p2pledger.metrics import Metrics
from p2pledger.network.host import peer_id_of
from p2pledger.node import node as node_module
from p2pledger.node.clock import Clock
from p2pledger.node.config import (
    ApiSection,
    Configuration,
    KeysSection,
    LogFormat,
    LogSection,
    MempoolSection,
    MetricsSection,
    NetworkSection,
    NodeSection,
    Role,
    StorageSection,
)
from p2pledger.node.node import Node
from p2pledger.node.recovery import stored_lists
from p2pledger.signer.guardfile import GuardFile
from p2pledger.signer.local import LocalSigner
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.types import ZERO_HASH, Height
from tests.ledgers import signer
from tests.replay.town import Town
from tests.unit.node import solo

MEMPOOL = MempoolSection()
SEED = bytes(range(32))
BUSY = replace(solo.PARAMETERS, idle_interval_ms=100)
"""Blocks come without transactions too, so that whoever waits for the next one does not wait long."""
Case = tuple[Code | None, Transaction | bytes]
"""What is handed in, and the code that it is refused with; None: it is taken in."""


class City(Town):
    """A town whose stories hand in what is to be refused."""

    def proposes(self, content: Any, at: int | None = None) -> Transaction:
        """An authority's proposal of a measure, not handed in."""
        height = Height(at or self.height + 20)
        payload = GovPropose(content.KIND, encode(content), height, "council:1", ZERO_HASH)
        return self.one(payload, "authority-0", "admin 0")

    def adopts(self, content: Any, at: int) -> None:
        """Decided by as many as it takes, to be in force from that height on."""
        proposal = self.proposes(content, at)
        self.block(proposal)
        for i in range(3):
            self.does(GovVote(proposal.id, True), f"authority-{i}", f"admin {i}")


Story = Callable[[City], Iterator[Case]]


@contextmanager
def lowered(module: Any, limit: str, to: int) -> Iterator[None]:
    """A limit that it would take thousands of transactions to reach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, limit, to)
        yield


def configured(directory: Path, role: Role, mempool: MempoolSection = MEMPOOL) -> Configuration:
    """Of a node that keeps everything, listens on loopback and dials nobody."""
    none = directory / "none"
    return Configuration(
        NodeSection(directory, none, role),
        KeysSection(none),
        NetworkSection("/ip4/127.0.0.1/tcp/0"),
        ApiSection(),
        MetricsSection(),
        LogSection("info", LogFormat.JSON),
        mempool,
        StorageSection(),
    )


def node_of(city: City, mempool: MempoolSection = MEMPOOL) -> tuple[Node, Metrics]:
    """A node over the city's store, whose clock shows the time of the city's next block."""

    def now_ns() -> int:
        return city.next_round.time_ms * 1_000_000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            node_module, "Clock", lambda wrong_by_ms: Clock(now_ns, now_ns, wrong_by_ms=wrong_by_ms)
        )
        metrics = Metrics(version="0", chain_id="test", node="alone")
        configuration = configured(city.directory, Role.GATEWAY, mempool)
        node = Node(configuration, city.genesis, city.store, city.machine, None, None, SEED, metrics)
    return node, metrics


@asynccontextmanager
async def serving(city: City, mempool: MempoolSection = MEMPOOL) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API of a node over the city's store."""
    async with client_of(*node_of(city, mempool)) as http:
        yield http


def client_of(node: Node, metrics: Metrics) -> httpx.AsyncClient:
    """A client of a node's API. A fault of the node is answered, not raised."""
    app: Any = make_app(node, metrics, trio.Event(), raise_fatal)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://node")


def with_peer_ids(genesis: Genesis) -> Genesis:
    """A genesis of one authority and one gateway, whose peer ids libp2p can read."""
    [member], [gateway] = genesis.authorities.members, genesis.gateways
    alone = AuthoritySet((replace(member, peer=peer_id_of(SEED)),))
    gateways = (replace(gateway, peer=peer_id_of(SEED[::-1])),)
    return replace(genesis, authorities=alone, next_authorities=alone, gateways=gateways)


@asynccontextmanager
async def deciding(directory: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    """The only authority of a ledger, which runs by the time of day, and a client of its API."""
    genesis, authority = with_peer_ids(solo.genesis(BUSY)), signer("authority 0")
    machine = Machine(genesis)
    store = SqliteStore(directory, genesis, machine.start())
    GuardFile.create(directory / "guard", authority.public_key, genesis.hash)
    guard = GuardFile(directory / "guard", authority.public_key, genesis.hash)
    voter = LocalSigner(authority, guard, genesis.hash, stored_lists(genesis, store))
    metrics, configuration = (
        Metrics(version="0", chain_id="test", node="a"),
        configured(directory, Role.AUTHORITY),
    )
    node = Node(configuration, genesis, store, machine, authority.public_key, voter, SEED, metrics)
    async with trio.open_nursery() as nursery, client_of(node, metrics) as http:
        await nursery.start(node.run)
        yield node, http
        nursery.cancel_scope.cancel()
    voter.close()
    store.close()


def raise_fatal(error: Exception) -> None:
    raise error
