"""A small ledger for tests: keys from names, a genesis over them, and transactions signed by them.

Imported by tests; the chain of blocks here stands in for consensus and storage with plain overlays.
"""

from dataclasses import replace
from hashlib import sha256
from itertools import count
from types import MappingProxyType

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.genesis import (
    LAN,
    Genesis,
    GenesisGateway,
    GenesisOrganisation,
    Parameters,
    Quota,
)
from p2pledger.chain.payloads.bodies import AdminAct
from p2pledger.chain.transaction import Body, Transaction
from p2pledger.chain.vote import Offence
from p2pledger.codec import encode
from p2pledger.crypto import KeySigner
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.machine import Execution, Machine, Round
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.state import EmptyState, StateReader
from p2pledger.types import Epoch, Height, Millis, PeerId

START_MS = 1_700_000_000_000
GRANTED = encode(AdminAct("office-7", "permit", "act-5-2", bytes(32), "granted", None))
"""The body of an act, as good as any other one."""
_salts = count()


def signer(name: str) -> KeySigner:
    """The same key for the same name, in every test."""
    return KeySigner(sha256(name.encode()).digest())


def quota(transactions: int = 10_000, size_bytes: int = 100_000_000) -> Quota:
    return Quota(transactions, size_bytes)


def genesis(*, threshold: int = 1, parameters: Parameters = LAN, quota: Quota = quota()) -> Genesis:
    """Four authorities; a city of two admins with a gateway, a utility of one."""
    authorities = AuthoritySet(
        tuple(
            Authority(f"authority-{i}", signer(f"authority {i}").public_key, PeerId(f"authority-peer-{i}"))
            for i in range(4)
        )
    )
    founders = [
        GenesisOrganisation(f"authority-{i}", "department", (signer(f"admin {i}").public_key,), 1, quota)
        for i in range(4)
    ]
    city = GenesisOrganisation(
        "city", "department", (signer("city 1").public_key, signer("city 2").public_key), threshold, quota
    )
    utility = GenesisOrganisation("utility", "utility", (signer("utility 1").public_key,), 1, quota)
    return Genesis(
        version=1,
        chain_id="test",
        time_ms=Millis(START_MS),
        parameters=parameters,
        authorities=authorities,
        next_authorities=authorities,
        organisations=(*founders, city, utility),
        gateways=(GenesisGateway("city", signer("city gateway").public_key, PeerId("city-gateway-peer")),),
        residents_quota=quota,
    )


def transaction(
    of: Genesis, payload, sponsor: str, *names: str, expires_ms: int | None = None, kind: str | None = None
) -> Transaction:
    """A transaction signed by the keys of these names. Each call makes another one."""
    signers = sorted((signer(name) for name in names), key=lambda key: key.public_key)
    body = Body(
        version=1,
        genesis_hash=of.hash,
        expires_ms=Millis(START_MS + 60_000 if expires_ms is None else expires_ms),
        salt=next(_salts).to_bytes(8, "big"),
        kind=kind or payload.KIND,
        payload=payload if isinstance(payload, bytes) else encode(payload),
        sponsor=sponsor,
        signers=tuple(key.public_key for key in signers),
    )
    return Transaction(body, tuple(key.sign(body.id) for key in signers))


class Effects:
    """What the writes of a block do to the state that `reader` reads: what an `Overlay` needs of it."""

    height, rows = Height(1), MappingProxyType[bytes, object]({})

    def __init__(self, reader: StateReader, writes, transactions=(), buckets: int = 16) -> None:
        update = Commitment(buckets).update(reader, writes)
        self.writes, self.transactions = writes, dict.fromkeys(transactions)
        self.crown, self.entries, self.nodes = update.crown, update.entries, update.nodes


class Ledger:
    """A chain of executed blocks, each an overlay over the last."""

    def __init__(self, of: Genesis | None = None) -> None:
        self.genesis = of or genesis()
        self.machine = Machine(self.genesis)
        self.execution = self.machine.start()
        self.reader: StateReader = Overlay(EmptyState(), self.execution)
        self.height, self.time_ms = 0, START_MS
        self.rows = list(self.execution.index_rows)
        self.sent: dict[bytes, tuple[Height, Transaction]] = {}

    @property
    def next_round(self) -> Round:
        epoch = self.height // self.genesis.parameters.epoch_blocks
        return Round(Epoch(epoch), Height(self.height + 1), Millis(self.time_ms + 1))

    def block(self, *transactions: Transaction, offences: tuple[Offence, ...] = ()) -> Execution:
        """Execute and append a block; raises what the machine raises. What it knows decoded is looked at."""
        at = replace(self.next_round, offences=offences)
        self.execution = self.machine.execute(self.reader, self.execution.frontier, at, transactions)
        self.reader = Overlay(self.reader, self.execution)
        for key, row in self.execution.rows.items():
            assert self.reader.get(key) == (None if row is None else encode(row))
        self.height, self.time_ms = at.height, at.time_ms
        self.rows += self.execution.index_rows
        self.sent |= {one.id: (at.height, one) for one in transactions}
        return self.execution

    def does(self, payload, sponsor: str, *names: str) -> Transaction:
        """A block with one transaction, which succeeds."""
        one = transaction(self.genesis, payload, sponsor, *names, expires_ms=self.time_ms + 60_000)
        self.block(one)
        return one

    def refuses(self, payload, sponsor: str, *names: str) -> str:
        """The code that a transaction is refused with."""
        one = transaction(self.genesis, payload, sponsor, *names, expires_ms=self.time_ms + 60_000)
        try:
            self.machine.check(self.reader, self.next_round, one)
        except InvalidTransaction as error:
            return error.code
        raise AssertionError(f"{payload} was not refused")
