"""Makes a deployment's folder, offline: keys, genesis file, permit, kustomization. Never over keys. Floor 9.

DIR/ of one cluster                      DIR/ of a consortium
  kustomization.yaml                       net/             as in one cluster
  first-start.yaml                         member-1/        what its organisation is given, and nothing else
  .gitignore                                 kustomization.yaml  first-start.yaml  genesis.json
  net/  genesis.json                         admin.key  admin.passphrase  authority-1/  gateway-1/
        organisations/  the admin keys     member-2/ ...
        authority-1/ ...  keys, passphrase, node.toml

`net` is what a testnet's directory is (testnet/directory.py), without guards: these are made where they
stay. Each node has a passphrase of its own, which goes into its Secret, and each admin key another one, which
goes into none.
"""

import os
import shutil
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from p2pledger import __version__
from p2pledger.chain.genesis import Genesis
from p2pledger.errors import InvalidMessage
from p2pledger.kubernetes import overlay as text
from p2pledger.kubernetes.first_start import Permit
from p2pledger.kubernetes.overlay import Deployment, Pod
from p2pledger.kubernetes.refusals import Refusal, Refused
from p2pledger.node.config import Role
from p2pledger.node.genesis_file import load_genesis
from p2pledger.node.home import CONFIGURATION, to_toml
from p2pledger.signer.keyfile import KeyFileRefused, read_public_key
from p2pledger.testnet.directory import (
    GENESIS,
    ORGANISATIONS,
    PASSPHRASE,
    Charter,
    Directory,
    NotATestnet,
    Plan,
    create_directory,
    find_plan,
    open_directory,
)
from p2pledger.testnet.hosts import Hosts
from p2pledger.types import Millis, PeerId, PublicKey

NET = "net"
ADMIN, ADMIN_PASSPHRASE = "admin.key", f"admin.{PASSPHRASE}"
KUSTOMIZATION = "kustomization.yaml"
FIRST_START = "first-start.yaml"
SERVICE = "p2p"
"""The headless Service of `deploy/k8s/base`, which each pod has a name below."""
HOUR_MS = 3_600_000
OWN_IMAGE = f"p2pledger:{__version__}"
"""What docs/kubernetes.md has an operator build and load into a cluster for trying."""


@dataclass(frozen=True)
class Wanted:
    """What `p2pledger k8s init` is asked for."""

    overlay: str
    authorities: int
    gateways: int
    namespace: str
    chain_id: str
    image: str
    manifests: Path
    p2p_host: str
    """A DNS name with `{name}` and `{number}`; empty: that of the pod in its cluster."""
    permit_hours: int

    @property
    def is_consortium(self) -> bool:
        """Whether each organisation has a namespace of its own."""
        return self.overlay == "consortium"

    @property
    def host(self) -> str:
        """Where peers reach a node."""
        namespace = f"{self.namespace}-{{number}}" if self.is_consortium else self.namespace
        # Without the cluster's domain, which is not the same everywhere: a pod's search list has it.
        return self.p2p_host or f"{{name}}.{SERVICE}.{namespace}.svc"


def init(directory: Path, wanted: Wanted) -> list[str]:
    """Make keys and genesis file of a new ledger, and what is applied; lines that say what was done.

    Made already, by the same request, it only writes what is missing and was not made once and for all.
    Raises: Refused, OSError.
    """
    _check_manifests(wanted.manifests, wanted.overlay)
    if wanted.overlay == text.VAULT and not text.has_digest(wanted.image):
        raise Refused(
            Refusal.NO_DIGEST,
            "an image that is named by a tag can be another one tomorrow",
            "name it by --image NAME@sha256:DIGEST",
        )
    made, is_new = _ledger(directory, wanted)
    lines = [f"{made.genesis.chain_id} {made.genesis.hash.hex()} {'made' if is_new else 'is there already'}"]
    lines += [
        f"{node.name:<12} {node.p2p}/p2p/{peer}" for node, peer in zip(made.nodes, _peers(made), strict=True)
    ]
    pods = [Pod(node.role, int(node.name.rpartition("-")[2]), f"{NET}/{node.name}") for node in made.nodes]
    if wanted.is_consortium:
        # Gateways have no address beyond their cluster: they dial the authorities, and nobody dials them.
        unreached = frozenset(gateway.peer for gateway in made.genesis.gateways)
        for number in range(1, wanted.authorities + 1):
            own = [pod for pod in pods if pod.number == number]
            folder = directory / f"member-{number}"
            theirs = [(pod.role, pod.number, directory / pod.folder) for pod in own]
            namespace = f"{wanted.namespace}-{number}"
            ledger = made.genesis, directory / NET / GENESIS
            _member(folder, namespace, wanted, ledger, theirs, is_new=is_new, not_dialled=unreached)
            admin = directory / NET / ORGANISATIONS / f"member-{number}.key"
            _copy_key(admin, folder / ADMIN)
            _copy_key(made.passphrase_file(admin), folder / ADMIN_PASSPHRASE)
            lines.append(f"{folder}: all that the organisation of authority-{number} needs, and nothing else")
        return lines
    deployment = _deployment(wanted, wanted.namespace, made.genesis, pods, f"{NET}/{GENESIS}")
    homes = [directory / pod.folder for pod in pods]
    _write(directory, deployment, wanted, homes, made.genesis, is_new=is_new)
    return lines


