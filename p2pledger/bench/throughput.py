"""`p2pledger bench throughput`: how many transactions become final, against what the cores allow. Floor 9."""

from dataclasses import dataclass

import trio

from p2pledger.bench.ceiling import cores, verified_per_s
from p2pledger.bench.devices import RECORD_BYTES
from p2pledger.bench.figures import ceiling, share
from p2pledger.bench.fleet import DEVICES, CannotMeasure, Fleet, Shape, prepared
from p2pledger.bench.phase import Progress, Stretch, Stretches, count_of, warm_up_s
from p2pledger.bench.readings import GATEWAYS, Readings, check_authorities, measure_on

SEARCH_S = 12.0
"""What waits absorbs a quarter more than is sustained in 6 s, a tenth in these and their warm-up."""
SEARCH_FROM = 0.15
"""Of the ceiling: the rate that a search starts at."""
SEARCH_STEP = 1.4
SEARCH_WITHIN = 1.1
"""A search ends when the lowest rate that was too much is so many times the one that was sustained."""
SEARCHED_MAX = 16
RETREAT = 0.95
"""Of what held for SEARCH_S, or of what became final of too much: the next rate to hold for as long as was
asked, until one has."""
ADVANCE = 1.025
"""Times a rate that held for as long as was asked: the next one, at least. It may have been too much before:
machines are shared, and what fails in one minute may hold in the next."""
WHOLE_MAX = 7
"""So many stretches take as long as was asked."""
BESIDE = {"half": 0.5, "nine_tenths": 0.9, "twice": 2.0}
"""Of the rate that was reached: what is measured too, for the latency, and for what overload does."""

Tried = tuple[tuple[float, bool], ...]
"""Rates that were tried, and whether each was sustained."""


@dataclass(frozen=True)
class Options:
    """What to measure. `per_second` None: search for the highest rate that is sustained.

    `beside_s`: how long to measure at each of the rates of BESIDE; `readings_s`: how long gateways make
    readings afterwards. 0 leaves these out.
    """

    shape: Shape
    seconds: float
    per_second: float | None
    beside_s: float
    ceiling_s: float
    readings_s: float


@dataclass(frozen=True)
class Throughput:
    """What it came to. `ratio` is `final_per_s` over `ceiling_per_s`, both of this run.

    `verified_per_s`: of all cores together, before any node runs and after; the ceiling is their mean over
    the nodes.
    """

    cores: int
    authorities: int
    gateways: int
    devices: int
    transaction_bytes: int
    verified_per_s: tuple[float, float]
    ceiling_per_s: float
    final_per_s: float
    ratio: float | None
    is_sustained: bool
    load: Stretch
    searched: Tried
    beside: dict[str, Stretch]
    readings: Readings | None


async def measure(options: Options, progress: Progress) -> Throughput:
    """Make a ledger, load it, and hold what became final against the ceiling.

    Raises: CannotMeasure, NodeDied, NoPorts, Disagreement, LedgerError.
    """
    n = options.shape.authorities + options.shape.gateways
    if options.per_second is not None:
        count_of(options.per_second, warm_up_s(options.seconds) + options.seconds)
    if options.readings_s:
        check_authorities(options.shape.authorities)
    async with prepared(options.shape) as fleet:
        before = await _verified_per_s(fleet, options, progress)
        await fleet.start()
        await fleet.enrol()
        stretches = Stretches(fleet, progress)
        if options.per_second is None:
            loaded, searched = await _search(stretches, SEARCH_FROM * ceiling(before, n), options.seconds)
        else:
            loaded, searched = await stretches.run(options.per_second, options.seconds, is_steady=True), ()
        beside = {
            name: await stretches.run(part * loaded.final_per_s, options.beside_s, is_steady=True)
            for name, part in BESIDE.items()
            if options.beside_s
        }
        readings = (
            await measure_on(fleet, GATEWAYS, options.readings_s, progress) if options.readings_s else None
        )
        await fleet.stop()
        after = await _verified_per_s(fleet, options, progress)
    ceiling_per_s = ceiling((before + after) / 2, n)
    return Throughput(
        cores=cores(),
        authorities=options.shape.authorities,
        gateways=options.shape.gateways,
        devices=DEVICES,
        transaction_bytes=RECORD_BYTES,
        verified_per_s=(round(before), round(after)),
        ceiling_per_s=round(ceiling_per_s, 1),
        final_per_s=loaded.final_per_s,
        ratio=share(loaded.final_per_s, ceiling_per_s),
        is_sustained=loaded.is_sustained,
        load=loaded,
        searched=searched,
        beside=beside,
        readings=readings,
    )


async def _verified_per_s(fleet: Fleet, options: Options, progress: Progress) -> float:
    progress("ceiling", 0, 1)
    verified = await trio.to_thread.run_sync(verified_per_s, fleet.genesis, options.ceiling_s)
    progress("ceiling", 1, 1)
    return verified


async def _search(stretches: Stretches, start: float, seconds: float) -> tuple[Stretch, Tried]:
    """The stretch at the highest rate found that is sustained for `seconds`, and all rates that were tried.

    WHOLE_MAX take so long. If none of them is sustained, it is the last one.
    Raises: CannotMeasure when none is sustained for SEARCH_S.
    """
    tried: list[tuple[float, bool]] = []

    async def run(per_second: float, seconds: float) -> Stretch:
        stretch = await stretches.run(per_second, seconds, is_steady=True)
        tried.append((round(per_second, 1), stretch.is_sustained))
        return stretch

    low, high = 0.0, start
    while len(tried) < SEARCHED_MAX and (await run(high, SEARCH_S)).is_sustained:
        low, high = high, high * SEARCH_STEP
    while len(tried) < SEARCHED_MAX and high > SEARCH_WITHIN * low:
        middle = (low + high) / 2
        low, high = (middle, high) if (await run(middle, SEARCH_S)).is_sustained else (low, middle)
    if not low:
        raise CannotMeasure(f"not even {high:.1f} transactions a second are sustained")
    held, enough, next_rate = None, 0.0, RETREAT * low
    for _ in range(WHOLE_MAX):
        rate, loaded = next_rate, await run(next_rate, seconds)
        if loaded.is_sustained:
            held, enough = loaded, rate
            next_rate = max(ADVANCE * enough, (enough + high) / 2)
        else:
            high = rate
            next_rate = (enough + high) / 2 if held else RETREAT * (loaded.final_per_s or rate)
    return held or loaded, tuple(tried)
