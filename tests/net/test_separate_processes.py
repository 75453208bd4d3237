"""Hosts in processes of their own: they gossip, and what ends a stock one does not end ours."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from libp2p.exceptions import BaseLibp2pError
from p2pledger.network.host import peer_id_of
from p2pledger.network.seam import PeerAddress
from p2pledger.network.streams import ASK
from p2pledger.network.wire import encode_delimited
from tests.net.attackers import GOSSIP, Attacker, agree_on_yamux, attacker_at, shaken_hands
from tests.net.hosts import PATIENCE_S, seed_of, until

ROOT = Path(__file__).parents[2]


class Remote:
    """A host in another process."""

    def __init__(self, name: str, process: trio.Process) -> None:
        self.id = peer_id_of(seed_of(name))
        self.process = process
        self.lines: list[str] = []

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.id, (self.lines[0].split("/p2p/")[0],))

    async def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{line}\n".encode())

    async def listen(self) -> None:
        assert self.process.stdout is not None
        buffer = b""
        async for piece in self.process.stdout:
            *lines, buffer = (buffer + piece).split(b"\n")
            self.lines += [line.decode() for line in lines]


@asynccontextmanager
async def remote(kind: str, name: str, *admitted: str) -> AsyncIterator[Remote]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.net.host_process", kind, name, *admitted],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    async with trio.open_nursery() as nursery:
        host = Remote(name, process)
        nursery.start_soon(host.listen)
        try:
            await until(lambda: bool(host.lines) or process.returncode is not None)
            yield host
        finally:
            with trio.CancelScope(shield=True):
                assert process.stdin is not None and process.stdout is not None
                with suppress(trio.BrokenResourceError):
                    await process.stdin.aclose()
                with trio.move_on_after(PATIENCE_S):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            nursery.cancel_scope.cancel()
    await process.stdout.aclose()


async def test_processes_gossip_and_one_that_was_killed_is_found_again() -> None:
    names = ("a", "b", "c")
    async with remote("own", "a", *names) as a, remote("own", "b", *names) as b:
        await b.tell(f"a {a.address.addresses[0]}")
        async with remote("own", "c", *names) as c:
            await c.tell(f"a {a.address.addresses[0]}")
            await hears_all(b, [a, c])
            c.process.send_signal(signal.SIGKILL)
            await c.process.wait()
        async with remote("own", "c", *names) as c:
            await c.tell(f"a {a.address.addresses[0]}")
            await hears_all(b, [a, c])
        assert a.process.returncode is None
    assert a.process.returncode == 0


async def hears_all(speaker: Remote, listeners: list[Remote]) -> None:
    """What is gossiped before the mesh stands is lost, so speak until heard."""
    for listener in listeners:
        n_before = len(listener.lines)
        with trio.fail_after(PATIENCE_S):
            while len(listener.lines) == n_before:
                await speaker.tell(f"publish {trio.current_time()}")
                await trio.sleep(0.2)


async def undecodable_rpc(mallory: Attacker) -> None:
    await (await mallory.open(GOSSIP)).write(encode_delimited(b"\xff" * 100))


async def undecodable_key(mallory: Attacker) -> None:
    message = mallory.message(b"data")
    message.from_id, message.key = b"\x12\x20" + bytes(32), b"\xff\xff"
    await mallory.gossip(await mallory.open(GOSSIP), message)


async def message_whose_check_raises(mallory: Attacker) -> None:
    await mallory.gossip(await mallory.open(GOSSIP), mallory.message(b"raise in check"))


async def request_whose_answer_raises(mallory: Attacker) -> None:
    await (await mallory.open(ASK)).write(b"\0\0\0\x05raise")


async def protocol_name_that_is_no_text(mallory: Attacker) -> None:
    await (await mallory.mux.open_stream()).write(b"\x05\xff\xfe\xfd\xfc\n")


ATTACKS: list[Callable[[Attacker], Awaitable[None]]] = [
    undecodable_rpc,
    undecodable_key,
    message_whose_check_raises,
    request_whose_answer_raises,
    protocol_name_that_is_no_text,
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["own", "stock"])
async def test_one_message_that_ends_a_stock_process(
    kind: str, attack: Callable[[Attacker], Awaitable[None]]
) -> None:
    async with remote(kind, "a", "mallory", "other") as host:
        async with attacker_at("mallory", host.address) as mallory:
            await attack(mallory)
            # Whether a second stream is served shows that the host has come to the first.
            with suppress(BaseLibp2pError), trio.move_on_after(PATIENCE_S):
                await mallory.open(GOSSIP)
        if kind == "stock":
            await until(lambda: host.process.returncode is not None)
        else:
            async with shaken_hands("other", host.address) as secure:
                await agree_on_yamux(secure)
            assert host.process.returncode is None
