"""A ledger of one: real blocks on a real store, with nobody to agree with. Floor 9.

Machine, layers and store are the node's own, used as its executor and its finals use them. Signatures are
zeros: a store never looks at them, and making ten million true ones would take longer than storing them.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from p2pledger.bench.devices import Device, devices, enrolment
from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.block import HEADER_VERSION, FinalBlock, Header, evidence_root, genesis_digest
from p2pledger.chain.genesis import (
    GENESIS_VERSION,
    LAN,
    Genesis,
    GenesisGateway,
    GenesisOrganisation,
    Quota,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Certificate, finalise
from p2pledger.crypto import KeySigner
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.entries import path_of
from p2pledger.ledger.machine import Execution, Machine, Round
from p2pledger.ledger.state import StateReader
from p2pledger.merkle import Frontier
from p2pledger.node import offences
from p2pledger.node.layers import Layer, Layers
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, PeerId, PublicKey, Signature, View

START_MS = 1_700_000_000_000
"""The time of the genesis block, always the same: so is what follows from it."""
ORGANISATIONS = ("city", "utility")
SPONSOR = ORGANISATIONS[0]
ENROLLED_AT_ONCE = 1_000
FILLED_AT_ONCE = 20_000
FILLED_VALUE = bytes(64)
"""About as long as an encoded row."""
AUTHORITIES = tuple(f"authority-{i}" for i in range(1, 5))
_QUOTA = Quota(transactions=2**32 - 1, size_bytes=2**63)
_UNSIGNED = Signature(bytes(64))


@dataclass(frozen=True)
class Unsigned:
    """A `Signer` with a true public key whose signatures are zeros."""

    public_key: PublicKey

    def sign(self, digest: Hash) -> Signature:
        """Zeros."""
        return _UNSIGNED


def unsigned(name: str) -> Unsigned:
    """The same key for the same name."""
    return Unsigned(named_key(name).public_key)


def admin(organisation: str) -> KeySigner:
    """The only admin of an organisation: its invites are looked at, so it signs in earnest."""
    return named_key(f"admin of {organisation}")


def consensus_key(authority: str) -> KeySigner:
    """What an authority would vote with: its readiness is looked at."""
    return named_key(authority)


def named_key(name: str) -> KeySigner:
    """The same key for the same name, which signs in earnest."""
    return KeySigner(sha256(name.encode()).digest())


def unsigned_devices(count: int, seed: bytes) -> list[Device]:
    """The devices of a seed, which write zeros for signatures."""
    return [Device(d.number, d.id, Unsigned(d.signer.public_key)) for d in devices(count, seed)]


def gateway(organisation: str) -> Unsigned:
    """The transaction key of an organisation's gateway."""
    return unsigned(f"gateway of {organisation}")


def gateway_peer(organisation: str) -> PeerId:
    """The peer that an organisation's gateway connects as."""
    return PeerId(f"peer-of-{organisation}")


def solo_genesis() -> Genesis:
    """Four authorities, and two organisations with a gateway each; quotas that nobody reaches."""
    authorities = AuthoritySet(
        tuple(
            Authority(name, consensus_key(name).public_key, PeerId(f"peer-of-{name}")) for name in AUTHORITIES
        )
    )
    names = (*AUTHORITIES, *ORGANISATIONS)
    return Genesis(
        version=GENESIS_VERSION,
        chain_id="solo",
        time_ms=Millis(START_MS),
        parameters=replace(LAN, epoch_blocks=2**32),
        authorities=authorities,
        next_authorities=authorities,
        organisations=tuple(
            GenesisOrganisation(name, "department", (admin(name).public_key,), 1, _QUOTA) for name in names
        ),
        gateways=tuple(
            GenesisGateway(name, gateway(name).public_key, gateway_peer(name)) for name in ORGANISATIONS
        ),
        residents_quota=_QUOTA,
    )


