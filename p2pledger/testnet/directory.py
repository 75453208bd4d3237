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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

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
ORGANISATIONS = "organisations"
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
class Charter:
    """What stands in a testnet's genesis file beside its nodes' keys."""

    parameters: Parameters = LAN
    owners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Whose a node is, by the node's name; one that is not named has an organisation of its own name."""
    others: tuple[str, ...] = ()
    """Organisations that run no node."""
    kinds: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What an organisation is; else what its node does."""
    quotas: Mapping[str, Quota] = field(default_factory=lambda: MappingProxyType({}))
    """What it may write, where that is not QUOTA."""
    time_ms: Millis | None = None
    """When the ledger begins; None: now."""

    def owner(self, node: str) -> str:
        """The organisation whose a node is."""
        return self.owners.get(node, node)


@dataclass(frozen=True)
class Plan:
    """How many nodes the genesis file of a testnet names, who came later, and the first of its ports."""

    authorities: int
    gateways: int
    base_port: int
    newcomers: tuple[tuple[str, str], ...] = ()
    """Name and role of each node that joined, in the order of their coming."""
    retired: tuple[str, ...] = ()
    """Nodes that are there no more; their ports stay theirs."""

    def nodes(self, directory: Path) -> list[Node]:
        """The nodes: authorities, gateways, newcomers, but those that are retired."""
        named = [(f"authority-{n}", Role.AUTHORITY) for n in range(1, self.authorities + 1)]
        named += [(f"gateway-{n}", Role.GATEWAY) for n in range(1, self.gateways + 1)]
        named += [(name, Role(role)) for name, role in self.newcomers]
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
            if name not in self.retired
        ]


@dataclass(frozen=True)
class Directory:
    """A testnet on disk."""

    path: Path
    plan: Plan
    genesis: Genesis

    @property
    def nodes(self) -> list[Node]:
        """The nodes: authorities, gateways, newcomers."""
        return self.plan.nodes(self.path)

    def admin(self, organisation: str) -> KeySigner:
        """The admin key of an organisation that was made with the testnet."""
        return self.key(self.path / ORGANISATIONS / f"{organisation}.key")

    def key(self, file: Path) -> KeySigner:
        """A transaction key of this testnet, by its file."""
        passphrase = (self.path / PASSPHRASE).read_bytes()
        return KeySigner(load_key_file(file, SecretRole.TRANSACTION, passphrase).secret)

    def with_newcomer(self, name: str, role: Role) -> "Directory":
        """The same testnet with a node more, which it has from now on. Its home is for others to make."""
        return self._planned(replace(self.plan, newcomers=(*self.plan.newcomers, (name, role.value))))

    def without(self, name: str) -> "Directory":
        """The same testnet, where a node is not started any more."""
        return self._planned(replace(self.plan, retired=(*self.plan.retired, name)))

    def _planned(self, plan: Plan) -> "Directory":
        _write_mark(self.path, plan)
        return replace(self, plan=plan)

    def gateways(self) -> list[Gateway]:
        """The gateways of the genesis file, with the keys that sign for them."""
        return [
            Gateway(
                name=node.name,
                organisation=entry.organisation,
                peer=entry.peer,
                signer=self.key(node.home / "transaction.key"),
                http_url=node.http_url,
            )
            for node, entry in zip(self._founding_gateways(), self.genesis.gateways, strict=True)
        ]

    def _founding_gateways(self) -> list[Node]:
        return [node for node in self.nodes if node.role is Role.GATEWAY][: self.plan.gateways]


def peers_of(node: Node) -> tuple[str, ...]:
    """Whom a node dials, as its configuration file says: multiaddrs with `/p2p/ID`."""
    document = tomllib.loads(node.configuration.read_text(encoding="utf-8"))
    return tuple(document["network"]["peers"])


def find_plan(path: Path) -> Plan | None:
    """The plan of the testnet in a directory; None when the directory is empty or not there.

    Raises: NotATestnet.
    """
    try:
        fields = json.loads((path / MARK).read_text())
        newcomers = tuple((str(name), str(role)) for name, role in fields.pop("newcomers", ()))
        return Plan(**fields | {"retired": tuple(fields.get("retired", ()))}, newcomers=newcomers)
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


def create_directory(path: Path, plan: Plan, charter: Charter | None = None) -> Directory:
    """Make a testnet: keys, genesis, configurations, guards."""
    charter = charter or Charter()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase = secrets.token_hex(16).encode()
    (path / PASSPHRASE).touch(mode=0o600, exist_ok=False)
    (path / PASSPHRASE).write_bytes(passphrase)
    nodes = plan.nodes(path)
    public = [create_keys(node.home, node.role, passphrase) for node in nodes]
    kinds = {charter.owner(node.name): node.role.value for node in nodes}
    kinds |= {name: name for name in charter.others}
    kinds |= charter.kinds
    admins = {name: _create_admin(path, name, passphrase) for name in kinds}
    organisations = tuple(
        GenesisOrganisation(
            id=name,
            kind=kind,
            admin_keys=(admins[name],),
            threshold=1,
            quota=charter.quotas.get(name, QUOTA),
        )
        for name, kind in kinds.items()
    )
    genesis = _genesis(nodes, public, organisations, charter)
    (path / GENESIS).write_text(json.dumps(to_json(genesis), indent=1) + "\n")
    for index, (node, side) in enumerate(zip(nodes, public, strict=True)):
        _configure(path, plan, nodes, public, index)
        if node.role is Role.AUTHORITY:
            create_guard(node.home, side.key, genesis.hash)
    _write_mark(path, plan)
    return Directory(path, plan, genesis)


def _write_mark(path: Path, plan: Plan) -> None:
    new = path / f"{MARK}.new"
    new.write_text(json.dumps(asdict(plan)) + "\n")
    new.replace(path / MARK)


def _create_admin(path: Path, name: str, passphrase: bytes) -> PublicKey:
    organisations = path / ORGANISATIONS
    organisations.mkdir(mode=0o700, exist_ok=True)
    admin = create_secret(SecretRole.TRANSACTION)
    write_key_file(organisations / f"{name}.key", admin, passphrase)
    return PublicKey(admin.public_key)


def _genesis(
    nodes: Sequence[Node],
    public: Sequence[PublicSide],
    organisations: tuple[GenesisOrganisation, ...],
    charter: Charter,
) -> Genesis:
    sides = [(node, side, charter.owner(node.name)) for node, side in zip(nodes, public, strict=True)]
    authorities = AuthoritySet(
        tuple(Authority(owner, side.key, side.peer) for node, side, owner in sides if _decides(node))
    )
    return Genesis(
        version=GENESIS_VERSION,
        chain_id=CHAIN_ID,
        time_ms=charter.time_ms or Millis(time.time_ns() // 1_000_000),
        parameters=charter.parameters,
        authorities=authorities,
        next_authorities=authorities,
        organisations=organisations,
        gateways=tuple(
            GenesisGateway(owner, side.key, side.peer) for node, side, owner in sides if not _decides(node)
        ),
        residents_quota=QUOTA,
    )


def _decides(node: Node) -> bool:
    return node.role is Role.AUTHORITY


def _configure(
    path: Path, plan: Plan, nodes: Sequence[Node], public: Sequence[PublicSide], index: int
) -> None:
    others = [f"{n.p2p}/p2p/{s.peer}" for n, s in zip(nodes, public, strict=True) if n is not nodes[index]]
    write_configuration(
        nodes[index].home,
        nodes[index].role,
        genesis=Path("..") / GENESIS,
        passphrase_file=Path("..") / PASSPHRASE,
        sections={
            "network": {"listen": nodes[index].p2p, "peers": others, "allow_peers": []},
            **service_sections(nodes[index]),
        },
    )


def service_sections(node: Node) -> dict[str, dict[str, str | int]]:
    """What a node's configuration says of where it serves, and of its log."""
    return {
        "api": {"host": HOST, "port": _port(node.http_url)},
        "metrics": {"host": HOST, "port": _port(node.metrics_url)},
        "log": {"level": "info", "format": "json"},
    }


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, "the URLs of a testnet name their ports"
    return port
