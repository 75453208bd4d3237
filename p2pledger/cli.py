"""The command `p2pledger`. Floor 10."""

import gc
import sys
from pathlib import Path
from typing import NoReturn

import click

from p2pledger import __version__
from p2pledger.backup_command import backup, restore
from p2pledger.bench.command import bench
from p2pledger.governance_command import authority, propose, vote
from p2pledger.kubernetes.command import k8s
from p2pledger.monitoring_command import monitoring
from p2pledger.query_command import query
from p2pledger.testnet_command import init_testnet, run_links, run_load
from p2pledger.verify_command import verify_chain

# What a command needs is imported when it runs: libp2p alone takes longer than `p2pledger version`.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """A permissioned ledger that a city can run without an owner."""


main.add_command(backup)
main.add_command(restore)
main.add_command(bench)
main.add_command(query)
main.add_command(verify_chain)
main.add_command(authority)
main.add_command(propose)
main.add_command(vote)
main.add_command(monitoring)
main.add_command(k8s)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@main.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The node's TOML file; P2PLEDGER_* variables stand over it.",
)
@click.option("--parent", type=int, hidden=True, help="Stop when this process, our parent, ends.")
def node(config: Path, parent: int | None) -> None:
    """Run one node until SIGTERM or Ctrl-C."""
    from p2pledger.testnet.lifeline import end_with_parent

    if parent is not None:
        end_with_parent(parent)
    _run(config)


def _run(config: Path) -> NoReturn:
    """Be a node until it ends."""
    gc.disable()  # until it is open: what loading makes stays, and looking for garbage takes a sixth of it
    # structlog loads it, where it is there, for tracebacks that a node writes in another form: 6 MiB.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from p2pledger.daemon import run

    sys.exit(run(config))


