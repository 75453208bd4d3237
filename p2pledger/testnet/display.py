"""What a testnet shows to people: its endpoints, how far a replay is, what it came to. Floor 8."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from p2pledger.testnet.directory import Node
from p2pledger.testnet.tally import Tally


def endpoint_table(nodes: Sequence[Node]) -> Table:
    """The table of endpoints: narrow enough for a terminal of 80 columns."""
    table = Table(title="p2pledger testnet", title_justify="left", title_style="bold")
    for column in ("node", "HTTP API", "metrics"):
        table.add_column(column, no_wrap=True)
    for node in nodes:
        table.add_row(node.name, node.http_url, node.metrics_url)
    return table


def sum_of(tally: Tally) -> str:
    """A tally in one line."""
    latency = tally.latency_ms()
    parts = [f"{tally.transactions_final:,} transactions final", f"{tally.readings_final:,} readings"]
    parts += [f"{count:,} refused as {code}" for code, count in sorted(tally.refused.items())]
    if latency["p50"] is not None:
        parts.append(f"final after {latency['p50']:.0f} ms (p50), {latency['p99']:.0f} ms (p99)")
    return " · ".join(parts)


class ReplayDisplay:
    """The progress of a replay: a bar for the pass and a line of counts. A context manager.

    Where there is no terminal it prints the counts now and then.
    """

    PLAIN_S = 10.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._line = Text()
        self._plain_due_s = time.monotonic() + self.PLAIN_S
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def _render(self) -> RenderableType:
        return Group(self._progress, self._line)

    def __enter__(self) -> "ReplayDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, passes: int, done: int, size: int, tally: Tally, heights: Mapping[str, int]) -> None:
        """Show how far the replay is. `heights`: by node."""
        if not self._console.is_terminal:
            if time.monotonic() > self._plain_due_s:
                self._plain_due_s += self.PLAIN_S
                self._console.print(f"pass {passes}: {done:,} of {size:,}; {sum_of(tally)}", soft_wrap=True)
            return
        if self._task is None:
            self._task = self._progress.add_task("", total=size)
        self._progress.update(self._task, description=f"pass {passes}", completed=done, total=size)
        heights_line = "  ".join(f"{name} {height}" for name, height in heights.items())
        self._line = Text(f"{sum_of(tally)}\nheights: {heights_line}")
