"""What a measurement shows to people: its progress while it runs, and its figures as a table. Floor 9."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from p2pledger.bench.chains import Disagreement
from p2pledger.bench.fleet import CannotMeasure
from p2pledger.bench.idle import Idleness
from p2pledger.bench.latency import Latency
from p2pledger.bench.phase import Progress, Stretch
from p2pledger.bench.readings import Readings
from p2pledger.bench.scrape import Scraping
from p2pledger.bench.throughput import Throughput
from p2pledger.client.outcomes import LedgerError
from p2pledger.testnet.ports import NoPorts
from p2pledger.testnet.processes import NodeDied

EXPECTED = (CannotMeasure, Disagreement, LedgerError, NodeDied, NoPorts)
"""What may keep a measurement from its figures, and says itself why."""

WORDS = {
    "ceiling": "Verifying signatures only",
    "sign": "Signing",
    "load": "Under load",
    "compare": "Comparing the nodes' blocks",
    "settle": "Letting the nodes settle",
    "readings": "Gateways at work",
    "prove": "Proving readings",
    "idle": "Leaving the nodes alone",
}
_MIB = 1_024**2


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Bars on standard error, one for each thing that is done; plain lines where there is no terminal."""
    console = Console(stderr=True)
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def progress(what: str, done: int, size: int) -> None:
        if what not in tasks or bars.tasks[tasks[what]].finished:
            tasks[what] = bars.add_task(WORDS[what], total=size)
            if not console.is_terminal:
                console.print(f"{WORDS[what]} ...")
        bars.update(tasks[what], completed=done, total=size)

    with bars:
        yield progress


def throughput_table(found: Throughput) -> Table:
    """The figures of `bench throughput`."""
    before, after = found.verified_per_s
    rows = [
        ("nodes", f"{found.authorities} authorities, {found.gateways} gateways on {found.cores} cores"),
        ("verified only", f"{before:,.0f}/s before, {after:,.0f}/s after, all cores together"),
        ("ceiling", f"{found.ceiling_per_s:,.0f}/s, each node verifying everything"),
        ("final at every node", f"{found.final_per_s:,.0f}/s over {found.load.window_s:.1f} s"),
        (
            "ratio",
            f"{found.ratio}" + ("" if found.is_sustained else ", not sustained: the nodes fell behind"),
        ),
        *_stretch_rows(found.load),
    ]
    for name, stretch in found.beside.items():
        rate = f"{name.replace('_', ' ')}, {stretch.per_second:,.0f}/s"
        rows.append((rate, f"{stretch.final_per_s:,.0f}/s final, {_latency(stretch)}"))
    rows += _readings_rows(found.readings) if found.readings is not None else []
    return _table("p2pledger bench throughput", rows)


def latency_table(found: Latency) -> Table:
    """The figures of `bench latency`."""
    rows = [
        ("nodes", f"{found.authorities} authorities, {found.gateways} gateways"),
        ("delay between nodes", f"{found.delay_ms:g} ms each way"),
        ("rate", f"{found.load.per_second:g}/s for {found.load.seconds:g} s"),
        *_stretch_rows(found.load),
    ]
    return _table("p2pledger bench latency", rows)


def readings_table(found: Readings) -> Table:
    """The figures of `bench readings`."""
    return _table("p2pledger bench readings", _readings_rows(found))


def idle_table(found: Idleness) -> Table:
    """The figures of `bench idle`."""
    rows = [
        ("start to ready", f"{found.all_ready_s} s all at once, {found.one_ready_s} s one beside the others")
    ]
    for name, idle in found.nodes.items():
        share, memory = idle.core_share or 0.0, idle.memory_bytes / _MIB
        rows.append((name, f"{100 * share:.1f} % of a core, {memory:.0f} MiB resident"))
    return _table("p2pledger bench idle", rows)


def scrape_table(found: Scraping) -> Table:
    """The figures of `bench scrape`."""
    rows = [
        ("nodes", f"{found.authorities} authorities, {found.gateways} gateways"),
        ("load", f"{found.load.per_second:g}/s for {found.load.seconds:g} s"),
        ("scrapes", f"{found.scrapes:,} of {found.series_bytes / 1_024:.0f} KiB"),
        ("of the loop, at most", f"{_figures(found.loop_ms)}, the worst {found.loop_ms_max} ms"),
        ("in verifications", f"{found.verifications} of {found.verification_us} us, the median"),
        ("until the client had it", _figures(found.wall_ms)),
    ]
    return _table("p2pledger bench scrape", rows)


def _figures(values_ms: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value} ms" for name, value in values_ms.items())


def _readings_rows(found: Readings) -> list[tuple[str, str]]:
    refused = [f"{count:,} as {code}" for code, count in found.refused.items()]
    latency = ", ".join(f"{name} {value} ms" for name, value in found.latency_ms.items())
    return [
        ("readings final and kept", f"{found.readings_per_s:,.0f}/s over {found.window_s:.1f} s"),
        ("batches", f"{found.batches:,} final, {found.missing:,} missing, latency {latency}"),
        ("refused", ", ".join(refused) or "none"),
        ("kept", f"{found.kept_bytes / _MIB:.0f} MiB, {found.kept_bytes_per_reading} bytes a reading"),
        (
            "CPU us per reading",
            f"{found.cpu_us_per_reading} in {found.gateways} gateways; its two hashes alone take "
            f"{found.hashing_us_per_reading}",
        ),
        ("CPU of the nodes", f"{found.nodes_cpu_s:.1f} s"),
        ("proved from another node", f"{found.proved:,} drawn by lot"),
    ]


def _stretch_rows(stretch: Stretch) -> list[tuple[str, str]]:
    refused = [f"{count:,} as {code}" for code, count in stretch.refused.items()]
    rows = [
        ("submitted", f"{stretch.submitted:,} at {stretch.per_second:,.0f}/s, {stretch.taken:,} taken"),
        ("refused", ", ".join(refused) or "none"),
        (
            "early, final, late, missing",
            f"{stretch.early:,}, {stretch.final:,}, {stretch.late:,}, {stretch.missing:,}",
        ),
        ("submission to final", _latency(stretch)),
        ("proposal to final", _proposal_to_final(stretch)),
        ("CPU ms per transaction", ", ".join(f"{k} {v}" for k, v in stretch.cpu_ms_per_transaction.items())),
        ("bytes sent per transaction", f"{stretch.sent_bytes_per_transaction}"),
        ("load generator", f"{stretch.generator_cpu_s} CPU s, late by {stretch.generator_late_ms_max} ms"),
    ]
    for name, use in stretch.nodes.items():
        rows.append((name, f"{use.cpu_s:.1f} CPU s, {use.memory_peak_bytes / _MIB:.0f} MiB at most"))
    return rows


def _latency(stretch: Stretch) -> str:
    found = ", ".join(f"{name} {value} ms" for name, value in stretch.latency_ms.items())
    return f"{found} of {stretch.latency_samples:,}"


def _proposal_to_final(stretch: Stretch) -> str:
    found = ", ".join(f"{name} {value} ms" for name, value in stretch.proposal_to_final_ms.items())
    return f"{found} of {stretch.proposal_to_final_samples:,}, each block at each node that is followed"


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    made = Table("what", "figure", title=title, title_justify="left", title_style="bold", show_header=False)
    for row in rows:
        made.add_row(*row)
    return made
