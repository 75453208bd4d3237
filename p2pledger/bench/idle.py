"""`p2pledger bench idle`: what nodes need while nothing is to be done, and how soon one is ready. Floor 9."""

import time
from dataclasses import dataclass

import trio

from p2pledger.bench.figures import share
from p2pledger.bench.fleet import Shape, prepared
from p2pledger.bench.phase import Progress

SETTLE_S = 5.0
"""After the start, before the measure: what a start costs is told apart."""


@dataclass(frozen=True)
class Idle:
    """What one node used. `core_share`: its processor time over the time that passed."""

    core_share: float | None
    memory_bytes: int
    memory_peak_bytes: int


@dataclass(frozen=True)
class Idleness:
    """What it came to. `all_ready_s`: all nodes, started at once; `one_ready_s`: the last one, once more."""

    seconds: float
    all_ready_s: float
    one_ready_s: float
    nodes: dict[str, Idle]


async def measure(shape: Shape, seconds: float, progress: Progress) -> Idleness:
    """Make a ledger and leave it alone. Raises: NodeDied, NoPorts."""
    async with prepared(shape) as fleet:
        all_ready_s = await fleet.start()
        await _pass(SETTLE_S, "settle", progress)
        before, began_s = await fleet.readings(), time.monotonic()
        await _pass(seconds, "idle", progress)
        after, spent_s = await fleet.readings(), time.monotonic() - began_s
        fleet.check_alive()
        memories = {name: fleet.memory(name) for name in fleet.names}
        last = fleet.names[-1]
        await fleet.stop(last)
        one_ready_s = await fleet.start(last)
    return Idleness(
        seconds=seconds,
        all_ready_s=round(all_ready_s, 2),
        one_ready_s=round(one_ready_s, 2),
        nodes={
            name: Idle(
                share(after[name].cpu_s - before[name].cpu_s, spent_s), memory.now_bytes, memory.peak_bytes
            )
            for name, memory in memories.items()
        },
    )


async def _pass(seconds: float, what: str, progress: Progress) -> None:
    for done in range(round(seconds)):
        progress(what, done, round(seconds))
        await trio.sleep(1)
    progress(what, round(seconds), round(seconds))
