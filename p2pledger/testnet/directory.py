"""A testnet's directory: made once, opened again to go on with the same chain. Floor 8.

DIR/
  testnet.json       how many nodes and which ports; written last, so a half-made testnet is not one
  genesis.json       the ledger that all of them are on
  passphrase         opens every key here: a testnet keeps no secrets worth more
  organisations/     the admin key of each organisation
  authority-1/ ...   the home of each node, with its log
  gateway-1/ ...     and what the gateway keeps of its devices: readings.db

Where nodes have hosts of their own, each home has the genesis file and the passphrase in it and needs
nothing else of DIR, so that it can be carried to its host. links.toml beside node.toml is the same node,
which reaches its peers through links that can be broken.

Where more is at stake than in a testnet there is no DIR/passphrase: each home has one of its own, and each
admin key has its own beside it, so that what a node's host knows opens nothing else.
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
from p2pledger.codec import to_json
from p2pledger.crypto import KeySigner
from p2pledger.node.config import Role
from p2pledger.node.genesis_file import load_genesis
from p2pledger.node.home import CONFIGURATION, PublicSide, create_guard, create_keys, write_configuration
from p2pledger.signer.keyfile import SecretRole, create_secret, load_key_file, write_key_file
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.hosts import API_PORT, EVERYWHERE, METRICS_PORT, P2P_PORT, Hosts
from p2pledger.testnet.ports import HOST, PortBlock
from p2pledger.types import Millis, PublicKey

CHAIN_ID = "testnet"
MARK = "testnet.json"
GENESIS = "genesis.json"
ORGANISATIONS = "organisations"
PASSPHRASE = "passphrase"  # noqa: S105 - the file's name
LINKED = "links.toml"
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
    chain_id: str = CHAIN_ID
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
    """How many nodes the genesis file of a testnet names, who came later, and where they are reached."""

    authorities: int
    gateways: int
    base_port: int
    """The first of their ports, where all are on this machine."""
    newcomers: tuple[tuple[str, str], ...] = ()
    """Name and role of each node that joined, in the order of their coming."""
    retired: tuple[str, ...] = ()
    """Nodes that are there no more; their ports stay theirs."""
    hosts: Hosts | None = None
    """Where each node has a host of its own; None: all are on this machine."""

    def nodes(self, directory: Path) -> list[Node]:
        """The nodes: authorities, gateways, newcomers, but those that are retired."""
        named = [(f"authority-{n}", Role.AUTHORITY) for n in range(1, self.authorities + 1)]
        named += [(f"gateway-{n}", Role.GATEWAY) for n in range(1, self.gateways + 1)]
        named += [(name, Role(role)) for name, role in self.newcomers]
        return [
            self._node(index, name, role, directory / name)
            for index, (name, role) in enumerate(named)
            if name not in self.retired
        ]

    def _node(self, index: int, name: str, role: Role, home: Path) -> Node:
        if self.hosts is not None:
            api, p2p = self.hosts.api_host(name), self.hosts.p2p_host(name)
            return Node(
                name,
                role,
                home,
                http_url=f"http://{api}:{API_PORT}",
                metrics_url=f"http://{api}:{METRICS_PORT}/metrics",
                p2p=f"/dns4/{p2p}/tcp/{P2P_PORT}",
            )
        ports = PortBlock(self.base_port)
        return Node(
            name,
            role,
            home,
            http_url=f"http://{HOST}:{ports.http(index)}",
            metrics_url=f"http://{HOST}:{ports.metrics(index)}/metrics",
            p2p=f"/ip4/{HOST}/tcp/{ports.p2p(index)}",
        )


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
        passphrase = self.passphrase_file(file).read_bytes()
        return KeySigner(load_key_file(file, SecretRole.TRANSACTION, passphrase).secret)

    def passphrase_file(self, key: Path) -> Path:
        """Where the passphrase is that opens a key file."""
        own = _passphrase_beside(key) if key.parent.name == ORGANISATIONS else key.parent / PASSPHRASE
        return own if own.exists() else self.path / PASSPHRASE

    def with_newcomer(self, name: str, role: Role) -> "Directory":
        """The same testnet with a node more, which it has from now on. Its home is for others to make."""
        return self._planned(replace(self.plan, newcomers=(*self.plan.newcomers, (name, role.value))))

    def without(self, name: str) -> "Directory":
        """The same testnet, where a node is not started any more."""
        return self._planned(replace(self.plan, retired=(*self.plan.retired, name)))

    def _planned(self, plan: Plan) -> "Directory":
        _write_mark(self.path, plan)
        return replace(self, plan=plan)

    def gateways(self, names: Sequence[str] = ()) -> list[Gateway]:
        """The gateways of the genesis file, with the keys that sign for them; some, if they are named.

        Raises: NotATestnet (there is none of that name), KeyFileRefused (its key is not here).
        """
        founding = self._founding_gateways()
        there = [node.name for node in founding]
        if unknown := [name for name in names if name not in there]:
            raise NotATestnet(f"no gateway is called {unknown[0]!r}: there are {', '.join(there)}")
        return [
            Gateway(
                name=node.name,
                organisation=entry.organisation,
                peer=entry.peer,
                signer=self.key(node.home / "transaction.key"),
                http_url=node.http_url,
            )
            for node, entry in zip(founding, self.genesis.gateways, strict=True)
            if not names or node.name in names
        ]

    def _founding_gateways(self) -> list[Node]:
        return [node for node in self.nodes if node.role is Role.GATEWAY][: self.plan.gateways]


def peers_of(node: Node) -> tuple[str, ...]:
    """Whom a node dials, as its configuration file says: multiaddrs with `/p2p/ID`."""
    document = tomllib.loads(node.configuration.read_text(encoding="utf-8"))
    return tuple(document["network"]["peers"])


def find_plan(path: Path) -> Plan | None:
    """The plan of the testnet in a directory; None when no file is in it, or it is not there.

    Raises: NotATestnet.
    """
    try:
        fields = json.loads((path / MARK).read_text())
        newcomers = tuple((str(name), str(role)) for name, role in fields.pop("newcomers", ()))
        hosts = Hosts(**fields["hosts"]) if fields.get("hosts") else None
        retired = tuple(fields.get("retired", ()))
        return Plan(**fields | {"retired": retired, "hosts": hosts}, newcomers=newcomers)
    except FileNotFoundError:
        if path.exists() and any(not entry.is_dir() for entry in path.rglob("*")):
            raise NotATestnet(
                f"{path} is not empty and holds no testnet: choose another --dir, or remove what is in it"
            ) from None
        return None
    except (ValueError, TypeError) as error:
        raise NotATestnet(f"{path / MARK} cannot be read ({error}): choose another --dir") from None


def open_directory(path: Path) -> Directory:
    """A testnet that was made before."""
    plan = find_plan(path)
    if plan is None:
        raise NotATestnet(f"{path} holds no testnet")
    return Directory(path, plan, load_genesis(path / GENESIS))


def create_directory(
    path: Path,
    plan: Plan,
    charter: Charter | None = None,
    *,
    with_guards: bool = True,
    with_one_passphrase: bool = True,
) -> Directory:
    """Make a testnet: keys, genesis, configurations, guards.

    Without guards where they are to be made on the disks that they stay on. Without one passphrase for all,
    each node and each admin key has its own.
    """
    charter = charter or Charter()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase = _keep_passphrase(path / PASSPHRASE) if with_one_passphrase else None
    nodes = plan.nodes(path)
    public = [_create_home(node, passphrase, is_carried=plan.hosts is not None) for node in nodes]
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
        if with_guards and node.role is Role.AUTHORITY:
            create_guard(node.home, side.key, genesis.hash)
    _write_mark(path, plan)
    return Directory(path, plan, genesis)


def _write_mark(path: Path, plan: Plan) -> None:
    new = path / f"{MARK}.new"
    new.write_text(json.dumps(asdict(plan)) + "\n")
    new.replace(path / MARK)


def _create_home(node: Node, passphrase: bytes | None, *, is_carried: bool) -> PublicSide:
    """A node's keys, and the passphrase with them where it is theirs alone or has to go with them."""
    node.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if passphrase is None or is_carried:
        passphrase = _keep_passphrase(node.home / PASSPHRASE, passphrase)
    return create_keys(node.home, node.role, passphrase)


