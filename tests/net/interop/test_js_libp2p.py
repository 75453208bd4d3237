"""A js-libp2p peer is admitted, hears what we gossip and is heard."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from p2pledger.network.host import peer_id_of, topic_name
from p2pledger.network.seam import Topic
from tests.net.hosts import CHAIN_TAG, PATIENCE_S, Peer, make_peer, running, seed_of, until

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
"""Node.js comes with the tests' Python packages: this machine's own may be missing, or too old."""
LARGE = 100_000
JS_SEED = seed_of("js")
JS_ID = peer_id_of(JS_SEED)


@pytest.fixture(scope="module")
def js_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The peer's script with its packages, installed as locked."""
    folder = tmp_path_factory.mktemp("js")
    for name in ("package.json", "package-lock.json", "peer.mjs"):
        shutil.copy(HERE / name, folder)
    command = [BIN / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"npm ci failed: {done.stderr}"
    return folder


class JsPeer:
    """The other process: lines to its stdin, events from its stdout."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.events: list[dict[str, object]] = []

    async def listen(self) -> None:
        assert self._process.stdout is not None
        buffer = b""
        async for piece in self._process.stdout:
            *lines, buffer = (buffer + piece).split(b"\n")
            self.events += [json.loads(line) for line in lines]

    async def publish(self, size: int, byte: int) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{size} {byte}\n".encode())

    def of(self, kind: str) -> list[dict[str, object]]:
        return [event for event in self.events if event["event"] == kind]


@asynccontextmanager
async def js_peer(folder: Path, address: str, topic: Topic) -> AsyncIterator[JsPeer]:
    command = [BIN / "node", "peer.mjs", JS_SEED.hex(), address, topic_name(CHAIN_TAG, topic)]
    process = await trio.lowlevel.open_process(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    async with trio.open_nursery() as nursery:
        peer = JsPeer(process)
        nursery.start_soon(peer.listen)
        try:
            yield peer
        finally:
            with trio.CancelScope(shield=True):
                assert process.stdin is not None
                await process.stdin.aclose()
                with trio.move_on_after(PATIENCE_S):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
            nursery.cancel_scope.cancel()
    assert process.returncode == 0


@asynccontextmanager
async def meshed(folder: Path) -> AsyncIterator[tuple[Peer, Peer, JsPeer]]:
    """Two of ours, and the js peer connected to the first only."""
    a, b = make_peer("a"), make_peer("b")
    async with running(a, b):
        a.host.admit(frozenset({b.id, JS_ID}), {b.id: b.address})
        b.host.admit(frozenset({a.id}), {})
        address = f"{a.host.addresses[0]}/p2p/{a.id}"
        async with js_peer(folder, address, Topic.TRANSACTIONS) as js:
            await until(lambda: a.host.mesh_sizes()[Topic.TRANSACTIONS] == 2 and bool(js.of("graft")))
            yield a, b, js


async def test_js_hears_us(js_folder: Path) -> None:
    async with meshed(js_folder) as (_, b, js):
        sent = [b"a", b"\x80" * 10_000, bytes(LARGE), *(b"%d" % index for index in range(20))]
        for data in sent:
            # From the peer that it has no connection to: what we forward keeps its author's signature.
            await b.host.publish(Topic.TRANSACTIONS, data)
        await until(lambda: len(js.of("message")) == len(sent))
        assert {event["digest"] for event in js.of("message")} == {
            hashlib.sha256(d).hexdigest() for d in sent
        }
        assert {event["from"] for event in js.of("message")} == {b.id}


async def test_we_hear_js(js_folder: Path) -> None:
    async with meshed(js_folder) as (a, b, js):
        for byte in range(20):
            await js.publish(1 + byte, byte)
        await js.publish(LARGE, 7)
        sent = {*(bytes([byte]) * (1 + byte) for byte in range(20)), b"\7" * LARGE}
        await until(lambda: set(a.handler.heard()) == sent == set(b.handler.heard()))
        assert a.host.scores()[JS_ID] == 0.0


async def test_js_is_nobodys_peer_when_not_admitted(js_folder: Path) -> None:
    a = make_peer("a")
    async with running(a):
        a.host.admit(frozenset(), {})
        command = [BIN / "node", "peer.mjs", JS_SEED.hex(), f"{a.host.addresses[0]}/p2p/{a.id}", "topic"]
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                command, cwd=js_folder, check=False, capture_stdout=True, capture_stderr=True, stdin=b"10 1\n"
            )
        # It comes as far as the lobby, where nobody listens to gossip.
        assert b'"connected"' in done.stdout and b'"published"' not in done.stdout
        assert b"NoPeersSubscribedToTopic" in done.stderr
        assert done.returncode != 0
        assert a.host.connected() == frozenset() and not a.handler.heard()
