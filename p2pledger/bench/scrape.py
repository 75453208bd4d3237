"""`p2pledger bench scrape`: what answering a scrape takes from a node that has work. Floor 9."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from p2pledger.bench import ceiling, usage
from p2pledger.bench.figures import percentiles
from p2pledger.bench.fleet import Fleet, Shape, prepared
from p2pledger.bench.phase import Progress, Stretch, Stretches, count_of

EVERY_S = 0.25
"""Far more often than a Prometheus does, so that there are some hundred figures of a short run."""
STAGE = "scrape"
BY_TASK = "P2PLEDGER_METRICS_BY_TASK"
CEILING_S = 1.0


@dataclass(frozen=True)
class Scrape:
    """What one answer took. `cpu_ms`: the node's own account; `wall_ms`: until the client had it all."""

    cpu_ms: float
    wall_ms: float
    n_bytes: int


@dataclass(frozen=True)
class Scraping:
    """What it came to, over all authorities.

    `loop_ms` is the processor time of one scrape: of the loop's tasks that carry it, and of the thread that
    writes it, which holds the interpreter's lock, so that the loop waits for it at worst. So `loop_ms_max`
    bounds what a single scrape holds up. `verifications`: the median over the time of one verification.
    """

    authorities: int
    gateways: int
    scrapes: int
    series_bytes: int
    loop_ms: dict[str, float | None]
    loop_ms_max: float
    wall_ms: dict[str, float | None]
    verification_us: float
    verifications: float | None
    load: Stretch


async def measure(shape: Shape, per_second: float, seconds: float, progress: Progress) -> Scraping:
    """Make a ledger, load it, and scrape every authority meanwhile.

    Raises: CannotMeasure, NodeDied, NoPorts, Disagreement, LedgerError.
    """
    count_of(per_second, seconds)
    scrapes: list[Scrape] = []
    with _by_task():
        async with prepared(shape) as fleet:
            progress("ceiling", 0, 1)
            per_s = await trio.to_thread.run_sync(ceiling.verified_per_s, fleet.genesis, CEILING_S)
            progress("ceiling", 1, 1)
            await fleet.start()
            await fleet.enrol()
            async with trio.open_nursery() as nursery:
                for name in fleet.authorities:
                    nursery.start_soon(_scrape, fleet, name, scrapes)
                loaded = await Stretches(fleet, progress).run(per_second, seconds)
                nursery.cancel_scope.cancel()
    verification_us = 1e6 * ceiling.cores() / per_s
    loop_ms = percentiles(scrape.cpu_ms for scrape in scrapes)
    median_ms = loop_ms["p50"]
    return Scraping(
        authorities=shape.authorities,
        gateways=shape.gateways,
        scrapes=len(scrapes),
        series_bytes=max((scrape.n_bytes for scrape in scrapes), default=0),
        loop_ms=loop_ms,
        loop_ms_max=round(max((scrape.cpu_ms for scrape in scrapes), default=0.0), 1),
        wall_ms=percentiles(scrape.wall_ms for scrape in scrapes),
        verification_us=round(verification_us, 1),
        verifications=round(1_000 * median_ms / verification_us, 1) if median_ms is not None else None,
        load=loaded,
    )


@contextmanager
def _by_task() -> Iterator[None]:
    """Have the nodes that are started meanwhile count by task (docs/OPERATIONS.md)."""
    before = os.environ.get(BY_TASK)
    os.environ[BY_TASK] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[BY_TASK]
        else:
            os.environ[BY_TASK] = before


async def _scrape(fleet: Fleet, name: str, scrapes: list[Scrape]) -> None:
    """Scrape one node again and again. Each answer tells what all before it had taken."""
    spent_s: float | None = None
    while True:
        began_s = time.monotonic()
        answer = await fleet.http.get(fleet.metrics_url(name))
        wall_ms = 1_000 * (time.monotonic() - began_s)
        before_s, spent_s = spent_s, usage.reading(answer.text, 0.0).stages_s[STAGE]
        if before_s is not None:
            scrapes.append(Scrape(1_000 * (spent_s - before_s), wall_ms, len(answer.content)))
        await trio.sleep(EVERY_S)
