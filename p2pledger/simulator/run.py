"""One run: a seed, its choices, its faults, and what must hold at the end. Floor 8."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random

from p2pledger.consensus.voice import LOST_GUARD
from p2pledger.simulator.city import DEVICES, START_MS, city
from p2pledger.simulator.council import Council
from p2pledger.simulator.faults import FAULTS_MIN, Fault, end_ms, plan, schedule
from p2pledger.simulator.judge import Violation
from p2pledger.simulator.townsfolk import LEAP_MS, Townsfolk
from p2pledger.simulator.world import World

SIZES = (4, 5, 4, 6, 4, 7, 4, 4, 5, 4, 4, 6, 4, 5, 4, 7, 4, 4, 4, 10)
"""How many authorities a seed has, in turn: small networks meet as much, and cost less."""
BLOCKS_AFTER = 30
"""Final blocks that each run makes after its first FAULTS_MIN faults."""
BLOCKS_HEALED = 3
"""Final blocks that everybody stores after all faults have ended."""
HEALED_MS_MAX = 120_000
"""How long that may take: simulated time."""
SUBMIT_MS = (20, 90)
COUNCIL_MS = (60, 240)
TOWNSFOLK_MS = (100, 300)
TOGETHER = 4
"""How much of what people want at once they hand to one node."""
LIVED_IN_EVERY = 3
"""Of so many seeds, one is a city whose people use every module."""
AGAIN = 0.1
"""Of what clients hand in, so much was handed in before."""
PENDING_MAX = 6
"""Clients wait while so much is pending."""


@dataclass(frozen=True)
class Case:
    """All that decides a run. `faults` is the plan of the seed, or what a failure needs of it."""

    seed: int
    n: int
    is_changing: bool
    followers: int
    loss: float
    duplication: float
    delay_ms: tuple[int, int]
    faults: tuple[Fault, ...]
    is_real: bool = False
    is_lived_in: bool = False
    """Whether its people use every module, at the end after a leap of time."""


@dataclass(frozen=True)
class Report:
    """What came of a run. `violation` is None when every promise was kept."""

    case: Case
    height: int
    simulated_ms: int
    trace_hash: str
    counts: Counter[str]
    violation: Violation | None = None


def case_of(seed: int, *, n: int | None = None, is_real: bool = False) -> Case:
    """The case that a seed stands for."""
    random = Random(f"{seed}/plan")
    size = n if n is not None else SIZES[seed % len(SIZES)]
    return Case(
        seed=seed,
        n=size,
        is_changing=random.random() < 0.4,
        followers=int(random.random() < 0.2),
        loss=random.choice((0.0, 0.0, 0.01, 0.05)),
        duplication=random.choice((0.0, 0.02, 0.1)),
        delay_ms=random.choice(((1, 5), (1, 20), (5, 60))),
        faults=plan(random, size),
        is_real=is_real,
        is_lived_in=seed % LIVED_IN_EVERY == 0,
    )


def build(case: Case, make: type[World] = World) -> World:
    """The world of a case at its start, with all that is to happen to it planned."""
    world = make(city(case.n, case.is_changing, case.is_real), case.seed, followers=case.followers)
    world.delay_ms = world.links.delay_ms = case.delay_ms
    world.links.loss, world.links.duplication = case.loss, case.duplication
    for fault in case.faults:
        schedule(world, fault)
    _submit(world, Random(f"{case.seed}/traffic"))
    if case.is_changing:
        _convene(world, Random(f"{case.seed}/council"))
    if case.is_lived_in:
        world.townsfolk = _settle(world, Random(f"{case.seed}/townsfolk"))
    return world


def _submit(world: World, random: Random) -> None:
    """Clients that hand transactions in, one after the other, for as long as the run lasts."""
    next_number = count()

    def submit() -> None:
        again = random.random() < 0.2  # a client that is not sure hands it to a second node
        to = {random.randrange(len(world.nodes)) for _ in range(1 + again)}
        if any(len(world.nodes[node].pool.mempool) < PENDING_MAX for node in to):
            # An enrolment that was lost is handed in again: without it, no record would ever do.
            number = random.randrange(DEVICES) if random.random() < AGAIN else next(next_number)
            for node in sorted(to):
                world.submit(node, (world.city.transaction(number),))
        world.schedule(world.now + random.randint(*SUBMIT_MS), submit)

    world.schedule(world.now + 10, submit)


def _convene(world: World, random: Random) -> None:
    """The authorities' organisations, who hand in what is to change their list."""
    council = Council(world.city, world.judge.is_final)

    def submit() -> None:
        for wish in council.wishes(world.judge.height):
            world.submit(random.randrange(len(world.nodes)), (wish,))
        world.schedule(world.now + random.randint(*COUNCIL_MS), submit)

    world.schedule(world.now + COUNCIL_MS[0], submit)


