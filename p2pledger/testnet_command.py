"""`p2pledger testnet init`, `links` and `load`: for a testnet whose nodes have a host each. Floor 9."""

import sys
from pathlib import Path

import click

# What a command needs is imported when it runs, as in `cli`.

_AUTHORITIES = click.option("--authorities", type=click.IntRange(1, 20), default=4, show_default=True)
_GATEWAYS = click.option("--gateways", type=click.IntRange(1, 10), default=2, show_default=True)
_P2P_HOST = click.option(
    "--p2p-host",
    default="{name}",
    show_default=True,
    metavar="HOST",
    help="The DNS name at which peers reach a node; {name} is the node's.",
)


@click.command("init")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True)
@_AUTHORITIES
@_GATEWAYS
@_P2P_HOST
@click.option(
    "--api-host",
    default="{name}",
    show_default=True,
    metavar="HOST",
    help="The DNS name at which users reach a node.",
)
@click.option(
    "--links-host",
    default="",
    metavar="HOST",
    help="Where `testnet links` will run: makes links.toml beside each node.toml.",
)
def init_testnet(
    directory: Path, authorities: int, gateways: int, p2p_host: str, api_host: str, links_host: str
) -> None:
    """Make keys, a genesis file and configurations for nodes that have a host each, such as a container.

    Nodes listen on all addresses, at ports 7100 (API), 7130 (metrics) and 7160 (libp2p). DIR/NAME is all that
    a node needs on its host. A testnet that is there already is left as it is.
    """
    from p2pledger.testnet.directory import NotATestnet, Plan, create_directory, find_plan, open_directory
    from p2pledger.testnet.hosts import Hosts

    plan = Plan(authorities, gateways, 0, hosts=Hosts(api_host, p2p_host, links_host))
    try:
        found = find_plan(directory)
        if found is not None and found != plan:
            raise NotATestnet(f"{directory} holds another testnet: choose another --dir, or remove it")
        made = open_directory(directory) if found is not None else create_directory(directory, plan)
    except (NotATestnet, OSError) as error:
        raise click.ClickException(str(error)) from None
    done = "is there already" if found is not None else "made"
    click.echo(f"{made.genesis.chain_id} {made.genesis.hash.hex()} {done} in {directory}")


@click.command("links")
@click.option(
    "--control",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Where the socket is made that `testnet fault --dir` speaks to.",
)
@_AUTHORITIES
@_GATEWAYS
@_P2P_HOST
def run_links(control: Path, authorities: int, gateways: int, p2p_host: str) -> None:
    """Carry what nodes started with links.toml send each other, so that `testnet fault` can break it."""
    from p2pledger.testnet import links
    from p2pledger.testnet.control import NoTestnet
    from p2pledger.testnet.directory import Plan
    from p2pledger.testnet.hosts import Hosts

    plan = Plan(authorities, gateways, 0, hosts=Hosts(p2p=p2p_host))
    try:
        sys.exit(links.run(plan, control))
    except (NoTestnet, OSError) as error:
        raise click.ClickException(str(error)) from None


@click.command("load")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True
)
@click.option("--gateway", "gateways", multiple=True, metavar="NAME", help="Through whom.  [default: all]")
@click.option(
    "--replay",
    type=click.Choice(["all", "meters", "ride", "water"]),
    default="all",
    show_default=True,
    help="Real data.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 10_000),
    default=20,
    show_default=True,
    help="Transactions a second.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=1),
    metavar="S",
    help="Stop after so many seconds; else after SIGTERM.",
)
def run_load(
    directory: Path, gateways: tuple[str, ...], replay: str, rate: float, duration: float | None
) -> None:
    """Replay real data through gateways that run already. Exits with 0 when something became final."""
    from rich.console import Console

    from p2pledger.testnet.directory import open_directory
    from p2pledger.testnet.load import EXPECTED, Load, run

    try:
        wanted = Load(replay, rate, duration, gateways)
        sys.exit(run(open_directory(directory), wanted, Console()))
    except EXPECTED as error:
        raise click.ClickException(str(error)) from None