def add_node(
    directory: Path, number: int, home: Path, passphrase_file: Path, genesis: Path, wanted: Wanted
) -> list[str]:
    """Make what is applied for one node whose keys are there: the home that its organisation has made itself.

    Raises: Refused, OSError.
    """
    _check_manifests(wanted.manifests, wanted.overlay)
    try:
        ledger = load_genesis(genesis)
        document = tomllib.loads((home / CONFIGURATION).read_text(encoding="utf-8"))
        role = Role(document["node"]["role"])
    except (OSError, InvalidMessage, ValueError, KeyError, TypeError) as error:
        raise Refused(
            Refusal.NOT_A_HOME,
            f"{home} with {genesis} is not the home of a node ({error})",
            "make it by `p2pledger init --genesis` or `p2pledger join`",
        ) from None
    _member(
        directory,
        wanted.namespace,
        wanted,
        (ledger, genesis),
        [(role, number, home)],
        is_new=not (directory / KUSTOMIZATION).exists(),
        passphrase_file=passphrase_file,
    )
    return [f"{role.value}-{number} of {ledger.chain_id} {ledger.hash.hex()} in {directory}"]


def permit(directory: Path, namespace: str, genesis: Path, homes: Sequence[Path], hours: int) -> Path:
    """Write first-start.yaml anew, for the authorities of these homes. Raises: Refused, OSError."""
    try:
        ledger = load_genesis(genesis)
    except (OSError, InvalidMessage, ValueError) as error:
        raise Refused(
            Refusal.NOT_A_HOME, f"{genesis} is not a genesis file ({error})", "name the ledger's by --genesis"
        ) from None
    path = directory / FIRST_START
    path.write_text(text.first_start(namespace, _permit(ledger, homes, hours)), encoding="utf-8")
    return path


def _check_manifests(manifests: Path, overlay: str) -> None:
    if not (manifests / "overlays" / overlay / KUSTOMIZATION).is_file():
        raise Refused(
            Refusal.NO_MANIFESTS,
            f"{manifests} has no overlay {overlay!r}",
            "name the folder deploy/k8s of a checkout by --manifests",
        )


def _ledger(directory: Path, wanted: Wanted) -> tuple[Directory, bool]:
    """The ledger's keys and genesis file; whether they were made just now."""
    hosts = Hosts(api=wanted.host, p2p=wanted.host)
    plan = Plan(wanted.authorities, wanted.gateways, 0, hosts=hosts)
    net = directory / NET
    try:
        found = find_plan(net)
    except NotATestnet as error:
        raise Refused(
            Refusal.DIRECTORY_TAKEN,
            str(error).partition(":")[0],
            "choose another DIR, or remove what is in it",
        ) from None
    if found is not None:
        made = open_directory(net)
        if (found, made.genesis.chain_id) != (plan, wanted.chain_id):
            raise Refused(
                Refusal.OTHER_DEPLOYMENT,
                f"{net} has the keys of another ledger, or of other nodes, and keys are never made over",
                "choose another DIR, or ask for what is there",
            )
        return made, False
    owners = {}
    if wanted.is_consortium:
        owners = {
            f"{role.value}-{n}": f"member-{n}" for role in Role for n in range(1, wanted.authorities + 1)
        }
    charter = Charter(chain_id=wanted.chain_id, owners=MappingProxyType(owners))
    return create_directory(net, plan, charter, with_guards=False, with_one_passphrase=False), True


def _peers(made: Directory) -> list[PeerId]:
    """The peer ids of its nodes, in their order."""
    genesis = made.genesis
    authorities = [member.peer for member in genesis.authorities.members]
    return [*authorities, *(gateway.peer for gateway in genesis.gateways)]


