"""What `p2pledger simulate` prints. Floor 8."""

import subprocess
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from rich.console import Console

from p2pledger import __version__
from p2pledger.simulator.campaign import Totals, campaign, shrink
from p2pledger.simulator.run import Case, Report, case_of, run
from p2pledger.simulator.story import tell

PROGRESS_S = 10.0
COVERING_SEEDS = 500
"""A campaign of so many seeds has to meet all that `campaign.COVERED` names."""


def run_campaign(
    seeds: int | None, first: int, n: int | None, *, is_real: bool, jobs: int | None, console: Console
) -> int:
    """Run `seeds` seeds from `first` on (None: without end, until one fails). The exit code."""
    numbers: Iterable[int] = count(first) if seeds is None else range(first, first + seeds)
    started = told = time.monotonic()
    totals = Totals()
    for totals in campaign(numbers, n=n, is_real=is_real, jobs=jobs):
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            console.print(f"{totals.seeds} seeds, {totals.seeds / (told - started):.1f} a second")
        if not totals.is_good and seeds is None:
            break
    elapsed_s = time.monotonic() - started
    _print_totals(totals, elapsed_s, console)
    for seed in totals.uneven:
        console.print(f"seed {seed} gave two traces: something here is not deterministic")
    for report in totals.failures:
        console.print(f"seed {report.case.seed}: {report.violation}")
    if totals.failures:
        _print_failure(shrink(totals.failures[0]), console)
    if totals.uncovered:
        console.print(f"not met by any run: {', '.join(totals.uncovered)}")
    is_whole = totals.seeds < COVERING_SEEDS or not totals.uncovered
    return 0 if totals.is_good and is_whole else 1


def run_one(seed: int, n: int | None, *, is_real: bool, console: Console) -> int:
    """Run one seed and tell about it. The exit code."""
    case = case_of(seed, n=n, is_real=is_real)
    report = run(case)
    for name, number in sorted(report.counts.items()):
        console.print(f"{number:>8} {name}")
    console.print(f"height {report.height} after {report.simulated_ms} ms; trace {report.trace_hash}")
    if report.violation is None:
        _print_case(case, console)
        return 0
    _print_failure(shrink(report), console)
    return 1


def _print_totals(totals: Totals, elapsed_s: float, console: Console) -> None:
    for name, number in sorted(totals.counts.items()):
        console.print(f"{number:>10,} {name}")
    console.print(
        f"{totals.seeds} seeds, {len(totals.failures)} violations,"
        f" {totals.repeated} run twice with {len(totals.uneven)} differences;"
        f" {totals.blocks_min} final blocks at least;"
        f" {totals.seeds / max(elapsed_s, 0.001):.1f} seeds a second,"
        f" {totals.simulated_ms / 1_000 / max(elapsed_s, 0.001):.0f} simulated seconds a second"
    )


def _print_failure(report: Report, console: Console) -> None:
    """A broken promise with the least that breaks it, and how to see it again."""
    _, lines = tell(report.case)
    for line in lines:
        console.print(line, highlight=False)
    _print_case(report.case, console)
    console.print(f"[bold red]{report.violation}[/bold red]")
    console.print(f"seed {report.case.seed}, commit {commit()}: p2pledger simulate --seed {report.case.seed}")


def _print_case(case: Case, console: Console) -> None:
    changing = ", a list that changes" if case.is_changing else ""
    lived_in = ", people who use every module" if case.is_lived_in else ""
    console.print(f"{case.n} authorities{changing}, {case.followers} followers{lived_in}")
    console.print(f"loss {case.loss}, duplication {case.duplication}, delay {case.delay_ms} ms")
    for fault in case.faults:
        console.print(f"  {fault}", highlight=False)


def commit() -> str:
    """The commit of this checkout, or the version where there is none."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(  # noqa: S603
            ["git", "-C", str(here), "rev-parse", "--short", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return found.stdout.strip()
