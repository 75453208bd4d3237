"""`bench modules`: what each kind of transaction costs, step by step of its way through the ledger. Floor 9.

One process, a store on disk, a registry of thousands of devices. Each kind fills a block of its own, which
finds the ground prepared by the kinds before it: what is rotated was added, what is corrected was written.
Signatures of transactions are zeros and not looked at (see `solo`); those inside invites are true.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from p2pledger.bench.consents import consent_kinds
from p2pledger.bench.devices import SCHEMA, Device, enrolment, record
from p2pledger.bench.lots import lot_payloads
from p2pledger.bench.solo import (
    ORGANISATIONS,
    SPONSOR,
    Solo,
    admin,
    gateway,
    gateway_peer,
    solo,
    unsigned,
    unsigned_devices,
)
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.invite import InviteTerms, sign_invite
from p2pledger.chain.payloads import (
    CorrectionReason,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    LotCreate,
    RecordBatch,
    RecordCorrect,
    RevocationReason,
)
from p2pledger.chain.transaction import Transaction, decode_transaction
from p2pledger.client.signing import transaction
from p2pledger.crypto import Signer, is_signed
from p2pledger.ledger.commitment import Commitment
from p2pledger.types import ZERO_HASH, Hash, Height, Millis, PeerId

OTHER = ORGANISATIONS[1]
BATCH_READINGS = 1_000
SIGNATURES = 200


@dataclass(frozen=True)
class Cost:
    """Microseconds of the processor's time per transaction. `state_root` is a part of `execute`."""

    check_form: float
    dry_run: float
    build: float
    execute: float
    state_root: float
    commit: float


@dataclass(frozen=True)
class Report:
    """The cost of each kind, beside what verifying one signature took in the same run."""

    devices: int
    verify_us: float
    costs: Mapping[str, Cost]

    def as_json(self) -> dict[str, Any]:
        """The report for scripts."""
        kinds = {
            kind: {name: round(us, 1) for name, us in vars(cost).items()} for kind, cost in self.costs.items()
        }
        return {"devices": self.devices, "verify_us": round(self.verify_us, 1), "kinds": kinds}

    def as_table(self) -> RenderableType:
        """The report for people."""
        table = Table(title=f"microseconds per transaction, {self.devices:,} devices enrolled")
        table.add_column("kind", no_wrap=True)
        for step in fields(Cost):
            table.add_column(step.name.replace("_", " "), justify="right")
        for kind, cost in self.costs.items():
            table.add_row(kind, *(f"{us:.1f}" for us in vars(cost).values()))
        table.caption = (
            f"the state root is a part of execute; verifying a signature takes {self.verify_us:.1f}"
        )
        return table


@dataclass(frozen=True)
class _Round:
    """One turn through all kinds: `count` transactions of each, about things that no other round has."""

    ledger: Solo
    writers: Sequence[Device]
    number: int
    count: int

    def kinds(self) -> Iterator[list[Transaction]]:
        """A block of each kind, each to be stored before the next is asked for."""
        yield [
            self._by_admin(KeyAdd(k.public_key, KeyRole.SERVICE, None, Height(0)), k)
            for k in self._keys("old")
        ]
        pairs = zip(self._keys("old"), self._keys("new"), strict=True)
        yield [self._by_admin(KeyRotate(a.public_key, b.public_key, None, Height(0)), b) for a, b in pairs]
        reason = RevocationReason.SUPERSEDED
        yield [self._by_admin(KeyRevoke(k.public_key, reason, Height(0))) for k in self._keys("new")]
        yield [self._join(i, key) for i, key in enumerate(self._keys("gateway"))]
        yield from self._device_kinds()
        yield from self._record_kinds()
        yield from consent_kinds(self.ledger, self.number, self.count)

    def _device_kinds(self) -> Iterator[list[Transaction]]:
        new = unsigned_devices(self.count, b"round %d" % self.number)
        ledger, at, peer = self.ledger, gateway(SPONSOR), gateway_peer(SPONSOR)
        yield [enrolment(ledger.genesis, d, SPONSOR, peer, at, ledger.expires_ms) for d in new]
        peer = gateway_peer(OTHER)
        yield [self._of(DeviceTransfer(d.id, peer, ZERO_HASH), OTHER, gateway(OTHER), d.signer) for d in new]
        yield [self._of(DeviceRetire(d.id, ZERO_HASH), OTHER, gateway(OTHER), d.signer) for d in new]

    def _record_kinds(self) -> Iterator[list[Transaction]]:
        ledger, at_ms = self.ledger, self.ledger.next_round.time_ms
        first = self.number * (BATCH_READINGS + 1)
        records = [
            record(ledger.genesis, device, SPONSOR, first, at_ms, ledger.expires_ms)
            for device in self.writers
        ]
        yield records
        span = range(first + 1, first + 1 + BATCH_READINGS)
        batches = [self._of(self._batch(device, span), SPONSOR, device.signer) for device in self.writers]
        yield batches
        for payloads in lot_payloads(SPONSOR, records, batches, at_ms):
            yield [
                self._by_admin(payload, *([device.signer] if isinstance(payload, LotCreate) else []))
                for payload, device in zip(payloads, self.writers, strict=True)
            ]
        yield [
            self._of(RecordCorrect(wrong.id, CorrectionReason.INCORRECT_DATA, ()), SPONSOR, device.signer)
            for wrong, device in zip(records, self.writers, strict=True)
        ]

    def _of(self, payload: Any, sponsor: str, *signers: Signer) -> Transaction:
        ledger = self.ledger
        return transaction(ledger.genesis, payload.KIND, payload, sponsor, signers, ledger.expires_ms)

    def _by_admin(self, payload: Any, *others: Signer) -> Transaction:
        return self._of(payload, SPONSOR, admin(SPONSOR), *others)

    def _keys(self, name: str) -> list[Signer]:
        return [unsigned(f"{name} {self.number} {i}") for i in range(self.count)]

    def _join(self, number: int, key: Signer) -> Transaction:
        issuer, peer = admin(SPONSOR), PeerId(f"peer-{self.number}-{number}")
        terms = InviteTerms(
            id=sha256(peer.encode()).digest()[:16],
            organisation=SPONSOR,
            role=KeyRole.GATEWAY,
            expires_ms=Millis(self.ledger.expires_ms),
            uses=1,
            genesis_hash=self.ledger.genesis.hash,
            issuer=issuer.public_key,
        )
        return self._of(GatewayJoin(key.public_key, peer, sign_invite(terms, issuer)), SPONSOR, key)

    def _batch(self, device: Device, span: range) -> RecordBatch:
        at_ms = self.ledger.next_round.time_ms
        return RecordBatch(
            SCHEMA, device.id, span[0], span[-1], len(span), at_ms, at_ms, Hash(sha256(device.id).digest())
        )


