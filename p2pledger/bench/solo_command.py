"""`p2pledger bench store` and `bench modules`: a ledger in one process. Floor 9."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from p2pledger.bench.options import as_json

if TYPE_CHECKING:
    from rich.console import RenderableType

KEYS_MAX = 100_000_000

# What a command needs is imported when it runs.


@click.command()
@click.option(
    "--transactions",
    type=click.IntRange(10, 100_000_000),
    default=200_000,
    show_default=True,
    help="How far the chain grows; 10,000,000 take a quarter of an hour.",
)
@click.option("--block", type=click.IntRange(1, 4_000), default=1_000, show_default=True, help="In a block.")
@click.option(
    "--devices", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="That write in turn."
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the chain in this empty directory, on the disk to measure; else it is temporary.",
)
@as_json
def store(transactions: int, block: int, devices: int, directory: Path | None, is_json: bool) -> None:
    """How the rate of commits holds while a chain grows: one process, a real disk, no network.

    Transactions carry zeros for signatures, which no store looks at. Making and executing them is not in
    the rates.
    """
    from p2pledger.bench.store import measure

    with _empty(directory) as home, click.progressbar(length=transactions, file=sys.stderr) as progress:
        report = measure(transactions, block, devices, home, progress.update)
    _print(report.as_table(), report.as_json(), is_json=is_json)


@click.command()
@click.option(
    "--count",
    type=click.IntRange(1, 1_000),
    default=500,
    show_default=True,
    help="Transactions of each kind, but for proposals and votes, of which fewer can be open.",
)
@click.option("--devices", type=click.IntRange(1, 100_000), default=10_000, show_default=True)
@click.option(
    "--rounds", type=click.IntRange(1, 10), default=3, show_default=True, help="The median is printed."
)
@click.option(
    "--state-keys",
    "sizes",
    default="0",
    show_default=True,
    metavar="N[,N...]",
    help="How many keys the state has before; over several sizes, how the rate of executing falls.",
)
@as_json
def modules(count: int, devices: int, rounds: int, sizes: str, is_json: bool) -> None:
    """What each kind of transaction costs: microseconds for each step of its way through one ledger.

    One process, a store on disk, no network. By module, what its rules cost themselves, at the median, and
    how many transactions a second are executed.
    """
    if count > devices:
        raise click.ClickException("each transaction needs a device of its own: raise --devices")

    state_keys = _sizes(sizes)
    from p2pledger.bench.modules.measuring import BLOCKS, measure

    with (
        _empty(None) as home,
        click.progressbar(length=2 * rounds * BLOCKS * len(state_keys), file=sys.stderr) as progress,
    ):
        report = measure(count, devices, rounds, home, progress.update, state_keys)
    _print(report.as_table(), report.as_json(), is_json=is_json)


def _sizes(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isascii() and word.isdecimal() and int(word) <= KEYS_MAX for word in words) or len(
        set(words)
    ) < len(words):
        raise click.BadParameter(f"different numbers up to {KEYS_MAX:,}, with commas between: {text!r}")
    return [int(word) for word in words]


@contextmanager
def _empty(directory: Path | None) -> Iterator[Path]:
    """The directory that was asked for, or a temporary one."""
    if directory is None:
        with TemporaryDirectory(prefix="p2pledger-bench-") as temporary:
            yield Path(temporary)
    elif directory.exists() and any(directory.iterdir()):
        raise click.ClickException(f"{directory} is not empty: choose another --dir")
    else:
        yield directory


def _print(table: "RenderableType", report: dict[str, Any], *, is_json: bool) -> None:
    """A table for people; with --json that goes to stderr, and the report is stdout's last line."""
    from rich.console import Console

    Console(stderr=is_json).print(table)
    if is_json:
        click.echo(json.dumps(report))