@main.command()
@click.option("--dir", "home", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--role", type=click.Choice(["authority", "gateway"]), required=True)
@click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--genesis", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--listen", default="/ip4/127.0.0.1/tcp/7160", show_default=True, metavar="MULTIADDR")
@click.option("--peer", "peers", multiple=True, metavar="MULTIADDR", help="A peer to dial, with /p2p/ID.")
def init(
    home: Path,
    role: str,
    passphrase_file: Path | None,
    genesis: Path | None,
    listen: str,
    peers: tuple[str, ...],
) -> None:
    """Make a node's keys; with --genesis also its guard and its configuration.

    Run it once without --genesis, give what it prints to those who write the genesis file, and run it
    again with that file. An authority that joins a ledger later needs one run, with its genesis file.
    Keys are never made over.
    """
    from p2pledger.errors import Fatal, InvalidMessage
    from p2pledger.node.config import Role
    from p2pledger.node.home import prepare
    from p2pledger.signer.keyfile import KeyFileRefused

    try:
        lines = prepare(home, Role(role), passphrase_file, genesis, listen, peers)
    except (KeyFileRefused, Fatal, InvalidMessage, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo("\n".join(lines))


@main.group()
def invite() -> None:
    """Invites, with which gateways join."""


@invite.command("create")
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="An admin key file of the organisation.",
)
@click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--organisation", metavar="ID", help="Whose gateway it will be.  [default: the key's]")
@click.option("--expires", default="24h", show_default=True, metavar="TIME", help="As 90m, 24h or 7d.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A node's home, for its genesis file and the peers that it dials.",
)
@click.option("--genesis", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--peer", "peers", multiple=True, metavar="MULTIADDR", help="A node to knock at, with /p2p/ID.")
@click.option("--api", "apis", multiple=True, metavar="URL", help="A node to knock at, by its HTTP API.")
def create_invite(
    key: Path,
    passphrase_file: Path | None,
    organisation: str | None,
    expires: str,
    home: Path | None,
    genesis: Path | None,
    peers: tuple[str, ...],
    apis: tuple[str, ...],
) -> None:
    """Print an invite for one gateway: one string, signed offline with an admin key.

    It needs the ledger (--home or --genesis) and some nodes to knock at, best several authorities: --peer and
    --api, else those that the node of --home dials. What the invite grants is told on standard error.
    """
    from p2pledger.errors import InvalidMessage
    from p2pledger.node import inviting
    from p2pledger.node.config import ConfigurationError
    from p2pledger.node.genesis_file import load_genesis
    from p2pledger.signer.keyfile import KeyFileRefused

    try:
        if home is None and genesis is None:
            raise ValueError("name the ledger: --home of one of its nodes, or its --genesis file")
        ledger, known = inviting.ledger_of_home(home) if home is not None else (None, ())
        if genesis is not None:
            ledger = load_genesis(genesis)
        assert ledger is not None
        named = [*peers, *(address for api in apis for address in inviting.addresses_of(api))]
        granted = inviting.create_invite(key, passphrase_file, ledger, organisation, expires, named or known)
    except (KeyFileRefused, ConfigurationError, InvalidMessage, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo("\n".join(granted.lines), err=True)
    click.echo(granted.text)


@main.command()
@click.argument("invite")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("gateway"),
    show_default=True,
    help="Where its keys, configuration and data go.",
)
@click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--listen", default="/ip4/0.0.0.0/tcp/7160", show_default=True, metavar="MULTIADDR")
@click.option("--timeout", type=click.FloatRange(1, 3_600), default=120, show_default=True, metavar="S")
@click.option("--start", is_flag=True, help="Run the node when it has joined.")
def join(
    invite: str, home: Path, passphrase_file: Path | None, listen: str, timeout: float, start: bool
) -> None:
    """Make this machine a gateway with INVITE, the string of `p2pledger invite create` (`-`: standard input).

    Run it again with the same INVITE and --home when it was interrupted: it goes on where it was.
    """
    from p2pledger.chain.invite import parse_invite
    from p2pledger.errors import InvalidMessage
    from p2pledger.node import inviting
    from p2pledger.node.home import CONFIGURATION
    from p2pledger.node.joining import CannotJoin
    from p2pledger.signer.keyfile import KeyFileRefused

    text = sys.stdin.readline() if invite == "-" else invite
    try:
        lines = inviting.join(parse_invite(text.strip()), home, passphrase_file, listen, timeout)
    except (CannotJoin, KeyFileRefused, InvalidMessage, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo("\n".join(lines))
    if start:
        _run(home / CONFIGURATION)


@main.command("why-stalled")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    default=["http://127.0.0.1:7100"],
    show_default=True,
    metavar="URL",
    help="A node's API; may be given several times.",
)
@click.option("--json", "is_json", is_flag=True, help="Print one object instead, for scripts.")
def why_stalled(nodes: tuple[str, ...], is_json: bool) -> None:
    """Say in plain words why nothing becomes final: who is missing, and what a node waits for.

    A node cannot see why another one is silent: ask several. Exits with 0 when all are healthy, 1 when one
    is stalled, 2 when one is not reachable.
    """
    from rich.console import Console

    from p2pledger.why_stalled import run

    sys.exit(run(nodes, is_json=is_json, console=Console()))


@main.command()
@click.option("--seeds", type=click.IntRange(1), default=200, show_default=True, help="How many runs.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option("--seed", type=click.IntRange(0), help="Run this one seed, and tell what goes wrong in it.")
@click.option("--soak", is_flag=True, help="Go on without end, until a promise is broken.")
@click.option("--n", type=click.IntRange(1, 20), help="So many authorities; else 4 to 10, as the seed says.")
@click.option("--real-signatures", is_flag=True, help="Sign with ECDSA instead of keyed hashes.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes.  [default: one for each core]")
def simulate(
    seeds: int,
    first: int,
    seed: int | None,
    soak: bool,
    n: int | None,
    real_signatures: bool,
    jobs: int | None,
) -> None:
    """Run whole ledgers under a simulated network, with crashes and liars, from one seed each.

    A seed that breaks a promise is printed with the least that breaks it; the same seed and commit give
    the same run again. Exits with 1 when a promise was broken, or a campaign met too little.
    """
    from rich.console import Console

    from p2pledger.simulator.command import run_campaign, run_one

    console = Console(soft_wrap=True)
    if seed is not None:
        sys.exit(run_one(seed, n, is_real=real_signatures, console=console))
    many = None if soak else seeds
    sys.exit(run_campaign(many, first, n, is_real=real_signatures, jobs=jobs, console=console))


@main.group()
def testnet() -> None:
    """A ledger of several nodes, to try things."""


testnet.add_command(init_testnet)
testnet.add_command(run_links)
testnet.add_command(run_load)


@testnet.command()
@click.option("--authorities", type=click.IntRange(1, 20), help="How many nodes decide.  [default: 4]")
@click.option(
    "--gateways", type=click.IntRange(1, 10), help="How many nodes follow and take data in.  [default: 1]"
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the testnet here and go on with it next time; else it is temporary.",
)
@click.option(
    "--replay",
    type=click.Choice(["all", "meters", "ride", "water", "city", "none"]),
    default="all",
    show_default=True,
    help="Real data; city: a day of eight organisations around it.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 10_000),
    default=100,
    show_default=True,
    help="Transactions a second.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=1),
    metavar="S",
    help="Stop after so many seconds; else after Ctrl-C.",
)
@click.option(
    "--faults",
    is_flag=True,
    help="Have nodes reach each other through links that `testnet fault` can break.",
)
@click.option(
    "--json", "is_json", is_flag=True, help="Print a report as the last line; the rest goes to stderr."
)
def up(
    authorities: int | None,
    gateways: int | None,
    directory: Path | None,
    replay: str,
    rate: float,
    duration: float | None,
    faults: bool,
    is_json: bool,
) -> None:
    """Start a testnet and replay real data through its gateways.

    Exits with 0 when all nodes agree and something became final; the city's day, when all its checks hold.
    """
    from p2pledger.testnet.city import run as city
    from p2pledger.testnet.up import Options, run

    play = city.run if replay == "city" else run
    try:
        sys.exit(play(Options(authorities, gateways, directory, replay, rate, duration, is_json, faults)))
    except city.EXPECTED as error:
        raise click.ClickException(str(error)) from None


@testnet.command("run-twin", hidden=True)
@click.option("--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--parent", type=int, required=True)
def run_twin(config: Path, parent: int) -> None:
    """Run a second node with an authority's keys: started by `fault twin`."""
    from p2pledger.testnet.lifeline import end_with_parent
    from p2pledger.testnet.twin import NotInATestnet, become_twin

    end_with_parent(parent)
    try:
        become_twin(config)
    except NotInATestnet as error:
        raise click.ClickException(str(error)) from None
    _run(config)


FAULTS = (
    "kill", "restart", "pause", "resume", "clock", "twin", "disconnect", "partition", "delay", "loss", "heal",
)  # fmt: skip


@testnet.command()
@click.argument("kind", type=click.Choice(FAULTS))
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@click.option("--for", "for_s", type=float, metavar="S", help="Undo it after so many seconds.")
@click.option("--ms", type=int, default=0, help="delay: each way; clock: ahead, or behind if negative.")
@click.option("--jitter", "jitter_ms", type=int, default=0, metavar="MS", help="delay: at random, on top.")
@click.option("--percent", type=float, default=0.0, help="loss: how much of what is sent.")
@click.option("--silent", is_flag=True, help="disconnect, partition: swallow bytes, reset nothing.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The testnet's; needed for one that is kept.",
)
def fault(
    kind: str,
    nodes: tuple[str, ...],
    for_s: float | None,
    ms: int,
    jitter_ms: int,
    percent: float,
    silent: bool,
    directory: Path | None,
) -> None:
    """Break something in a running testnet, or mend it.

    \b
    kill restart pause resume NODE...    a process; `clock NODE --ms N` starts it again with a wrong clock
    disconnect NODE...                   from everybody; needs, like all below, `testnet up --faults`
    partition 'NODE,NODE|NODE,NODE'      sides that do not reach each other
    delay [NODE...] --ms N [--jitter N]  on the links of these nodes, or on all
    loss [NODE...] --percent N
    twin NODE                            a second process with an authority's keys, which contradicts it
    heal                                 undoes all of it
    """
    from p2pledger.testnet import control
    from p2pledger.testnet.fault import Fault, FaultRefused, Kind

    between = "|" if kind == Kind.PARTITION.value else ","
    nodes = tuple(name.strip() for argument in nodes for name in argument.split(between))
    wanted = Fault(Kind(kind), nodes, for_s, ms, jitter_ms, percent, silent)
    try:
        click.echo(control.ask(control.find(directory), wanted))
    except (control.NoTestnet, FaultRefused) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
