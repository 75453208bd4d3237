"""`p2pledger propose`, `vote` and `authority ready`: an organisation's voice, and its node's. Floor 9.

Each makes one transaction, signed here by the organisation's key files, and waits until it is final.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from p2pledger.client import Client, Fate
    from p2pledger.crypto import KeySigner
    from p2pledger.node.config import Configuration
    from p2pledger.types import Height, PublicKey

# What a command needs is imported when it runs, as in `cli`.

API_DEFAULT = "http://127.0.0.1:7100"
FINAL_MS = 60_000
LISTED_POLL_S = 2.0
"""How often it is looked whether a node is in a list: an epoch has thousands of blocks."""

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_KEYS = click.option(
    "--key", "keys", multiple=True, required=True, type=_FILE, help="A key file that signs; may be several."
)
_PASSPHRASE = click.option("--passphrase-file", type=_FILE, help="What opens the keys that sign.")
_ORGANISATION = click.option("--organisation", metavar="ID", help="Who speaks.  [default: the key's]")
_GENESIS = click.option("--genesis", type=_FILE, required=True, help="The ledger's genesis file.")
_API = click.option(
    "--api",
    "urls",
    multiple=True,
    default=[API_DEFAULT],
    show_default=True,
    metavar="URL",
    help="A node's API; the next one is asked when one fails.",
)


@click.command()
@click.argument("kind")
@click.option("--file", "measure_file", type=_FILE, required=True, help="The measure's fields, as JSON.")
@click.option(
    "--from-height", type=click.IntRange(1), help="The first block it works in.  [default: in an epoch]"
)
@click.option("--basis", required=True, metavar="ID", help="The decision, contract or law that it rests on.")
@click.option(
    "--document", type=_FILE, required=True, help="Its reasons, of which the ledger keeps the hash."
)
@_KEYS
@_PASSPHRASE
@_ORGANISATION
@_GENESIS
@_API
def propose(
    kind: str,
    measure_file: Path,
    from_height: int | None,
    basis: str,
    document: Path,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    organisation: str | None,
    genesis: Path,
    urls: tuple[str, ...],
) -> None:
    """Put a measure to the vote of the authorities: KIND as `authority.add`, its fields from a file.

    Signed by admins of an organisation that sits. Prints the proposal's id, which is what they vote on; what
    was not adopted before the height has failed.
    """
    from p2pledger.chain.payloads import MEASURES, GovPropose
    from p2pledger.codec import encode, from_json
    from p2pledger.types import Hash, Height

    with _errors_told(), _connected(genesis, urls) as client:
        if kind not in MEASURES:
            raise ValueError(f"{kind!r} is no measure; there are {', '.join(sorted(MEASURES))}")
        measure = from_json(MEASURES[kind], json.loads(measure_file.read_text(encoding="utf-8")))
        signers = _signers(keys, passphrase_file)
        if from_height is None:
            from_height = client.status().height + client.genesis.parameters.epoch_blocks
        payload = GovPropose(
            kind,
            encode(measure),
            Height(from_height),
            basis,
            Hash(hashlib.sha256(document.read_bytes()).digest()),
        )
        fate = _send(client, payload, organisation, signers)
        click.echo(f"proposed in block {fate.height}, to work from block {from_height} on", err=True)
        click.echo(fate.transaction_id.hex())


@click.command()
@click.argument("proposal")
@click.argument("voice", type=click.Choice(["yes", "no"]))
@_KEYS
@_PASSPHRASE
@_ORGANISATION
@_GENESIS
@_API
def vote(
    proposal: str,
    voice: str,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    organisation: str | None,
    genesis: Path,
    urls: tuple[str, ...],
) -> None:
    """Give an authority's voice on PROPOSAL, by its id. Once, and for good; signed by its admins."""
    from p2pledger.chain.payloads import GovVote
    from p2pledger.types import Hash

    with _errors_told(), _connected(genesis, urls) as client:
        payload = GovVote(Hash(bytes.fromhex(proposal)), voice == "yes")
        fate = _send(client, payload, organisation, _signers(keys, passphrase_file))
        click.echo(f"voted {voice} in block {fate.height}")


