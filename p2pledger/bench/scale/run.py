"""Runs what was asked for, one size after the other. Floor 9."""

from dataclasses import dataclass

from rich.console import Console

from p2pledger.bench.scale.assumptions import Assumptions
from p2pledger.bench.scale.authorities import agreement
from p2pledger.bench.scale.gateways import spread
from p2pledger.bench.scale.processes import grow, limits_of_this_machine
from p2pledger.bench.scale.report import Report


@dataclass(frozen=True)
class Sizes:
    """What to measure, at which sizes."""

    gateways: tuple[int, ...] = (100, 1_000, 10_000)
    authorities: tuple[int, ...] = (4, 7, 10, 16, 31, 64, 100)
    processes: tuple[int, ...] = (4, 7, 10)


def run(sizes: Sizes, how: Assumptions, progress: Console) -> Report:
    """Measure at all sizes. Raises: simulator.judge.Violation when an agreement does not go on."""
    report = Report(how, limits_of_this_machine(how.memory_percent))
    for gateways in sizes.gateways:
        progress.print(f"gossip to {gateways:,} gateways ...")
        report.gateways.append(spread(gateways, how))
    for authorities in sizes.authorities:
        progress.print(f"agreement of {authorities} authorities ...")
        report.authorities.append(agreement(authorities, how))
    if sizes.processes:
        rate, seconds = how.process_rate, how.process_seconds
        report.processes = grow(sizes.processes, rate, seconds, report.limits, progress)
    return report
