"""What is lost with a disk comes back from a backup, and nobody votes twice for it."""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from p2pledger import verify_chain
from p2pledger.api.admin import BACKUP_PATH
from p2pledger.backup import fetch, read_manifest, restore
from p2pledger.chain.transaction import Transaction
from p2pledger.directories import Held
from p2pledger.node.home import DATA, GUARD, prepare
from tests.faults.fleet import Fleet, running, with_parameters
from tests.faults.oracle import blocks_of, check_no_contradiction, votes_of
from tests.faults.test_starting_and_stopping import (
    STOP_S_MAX,
    follows_without_voting,
    stalled_client,
    votes,
)
from tests.faults.wishes import good, keep_writing, see_final

MORE_BLOCKS = 8


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    parameters = with_parameters(idle_interval_ms=500, epoch_blocks=16)
    with running(tmp_path_factory.mktemp("fleet") / "net", parameters) as fleet:
        yield fleet


@asynccontextmanager
async def written_to(fleet: Fleet) -> AsyncIterator[list[Transaction]]:
    """The others are written to all the while; afterwards every node has each of it once."""
    taken: list[Transaction] = []
    async with fleet.client("authority-1") as client, trio.open_nursery() as nursery:
        nursery.start_soon(keep_writing, fleet, client, taken)
        yield taken
        nursery.cancel_scope.cancel()
    await see_final(fleet, taken)
    await fleet.check_agreement()


async def admin_of(fleet: Fleet, name: str) -> str:
    """Where a node serves backups; it is started again with a port for them if it has none."""
    if "[admin]" not in fleet.nodes[name].configuration.read_text():
        await fleet.end(name)
        with fleet.nodes[name].configuration.open("a") as file:
            file.write("\n[admin]\nport = 0\n")
        await fleet.start(name)
    started = [line for line in fleet.log_of(name).splitlines() if '"event": "started"' in line]
    return f"http://{json.loads(started[-1])['admin']}"


async def backup_of(fleet: Fleet, name: str, to: Path) -> Path:
    return await trio.to_thread.run_sync(fetch, await admin_of(fleet, name), to)


async def lose(fleet: Fleet, name: str, *what: str) -> None:
    """The machine dies, and its disk with it."""
    fleet.kill(name)
    for directory in what:
        shutil.rmtree(fleet.nodes[name].home / directory)


async def put_back(fleet: Fleet, name: str, backup: Path) -> None:
    data, ledger = verify_chain.places(fleet.nodes[name].home, None)
    await trio.to_thread.run_sync(restore, backup, data, ledger)


async def grown(fleet: Fleet, name: str, blocks: int) -> int:
    """Wait until a node has so many blocks more; its height then."""
    due = await fleet.height(name) + blocks
    await fleet.until_height(due, name)
    return due


def began_with(fleet: Fleet, name: str) -> int:
    """The first height that a node stored since it was last started."""
    *_, last = fleet.log_of(name).split('"event": "started"')
    heights = [json.loads(line)["height"] for line in last.splitlines() if '"event": "final"' in line]
    return int(heights[0])


async def test_a_gateway_that_lost_its_data_is_in_sync_again(fleet: Fleet, tmp_path: Path) -> None:
    name = "gateway-1"
    await admin_of(fleet, name)
    async with written_to(fleet):
        await grown(fleet, name, MORE_BLOCKS)
        backup = await backup_of(fleet, name, tmp_path / "backups")
        kept = read_manifest(backup)
        assert await fleet.digest("authority-1", kept.height) == kept.digest
        await lose(fleet, name, DATA)
        await grown(fleet, "authority-1", MORE_BLOCKS)
        await put_back(fleet, name, tmp_path / "backups")
        await fleet.start(name)  # returns once it is in sync
        await fleet.until_height(await fleet.height("authority-1"), name)
        assert began_with(fleet, name) == kept.height + 1  # the rest was in the backup
    async with fleet.client(name) as client:
        assert (await client.send(good(fleet))).height
    with pytest.raises(Held):  # nor does it disturb a node that runs
        await put_back(fleet, name, backup)


async def test_a_node_stops_though_a_backup_is_not_read(fleet: Fleet) -> None:
    name = "gateway-1"
    async with written_to(fleet):
        await grown(fleet, name, MORE_BLOCKS)
    with stalled_client(await admin_of(fleet, name), BACKUP_PATH) as client:
        await trio.to_thread.run_sync(client.recv, 1)  # the copy is made, and begins to come
        await trio.sleep(1)  # until the node waits for us
        with trio.fail_after(STOP_S_MAX):
            assert await fleet.end(name) == "ended with code 0"
    await fleet.start(name)


async def test_an_authority_that_kept_its_guard_votes_on(fleet: Fleet, tmp_path: Path) -> None:
    name = "authority-2"
    backup = await backup_of(fleet, name, tmp_path / "backups")
    async with written_to(fleet):
        await grown(fleet, name, MORE_BLOCKS)
        fleet.kill(name)
        cast = votes_of(fleet, name)
        await lose(fleet, name, DATA)
        await put_back(fleet, name, backup)
        await fleet.start(name)
        await votes(fleet, name)
    check_no_contradiction(cast.union(*(votes_of(fleet, each) for each in fleet.nodes)))


async def test_an_authority_without_its_guard_has_its_chain_back_and_does_not_vote(
    fleet: Fleet, tmp_path: Path
) -> None:
    name = "authority-3"
    home, passphrase = fleet.nodes[name].home, fleet.directory.path / "passphrase"
    backup = await backup_of(fleet, "gateway-1", tmp_path / "backups")
    await grown(fleet, name, MORE_BLOCKS)
    fleet.kill(name)
    cast = votes_of(fleet, name)
    await lose(fleet, name, DATA, GUARD)
    await put_back(fleet, name, backup)
    with pytest.raises(FileExistsError, match="a lost guard is not made anew"):
        prepare(
            home,
            fleet.nodes[name].role,
            passphrase,
            fleet.directory.path / "genesis.json",
            "/ip4/127.0.0.1/tcp/0",
            (),
        )
    await fleet.start(name)
    await follows_without_voting(fleet, name, "no guard was found", "guard_missing")
    assert not (home / GUARD / "guard.db").exists()
    others = [each for each in fleet.nodes if each != name]
    check_no_contradiction(cast.union(*(votes_of(fleet, each) for each in others)))
    assert blocks_of(fleet, name)[: read_manifest(backup).height]
