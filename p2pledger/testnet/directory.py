"""A testnet's directory: made once, opened again to go on with the same chain. Floor 8.

DIR/
  testnet.json       how many nodes and which ports; written last, so a half-made testnet is not one
  genesis.json       the ledger that all of them are on
  passphrase         opens every key here: a testnet keeps no secrets worth more
  organisations/     the admin key of each organisation
  authority-1/ ...   the home of each node, with its log
  gateway-1/ ...     and what the gateway keeps of its devices: readings.db
"""

import json
import secrets
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.genesis import (
    GENESIS_VERSION,
    LAN,
    Genesis,
    GenesisGateway,
    GenesisOrganisation,
    Parameters,
    Quota,
)
from p2pledger.codec import from_json, to_json
from p2pledger.crypto import KeySigner
from p2pledger.node.config import Role
from p2pledger.node.home import CONFIGURATION, PublicSide, create_guard, create_keys, write_configuration
from p2pledger.signer.keyfile import SecretRole, create_secret, load_key_file, write_key_file
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.ports import HOST, PortBlock
from p2pledger.types import Millis, PublicKey

CHAIN_ID = "testnet"
MARK = "testnet.json"
GENESIS = "genesis.json"
PASSPHRASE = "passphrase"  # noqa: S105 - the file's name
QUOTA = Quota(transactions=2_000_000, size_bytes=4 * 1024**3)
"""What each organisation may write in a minute: more than one machine can."""


class NotATestnet(Exception):
    """A directory holds something else, or a testnet other than the one asked for; says what to do."""


@dataclass(frozen=True)
class Node:
    """One node of a testnet, and where it is reached."""

    name: str
    role: Role
    home: Path
    http_url: str
    metrics_url: str
    p2p: str

    @property
    def configuration(self) -> Path:
        """Its configuration file."""
        return self.home / CONFIGURATION

    @property
    def log(self) -> Path:
        """Its log."""
        return self.home / "node.log"


@dataclass(frozen=True)
class Plan:
    """How many nodes a testnet has, and the first of its ports."""

    authorities: int
    gateways: int
    base_port: int

    def nodes(self, directory: Path) -> list[Node]:
        """The nodes, authorities first."""
        named = [(f"authority-{n}", Role.AUTHORITY) for n in range(1, self.authorities + 1)]
        named += [(f"gateway-{n}", Role.GATEWAY) for n in range(1, self.gateways + 1)]
        ports = PortBlock(self.base_port)
        return [
            Node(
                name,
                role,
                directory / name,
                http_url=f"http://{HOST}:{ports.http(index)}",
                metrics_url=f"http://{HOST}:{ports.metrics(index)}/metrics",
                p2p=f"/ip4/{HOST}/tcp/{ports.p2p(index)}",
            )
            for index, (name, role) in enumerate(named)
        ]


@dataclass(frozen=True)
class Directory:
    """A testnet on disk."""

    path: Path
    plan: Plan
    genesis: Genesis

    @property
    def nodes(self) -> list[Node]:
        """The nodes, authorities first."""
        return self.plan.nodes(self.path)

    def gateways(self) -> list[Gateway]:
        """The gateways, with the keys that sign for them."""
        passphrase = (self.path / PASSPHRASE).read_bytes()
        return [
            Gateway(
                name=node.name,
                organisation=entry.organisation,
                peer=entry.peer,
                signer=_signer(node.home / "transaction.key", passphrase),
                http_url=node.http_url,
            )
            for node, entry in zip(self.nodes[self.plan.authorities :], self.genesis.gateways, strict=True)
        ]


def peers_of(node: Node) -> tuple[str, ...]:
    """Whom a node dials, as its configuration file says: multiaddrs with `/p2p/ID`."""
    document = tomllib.loads(node.configuration.read_text(encoding="utf-8"))
    return tuple(document["network"]["peers"])


