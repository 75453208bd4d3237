"""What goes wrong in a run, and when: a plan drawn from the seed, as plain data. Floor 8.

A plan can be read, replayed, and cut down to what a failure needs. At most f of n nodes lie, lose their
guard or never come back; everything else may befall anybody, and ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from p2pledger.simulator.liars import LIARS
from p2pledger.simulator.node import CrashPoint
from p2pledger.simulator.world import World

FAULTS_MIN = 5


class Kind(Enum):
    """A way for things to go wrong."""

    CRASH = "crash"
    CRASH_ALL = "crash of all"
    PARTITION = "partition"
    ONE_WAY = "one-way partition"
    LOSS = "loss"
    DELAY = "delay"
    SLOW_NODE = "slow node"
    SLOW_DISK = "slow disk"
    SKEW = "clock skew"
    JUMP = "clock jump"
    LIE = "lie"
    LOSE_GUARD = "lost guard"
    OLD_GUARD = "restored guard"
    DOUBLE = "second process"
    DEATH = "death"


BUDGETED = (Kind.LIE, Kind.LOSE_GUARD, Kind.OLD_GUARD, Kind.DOUBLE, Kind.DEATH)
"""What only f nodes of n may do together: the protocol promises nothing beyond."""


@dataclass(frozen=True)
class Fault:
    """One fault: from `at_ms` after the start, for `ms`, on `nodes`. `how`: what the kind needs to know."""

    at_ms: int
    kind: Kind
    nodes: tuple[int, ...] = ()
    ms: int = 0
    how: int | str = 0

    def __str__(self) -> str:
        nodes = ",".join(map(str, self.nodes))
        return f"{self.at_ms} ms: {self.kind.value} {nodes} {self.how or ''} for {self.ms} ms".replace(
            "  ", " "
        )


def plan(random: Random, n: int) -> tuple[Fault, ...]:
    """The faults of a run among n authorities, in order of time: liars from the start, then the rest."""
    budget = (n - 1) // 3
    faults: list[Fault] = []
    spent: set[int] = set()
    for _ in range(random.randint(0, budget)):
        number = random.choice([i for i in range(n) if i not in spent])
        spent.add(number)
        faults.append(Fault(0, Kind.LIE, (number,), how=random.choice(sorted(LIARS))))
    at = random.randint(50, 400)
    for _ in range(random.randint(FAULTS_MIN, FAULTS_MIN + 3)):
        fault = _draw(random, n, at, budget, spent)
        if fault.kind in BUDGETED:
            spent |= set(fault.nodes)
        faults.append(fault)
        at += random.randint(50, 450)
    return tuple(faults)


_WEIGHTS = {
    Kind.CRASH: 8,
    Kind.CRASH_ALL: 2,
    Kind.PARTITION: 4,
    Kind.ONE_WAY: 3,
    Kind.LOSS: 3,
    Kind.DELAY: 2,
    Kind.SLOW_NODE: 2,
    Kind.SLOW_DISK: 2,
    Kind.SKEW: 1,
    Kind.JUMP: 2,
    Kind.LOSE_GUARD: 1,
    Kind.OLD_GUARD: 1,
    Kind.DOUBLE: 2,
    Kind.DEATH: 2,
}


_POINTS_OF_ALL = (CrashPoint.AT_ONCE, CrashPoint.AFTER_PERSIST, CrashPoint.MID_SEND)
"""Of a whole network: votes that were given, and told to few or to nobody."""


def _draw(random: Random, n: int, at: int, budget: int, spent: set[int]) -> Fault:
    (kind,) = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    one = random.randrange(n)
    if kind in BUDGETED:
        free = [i for i in range(n) if i not in spent]
        if len(spent) >= budget:
            kind = Kind.CRASH
        else:
            one = random.choice(free)
    ms = random.randint(100, 1_500)
    points = list(CrashPoint)
    match kind:
        case Kind.CRASH:
            return Fault(at, kind, (one,), ms, random.choice(points).name)
        case Kind.CRASH_ALL:
            return Fault(at, kind, tuple(range(n)), ms, random.choice(_POINTS_OF_ALL).name)
        case Kind.PARTITION | Kind.ONE_WAY:
            group = tuple(sorted(random.sample(range(n), random.randint(1, n // 2))))
            return Fault(at, kind, group, ms)
        case Kind.LOSS:
            return Fault(at, kind, (), ms, random.choice((5, 20, 40)))
        case Kind.DELAY:
            return Fault(at, kind, (), ms, random.choice((50, 150, 400)))
        case Kind.SLOW_NODE:
            return Fault(at, kind, (one,), ms, random.choice((60, 200, 700)))
        case Kind.SLOW_DISK:
            return Fault(at, kind, (one,), ms, random.choice((10, 40, 150)))
        case Kind.DEATH:
            return Fault(at, kind, (one,))
        case Kind.SKEW | Kind.JUMP:
            lasts = ms if kind is Kind.SKEW else 0
            return Fault(at, kind, (one,), lasts, random.choice((-1_500, -300, 300, 1_500)))
        case _:
            return Fault(at, kind, (one,), ms)


def schedule(world: World, fault: Fault) -> None:
    """Have a fault happen, and end. What it changes is put right by the same world."""
    begin, end = _ACTIONS[fault.kind]
    at = world.now + fault.at_ms

    def start() -> None:
        world.counts["faults"] += 1
        world.counts[f"fault: {fault.kind.value}"] += 1
        begin(world, fault)

    world.schedule(at, start)
    if end is not None:
        world.schedule(at + fault.ms, lambda: end(world, fault))


def end_ms(fault: Fault) -> int:
    """When nothing of this fault is left, after the start."""
    return fault.at_ms + fault.ms


def _crash(world: World, fault: Fault) -> None:
    for number in fault.nodes:
        node = world.nodes[number]
        point = CrashPoint[str(fault.how)]
        if point is CrashPoint.AT_ONCE:
            world.crash(node)
        else:
            node.armed = point


def _restart(world: World, fault: Fault) -> None:
    for number in fault.nodes:
        world.crash(world.nodes[number])  # whoever did not come to the point by now
        world.restart(number)


def _cut(world: World, fault: Fault) -> None:
    world.links.split(set(fault.nodes), len(world.nodes), one_way=fault.kind is Kind.ONE_WAY)


def _heal(world: World, fault: Fault) -> None:
    world.heal()


def _set_loss(world: World, fault: Fault) -> None:
    world.links.loss = int(fault.how) / 100


def _end_loss(world: World, fault: Fault) -> None:
    world.links.loss = 0.0


def _set_delay(world: World, fault: Fault) -> None:
    world.links.delay_ms = (1, int(fault.how))


def _end_delay(world: World, fault: Fault) -> None:
    world.links.delay_ms = world.delay_ms


def _slow_node(world: World, fault: Fault) -> None:
    world.links.slow_ms[fault.nodes[0]] = int(fault.how)


def _end_slow_node(world: World, fault: Fault) -> None:
    world.links.slow_ms.pop(fault.nodes[0], None)


def _slow_disk(world: World, fault: Fault) -> None:
    world.nodes[fault.nodes[0]].disk_ms = int(fault.how)


def _end_slow_disk(world: World, fault: Fault) -> None:
    world.nodes[fault.nodes[0]].disk_ms = 0


def _skew(world: World, fault: Fault) -> None:
    """It starts again with another clock, as a board without a battery does: nobody tells the core."""
    node = world.nodes[fault.nodes[0]]
    world.crash(node)
    node.skew_ms += int(fault.how)


def _jump(world: World, fault: Fault) -> None:
    world.jump(fault.nodes[0], int(fault.how))


def _lie(world: World, fault: Fault) -> None:
    number = fault.nodes[0]
    world.bribe(number, LIARS[str(fault.how)](Random(f"{world.seed}/liar/{number}")))


def _die(world: World, fault: Fault) -> None:
    number = fault.nodes[0]
    world.crash(world.nodes[number])
    world.dead.add(number)
    world.faulty.add(number)


def _lose_guard(world: World, fault: Fault) -> None:
    number = fault.nodes[0]
    world.crash(world.nodes[number])
    world.nodes[number].disk.guard = None
    world.judge.lost.add(number)
    world.faulty.add(number)


def _take_backup(world: World, fault: Fault) -> None:
    number = fault.nodes[0]
    disk = world.nodes[number].disk
    disk.backup = disk.guard.copy() if disk.guard is not None else None
    world.faulty.add(number)


def _put_back(world: World, fault: Fault) -> None:
    number = fault.nodes[0]
    world.crash(world.nodes[number])
    disk = world.nodes[number].disk
    disk.guard = disk.backup
    world.judge.trusted.discard(number)
    world.restart(number)


def _double(world: World, fault: Fault) -> None:
    world.faulty.add(fault.nodes[0])
    world.double(fault.nodes[0])


def _end_double(world: World, fault: Fault) -> None:
    world.stop_double(fault.nodes[0])


Action = Callable[[World, Fault], None]

_ACTIONS: dict[Kind, tuple[Action, Action | None]] = {
    Kind.CRASH: (_crash, _restart),
    Kind.CRASH_ALL: (_crash, _restart),
    Kind.PARTITION: (_cut, _heal),
    Kind.ONE_WAY: (_cut, _heal),
    Kind.LOSS: (_set_loss, _end_loss),
    Kind.DELAY: (_set_delay, _end_delay),
    Kind.SLOW_NODE: (_slow_node, _end_slow_node),
    Kind.SLOW_DISK: (_slow_disk, _end_slow_disk),
    Kind.SKEW: (_skew, _restart),
    Kind.JUMP: (_jump, None),
    Kind.LIE: (_lie, None),
    Kind.LOSE_GUARD: (_lose_guard, _restart),
    Kind.OLD_GUARD: (_take_backup, _put_back),
    Kind.DOUBLE: (_double, _end_double),
    Kind.DEATH: (_die, None),
}