def measure(count: int, devices: int, rounds: int, directory: Path, done: Callable[[int], None]) -> Report:
    """Measure blocks of `count` of each kind, in several rounds, of which each figure is the median.

    Each record of a round is another device's, so `count` is at most `devices`. `done` is told of each
    block. Raises: Fatal when the disk fails.
    """
    found: dict[str, list[Cost]] = {}
    with solo(directory) as ledger:
        writers = ledger.enrol(devices)
        for number in range(rounds):
            start = number * count
            some = [writers[(start + i) % devices] for i in range(count)]
            for block in _Round(ledger, some, number, count).kinds():
                found.setdefault(block[0].body.kind, []).append(_cost(ledger, block))
                done(1)
    names = [step.name for step in fields(Cost)]
    costs = {
        kind: Cost(*(median(getattr(cost, name) for cost in costs) for name in names))
        for kind, costs in found.items()
    }
    return Report(devices, _verify_us(), costs)


def _cost(ledger: Solo, made: Sequence[Transaction]) -> Cost:
    """Take a block of one kind all the way, as if it had just come over the network."""
    transactions = [decode_transaction(one.encoded) for one in made]
    machine, at, (state, frontier) = ledger.machine, ledger.next_round, ledger.parent()
    clock = _Clock(len(made))
    for one in transactions:
        machine.check_form(one)
    check_form = clock.lap_us()
    trial = machine.trial(state, at)
    for one in transactions:
        trial.check(one)
    dry_run = clock.lap_us()
    built = machine.build(state, frontier, at, transactions)
    build = clock.lap_us()
    assert not built.refused, f"{made[0].body.kind}: {built.refused[0].error}"
    block = ledger.execute(built.transactions)
    execute = clock.lap_us()
    writes = ledger.layer(block).execution.writes
    Commitment(ledger.genesis.parameters.state_buckets).update(state, writes)
    state_root = clock.lap_us()
    ledger.commit(block)
    return Cost(check_form, dry_run, build, execute, state_root, clock.lap_us())


class _Clock:
    """This thread's processor time, lap by lap, for so many transactions."""

    def __init__(self, transactions: int) -> None:
        self._transactions = transactions
        self._started = time.thread_time()

    def lap_us(self) -> float:
        """Microseconds per transaction since the lap before."""
        began, self._started = self._started, time.thread_time()
        return (self._started - began) / self._transactions * 1e6


def _verify_us() -> float:
    key, digests = admin(SPONSOR), [Hash(sha256(bytes([i])).digest()) for i in range(SIGNATURES)]
    signed = [(digest, key.sign(digest)) for digest in digests]
    clock = _Clock(SIGNATURES)
    for digest, signature in signed:
        is_signed(key.public_key, digest, signature)
    return clock.lap_us()
