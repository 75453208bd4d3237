"""`p2pledger bench`: what the ledger costs on this machine. Floor 9."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from p2pledger.bench.options import as_json
from p2pledger.bench.scale.command import scale
from p2pledger.bench.solo_command import modules, store

if TYPE_CHECKING:
    from rich.table import Table

    from p2pledger.bench.phase import Progress

# What a command needs is imported when it runs: `p2pledger version` must not wait for libp2p.

Found = TypeVar("Found")

authorities = click.option(
    "--authorities", type=click.IntRange(1, 20), default=4, show_default=True, help="How many nodes decide."
)


def gateways(default: int) -> Callable[[Any], Any]:
    """The option for how many nodes follow."""
    return click.option(
        "--gateways", type=click.IntRange(0, 10), default=default, show_default=True, help="How many follow."
    )


def seconds(default: int) -> Callable[[Any], Any]:
    """The option for how long to measure."""
    return click.option("--seconds", type=click.FloatRange(1, 3_600), default=default, show_default=True)


@click.group()
def bench() -> None:
    """Measure what the ledger costs, with real nodes, against what this machine could do at best."""


@bench.command()
@authorities
@gateways(0)
@seconds(60)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.1),
    metavar="TPS",
    help="Transactions a second to submit.  [default: the most that is found to be sustained]",
)
@click.option(
    "--beside",
    type=click.FloatRange(0, 600),
    default=10,
    show_default=True,
    metavar="S",
    help="Then put on 50 %, 90 % and 200 % of what was reached, for so many seconds each; 0: do not.",
)
@click.option(
    "--ceiling",
    type=click.FloatRange(0.1, 60),
    default=3,
    show_default=True,
    metavar="S",
    help="Measure what the cores can verify for so long, before the load and after it.",
)
@click.option(
    "--readings",
    type=click.FloatRange(0, 600),
    default=10,
    show_default=True,
    metavar="S",
    help="Then have two gateways make readings for so long, as `bench readings` does; 0: do not.",
)
@as_json
def throughput(
    authorities: int,
    gateways: int,
    seconds: float,
    rate: float | None,
    beside: float,
    ceiling: float,
    readings: float,
    is_json: bool,
) -> None:
    """How many transactions a second become final at every node, and how near that is to the ceiling.

    Records of 250 bytes of a thousand devices, each signed by its device before the clock starts, are
    submitted to all authorities in turn, whatever becomes of those before. The ceiling is what the same
    cores reach in the same run if all nodes only verify signatures.

    With P2PLEDGER_METRICS_BY_TASK=true in the environment the nodes also tell what libp2p, HTTP and the event
    loop take, which costs them some of their speed.
    """
    from p2pledger.bench import throughput
    from p2pledger.bench.display import throughput_table
    from p2pledger.bench.fleet import Shape

    options = throughput.Options(Shape(authorities, gateways), seconds, rate, beside, ceiling, readings)
    _show(lambda progress: throughput.measure(options, progress), throughput_table, is_json)


@bench.command()
@authorities
@gateways(0)
@seconds(30)
@click.option("--rate", type=click.FloatRange(0.1, 10_000), default=100, show_default=True, metavar="TPS")
@click.option(
    "--delay-ms",
    type=click.FloatRange(0, 10_000),
    default=0,
    show_default=True,
    metavar="MS",
    help="Put so much delay on every link between nodes, each way.",
)
@as_json
def latency(
    authorities: int, gateways: int, seconds: float, rate: float, delay_ms: float, is_json: bool
) -> None:
    """How long it takes until a client sees final, at the node that it submitted to, what it submitted.

    And how much of it is agreement: from the moment that a leader begins to build a block until clients of
    each authority see it final.
    """
    from p2pledger.bench import latency
    from p2pledger.bench.display import latency_table
    from p2pledger.bench.fleet import Shape

    shape = Shape(authorities, gateways, delay_ms)
    _show(lambda progress: latency.measure(shape, rate, seconds, progress), latency_table, is_json)


@bench.command()
@authorities
@gateways(1)
@seconds(60)
@as_json
def idle(authorities: int, gateways: int, seconds: float, is_json: bool) -> None:
    """What nodes need while nothing is to be done, and how soon after its start one is ready."""
    from p2pledger.bench import idle
    from p2pledger.bench.display import idle_table
    from p2pledger.bench.fleet import Shape

    shape = Shape(authorities, gateways)
    _show(lambda progress: idle.measure(shape, seconds, progress), idle_table, is_json)


@bench.command()
@authorities
@gateways(0)
@seconds(20)
@click.option("--rate", type=click.FloatRange(0.1, 10_000), default=100, show_default=True, metavar="TPS")
@as_json
def scrape(authorities: int, gateways: int, seconds: float, rate: float, is_json: bool) -> None:
    """What answering one scrape of its metrics takes from a node under load, by the node's own account.

    Every authority is scraped four times a second meanwhile. The figure is processor time of the loop and of
    the thread that writes the answer, for which the loop may have to wait.
    """
    from p2pledger.bench import scrape
    from p2pledger.bench.display import scrape_table
    from p2pledger.bench.fleet import Shape

    shape = Shape(authorities, gateways)
    _show(lambda progress: scrape.measure(shape, rate, seconds, progress), scrape_table, is_json)


@bench.command()
@click.option(
    "--authorities", type=click.IntRange(2, 20), default=4, show_default=True, help="How many nodes decide."
)
@click.option(
    "--gateways", type=click.IntRange(1, 16), default=2, show_default=True, help="How many make readings."
)
@seconds(10)
@as_json
def readings(authorities: int, gateways: int, seconds: float, is_json: bool) -> None:
    """How many readings a second gateways encode, hash into batches, sign, keep on disk and see final.

    All of that is inside the measure. Then 1,000 of them, drawn by lot, are proved from the gateways' files
    and the receipts that another node gives of their batches.
    """
    from p2pledger.bench import readings
    from p2pledger.bench.display import readings_table

    _show(
        lambda progress: readings.measure(authorities, gateways, seconds, progress), readings_table, is_json
    )


bench.add_command(scale)
bench.add_command(store)
bench.add_command(modules)


def _show(
    measure: "Callable[[Progress], Awaitable[Found]]", table: "Callable[[Found], Table]", is_json: bool
) -> None:
    """Measure, and print what was found."""
    from concurrent.futures.process import BrokenProcessPool

    import trio
    from rich.console import Console

    from p2pledger.bench.display import EXPECTED, shown_progress

    refused: Exception | None = None
    try:
        with shown_progress() as progress:
            found = trio.run(measure, progress)
    except* (KeyboardInterrupt, BrokenProcessPool) as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        refused = click.Abort()  # Ctrl-C reaches the workers too, and each of them complains
    except* EXPECTED as group:
        refused = click.ClickException(str(_first(group)))
    if refused is not None:
        raise refused
    if is_json:
        click.echo(json.dumps(asdict(found)))  # type: ignore[call-overload]
    else:
        Console(soft_wrap=True).print(table(found))


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