def _settle(world: World, random: Random) -> Townsfolk:
    """Those who use every module, one errand beside the other."""
    townsfolk = Townsfolk(world.city, lambda: world.judge, lambda: world.now + world.leapt_ms)

    def submit() -> None:
        wishes = townsfolk.wishes()
        for i in range(0, len(wishes), TOGETHER):
            world.submit(random.randrange(len(world.nodes)), tuple(wishes[i : i + TOGETHER]))
        world.schedule(world.now + random.randint(*TOWNSFOLK_MS), submit)

    world.schedule(world.now + TOWNSFOLK_MS[0], submit)
    return townsfolk


def run(case: Case, prepare: Callable[[World], None] | None = None) -> Report:
    """Run a case to its end: BLOCKS_AFTER blocks after FAULTS_MIN faults, and everyone healthy again."""
    world = build(case)
    if prepare is not None:
        prepare(world)
    violation = None
    try:
        _play(world, case)
    except Violation as broken:
        violation = broken
    counts = world.counts
    counts["offences recorded"] += world.judge.offences
    counts["final blocks"] += world.judge.height
    counts.update({f"final: {kind}": number for kind, number in world.judge.kinds.items()})
    counts += world.judge.measures
    return Report(case, world.judge.height, world.now - START_MS, world.trace_hash, counts, violation)


def _play(world: World, case: Case) -> None:
    healed = START_MS + max((end_ms(fault) for fault in case.faults), default=0) + 1
    early = sorted(fault.at_ms for fault in case.faults)[:FAULTS_MIN]
    fifth = START_MS + (early[-1] if early else 0) + 1
    world.run(lambda: False, fifth)
    after_fifth = world.judge.height
    world.run(lambda: False, healed)
    _heal(world)
    goal = max(after_fifth + BLOCKS_AFTER, world.judge.height + BLOCKS_HEALED)
    if not world.run(lambda: min(world.heights().values()) >= goal, healed + HEALED_MS_MAX):
        raise Violation("liveness", f"after {HEALED_MS_MAX} ms of calm the heights are {world.heights()}")
    if world.townsfolk is not None:
        _live_on(world, world.townsfolk)
    for number in sorted(world.heights()):
        if world.nodes[number].core.situation.voice.notice == LOST_GUARD:
            raise Violation("silenced", f"node {number} fell silent, and its guard was never lost")


def _live_on(world: World, townsfolk: Townsfolk) -> None:
    """What people asked for becomes final; time leaps, and what only then can be asked for does too."""
    _wait_for(world, townsfolk)
    world.leap(LEAP_MS)
    townsfolk.leap()
    _wait_for(world, townsfolk)
    for wrong in townsfolk.wrong:
        if world.judge.is_final(wrong.id):
            raise Violation("invariant", f"a {wrong.body.kind} is final that had to be refused")
    world.counts["errands done in a city that is lived in"] += 1
    world.counts["transactions that had to be refused"] += len(townsfolk.wrong)


def _wait_for(world: World, townsfolk: Townsfolk) -> None:
    if not world.run(lambda: townsfolk.is_settled, world.now + HEALED_MS_MAX):
        raise Violation("liveness", f"after {HEALED_MS_MAX} ms of calm there is no {townsfolk.waits_for}")


def _heal(world: World) -> None:
    """All that ends, ends; clocks that are further off than the drift allows are set. Liars lie on."""
    world.heal()
    world.links.loss, world.links.slow_ms = 0.0, {}
    for node in world.nodes:
        node.armed, node.disk_ms = None, 0
        world.restart(node.number)
        skew_ms = world.nodes[node.number].skew_ms
        if 2 * abs(skew_ms) > world.city.parameters.clock_drift_ms:
            world.jump(node.number, -skew_ms)