def _create_admin(path: Path, name: str, passphrase: bytes | None) -> PublicKey:
    key = path / ORGANISATIONS / f"{name}.key"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    admin = create_secret(SecretRole.TRANSACTION)
    write_key_file(key, admin, passphrase or _keep_passphrase(_passphrase_beside(key)))
    return PublicKey(admin.public_key)


def _passphrase_beside(key: Path) -> Path:
    return key.with_suffix(f".{PASSPHRASE}")


def _keep_passphrase(file: Path, passphrase: bytes | None = None) -> bytes:
    """Write a passphrase, a new one unless it is given, for its owner's eyes only."""
    passphrase = passphrase or secrets.token_hex(16).encode()
    file.touch(mode=0o600, exist_ok=False)
    file.write_bytes(passphrase)
    return passphrase


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
        chain_id=charter.chain_id,
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
    node, home = nodes[index], nodes[index].home
    genesis, passphrase = Path("..") / GENESIS, Path("..") / PASSPHRASE
    if plan.hosts is not None:
        genesis = Path(GENESIS)
        (home / GENESIS).write_bytes((path / GENESIS).read_bytes())
    if (home / PASSPHRASE).exists():
        passphrase = Path(PASSPHRASE)
    routes = {CONFIGURATION: [other.p2p for other in nodes]}
    if plan.hosts is not None and plan.hosts.links:
        routes[LINKED] = [plan.hosts.link(index, other) for other in range(len(nodes))]
    for file, addresses in routes.items():
        peers = [f"{where}/p2p/{side.peer}" for where, side in zip(addresses, public, strict=True)]
        del peers[index]
        listen = node.p2p if plan.hosts is None else f"/ip4/{EVERYWHERE}/tcp/{P2P_PORT}"
        write_configuration(
            home,
            node.role,
            genesis=genesis,
            passphrase_file=passphrase,
            sections={
                "network": {"listen": listen, "peers": peers, "allow_peers": []},
                **service_sections(node, HOST if plan.hosts is None else EVERYWHERE),
            },
            file=file,
        )


def service_sections(node: Node, host: str = HOST) -> dict[str, dict[str, str | int]]:
    """What a node's configuration says of where it serves, and of its log."""
    return {
        "api": {"host": host, "port": _port(node.http_url)},
        "metrics": {"host": host, "port": _port(node.metrics_url)},
        "log": {"level": "info", "format": "json"},
    }


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, "the URLs of a testnet name their ports"
    return port
