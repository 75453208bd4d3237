"""Figures of growth as tables and as one JSON object. Floor 9."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from p2pledger.bench.scale.assumptions import Assumptions
from p2pledger.bench.scale.authorities import Agreement
from p2pledger.bench.scale.gateways import Spread
from p2pledger.bench.scale.processes import Fleet, Limits, Processes

Row = TypeVar("Row")
Columns = Sequence[tuple[str, Callable[[Row], object]]]

SPREAD: Columns[Spread] = (
    ("gateways", lambda s: f"{s.gateways:,}"),
    ("p50 ms", lambda s: s.p50_ms),
    ("p99 ms", lambda s: s.p99_ms),
    ("max ms", lambda s: s.max_ms),
    ("missed", lambda s: s.missed),
    ("copies", lambda s: s.copies),
    ("mesh", lambda s: f"{s.mesh_least}-{s.mesh_most}"),
    ("redials", lambda s: f"{s.redials:,.0f}/s"),
)
LOAD: Columns[Spread] = (
    ("gateways", lambda s: f"{s.gateways:,}"),
    ("RPC/s", lambda s: f"{s.mean.rpcs:,.0f}"),
    ("kB/s", lambda s: f"{s.mean.size_bytes / 1_000:,.0f}"),
    ("core", lambda s: f"{s.mean.share:.1%}"),
    ("top RPC/s", lambda s: f"{s.busiest.rpcs:,.0f}"),
    ("kB/s", lambda s: f"{s.busiest.size_bytes / 1_000:,.0f}"),
    ("core", lambda s: f"{s.busiest.share:.1%}"),
    ("full at", lambda s: f"{s.breaks_at_rate:,}/s"),
)
AGREEMENT: Columns[Agreement] = (
    ("n", lambda a: a.authorities),
    ("messages", lambda a: f"{a.messages:,.0f}"),
    ("kB", lambda a: f"{a.size_bytes / 1_000:,.1f}"),
    ("cpu ms", lambda a: f"{a.cpu_ms:,.1f}"),
    ("each", lambda a: f"{a.node_messages:,.0f}"),
    ("kB", lambda a: f"{a.node_bytes / 1_000:.1f}"),
    ("cpu ms", lambda a: f"{a.node_cpu_ms:.1f}"),
    ("frames", lambda a: f"{a.node_frames_ms:.1f}"),
    ("full at", lambda a: f"{a.full_at:.0f}/s"),
)
FLEET: Columns[Fleet] = (
    ("n", lambda f: f.authorities),
    ("blk/s", lambda f: f.blocks_per_s),
    ("tx/s", lambda f: f.transactions_per_s),
    ("core", lambda f: f"{f.authority_share:.1%}"),
    ("gateway", lambda f: f"{f.gateway_share:.1%}"),
    ("others", lambda f: f.other_cores),
    ("MiB", lambda f: f.node_mib),
    ("all MiB", lambda f: f"{f.memory_mib:,}"),
    ("kB/s", lambda f: f"{f.authority_sent_bytes_per_s / 1_000:.0f}"),
    ("agree", lambda f: "yes" if f.agree else "NO"),
)


@dataclass
class Report:
    """What was measured; None or empty where nothing was asked for."""

    assumptions: Assumptions
    limits: Limits
    gateways: list[Spread] = field(default_factory=list)
    authorities: list[Agreement] = field(default_factory=list)
    processes: Processes | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for one JSON object."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Print a table for each part that was asked for."""
        how = self.assumptions
        if self.gateways:
            title = (
                f"Gossip, simulated: {how.rate:g} messages a second of {how.message_bytes:,} bytes,"
                f" links of {how.delay_ms:g} ms"
            )
            console.print(_table(title, SPREAD, self.gateways))
            console.print(_table("A node on average, and the busiest", LOAD, self.gateways))
        if self.authorities:
            console.print(
                _table(
                    "What n authorities spend on a final block, together and each",
                    AGREEMENT,
                    self.authorities,
                )
            )
        if self.processes is not None:
            allowed = f"{self.limits.cores} cores and {self.limits.memory_mib:,} MiB allowed"
            title = f"n authorities and a gateway as processes; {allowed}"
            console.print(_table(title, FLEET, self.processes.fleets))
            console.print(
                f"Stopped by {self.processes.stopped}" if self.processes.stopped else "All were run."
            )


def _table(title: str, columns: Columns[Row], rows: Iterable[Row]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(str(show(row)) for _, show in columns))
    return table
