"""`p2pledger invite create` and `p2pledger join`: the string that is handed over, and its home. Floor 6."""

import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import trio

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.genesis import Genesis, KeyRole
from p2pledger.chain.invite import (
    ADDRESSES_MAX,
    INVITATION_VERSION,
    Invitation,
    InviteTerms,
    invite_text,
    sign_invite,
)
from p2pledger.codec import to_json
from p2pledger.crypto import KeySigner, is_signed
from p2pledger.errors import Code, InvalidMessage
from p2pledger.node.config import Role, check_peer_address, load_configuration
from p2pledger.node.genesis_file import load_genesis
from p2pledger.node.home import CONFIGURATION, create_keys, write_configuration
from p2pledger.node.joining import Joined, Joiner
from p2pledger.signer.keyfile import SecretRole, load_key_file, read_passphrase
from p2pledger.types import Millis, PeerId

GENESIS = "genesis.json"
KEPT = "joining.cbor"
ID_BYTES = 16
REQUEST_S = 5.0
EVERYWHERE = ("/ip4/0.0.0.0/", "/ip6/::/")
LIFE_MS_MAX = 30 * 86_400_000
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True)
class Granted:
    """An invite as it is handed over, and lines that say what it grants."""

    text: str
    lines: tuple[str, ...]


def life_ms(text: str) -> Millis:
    """How long `90m`, `24h` or `7d` is. Raises: ValueError, also for more than 30 days."""
    match = re.fullmatch("([0-9]{1,5})([mhd])", text)
    if match is None or not 0 < int(match[1]) * _UNITS_MS[match[2]] <= LIFE_MS_MAX:
        raise ValueError(f"{text!r} is not a time like 90m, 24h or 7d, of 30 days at most")
    return Millis(int(match[1]) * _UNITS_MS[match[2]])


def ledger_of_home(home: Path) -> tuple[Genesis, tuple[str, ...]]:
    """The ledger that a node's home is on, and whom that node dials. Raises: ConfigurationError, OSError."""
    configuration = load_configuration(home / CONFIGURATION)
    return load_genesis(configuration.node.genesis), configuration.network.peers


