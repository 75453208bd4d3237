"""Takes blocks of each kind all the way through a ledger of one, and times each step. Floor 9."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from p2pledger.bench.modules import consent, custody, governance, programs, records, registry
from p2pledger.bench.modules.turn import Turn
from p2pledger.bench.solo import SPONSOR, Solo, admin, solo
from p2pledger.chain.transaction import Transaction, decode_transaction
from p2pledger.crypto import is_signed
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.modules import RULES
from p2pledger.types import Hash

SIGNATURES = 200
BLOCKS = len(RULES) + 1
"""Of a turn: one to a kind, and a second one of enrolments."""


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


MEASURES = (*governance.MEASURES, *consent.MEASURES, *programs.MEASURES)
"""What is decided before the first turn."""


def _kinds(turn: Turn) -> Iterator[list[Transaction]]:
    """Blocks of all kinds, each to be stored before the next is asked for."""
    yield from registry.kinds(turn)
    written = records.appends(turn)
    yield written
    batched = records.batches(turn)
    yield batched
    yield from custody.kinds(turn, written, batched)
    yield records.corrections(turn, written)
    yield from programs.kinds(turn)
    yield from consent.kinds(turn)
    yield from governance.kinds(turn)


def _prepare(ledger: Solo) -> None:
    """Have decided what the blocks rest on, and let the programs' first months go by."""
    governance.decide(ledger, MEASURES)
    ledger.let_pass(programs.PASSES_MS)


def measure(count: int, devices: int, rounds: int, directory: Path, done: Callable[[int], None]) -> Report:
    """Measure blocks of `count` of each kind, in several rounds, of which each figure is the median.

    Each record of a round is another device's, so `count` is at most `devices`. `done` is told of each
    block. Raises: Fatal when the disk fails.
    """
    found: dict[str, list[Cost]] = {}
    with solo(directory) as ledger:
        _prepare(ledger)
        writers = ledger.enrol(devices)
        for number in range(rounds):
            start = number * count
            some = [writers[(start + i) % devices] for i in range(count)]
            for block in _kinds(Turn(ledger, some, number, count)):
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