@click.group()
def authority() -> None:
    """A node that is to be an authority."""


@authority.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The node's home, for its consensus key, its genesis file and its API.",
)
@_KEYS
@_PASSPHRASE
@_ORGANISATION
@click.option("--api", metavar="URL", help="The node's own API.  [default: what its home configures]")
@click.option(
    "--until-listed", is_flag=True, help="Say it in each epoch until an authority list has the node."
)
def ready(
    home: Path,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    organisation: str | None,
    api: str | None,
    until_listed: bool,
) -> None:
    """Say on the ledger that the node of --home follows the chain and holds its consensus key.

    Once the authorities have decided that it comes: it is then in the list that the next end of an epoch
    decides on, which sits one epoch later, unless others came first: `--until-listed` waits for its turn.
    Signed by a key of its organisation, an admin's for instance.
    """
    from p2pledger.chain.payloads import sign_ready
    from p2pledger.crypto import KeySigner
    from p2pledger.network.host import peer_id_of
    from p2pledger.signer.keyfile import SecretRole, load_key_file
    from p2pledger.types import Height

    with _errors_told():
        configuration, consensus = _authority_of(home)
        secrets = configuration.keys
        own = KeySigner(load_key_file(consensus, SecretRole.CONSENSUS, secrets.passphrase).secret)
        identity = load_key_file(secrets.identity, SecretRole.IDENTITY, secrets.passphrase)
        url = api or f"http://{configuration.api.host}:{configuration.api.port}"
        signers = _signers(keys, passphrase_file)

        def say(client: "Client") -> "Height":
            head = client.status()
            if head.peer != peer_id_of(identity.secret):
                raise ValueError(f"{url} is the API of {head.peer}, not of the node of {home}")
            payload = sign_ready(client.genesis.hash, own, head.height, head.digest)
            fate = _send(client, payload, organisation, signers)
            assert fate.height is not None, "it is final"
            last = Height(fate.height + client.genesis.parameters.epoch_blocks - 1)
            click.echo(f"ready in block {fate.height}, for an end of an epoch up to block {last}")
            return last

        with _connected(configuration.node.genesis, [url]) as client:
            if until_listed:
                first = say_until_listed(client, own.public_key, say, lambda: time.sleep(LISTED_POLL_S))
                click.echo(f"listed: it decides on block {first} and those that follow")
            else:
                say(client)


@authority.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The new node's home, for its consensus key and its identity.",
)
@_KEYS
@_PASSPHRASE
@_ORGANISATION
@_API
def rotate(
    home: Path,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    organisation: str | None,
    urls: tuple[str, ...],
) -> None:
    """Have an authority vote with the key and the node of --home from an epoch on, instead of those of now.

    Nobody has to vote on it: signed by admins of its organisation. The old one goes on until a list has the
    new one, which follows the chain meanwhile and has to be said ready: `p2pledger authority ready`.
    """
    from p2pledger.chain.payloads import AuthorityRotate
    from p2pledger.network.host import peer_id_of
    from p2pledger.signer.keyfile import SecretRole, load_key_file, read_public_key
    from p2pledger.types import PublicKey

    with _errors_told():
        configuration, consensus = _authority_of(home)
        secrets = configuration.keys
        peer = peer_id_of(load_key_file(secrets.identity, SecretRole.IDENTITY, secrets.passphrase).secret)
        payload = AuthorityRotate(PublicKey(read_public_key(consensus)[1]), peer)
        with _connected(configuration.node.genesis, urls) as client:
            fate = _send(client, payload, organisation, _signers(keys, passphrase_file))
        click.echo(f"asked for in block {fate.height}: start the new node, and say that it is ready")