def _deployment(
    wanted: Wanted, namespace: str, genesis: Genesis, pods: Sequence[Pod], genesis_file: str
) -> Deployment:
    return Deployment(
        overlay=wanted.overlay,
        namespace=namespace,
        chain_id=genesis.chain_id,
        genesis=genesis_file,
        pods=tuple(pods),
        failing_max=max(1, (len(genesis.authorities.members) - 1) // 3),
        # Named always: so there is a line where an upgrade names another one.
        image=wanted.image or OWN_IMAGE,
    )


def _member(
    folder: Path,
    namespace: str,
    wanted: Wanted,
    ledger: tuple[Genesis, Path],
    homes: Sequence[tuple[Role, int, Path]],
    *,
    is_new: bool,
    passphrase_file: Path | None = None,
    not_dialled: frozenset[PeerId] = frozenset(),
) -> None:
    """Copy homes into a folder that stands for itself, and write what is applied."""
    pods = [Pod(role, number, f"{role.value}-{number}") for role, number, _ in homes]
    for pod, (_, _, home) in zip(pods, homes, strict=True):
        _copy_home(home, folder / pod.name, pod, passphrase_file or home / PASSPHRASE, not_dialled)
    genesis, file = ledger
    if not (folder / GENESIS).exists():
        shutil.copyfile(file, folder / GENESIS)
    deployment = _deployment(wanted, namespace, genesis, pods, GENESIS)
    _write(folder, deployment, wanted, [folder / pod.name for pod in pods], genesis, is_new=is_new)


def _copy_home(
    home: Path, target: Path, pod: Pod, passphrase_file: Path, not_dialled: frozenset[PeerId]
) -> None:
    sources = {name: home / name for name in (*pod.files, CONFIGURATION)} | {PASSPHRASE: passphrase_file}
    if missing := [str(path) for path in sources.values() if not path.is_file()]:
        raise Refused(
            Refusal.NOT_A_HOME,
            f"{', '.join(missing)} is not there",
            "make the home by `p2pledger init --genesis` or `p2pledger join`",
        )
    for name in pod.files:
        _check_free(sources[name], target / name)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, source in sources.items():
        if not (target / name).exists():
            _copy_key(source, target / name)
            if name == CONFIGURATION and not_dialled:
                _leave_out(target / name, not_dialled)


def _leave_out(configuration: Path, not_dialled: frozenset[PeerId]) -> None:
    """Take peers out of a configuration that was written just now."""
    document = tomllib.loads(configuration.read_text(encoding="utf-8"))
    peers = document["network"]["peers"]
    document["network"]["peers"] = [one for one in peers if one.rpartition("/")[2] not in not_dialled]
    configuration.write_text(to_toml(document), encoding="utf-8")


def _check_free(source: Path, target: Path) -> None:
    if target.exists() and target.read_bytes() != source.read_bytes():
        raise Refused(
            Refusal.KEYS_EXIST,
            f"{target} differs from {source}, and a key is never overwritten",
            "choose another DIR, or move the old one away first",
        )


def _copy_key(source: Path, target: Path) -> None:
    _check_free(source, target)
    target.touch(mode=0o600)
    shutil.copyfile(source, target)


def _write(
    folder: Path,
    deployment: Deployment,
    wanted: Wanted,
    homes: Sequence[Path],
    genesis: Genesis,
    *,
    is_new: bool,
) -> None:
    secret = {pod.folder.split("/")[0] for pod in deployment.pods} | {ADMIN, ADMIN_PASSPHRASE}
    way = os.path.relpath(wanted.manifests.resolve() / "overlays" / wanted.overlay, folder.resolve())
    is_permitted = is_new or (folder / FIRST_START).exists()
    permit = FIRST_START if deployment.overlay == text.DEV and is_permitted else ""
    written = {
        KUSTOMIZATION: text.kustomization(deployment, Path(way).as_posix(), permit),
        ".gitignore": "".join(f"/{name}\n" for name in sorted(secret)),
    }
    if deployment.overlay == text.VAULT and (missing := text.missing_secrets(deployment)):
        written[text.EXTERNAL_SECRETS] = text.external_secrets(missing)
    if is_new and any(pod.role is Role.AUTHORITY for pod in deployment.pods):
        written[FIRST_START] = text.first_start(
            deployment.namespace, _permit(genesis, homes, wanted.permit_hours)
        )
    for name, content in written.items():
        if not (folder / name).exists():
            (folder / name).write_text(content, encoding="utf-8")


def _permit(genesis: Genesis, homes: Sequence[Path], hours: int) -> Permit:
    files = [home / "consensus.key" for home in homes]
    try:
        keys = tuple(PublicKey(read_public_key(file)[1]) for file in files if file.exists())
    except KeyFileRefused as error:
        raise Refused(Refusal.NOT_A_HOME, str(error), "name the homes of authorities") from None
    if not keys:
        raise Refused(
            Refusal.NOT_A_HOME, "no consensus key is in any of these homes", "name the homes of authorities"
        )
    return Permit(genesis.hash, keys, Millis(time.time_ns() // 1_000_000 + hours * HOUR_MS))
