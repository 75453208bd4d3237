"""A node's home: its keys, its guard and its configuration, made once and never made over. Floor 6.

home/
  identity.key      who it is on the network (libp2p)
  consensus.key     an authority's votes
  transaction.key   a gateway's transactions
  node.toml         its configuration
  data/  guard/     what it keeps; the guard is never part of a backup
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pledger.network.host import peer_id_of
from p2pledger.node.config import Role
from p2pledger.node.genesis_file import load_genesis
from p2pledger.signer.guardfile import GuardFile
from p2pledger.signer.keyfile import (
    SecretRole,
    create_secret,
    load_key_file,
    read_passphrase,
    read_public_key,
    write_key_file,
)
from p2pledger.types import Hash, PeerId, PublicKey

CONFIGURATION = "node.toml"
GUARD = "guard"
DATA = "data"

Value = str | int | Sequence[str]


@dataclass(frozen=True)
class PublicSide:
    """What others must know of a node: its peer id, and the public key of its role."""

    role: Role
    peer: PeerId
    key: PublicKey
    """The consensus key of an authority, the transaction key of a gateway."""


def create_keys(home: Path, role: Role, passphrase: bytes) -> PublicSide:
    """Draw a node's keys and write them, encrypted, into its home. Raises: KeyFileRefused over old ones."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = create_secret(SecretRole.IDENTITY)
    write_key_file(home / "identity.key", identity, passphrase)
    key = create_secret(_secret_role(role))
    write_key_file(home / f"{key.role.value}.key", key, passphrase)
    return PublicSide(role, peer_id_of(identity.secret), PublicKey(key.public_key))


def _secret_role(role: Role) -> SecretRole:
    return SecretRole.CONSENSUS if role is Role.AUTHORITY else SecretRole.TRANSACTION


def create_guard(home: Path, key: PublicKey, genesis_hash: Hash) -> None:
    """Make the guard of an authority's key that has never signed anything."""
    GuardFile.create(home / GUARD, key, genesis_hash)


def write_configuration(
    home: Path,
    role: Role,
    *,
    genesis: Path,
    passphrase_file: Path | None,
    sections: Mapping[str, Mapping[str, Value]],
    file: str = CONFIGURATION,
) -> Path:
    """Write a home's configuration; `sections` adds to what follows from the home itself, or changes it."""
    node: dict[str, Value] = {"data_dir": DATA, "genesis": str(genesis), "role": role.value}
    keys: dict[str, Value] = {"identity": "identity.key"}
    if role is Role.AUTHORITY:
        node["guard_dir"] = GUARD
        keys["consensus"] = "consensus.key"
    else:
        keys["transaction"] = "transaction.key"
    if passphrase_file is not None:
        keys["passphrase_file"] = str(passphrase_file)
    path = home / file
    with path.open("x", encoding="utf-8") as opened:
        opened.write(to_toml({"node": node, "keys": keys, **sections}))
    return path


def prepare(
    home: Path,
    role: Role,
    passphrase_file: Path | None,
    genesis: Path | None,
    listen: str,
    peers: Sequence[str],
) -> list[str]:
    """`p2pledger init`: whatever of a home is still to be made; returns lines that say what was done.

    Raises: KeyFileRefused, Fatal, InvalidMessage (the genesis file), FileExistsError (a configuration).
    """
    passphrase = read_passphrase(passphrase_file, os.environ)
    if not (home / "identity.key").exists():
        create_keys(home, role, passphrase)
    peer = peer_id_of(load_key_file(home / "identity.key", SecretRole.IDENTITY, passphrase).secret)
    key_role = _secret_role(role)
    _, key = read_public_key(home / f"{key_role.value}.key")
    said = [f"peer id          {peer}", f"{key_role.value + ' key':<16} {key.hex()}"]
    if genesis is None:
        return [*said, "Give these to those who write the genesis file; then run this again with --genesis."]
    ledger = load_genesis(genesis)
    if (home / CONFIGURATION).exists():
        raise FileExistsError(
            f"{home} is set up already, see its {CONFIGURATION}: nothing in it is made over, and a lost guard"
            " is not made anew; replace the key by governance, with a home of its own"
        )
    if role is Role.AUTHORITY:
        create_guard(home, PublicKey(key), ledger.hash)
    path = write_configuration(
        home,
        role,
        genesis=genesis.absolute(),
        passphrase_file=passphrase_file.absolute() if passphrase_file is not None else None,
        sections={"network": {"listen": listen, "peers": list(peers)}},
    )
    return [
        *said,
        f"ledger           {ledger.chain_id} {ledger.hash.hex()}",
        f"Start it: p2pledger node --config {path}",
    ]


def to_toml(sections: Mapping[str, Mapping[str, Value]]) -> str:
    """The sections as TOML."""
    # A JSON text is a TOML basic string, and so for numbers and lists of texts.
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
        for name, section in sections.items()
    )
