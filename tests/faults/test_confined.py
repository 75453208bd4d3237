"""A node as a pod has it: another user, volumes of another owner, and all else read-only."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio
from p2pledger.client import AsyncClient
from p2pledger.node.home import DATA, GUARD
from p2pledger.testnet.directory import Directory, Node, Plan, create_directory
from p2pledger.testnet.ports import claimed_ports
from tests.faults.fleet import POLL_S
from tests.faults.wishes import note

USER, FS_GROUP = 10_001, 20_002
PATIENCE_S = 60

CONFINED = """
set -e
mount --make-rprivate /
for volume in "$1" "$2"; do mount --bind "$volume" "$volume"; done
here=$(findmnt --noheadings --output TARGET --target "$3")
for place in / "$here"; do mount -o remount,bind,ro "$place"; done
if touch "$3/writable" 2>/dev/null; then exit 99; fi
shift 3
exec setpriv --reuid USER --regid USER --groups FS_GROUP --bounding-set -all,+dac_read_search \
  --inh-caps -all,+dac_read_search --ambient-caps -all,+dac_read_search -- "$@"
""".replace("USER", str(USER)).replace("FS_GROUP", str(FS_GROUP))
"""It may read what it likes, as this machine's Python may be closed to others; it may write nowhere else."""


def can_confine() -> bool:
    """Whether a process may be given mounts of its own, and another user."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def give_to_pod(volume: Path) -> None:
    """As a kubelet does by `fsGroup`: the owner stays, the group is the pod's and may write."""
    volume.mkdir(exist_ok=True)
    for path in (volume, *volume.rglob("*")):
        os.chown(path, 0, FS_GROUP)
        path.chmod(0o2770 if path.is_dir() else 0o660)


@contextmanager
def confined(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """The node as a process of the pod's user; it has ended afterwards."""
    volumes = [node.home / DATA, node.home / GUARD]
    for volume in volumes:
        give_to_pod(volume)
    command = ["unshare", "-m", "sh", "-c", CONFINED, "sh", *map(str, volumes), str(node.home)]
    program = [sys.executable, "-B", "-m", "p2pledger", "node", "--config", str(node.configuration)]
    with (
        node.log.open("ab") as log,
        subprocess.Popen([*command, *program], stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def alone() -> Iterator[tuple[Directory, Node]]:
    """A ledger of one authority, which is not started, where other users may come."""
    with tempfile.TemporaryDirectory() as place, claimed_ports(2) as ports:
        directory = create_directory(Path(place) / "net", Plan(1, 1, ports.base))
        node = directory.nodes[0]
        for path in (Path(place), directory.path, node.home):
            path.chmod(0o755)
        node.configuration.chmod(0o644)
        yield directory, node


@pytest.mark.skipif(not can_confine(), reason="it takes root, unshare and setpriv to confine a process")
async def test_a_node_writes_to_its_volumes_and_nowhere_else(alone: tuple[Directory, Node]) -> None:
    directory, node = alone
    gateway = directory.gateways()[0]
    wish = note(directory.genesis, gateway.organisation, gateway.signer)
    with confined(node) as process, trio.fail_after(PATIENCE_S):
        await answers(node, process)
        async with AsyncClient([node.http_url], directory.genesis) as client:
            assert (await client.send(wish)).height == 1
        process.send_signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(process.wait) == 0, node.log.read_text()
    made = {path for path in node.home.rglob("*") if path.is_file() and path.stat().st_uid == USER}
    assert made == {node.home / DATA / "chain.db", node.home / DATA / "lock"}
    assert (node.home / GUARD / "guard.db").stat().st_uid == 0  # written to, and still its owner's
    # Started again it finds all of it, whoever made it.
    with confined(node) as process, trio.fail_after(PATIENCE_S):
        await answers(node, process)
        async with AsyncClient([node.http_url], directory.genesis) as client:
            assert (await client.fate(wish.id)).height == 1


async def answers(node: Node, process: subprocess.Popen[bytes]) -> None:
    """Wait until the node is ready; fail when it has ended instead."""
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            assert process.poll() is None, node.log.read_text()
            try:
                if (await http.get(f"{node.http_url}/healthz/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await trio.sleep(POLL_S)
