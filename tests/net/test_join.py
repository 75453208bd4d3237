"""A gateway joins a running ledger with one string, works, and is cut off when its key is revoked."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import trio
from p2pledger.bench.fleet import Fleet, Shape, prepared
from p2pledger.chain.payloads import (
    Action,
    DeviceEnroll,
    Item,
    KeyRevoke,
    RecordAppend,
    RevocationReason,
)
from p2pledger.chain.transaction import Outcome
from p2pledger.client import AsyncClient, Refused, transaction
from p2pledger.crypto import KeySigner
from p2pledger.signer.keyfile import SecretRole, load_key_file
from p2pledger.testnet.directory import PASSPHRASE
from p2pledger.types import Hash, Height, Millis, PeerId

PATIENCE_S = 40
SPONSOR = "gateway-1"
"""An organisation of the genesis file, whose own gateway does not run."""


@dataclass
class Newcomer:
    """A gateway that is not in the genesis file."""

    home: Path
    base_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.base_port + 20}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "P2PLEDGER_API_PORT": str(self.base_port + 20),
            "P2PLEDGER_METRICS_PORT": str(self.base_port + 50),
        }


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "p2pledger", *map(str, arguments)]


async def p2pledger(*arguments: str | Path, status: int = 0) -> tuple[str, str]:
    """Run a command; what it printed, and what it said beside."""
    done = await trio.run_process(command(*arguments), capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


async def create_invite(fleet: Fleet, *options: str | Path) -> tuple[str, str]:
    path = fleet.directory.path
    printed, said = await p2pledger(
        *("invite", "create", "--key", path / "organisations" / f"{SPONSOR}.key"),
        *("--passphrase-file", path / PASSPHRASE, "--home", path / SPONSOR, *options),
    )
    return printed.strip(), said


def join_arguments(fleet: Fleet, newcomer: Newcomer, invite: str) -> Sequence[str | Path]:
    return (
        *("join", invite, "--home", newcomer.home, "--passphrase-file", fleet.directory.path / PASSPHRASE),
        *("--listen", f"/ip4/127.0.0.1/tcp/{newcomer.base_port + 80}"),
    )


@contextmanager
def started(newcomer: Newcomer) -> Iterator[None]:
    with (newcomer.home / "node.log").open("ab") as log:
        process = subprocess.Popen(
            command("node", "--config", newcomer.home / "node.toml", "--parent", str(os.getpid())),
            env=newcomer.environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield
        assert process.poll() is None, (newcomer.home / "node.log").read_text()[-2_000:]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def status(fleet: Fleet, url: str) -> dict[str, object]:
    answer: dict[str, object] = (await fleet.http.get(f"{url}/v1/status")).json()
    return answer


async def peers(fleet: Fleet, name: str) -> set[PeerId]:
    found = (await status(fleet, fleet.url(name)))["peers"]
    assert isinstance(found, list)
    return set(found)


async def until_peers(fleet: Fleet, peer: PeerId, *, connected: bool) -> None:
    with trio.fail_after(PATIENCE_S):
        for name in fleet.authorities:
            while (peer in await peers(fleet, name)) is not connected:
                await trio.sleep(0.1)


async def until_ready(fleet: Fleet, url: str) -> None:
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                if (await fleet.http.get(f"{url}/healthz/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            await trio.sleep(0.2)


def secret_of(fleet: Fleet, file: Path) -> KeySigner:
    passphrase = (fleet.directory.path / PASSPHRASE).read_bytes()
    return KeySigner(load_key_file(file, SecretRole.TRANSACTION, passphrase).secret)


async def final_everywhere(fleet: Fleet, transaction_id: Hash, *urls: str) -> None:
    for url in (*map(fleet.url, fleet.authorities), *urls):
        async with AsyncClient([url], fleet.genesis) as client:
            fate = await client.wait(transaction_id, PATIENCE_S * 1_000)
            assert fate.outcome is Outcome.FINAL


def reading() -> RecordAppend:
    now = Millis(time.time_ns() // 1_000_000)
    what = (Item("flow", 1, "MTQ"),)
    return RecordAppend(
        "sensor.reading/1", now, None, None, Action.OBSERVE, what, None, None, None, (), None, None
    )


async def enrol_and_record(fleet: Fleet, newcomer: Newcomer, peer: PeerId, key: KeySigner) -> None:
    """A device behind the new gateway begins and is heard, through the new gateway alone."""
    device = KeySigner(secrets.token_bytes(32))
    enrolment = DeviceEnroll(secrets.token_bytes(16), device.public_key, peer, "meter", bytes(32))
    async with AsyncClient([newcomer.url], fleet.genesis) as client:
        begun = transaction(fleet.genesis, enrolment.KIND, enrolment, SPONSOR, [key, device])
        await client.send(begun)
        fact = reading()
        said = replace(fact, device=enrolment.device, seq=0)
        record = transaction(fleet.genesis, said.KIND, said, SPONSOR, [device])
        await client.send(record)
        receipt = await client.receipt(record.id)
        assert receipt is not None
    await final_everywhere(fleet, record.id, newcomer.url)


async def refusal(fleet: Fleet, url: str, key: KeySigner, sponsor: str = SPONSOR) -> str:
    fact = reading()
    async with AsyncClient([url], fleet.genesis) as client:
        try:
            await client.send(transaction(fleet.genesis, fact.KIND, fact, sponsor, [key]), 10_000)
        except Refused as refused:
            return refused.code
    return ""


async def test_a_gateway_joins_works_and_is_cut_off(tmp_path: Path) -> None:
    async with prepared(Shape(authorities=4)) as fleet:
        await fleet.start()
        invite, said = await create_invite(fleet, "--expires", "1h")
        assert re.fullmatch("[A-Za-z0-9_-]+", invite) and "lets ONE gateway of 'gateway-1' in" in said
        base = int(fleet.url("authority-1").rsplit(":", 1)[1])
        newcomer = Newcomer(tmp_path / "new", base)
        printed, _ = await p2pledger(*join_arguments(fleet, newcomer, invite))
        found = re.search(r"as +(\S+), a gateway of 'gateway-1'", printed)
        assert found is not None, printed
        peer = PeerId(found[1])
        key = secret_of(fleet, newcomer.home / "transaction.key")

        with started(newcomer):
            await until_ready(fleet, newcomer.url)
            await until_peers(fleet, peer, connected=True)
            own = await status(fleet, newcomer.url)
            assert own["role"] == "gateway" and own["peer"] == peer
            await enrol_and_record(fleet, newcomer, peer, key)
            # It speaks for its own organisation only.
            assert await refusal(fleet, newcomer.url, key, "authority-1") == "not_entitled"

            # The string is used up, for whoever else has it.
            second = Newcomer(tmp_path / "second", base)
            _, told = await p2pledger(*join_arguments(fleet, second, invite), "--timeout", "10", status=1)
            assert "invite_used" in told and not (second.home / "node.toml").exists()

            admin = secret_of(fleet, fleet.directory.path / "organisations" / f"{SPONSOR}.key")
            revoke = KeyRevoke(key.public_key, RevocationReason.COMPROMISED, Height(0))
            end = transaction(fleet.genesis, revoke.KIND, revoke, SPONSOR, [admin])
            async with AsyncClient([fleet.url("authority-2")], fleet.genesis) as client:
                await client.send(end)
            # No block follows: it is cut off by the height, not by the next one to write something.
            await until_peers(fleet, peer, connected=False)
            assert await refusal(fleet, fleet.url("authority-3"), key) == "not_entitled"
            await trio.sleep(1.5)  # it goes on dialling
            await until_peers(fleet, peer, connected=False)
            for name in fleet.authorities:
                assert len(await peers(fleet, name)) == 3
