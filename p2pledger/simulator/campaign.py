"""Many runs: on all cores, counted together, and a failure made small. Floor 8."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context

from p2pledger.simulator.run import Case, Report, case_of, run

COVERED = (
    "views with both N and X certificates",
    "views jumped",
    "re-proposals",
    "crashes between persist and send",
    "guard refusals",
    "offences recorded",
    "epoch boundaries crossed",
    "bodies fetched",
)
"""What a campaign of some hundred seeds must have met: one that did not has not tried the protocol."""
REPEATED_EVERY = 40
"""Of so many seeds one is run twice, and must give the same trace."""
CHUNK = 4


@dataclass
class Totals:
    """What all runs so far came to."""

    seeds: int = 0
    repeated: int = 0
    blocks_min: int | None = None
    simulated_ms: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Report] = field(default_factory=list)
    uneven: list[int] = field(default_factory=list)
    """Seeds whose second run gave another trace."""

    def add(self, report: Report) -> None:
        """Count one run in."""
        self.seeds += 1
        self.simulated_ms += report.simulated_ms
        self.counts += report.counts
        if report.violation is not None:
            self.failures.append(report)
        elif self.blocks_min is None or report.height < self.blocks_min:
            self.blocks_min = report.height

    @property
    def uncovered(self) -> list[str]:
        """What no run has met."""
        return [name for name in COVERED if not self.counts[name]]

    @property
    def is_good(self) -> bool:
        """Whether no promise was broken."""
        return not self.failures and not self.uneven


def campaign(
    seeds: Iterable[int], *, n: int | None = None, is_real: bool = False, jobs: int | None = None
) -> Iterator[Totals]:
    """Run seeds on `jobs` processes (all cores by default); the totals after each few runs.

    `n`: so many authorities in each run, else as the seed says. `is_real`: ECDSA signatures.
    """
    totals = Totals()
    waiting = iter(seeds)
    workers = jobs or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, get_context("spawn"), _prepare) as pool:
        running: set[Future[list[tuple[Report, bool]]]] = set()
        while True:
            while len(running) < 2 * workers and (chunk := list(islice(waiting, CHUNK))):
                running.add(pool.submit(_run_chunk, chunk, n, is_real))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                for report, is_even in future.result():
                    totals.add(report)
                    totals.repeated += report.case.seed % REPEATED_EVERY == 0
                    if not is_even:
                        totals.uneven.append(report.case.seed)
            yield totals


def _prepare() -> None:
    """A run makes no cycles worth collecting: what it leaves is freed when its world is."""
    gc.disable()


def _run_chunk(seeds: list[int], n: int | None, is_real: bool) -> list[tuple[Report, bool]]:
    done = []
    for seed in seeds:
        case = case_of(seed, n=n, is_real=is_real)
        report = run(case)
        is_even = seed % REPEATED_EVERY != 0 or run(case).trace_hash == report.trace_hash
        done.append((report, is_even))
    gc.collect()
    return done


def shrink(report: Report, run_case: Callable[[Case], Report] = run) -> Report:
    """The same broken promise with as little as possible going wrong. Runs the case some dozen times."""
    assert report.violation is not None, "there is nothing to shrink"
    promise = report.violation.promise

    def breaks(case: Case) -> Report | None:
        smaller = run_case(case)
        is_same = smaller.violation is not None and smaller.violation.promise == promise
        return smaller if is_same else None

    best = report
    has_changed = True
    while has_changed:
        has_changed = False
        for smaller in _smaller(best.case):
            if (found := breaks(smaller)) is not None:
                best, has_changed = found, True
                break
    return best


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with one thing less going wrong."""
    for i in reversed(range(len(case.faults))):
        yield replace(case, faults=case.faults[:i] + case.faults[i + 1 :])
    if case.loss:
        yield replace(case, loss=0.0)
    if case.duplication:
        yield replace(case, duplication=0.0)
    if case.followers:
        yield replace(case, followers=0)
    if case.is_changing:
        yield replace(case, is_changing=False)
    if case.is_lived_in:
        yield replace(case, is_lived_in=False)
    if case.delay_ms != (1, 5):
        yield replace(case, delay_ms=(1, 5))