def say_until_listed(
    client: "Client", key: "PublicKey", say: "Callable[[Client], Height]", pause: Callable[[], None]
) -> "Height":
    """Say once in each epoch that a node is ready, until the newest list has its key.

    `say` returns the last block whose epoch's end it counts for. Returns the first height that the list
    decides on. A node that is away is waited for.

    Raises: ValueError when no decided change is to bring the key in.
    """
    from p2pledger.chain.epoch import boundary_height, epoch_of
    from p2pledger.client import Unavailable
    from p2pledger.types import Height

    epoch_blocks, counts_until = client.genesis.parameters.epoch_blocks, Height(0)
    while True:
        try:
            page = next(client.query("governance.waiting"))
            epoch = epoch_of(page.height + 1, epoch_blocks)
            # The newest list that was decided at that height: a change that waits no more is in it.
            newest = boundary_height(epoch + 1, epoch_blocks)
            (found,) = next(client.query("governance.authorities", height=newest)).items
            if any(member["key"] == key.hex() for member in found["members"]):
                return Height(boundary_height(epoch, epoch_blocks) + 1)
            coming = [change for change in page.items[0]["changes"] if change["key"] == key.hex()]
            if not coming:
                raise ValueError(
                    "no decided change is to bring the node's key into a list: it has not been adopted, or "
                    "was dropped"
                )
            end = boundary_height(epoch, epoch_blocks)
            if counts_until < end and any(change["from_height"] <= end for change in coming):
                counts_until = say(client)
        except Unavailable as error:
            click.echo(f"{error}; waiting for the node", err=True)
        pause()


def _authority_of(home: Path) -> "tuple[Configuration, Path]":
    """An authority's configuration and its consensus key's file. Raises: ConfigurationError, ValueError."""
    from p2pledger.node.config import Role, load_configuration
    from p2pledger.node.home import CONFIGURATION

    configuration = load_configuration(home / CONFIGURATION)
    consensus = configuration.keys.consensus
    if configuration.node.role is not Role.AUTHORITY or consensus is None:
        raise ValueError(f"{home} is a gateway's; make one with `p2pledger init --role authority`")
    return configuration, consensus


def _signers(files: Sequence[Path], passphrase_file: Path | None) -> "list[KeySigner]":
    """Raises: KeyFileRefused."""
    from p2pledger.crypto import KeySigner
    from p2pledger.signer.keyfile import SecretRole, load_key_file, read_passphrase

    passphrase = read_passphrase(passphrase_file, os.environ)
    return [KeySigner(load_key_file(file, SecretRole.TRANSACTION, passphrase).secret) for file in files]


@contextmanager
def _connected(genesis: Path, urls: Sequence[str]) -> "Iterator[Client]":
    from p2pledger.client import Client
    from p2pledger.node.genesis_file import load_genesis

    hosts = [url if "://" in url else f"http://{url}" for url in urls]
    with Client(hosts, load_genesis(genesis)) as client:
        yield client


def _send(client: "Client", payload: Any, organisation: str | None, signers: "list[KeySigner]") -> "Fate":
    """Sign it, hand it in, and return once it is final. Raises: ValueError, LedgerError."""
    from p2pledger.client import transaction

    if organisation is None:
        first = signers[0].public_key
        (found,) = next(client.query("registry.key", key=first)).items
        organisation = found["organisation"]
        if organisation is None:
            raise ValueError(f"the key {first.hex()} is registered nowhere: name its --organisation")
    return client.send(transaction(client.genesis, payload.KIND, payload, organisation, signers), FINAL_MS)


@contextmanager
def _errors_told() -> Iterator[None]:
    """What went wrong in words, and how to mend it where the node said so; exit code 1."""
    from p2pledger.client import LedgerError
    from p2pledger.errors import InvalidMessage
    from p2pledger.node.config import ConfigurationError
    from p2pledger.signer.keyfile import KeyFileRefused

    try:
        yield
    except LedgerError as error:
        cure = getattr(error, "cure", None)
        raise click.ClickException(f"{error}\n{cure}" if cure else str(error)) from None
    except (KeyFileRefused, ConfigurationError, InvalidMessage, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