class Solo:
    """A chain that grows as its owner says: `execute` a block, then `commit` it.

    Raises: Fatal when the disk fails, or the directory holds another chain.
    """

    def __init__(self, directory: Path, interval_ms: int | None = None) -> None:
        self.genesis = solo_genesis()
        self._interval_ms = interval_ms or self.genesis.parameters.block_interval_ms
        self._passed_ms = 0
        self.machine = Machine(self.genesis)
        self._directory, self._start = directory, self.machine.start()
        self._open()

    def _open(self) -> None:
        self.store = SqliteStore(self._directory, self.genesis, self._start)
        self._layers = Layers(self.store, self._tip_digest)

    @property
    def _tip_digest(self) -> Hash:
        header = self.store.tip().header
        return header.digest if header is not None else genesis_digest(self.genesis)

    @property
    def next_round(self) -> Round:
        """Where the next block stands."""
        tip = self.store.tip()
        before_ms = tip.header.time_ms if tip.header is not None else START_MS
        after_ms = self._interval_ms + self._passed_ms
        return Round(Epoch(0), Height(tip.height + 1), Millis(before_ms + after_ms))

    def let_pass(self, time_ms: int) -> None:
        """The next block comes so much later."""
        self._passed_ms = time_ms

    @property
    def expires_ms(self) -> int:
        """When a transaction expires that a client makes now."""
        return self.next_round.time_ms + self.genesis.parameters.expiry_window_ms // 2

    def parent(self) -> tuple[StateReader, Frontier]:
        """What the next block is executed on."""
        parent = self._layers.after(self._tip_digest)
        assert parent is not None, "the store's tip is always there"
        return parent

    def execute(self, transactions: Sequence[Transaction]) -> FinalBlock:
        """The next block, executed and not yet stored. Raises: InvalidTransaction."""
        at = self.next_round
        return self._add(at, transactions, self.machine.execute(*self.parent(), at, transactions))

    def fill(self, count: int) -> None:
        """Write so many keys more into the state, by blocks that no rule has written. No rule reads them.

        In the order of their paths, so that a bucket is read and written by one block and not by all of them.
        """
        commitment = Commitment(self.genesis.parameters.state_buckets)
        keys = sorted((b"filled/%d" % number for number in range(count)), key=path_of)
        for first in range(0, count, FILLED_AT_ONCE):
            at, (state, frontier) = self.next_round, self.parent()
            writes = dict.fromkeys(keys[first : first + FILLED_AT_ONCE], FILLED_VALUE)
            update, nothing = commitment.update(state, writes), self.machine.execute(state, frontier, at, ())
            execution = replace(
                nothing,
                state_root=update.crown.root,
                writes=writes,
                crown=update.crown,
                entries=update.entries,
                nodes=update.nodes,
            )
            self.commit(self._add(at, (), execution))

    def _add(self, at: Round, transactions: Sequence[Transaction], execution: Execution) -> FinalBlock:
        header = Header(
            version=HEADER_VERSION,
            genesis_hash=self.genesis.hash,
            epoch=at.epoch,
            view=View(at.height),
            height=at.height,
            parent_digest=self._tip_digest,
            parent_view=View(at.height - 1),
            time_ms=at.time_ms,
            tx_root=execution.tx_root,
            state_root=execution.state_root,
            receipts_root=execution.receipts_root,
            next_set_hash=ZERO_HASH,
            evidence_root=evidence_root(()),
            proposer=at.height % len(AUTHORITIES),
        )
        self._layers.add(header, transactions, execution)
        ballot = finalise(header.epoch, header.view, header.digest)
        certificate = Certificate(ballot, b"\x07", (_UNSIGNED,) * 3)
        return FinalBlock(header, tuple(transaction.id for transaction in transactions), (), certificate)

    def layer(self, block: FinalBlock) -> Layer:
        """What `execute` kept of a block that is not stored yet."""
        layer = self._layers.get(block.header.digest)
        assert layer is not None, "the block was executed here"
        return layer

    def commit(self, block: FinalBlock) -> None:
        """Store what `execute` gave."""
        layer = self.layer(block)
        rows = layer.execution.index_rows.followed_by(offences.rows(block))
        self.store.commit(block, layer.transactions, replace(layer.execution, index_rows=rows))
        self._layers.settle(block.header.digest)
        self._passed_ms = 0

    def enrol(self, count: int, seed: bytes = b"bench") -> list[Device]:
        """So many devices behind the sponsor's gateway, in blocks of ENROLLED_AT_ONCE."""
        made = unsigned_devices(count, seed)
        at, signer = gateway_peer(SPONSOR), gateway(SPONSOR)
        for i in range(0, count, ENROLLED_AT_ONCE):
            some = made[i : i + ENROLLED_AT_ONCE]
            self.commit(
                self.execute([enrolment(self.genesis, d, SPONSOR, at, signer, self.expires_ms) for d in some])
            )
        return made

    def reopen(self) -> float:
        """Close the store, which moves its log into its file, and open it: how long that took, in seconds."""
        self.store.close()
        started = time.perf_counter()
        self._open()
        return time.perf_counter() - started

    def close(self) -> None:
        """Close the store."""
        self.store.close()


@contextmanager
def solo(directory: Path, interval_ms: int | None = None) -> Iterator[Solo]:
    """A ledger of one in a directory; blocks are `interval_ms` apart, without it as the genesis file says."""
    opened = Solo(directory, interval_ms)
    try:
        yield opened
    finally:
        opened.close()
