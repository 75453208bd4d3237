"""Takes blocks of each kind all the way through a ledger of one, and times each step. Floor 9."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from statistics import median

from p2pledger.bench.devices import Device
from p2pledger.bench.modules import consent, custody, governance, programs, records, registry
from p2pledger.bench.modules.report import Cost, Report, State
from p2pledger.bench.modules.rules import parse_keys, prove, rule_costs_us
from p2pledger.bench.modules.turn import Turn
from p2pledger.bench.solo import SPONSOR, Solo, admin, solo
from p2pledger.chain.transaction import Transaction, decode_transaction
from p2pledger.crypto import is_signed
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.modules import RULES
from p2pledger.node.collector import collecting_seldom
from p2pledger.types import Hash

SIGNATURES = 200
BLOCKS = len(RULES) + 1
"""Of a turn: one to a kind, and a second one of enrolments."""


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


@dataclass
class _Subject:
    """A ledger whose state had `keys` keys, its devices, and what was found with it."""

    ledger: Solo
    keys: int
    writers: Sequence[Device]
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    straight_us: dict[str, list[float]] = field(default_factory=dict)

    def blocks(self, number: int, count: int) -> Iterator[list[Transaction]]:
        """One turn: the devices that write in it are others than in the one before."""
        some = [self.writers[(number * count + i) % len(self.writers)] for i in range(count)]
        return _kinds(Turn(self.ledger, some, number, count))

    def step_by_step(self, made: Sequence[Transaction]) -> None:
        """Take a block of one kind all the way, as if it had just come over the network."""
        self.costs.setdefault(made[0].body.kind, []).append(_cost(self.ledger, made))

    def straight(self, made: Sequence[Transaction]) -> None:
        """Execute a block of one kind as a node does that has nothing else to do with it."""
        transactions = [decode_transaction(one.encoded) for one in made]
        self.ledger.machine.check_forms(transactions)
        parse_keys(transactions)
        prove(self.ledger, transactions)
        clock = _Clock(len(made))
        block = self.ledger.execute(transactions)
        self.straight_us.setdefault(made[0].body.kind, []).append(clock.lap_us())
        self.ledger.commit(block)

    def found(self) -> State:
        """The medians of all turns."""
        names = [step.name for step in fields(Cost)]
        costs = {
            kind: Cost(*(median(getattr(cost, name) for cost in some) for name in names))
            for kind, some in self.costs.items()
        }
        return State(self.keys, costs, {kind: median(some) for kind, some in self.straight_us.items()})


def measure(
    count: int,
    devices: int,
    rounds: int,
    directory: Path,
    done: Callable[[int], None],
    state_keys: Sequence[int] = (0,),
) -> Report:
    """Measure blocks of `count` of each kind, in several rounds, of which each figure is the median.

    Each record of a round is another device's, so `count` is at most `devices`. A round is a turn taken step
    by step and one executed straight, over a state of each size at the same time, block by block: so that
    the machine is as fast for one as for the other. `done` is told of each block. Raises: Fatal when the disk
    fails.
    """
    with ExitStack() as stack:
        subjects = []
        for keys in sorted(state_keys):
            ledger = stack.enter_context(solo(directory if len(state_keys) == 1 else directory / str(keys)))
            ledger.fill(keys)
            _prepare(ledger)
            # No two ledgers have a device or a turn's number in common: rows are kept decoded by content.
            subjects.append(_Subject(ledger, keys, ledger.enrol(devices, b"bench %d" % keys)))
        stack.enter_context(collecting_seldom())
        for number in range(2 * rounds):
            turns = [subject.blocks(number + 2 * rounds * i, count) for i, subject in enumerate(subjects)]
            for i, blocks in enumerate(zip(*turns, strict=True)):
                pairs = list(zip(subjects, blocks, strict=True))
                for subject, block in pairs if i % 2 else reversed(pairs):
                    (subject.straight if number % 2 else subject.step_by_step)(block)
                    done(1)
        return Report(devices, _verify_us(), [subject.found() for subject in subjects])


def _cost(ledger: Solo, made: Sequence[Transaction]) -> Cost:
    """The cost of each step for a block of one kind."""
    transactions = [decode_transaction(one.encoded) for one in made]
    machine, at, (state, frontier) = ledger.machine, ledger.next_round, ledger.parent()
    parse_keys(transactions)
    rules = rule_costs_us(ledger, transactions)
    clock = _Clock(len(made))
    for one in transactions:
        machine.check_form(one)
    check_form = clock.lap_us()
    prove(ledger, transactions)
    signed_inside = clock.lap_us()
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
    commit = clock.lap_us()
    rules_us, reads_us = zip(*rules, strict=True)
    steps = (
        check_form,
        signed_inside,
        median(rules_us),
        median(reads_us),
        dry_run,
        build,
        execute,
        state_root,
        commit,
    )
    return Cost(*steps)


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