def find_plan(path: Path) -> Plan | None:
    """The plan of the testnet in a directory; None when the directory is empty or not there.

    Raises: NotATestnet.
    """
    try:
        return Plan(**json.loads((path / MARK).read_text()))
    except FileNotFoundError:
        if path.exists() and any(path.iterdir()):
            raise NotATestnet(f"{path} is not empty and holds no testnet: choose another --dir") from None
        return None
    except (ValueError, TypeError) as error:
        raise NotATestnet(f"{path / MARK} cannot be read ({error}): choose another --dir") from None


def open_directory(path: Path) -> Directory:
    """A testnet that was made before."""
    plan = find_plan(path)
    if plan is None:
        raise NotATestnet(f"{path} holds no testnet")
    genesis: Genesis = from_json(Genesis, json.loads((path / GENESIS).read_text()))
    return Directory(path, plan, genesis)


def create_directory(path: Path, plan: Plan, parameters: Parameters = LAN) -> Directory:
    """Make a testnet: keys, genesis, configurations, guards."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase = secrets.token_hex(16).encode()
    (path / PASSPHRASE).touch(mode=0o600, exist_ok=False)
    (path / PASSPHRASE).write_bytes(passphrase)
    nodes = plan.nodes(path)
    public = [create_keys(node.home, node.role, passphrase) for node in nodes]
    admins = [_create_admin(path, node.name, passphrase) for node in nodes]
    genesis = _genesis(nodes, public, admins, parameters)
    (path / GENESIS).write_text(json.dumps(to_json(genesis), indent=1) + "\n")
    for index, (node, side) in enumerate(zip(nodes, public, strict=True)):
        _configure(path, plan, nodes, public, index)
        if node.role is Role.AUTHORITY:
            create_guard(node.home, side.key, genesis.hash)
    (path / MARK).write_text(json.dumps(vars(plan)) + "\n")
    return Directory(path, plan, genesis)


def _create_admin(path: Path, name: str, passphrase: bytes) -> PublicKey:
    organisations = path / "organisations"
    organisations.mkdir(mode=0o700, exist_ok=True)
    admin = create_secret(SecretRole.TRANSACTION)
    write_key_file(organisations / f"{name}.key", admin, passphrase)
    return PublicKey(admin.public_key)


def _signer(file: Path, passphrase: bytes) -> KeySigner:
    return KeySigner(load_key_file(file, SecretRole.TRANSACTION, passphrase).secret)


def _genesis(
    nodes: Sequence[Node],
    public: Sequence[PublicSide],
    admins: Sequence[PublicKey],
    parameters: Parameters,
) -> Genesis:
    """Every node belongs to an organisation of its own, which has its name."""
    authorities = AuthoritySet(
        tuple(
            Authority(node.name, side.key, side.peer)
            for node, side in zip(nodes, public, strict=True)
            if node.role is Role.AUTHORITY
        )
    )
    return Genesis(
        version=GENESIS_VERSION,
        chain_id=CHAIN_ID,
        time_ms=Millis(time.time_ns() // 1_000_000),
        parameters=parameters,
        authorities=authorities,
        next_authorities=authorities,
        organisations=tuple(
            GenesisOrganisation(
                id=node.name, kind=node.role.value, admin_keys=(admin,), threshold=1, quota=QUOTA
            )
            for node, admin in zip(nodes, admins, strict=True)
        ),
        gateways=tuple(
            GenesisGateway(node.name, side.key, side.peer)
            for node, side in zip(nodes, public, strict=True)
            if node.role is Role.GATEWAY
        ),
        residents_quota=QUOTA,
    )


def _configure(
    path: Path, plan: Plan, nodes: Sequence[Node], public: Sequence[PublicSide], index: int
) -> None:
    ports = PortBlock(plan.base_port)
    others = [f"{n.p2p}/p2p/{s.peer}" for n, s in zip(nodes, public, strict=True) if n is not nodes[index]]
    write_configuration(
        nodes[index].home,
        nodes[index].role,
        genesis=Path("..") / GENESIS,
        passphrase_file=Path("..") / PASSPHRASE,
        sections={
            "network": {"listen": nodes[index].p2p, "peers": others, "allow_peers": []},
            "api": {"host": HOST, "port": ports.http(index)},
            "metrics": {"host": HOST, "port": ports.metrics(index)},
            "log": {"level": "info", "format": "json"},
        },
    )
