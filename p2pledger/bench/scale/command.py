"""`p2pledger bench scale`. What it needs is imported when it runs. Floor 9."""

import json
from typing import Any

import click

from p2pledger.bench.options import as_json
from p2pledger.bench.scale.assumptions import Assumptions, asked_for


def sizes(text: str) -> tuple[int, ...]:
    """Numbers with commas between them. Raises: click.BadParameter."""
    found = tuple(int(size) if size.isdecimal() else 0 for size in text.split(","))
    if min(found) < 1:
        raise click.BadParameter(f"{text!r} is not numbers of 1 and more with commas between them")
    return found


@click.command()
@click.option(
    "--gateways",
    type=sizes,
    metavar="N,N,...",
    help="Gossip to so many, simulated.  [default: 100,1000,10000]",
)
@click.option(
    "--authorities",
    type=sizes,
    metavar="N,N,...",
    help="Agreement of so many, simulated.  [default: 4 to 100]",
)
@click.option(
    "--processes", type=sizes, metavar="N,N,...", help="So many authorities as real nodes.  [default: 4,7,10]"
)
@asked_for
@as_json
def scale(
    gateways: tuple[int, ...] | None,
    authorities: tuple[int, ...] | None,
    processes: tuple[int, ...] | None,
    is_json: bool,
    **assumed: Any,
) -> None:
    """How cost grows with gateways and authorities, and where it breaks.

    Of --gateways, --authorities and --processes those run that are named, and all when none is.
    """
    from rich.console import Console

    from p2pledger.bench.scale.run import Sizes, run

    named = (gateways, authorities, processes)
    wanted = Sizes(*(size or () for size in named)) if any(named) else Sizes()
    progress = Console(stderr=True, soft_wrap=True)
    report = run(wanted, Assumptions(**assumed), progress)
    if is_json:
        report.show(progress)
        click.echo(json.dumps(report.as_json()))
    else:
        report.show(Console())
