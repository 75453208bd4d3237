"""A ledger of one authority in this process: every part of a node but the network is the real one."""

from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import genesis_digest
from p2pledger.chain.genesis import LAN
from p2pledger.chain.payloads import Action, Item, RecordAppend
from p2pledger.chain.schema import SCHEMAS
from p2pledger.consensus.core import Consensus
from p2pledger.consensus.situation import Setting
from p2pledger.crypto import is_signed
from p2pledger.errors import Code
from p2pledger.ledger.machine import Machine
from p2pledger.ledger.modules.records import PUBLISHED
from p2pledger.metrics import Metrics
from p2pledger.network.seam import Unreachable
from p2pledger.node.clock import Clock
from p2pledger.node.exchange import Exchange
from p2pledger.node.executor import Executor
from p2pledger.node.finals import Finals, GossipSeen
from p2pledger.node.layers import Layers
from p2pledger.node.loop import Inbox, Loop
from p2pledger.node.pool import Pool
from p2pledger.node.recovery import recovered, stored_lists
from p2pledger.signer.guardfile import GuardFile
from p2pledger.signer.local import LocalSigner
from p2pledger.storage.memory import MemoryStore
from tests import ledgers

PARAMETERS = replace(LAN, state_buckets=16, block_interval_ms=10, idle_interval_ms=60_000)


def genesis(parameters=PARAMETERS, **changes):
    """One authority; its peer id is the fake network's own."""
    of = ledgers.genesis(parameters=parameters, **changes)
    alone = AuthoritySet(of.authorities.members[:1])
    return replace(of, authorities=alone, next_authorities=alone)


def fact(of, name="city 1", sponsor="city", expires_ms=None, **changes):
    """A record of an organisation, signed and ready."""
    now = Clock().now()
    one = RecordAppend(
        "sensor.reading/1", now, None, None, Action.OBSERVE, (Item("flow", 1, "MTQ"),),
        None, None, None, (), None, None,
    )  # fmt: skip
    expires_ms = now + 60_000 if expires_ms is None else expires_ms
    return ledgers.transaction(of, replace(one, **changes), sponsor, name, expires_ms=expires_ms)


class Wire:
    """A network with nobody on it: keeps what was said."""

    local = "authority-peer-0"

    def __init__(self):
        self.published, self.sent = [], []

    async def publish(self, topic, data):
        self.published.append((topic, data))

    def send(self, peer, data):
        self.sent.append((peer, data))
        return True

    async def ask(self, peer, request, *, timeout_ms):
        raise Unreachable("nobody is here")
        yield b""


class Solo:
    """The parts of one node, wired as `Node` wires them. `directory` keeps the guard."""

    def __init__(self, directory, of=None, store=None):
        self.genesis = of or genesis()
        self.machine = Machine(self.genesis)
        self.store = store or MemoryStore(self.genesis, self.machine.start())
        self.clock, self.wire = Clock(), Wire()
        self.metrics = Metrics(
            version="0",
            chain_id="test",
            node="solo",
            codes=sorted(Code),
            schemas=[*sorted(SCHEMAS), PUBLISHED],
        )
        key = ledgers.signer("authority 0")
        if not (directory / "guard.db").exists():
            GuardFile.create(directory, key.public_key, self.genesis.hash)
        guard = GuardFile(directory, key.public_key, self.genesis.hash)
        self.signer = LocalSigner(key, guard, self.genesis.hash, stored_lists(self.genesis, self.store))
        setting = Setting(self.genesis.hash, self.genesis.parameters, key.public_key, is_signed)
        durable = self.signer.load()
        found = recovered(self.genesis, self.store, durable)
        self.core = Consensus(setting, found, self.clock.now())
        self.pool = Pool(
            self.genesis, self.machine, self.store, self.metrics, self.clock.now,
            transactions_max=100, bytes_max=100_000,
        )  # fmt: skip
        self.pool.keep(durable.bodies)
        tip = self.store.tip()
        base = tip.header.digest if tip.header else genesis_digest(self.genesis)
        self.layers = Layers(self.store, base)
        self.executor = Executor(self.genesis, self.machine, self.layers, self.pool)
        self.inbox, self.seen = Inbox(), GossipSeen()
        self.exchange = Exchange(
            self.genesis,
            self.store,
            self.pool,
            self.core,
            self.inbox,
            self.seen,
            self.metrics,
            self.clock.now,
        )
        self.finals = Finals(
            self.store, self.layers, self.pool, self.signer, self.wire, self.seen, self.metrics,
            self.clock.now, lambda block: "authority-0",
        )  # fmt: skip
        self.loop = Loop(
            self.genesis, self.core, self.inbox, self.signer, self.wire, self.executor, self.pool, self.clock,
            self.metrics, self.finals.put,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self):
        """The loop and the storing of blocks run inside."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.loop.run)
            nursery.start_soon(self.finals.run)
            yield self
            nursery.cancel_scope.cancel()
        self.signer.close()

    def count(self, name, **labels):
        """A metric's present value."""
        return self.metrics.registry.get_sample_value(f"p2pledger_{name}", labels)
