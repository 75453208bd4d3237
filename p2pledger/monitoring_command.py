"""`p2pledger monitoring`: what to watch a ledger by, written as files. Floor 9."""

from pathlib import Path

import click

from p2pledger.monitoring.alerts import RUNBOOKS
from p2pledger.monitoring.pace import SPEED_MAX


@click.group()
def monitoring() -> None:
    """Dashboards and rules for Prometheus and Grafana."""


@monitoring.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--speed",
    type=click.IntRange(1, SPEED_MAX),
    default=1,
    show_default=True,
    help="Divide every range and every `for` of the rules by this, to try alerts within minutes.",
)
@click.option(
    "--runbooks",
    default=RUNBOOKS,
    show_default=True,
    metavar="URL",
    help="What each alert's runbook_url begins with: where docs/runbooks is published.",
)
def render(directory: Path, speed: int, runbooks: str) -> None:
    """Write all files below DIRECTORY."""
    from p2pledger.monitoring.pace import Pace
    from p2pledger.monitoring.render import write

    try:
        written = write(directory, Pace(speed), runbooks)
    except OSError as error:
        raise click.ClickException(f"{error}: name a directory that can be written") from None
    for path in written:
        click.echo(path)
