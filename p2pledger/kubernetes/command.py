"""`p2pledger k8s`: what a cluster is given, made offline; what a pod does before its node starts. Floor 9."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

# What a command needs is imported when it runs, as in `cli`.

_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_HOME = click.Path(path_type=Path, exists=True, file_okay=False)
_MANIFESTS = click.option(
    "--manifests",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("deploy/k8s"),
    show_default=True,
    help="The manifests of a checkout.",
)
_HOURS = click.option(
    "--permit-hours",
    type=click.IntRange(1, 168),
    default=24,
    show_default=True,
    help="How long guards may be made.",
)


def _namespace(default: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--namespace",
        default=default,
        required=default is None,
        show_default=default is not None,
        callback=_checked(r"[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?"),
        help="Of a consortium: the beginning of each organisation's.",
    )


def _checked(pattern: str) -> Callable[[click.Context, click.Parameter, str], str]:
    def check(_context: click.Context, parameter: click.Parameter, value: str) -> str:
        import re

        if not re.fullmatch(pattern, value):
            raise click.BadParameter(f"{value!r}: write small letters, digits and dashes", param=parameter)
        return value

    return check


def _image(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    from p2pledger.kubernetes.overlay import image_entry

    try:
        image_entry("p2pledger", value or "p2pledger:0")
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None
    return value


_IMAGE = click.option(
    "--image",
    default="",
    metavar="IMAGE",
    callback=_image,
    help="NAME:TAG, or NAME@sha256:DIGEST.  [default: p2pledger:VERSION]",
)


@click.group()
def k8s() -> None:
    """A ledger in a Kubernetes cluster: keys, genesis file and kustomization, made offline."""


@k8s.command("init")
@_DIRECTORY
@click.option("--overlay", type=click.Choice(["dev", "consortium", "prod"]), default="dev", show_default=True)
@click.option("--authorities", type=click.IntRange(4, 20), default=4, show_default=True)
@click.option("--gateways", type=click.IntRange(1, 10), default=2, show_default=True)
@_namespace("p2pledger")
@click.option(
    "--chain-id",
    default="testnet",
    show_default=True,
    callback=_checked(r"(?=.{1,32}$)[a-z0-9]+(-[a-z0-9]+)*"),
    help="The ledger's name.",
)
@click.option(
    "--p2p-host",
    default="",
    metavar="HOST",
    help="Where peers reach a node, with {name} and {number}.  [default: {name}.p2p.NAMESPACE.svc]",
)
@_IMAGE
@_MANIFESTS
@_HOURS
def init_cluster(directory: Path, **options: Any) -> None:
    """Make the keys and the genesis file of a new ledger, and the kustomization that is applied.

    It reaches nothing. Run again it leaves everything as it is and writes what is missing; keys are never
    made over. Of a consortium, DIR/member-N is what organisation N is given: an authority and a gateway.
    """
    from p2pledger.kubernetes.making import FIRST_START, KUSTOMIZATION, Wanted, init
    from p2pledger.kubernetes.overlay import DEV

    if options["overlay"] == "consortium":
        options["gateways"] = options["authorities"]
    _say(lambda: init(directory, Wanted(**options)))
    folder = "DIR/member-N" if options["overlay"] == "consortium" else str(directory)
    lines = [
        f"Apply it, and delete the permit once all are ready ({KUSTOMIZATION} is yours to change):",
        f"  kubectl apply -k {folder}",
        f"  kubectl apply -f {folder}/{FIRST_START}",
        f"  kubectl delete -f {folder}/{FIRST_START}",
    ]
    if options["overlay"] == DEV:  # the permit is part of it, and ends by itself
        lines = [f"Apply it ({KUSTOMIZATION} is yours to change):", lines[1]]
    click.echo("\n".join(lines))


@k8s.command("node")
@_DIRECTORY
@click.option("--home", type=_HOME, required=True, help="Made by `p2pledger init` or `p2pledger join`.")
@click.option("--number", type=click.IntRange(1, 9_999), required=True, help="The pod is ROLE-NUMBER.")
@click.option("--passphrase-file", type=_FILE, required=True, help="What opens its keys.")
@click.option("--genesis", type=_FILE, required=True, help="The ledger's genesis file.")
@_namespace(None)
@_IMAGE
@_MANIFESTS
@_HOURS
def add_node(
    directory: Path, home: Path, number: int, passphrase_file: Path, genesis: Path, **options: Any
) -> None:
    """Make the kustomization of one node whose keys its organisation has made by itself."""
    from p2pledger.kubernetes import making

    wanted = making.Wanted(
        overlay="consortium", authorities=1, gateways=1, chain_id="", p2p_host="", **options
    )
    _say(lambda: making.add_node(directory, number, home, passphrase_file, genesis, wanted))


@k8s.command("permit")
@_DIRECTORY
@click.option("--home", "homes", type=_HOME, multiple=True, required=True, help="An authority's.")
@click.option("--genesis", type=_FILE, required=True, help="The ledger's genesis file.")
@_namespace(None)
@_HOURS
def renew_permit(
    directory: Path, homes: tuple[Path, ...], genesis: Path, namespace: str, permit_hours: int
) -> None:
    """Write DIR/first-start.yaml anew: for keys that have never signed, and for no others."""
    from p2pledger.kubernetes import making

    _say(lambda: [str(making.permit(directory, namespace, genesis, homes, permit_hours))])


@k8s.command("guard")
@click.option("--config", type=_FILE, required=True, help="The node's TOML file; P2PLEDGER_* stand over it.")
@click.option("--permit", type=click.Path(path_type=Path, dir_okay=False), required=True)
def make_guard(config: Path, permit: Path) -> None:
    """Before a node starts: make the guard of a key that has never signed, if the permit says so.

    Exits with 0 when the node may start, 1 when it has to wait.
    """
    from p2pledger.errors import Fatal, InvalidMessage
    from p2pledger.kubernetes.first_start import load_permit, prepare_guard
    from p2pledger.kubernetes.refusals import Refused
    from p2pledger.node.config import ConfigurationError, load_configuration
    from p2pledger.node.genesis_file import load_genesis
    from p2pledger.signer.keyfile import KeyFileRefused
    from p2pledger.types import Millis

    try:
        configuration = load_configuration(config)
        genesis = load_genesis(configuration.node.genesis)
        now_ms = Millis(time.time_ns() // 1_000_000)
        done = prepare_guard(configuration, genesis, load_permit(permit), now_ms)
    except (Refused, ConfigurationError, KeyFileRefused, InvalidMessage, Fatal, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(done)


def _say(make: Callable[[], list[str]]) -> None:
    from p2pledger.kubernetes.refusals import Refused

    try:
        lines = make()
    except (Refused, OSError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    click.echo("\n".join(lines))
