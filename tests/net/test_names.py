"""Names of peers: what they stand for changes, may be nothing yet, and may take for ever to be told."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from p2pledger.network import host as host_module
from p2pledger.network.names import AT_ONCE, Names
from p2pledger.network.seam import PeerAddress
from p2pledger.types import PeerId
from tests.net.hosts import make_peer, running, until

NAME = "node-1.nodes.ledger.svc"
TOO_MANY = 2 * AT_ONCE + 10


class Zone:
    """A resolver whose answers change. It counts how often it was asked."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.asked = 0

    def look_up(self, name: str, family: int) -> list[tuple[object, ...]]:
        self.asked += 1
        if name not in self.of:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (self.of[name], 0))]


async def test_a_pod_is_found_once_its_name_is_there_and_again_when_it_moves() -> None:
    zone = Zone()
    a = make_peer("a", look_up=zone.look_up)
    first = make_peer("b", listen="/ip4/127.0.0.2/tcp/0")
    async with running(a):
        async with running(first):
            port = first.host.addresses[0].rsplit("/", 1)[1]
            first.host.admit(frozenset({a.id}), {})
            a.host.admit(frozenset({first.id}), {first.id: named(first.id, f"/dns4/{NAME}/tcp/{port}")})
            await until(lambda: a.counts.of["dial", "error"] >= 3)  # there is no such name yet
            asked = zone.asked
            assert asked >= 3
            zone.of[NAME] = "127.0.0.2"
            await until(lambda: a.host.connected() == {first.id})
        # It comes back elsewhere, and for a while the name stands for where it was.
        await until(lambda: not a.host.connected() and zone.asked > asked + 2)
        moved = make_peer("b", listen=f"/ip4/127.0.0.3/tcp/{port}")
        async with running(moved):
            moved.host.admit(frozenset({a.id}), {})
            zone.of[NAME] = "127.0.0.3"
            await until(lambda: a.host.connected() == {moved.id})


def named(peer: PeerId, *addresses: str) -> PeerAddress:
    return PeerAddress(peer, addresses)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """Lookups hang until this is set, as it is in the end."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_resolver_that_hangs_takes_no_thread_from_others(
    hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "DIAL_TIMEOUT_S", 0.05)
    started: list[str] = []

    def look_up(name: str, family: int) -> list[tuple[object, ...]]:
        started.append(name)
        hanging.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    a, b = make_peer("a", look_up=look_up), make_peer("b")
    strangers = [make_peer(f"peer {i}").id for i in range(TOO_MANY)]
    async with running(a, b):
        b.host.admit(frozenset({a.id}), {})
        dial = {peer: named(peer, f"/dns4/pod-{i}.nodes/tcp/1") for i, peer in enumerate(strangers)}
        a.host.admit(frozenset({*dial, b.id}), dial | {b.id: b.address})
        await until(lambda: a.counts.of["dial", "error"] >= 3 * TOO_MANY and len(started) == AT_ONCE)
        assert sorted(set(started)) == sorted(started)  # and none of them twice
        await until(lambda: a.host.connected() == {b.id})
        with trio.fail_after(10):  # whoever signs or stores has a thread
            assert await trio.to_thread.run_sync(lambda: "signed") == "signed"
        hanging.set()


async def test_addresses_without_a_name_are_themselves() -> None:
    names = Names(lambda name, family: pytest.fail("nothing is to be looked up"))
    for address in ("/ip4/192.0.2.7/tcp/1", "/ip6/2001:db8::1/tcp/1"):
        assert [str(one) for one in await names.resolve(address)] == [address]


async def test_all_addresses_of_a_name_are_given_in_their_order() -> None:
    def look_up(name: str, family: int) -> list[tuple[object, ...]]:
        assert (name, family) == ("a.b", socket.AF_UNSPEC)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("2001:db8::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.7", 0)),
        ]

    found = await Names(look_up).resolve("/dns/a.b/tcp/7")
    assert [str(one) for one in found] == ["/ip6/2001:db8::1/tcp/7", "/ip4/192.0.2.7/tcp/7"]


ASKS = """
import sys, trio
from p2pledger.network.names import Names

async def main():
    names = Names()
    for line in sys.stdin:
        try:
            print(*await names.resolve(line.strip()), flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)

trio.run(main)
"""


def can_mount() -> bool:
    """Whether a process may be given mounts of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="it takes root and unshare to give a process its own hosts file")
def test_the_machines_own_resolver_is_asked_each_time(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    mounted = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", str(hosts), sys.executable, "-c", ASKS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask() -> str:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("/dns4/node-1.invalid/tcp/7\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert ask() == "gaierror"
        for address in ("192.0.2.7", "192.0.2.8"):
            hosts.write_text(f"{address} node-1.invalid\n")
            assert ask() == f"/ip4/{address}/tcp/7"
        process.stdin.close()
        assert process.wait() == 0
