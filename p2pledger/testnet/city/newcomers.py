"""Nodes that join a running ledger: gateways by one string, an authority by the others' vote. Floor 8."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from p2pledger.chain.payloads import AuthorityAdd
from p2pledger.crypto import KeySigner
from p2pledger.node.config import Role
from p2pledger.node.home import CONFIGURATION, create_guard, create_keys, to_toml, write_configuration
from p2pledger.signer.keyfile import SecretRole, load_key_file
from p2pledger.testnet.city.cast import COMING
from p2pledger.testnet.city.stage import NotAsWritten, Stage
from p2pledger.testnet.directory import GENESIS, ORGANISATIONS, PASSPHRASE, Node, service_sections
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.nodes import Nodes
from p2pledger.types import PeerId

COMMAND_S = 120.0


@dataclass(frozen=True)
class Seat:
    """A node that is to be an authority: what the others decide on, and the key that it will vote with."""

    node: Node
    measure: AuthorityAdd
    key: KeySigner


async def gateway_joins(
    stage: Stage, nodes: Nodes, http: httpx.AsyncClient, name: str, organisation: str
) -> None:
    """An admin writes an invite, a new machine joins with it and runs. Raises: NotAsWritten, NodeDied."""
    path = stage.directory.path
    known = next(node for node in stage.directory.nodes if node.name == "authority-1")
    invite, _ = await _p2pledger(
        *("invite", "create", "--key", path / ORGANISATIONS / f"{organisation}.key"),
        *("--passphrase-file", path / PASSPHRASE, "--home", known.home),
    )
    node = _newcomer(stage, name, Role.GATEWAY)
    printed, _ = await _p2pledger(
        *("join", invite.strip(), "--home", node.home, "--passphrase-file", path / PASSPHRASE),
        *("--listen", node.p2p),
    )
    found = re.search(r"as +(\S+), a gateway of", printed)
    if found is None:
        raise NotAsWritten(f"`p2pledger join` says: {printed}")
    with (node.home / CONFIGURATION).open("a", encoding="utf-8") as configuration:
        configuration.write("\n" + to_toml(service_sections(node)))
    await _start(stage, nodes, http, node)
    signer = stage.directory.key(node.home / "transaction.key")
    stage.gateways[organisation] = Gateway(name, organisation, PeerId(found[1]), signer, node.http_url)


def new_seat(stage: Stage) -> Seat:
    """A home with keys, guard and configuration for the authority that comes."""
    path = stage.directory.path
    passphrase = (path / PASSPHRASE).read_bytes()
    node = _newcomer(stage, f"authority-{stage.directory.plan.authorities + 1}", Role.AUTHORITY)
    side = create_keys(node.home, Role.AUTHORITY, passphrase)
    create_guard(node.home, side.key, stage.genesis.hash)
    sitting = zip(stage.directory.nodes, stage.genesis.authorities.members, strict=False)
    network = {
        "listen": node.p2p,
        "peers": [f"{other.p2p}/p2p/{member.peer}" for other, member in sitting],
        "allow_peers": [],
    }
    write_configuration(
        node.home,
        Role.AUTHORITY,
        genesis=Path("..") / GENESIS,
        passphrase_file=Path("..") / PASSPHRASE,
        sections={"network": network, **service_sections(node)},
    )
    key = KeySigner(load_key_file(node.home / "consensus.key", SecretRole.CONSENSUS, passphrase).secret)
    return Seat(node, AuthorityAdd(COMING, side.key, side.peer), key)


async def start_seat(stage: Stage, nodes: Nodes, http: httpx.AsyncClient, seat: Seat) -> None:
    """Run its node until it follows the chain: others have decided that it comes. Raises: NodeDied."""
    await _start(stage, nodes, http, seat.node)


def _newcomer(stage: Stage, name: str, role: Role) -> Node:
    grown = stage.directory.with_newcomer(name, role)
    stage.directory = grown
    return grown.nodes[-1]


async def _start(stage: Stage, nodes: Nodes, http: httpx.AsyncClient, node: Node) -> None:
    nodes.add(node)
    await nodes.launch(node.name)
    await nodes.wait_until_ready(http, node.name)


async def _p2pledger(*arguments: str | Path) -> tuple[str, str]:
    """Run a command of ours as its user does; what it printed, and what it said beside."""
    command = [sys.executable, "-m", "p2pledger", *map(str, arguments)]
    with trio.move_on_after(COMMAND_S):
        done = await trio.run_process(
            command, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False
        )
        if done.returncode == 0:
            return done.stdout.decode(), done.stderr.decode()
        raise NotAsWritten(f"`p2pledger {arguments[0]}` failed: {done.stderr.decode()}")
    raise NotAsWritten(f"`p2pledger {arguments[0]}` took longer than {COMMAND_S:.0f} s")