def addresses_of(url: str) -> tuple[str, ...]:
    """Where the node behind an HTTP API is reached by others, as far as it can tell. Raises: ValueError."""
    try:
        reply = httpx.get(f"{url.rstrip('/')}/v1/status", timeout=REQUEST_S, trust_env=False)
        listening = [str(address) for address in reply.raise_for_status().json()["addresses"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{url} does not answer as a node does: {error!r}") from None
    found = tuple(address for address in listening if not address.startswith(EVERYWHERE))
    if not found:
        raise ValueError(f"{url} listens everywhere and does not know its own address: name it by --peer")
    return found


def create_invite(
    key_file: Path,
    passphrase_file: Path | None,
    genesis: Genesis,
    organisation: str | None,
    expires: str,
    addresses: Sequence[str],
) -> Granted:
    """Sign an invite with an organisation's admin key. Made offline: the ledger judges it when it is used.

    `organisation` may be left out where the key is one of the genesis file's admins. Of the addresses the
    first ADDRESSES_MAX are taken. Raises: KeyFileRefused, InvalidMessage, ValueError with the cure.
    """
    secret = load_key_file(key_file, SecretRole.TRANSACTION, read_passphrase(passphrase_file, os.environ))
    admin = KeySigner(secret.secret)
    founder = next((o.id for o in genesis.organisations if admin.public_key in o.admin_keys), None)
    chosen = organisation or founder
    if chosen is None:
        raise ValueError("the key is no admin's of the genesis file: name its --organisation")
    if not addresses:
        raise ValueError("name nodes to knock at: --peer, --api, or the --home of a node that dials some")
    expires_ms = Millis(time.time_ns() // 1_000_000 + life_ms(expires))
    terms = InviteTerms(
        id=secrets.token_bytes(ID_BYTES),
        organisation=chosen,
        role=KeyRole.GATEWAY,
        expires_ms=expires_ms,
        uses=1,
        genesis_hash=genesis.hash,
        issuer=admin.public_key,
    )
    knock_at = tuple(check_peer_address(address) for address in dict.fromkeys(addresses))[:ADDRESSES_MAX]
    text = invite_text(Invitation(INVITATION_VERSION, sign_invite(terms, admin), knock_at))
    until = datetime.fromtimestamp(expires_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        f"lets ONE gateway of {chosen!r} in, once, until {until}",
        f"on the ledger {genesis.chain_id} {genesis.hash.hex()}",
        f"It may enrol devices, and write on the quota of {chosen!r}, until its key is revoked.",
        f"It knocks at {', '.join(knock_at)}",
        "Whoever has the string can use it: hand it over in private.",
    ]
    if chosen != founder:
        lines.append(
            f"The key is no admin's of {chosen!r} in the genesis file; the ledger decides if it is now."
        )
    return Granted(text, tuple(lines))


def join(
    invitation: Invitation, home: Path, passphrase_file: Path | None, listen: str, timeout_s: float
) -> list[str]:
    """Make a home, join with it, and write its configuration; lines that say what was done.

    May be run again after it was interrupted, with the same invite. Raises: CannotJoin, KeyFileRefused,
    InvalidMessage for an invite that was changed, FileExistsError for a home that has joined.
    """
    if (home / CONFIGURATION).exists():
        raise FileExistsError(
            f"{home} has joined already; start it: p2pledger node --config {home / CONFIGURATION}"
        )
    if not is_signed(*invitation.invite.signed):  # nodes shut out whoever shows them such a one
        raise InvalidMessage(
            "the invite's signature does not hold: the string was changed on its way", Code.BAD_SIGNATURE
        )
    for address in invitation.addresses:
        check_peer_address(address)
    passphrase = read_passphrase(passphrase_file, os.environ)
    if not (home / "transaction.key").exists():
        create_keys(home, Role.GATEWAY, passphrase)
    seed = load_key_file(home / "identity.key", SecretRole.IDENTITY, passphrase).secret
    signer = KeySigner(load_key_file(home / "transaction.key", SecretRole.TRANSACTION, passphrase).secret)
    joiner = Joiner(invitation, seed, signer, home / KEPT, lambda: Millis(time.time_ns() // 1_000_000))
    joined = trio.run(joiner.run, timeout_s)
    (home / GENESIS).write_text(json.dumps(to_json(joined.genesis), indent=1) + "\n", encoding="utf-8")
    path = write_configuration(
        home,
        Role.GATEWAY,
        genesis=Path(GENESIS),
        passphrase_file=passphrase_file.absolute() if passphrase_file is not None else None,
        sections={
            "network": {
                "listen": listen,
                "peers": list(invitation.addresses),
                "allow_peers": _unforeseen(invitation, joined),
            }
        },
    )
    return [
        f"joined      {joined.genesis.chain_id} {joined.genesis.hash.hex()} at height {joined.height}",
        f"as          {joiner.peer}, a gateway of {invitation.invite.terms.organisation!r}",
        f"key         {signer.public_key.hex()}",
        f"Start it: p2pledger node --config {path}",
    ]


def _unforeseen(invitation: Invitation, joined: Joined) -> list[str]:
    """Authorities of now whom the genesis does not name: until it is in sync, it knows them from here."""
    genesis = joined.genesis
    known, now = _peers(genesis.authorities, genesis.next_authorities), _peers(*joined.sets)
    asked = {address.rpartition("/p2p/")[2] for address in invitation.addresses}
    return sorted(peer for peer in now - known if peer in asked)


def _peers(*sets: AuthoritySet) -> set[PeerId]:
    return {member.peer for authorities in sets for member in authorities.members}
