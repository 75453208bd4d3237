"""Backups: copies of a growing chain, kept whole or not at all, and checked before they are put back."""

import json
import os
import shutil
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256

import httpx
import pytest
import trio
from click.testing import CliRunner
from p2pledger import backup as backups
from p2pledger.api import admin, server
from p2pledger.backup import BackupRefused, fetch, prune, read_manifest, restore
from p2pledger.backup_command import backup as backup_command
from p2pledger.backup_command import restore as restore_command
from p2pledger.chain.block import FinalBlock
from p2pledger.codec import decode, encode, to_json
from p2pledger.directories import Held, hold
from p2pledger.ledger.machine import Machine
from p2pledger.storage import snapshot
from p2pledger.storage.snapshot import NoRoom, Snapshots
from p2pledger.storage.sqlite import SqliteStore
from tests.unit.node.solo import Solo, fact, genesis

GENESIS = genesis()
OTHER = replace(GENESIS, chain_id="other")
PATIENCE_S = 9  # a stop takes less than 10 s, whatever clients do


class Place:
    """One authority's chain on disk, and the port at which its backups are served."""

    def __init__(self, solo, data, url=""):
        self.solo, self.data, self.url = solo, data, url

    async def grow(self, blocks=1):
        """So many blocks with something in them."""
        for _ in range(blocks):
            one = fact(GENESIS)
            await self.solo.pool.submit([one.encoded])
            with trio.fail_after(60):
                await self.solo.pool.wait(one.id, 60_000)

    @property
    def height(self):
        return self.solo.store.tip().height


@asynccontextmanager
async def served(tmp_path):
    """A chain of three blocks that goes on, and its admin port."""
    (tmp_path / "guard").mkdir()
    store = SqliteStore(tmp_path / "data", GENESIS, Machine(GENESIS).start())
    solo = Solo(tmp_path / "guard", GENESIS, store)
    place, shutdown = Place(solo, tmp_path / "data"), trio.Event()
    snapshots = Snapshots(place.data, GENESIS, "0")
    async with solo.running(), trio.open_nursery() as nursery:
        address = await nursery.start(
            lambda task_status: server.serve_admin(
                snapshots, GENESIS, "127.0.0.1:0", shutdown=shutdown, task_status=task_status
            )
        )
        place.url = f"http://{address}"
        await place.grow(3)
        yield place
        shutdown.set()
    store.close()


@pytest.fixture
async def place(tmp_path):
    async with served(tmp_path) as place:
        yield place


async def fetched(place, to):
    return await trio.to_thread.run_sync(fetch, place.url, to)


async def made(tmp_path):
    """A backup of three blocks, of a node that runs no more."""
    async with served(tmp_path) as place:
        return await fetched(place, tmp_path / "backups")


async def test_what_was_fetched_is_put_back_and_goes_on(tmp_path):
    one = await made(tmp_path)
    manifest = read_manifest(one)
    assert (manifest.height, manifest.genesis_hash, one.name) == (3, GENESIS.hash.hex(), "test-000000000003")
    assert sorted(path.name for path in one.iterdir()) == ["chain.db", "genesis.json", "manifest.json"]
    assert restore(tmp_path / "backups", tmp_path / "new", GENESIS) == manifest
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"chain.db", "lock"}
    store = SqliteStore(tmp_path / "new", GENESIS, Machine(GENESIS).start())
    assert store.tip().header.digest.hex() == manifest.digest
    store.close()


async def test_a_copy_is_of_one_block_though_others_come_meanwhile(place, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "PAGES", 1)
    seen = []

    def tell():
        if not seen:
            trio.from_thread.run(place.grow, 2)
        seen.append(place.height)

    snapshots = Snapshots(place.data, GENESIS, "0")
    with_two_more = await trio.to_thread.run_sync(snapshots.take, tell)
    assert with_two_more.manifest.height == 3 and place.height == 5
    assert len(seen) < 2 * with_two_more.manifest.size_bytes // 4_096  # it did not begin anew with each block
    with_two_more.close()


async def test_a_backup_holds_the_chain_and_nothing_of_guard_or_keys(place, tmp_path):
    one = await fetched(place, tmp_path / "backups")
    with sqlite3.connect(one / "chain.db") as copy:
        tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    copy.close()
    with sqlite3.connect(tmp_path / "guard" / "guard.db") as guard:
        of_guard = {name for (name,) in guard.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        votes = [row for (row,) in guard.execute("SELECT content FROM kept WHERE keeping = 1")]
    guard.close()
    assert votes and "kept" in of_guard and "kept" not in tables
    kept = b"".join(path.read_bytes() for path in one.iterdir())
    assert not any(vote in kept for vote in votes)


async def test_nothing_is_left_at_the_node(place, tmp_path):
    await fetched(place, tmp_path / "backups")
    assert {path.name for path in place.data.iterdir()} <= {
        "chain.db",
        "chain.db-wal",
        "chain.db-shm",
        "lock",
    }


async def test_the_same_block_is_one_backup(place, tmp_path):
    assert await fetched(place, tmp_path / "b") == await fetched(place, tmp_path / "b")
    assert len(backups.backups(tmp_path / "b")) == 1
    await place.grow()
    newer = await fetched(place, tmp_path / "b")
    assert backups.backups(tmp_path / "b")[-1] == newer


async def test_old_backups_go_and_those_of_another_ledger_stay(place, tmp_path):
    to = tmp_path / "b"
    old = await fetched(place, to)
    foreign = to / "other-000000000001"
    shutil.copytree(old, foreign)
    shown = json.loads((foreign / "manifest.json").read_text())
    (foreign / "manifest.json").write_text(json.dumps({**shown, "genesis_hash": OTHER.hash.hex()}))
    await place.grow()
    new = await fetched(place, to)
    assert prune(to, 2, new) == []
    assert prune(to, 1, new) == [old]
    assert set(to.iterdir()) == {new, foreign, to / "lock"}


async def test_an_interrupted_one_is_no_backup_and_goes_with_the_next(place, tmp_path, monkeypatch):
    to = tmp_path / "b"
    (to / ".partial-old").mkdir(parents=True)
    monkeypatch.setattr(admin, "sha256", lambda: FalseDigest())
    with pytest.raises(BackupRefused) as refused:
        await fetched(place, to)
    assert refused.value.code == "broken_off"
    assert {path.name for path in to.iterdir()} == {"lock"}


class FalseDigest:
    """What a copy that was changed on its way does not have."""

    def update(self, piece):
        pass

    def hexdigest(self):
        return "00" * 32


async def test_two_do_not_fetch_into_one_directory(place, tmp_path):
    held = hold(tmp_path)
    with pytest.raises(Held):
        await fetched(place, tmp_path)
    os.close(held)
    assert (await fetched(place, tmp_path)).exists()


async def test_one_copy_at_a_time(place, tmp_path):
    url = f"{place.url}{admin.BACKUP_PATH}"
    async with httpx.AsyncClient(trust_env=False) as http, http.stream("GET", url):
        answer = await http.get(url)
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert "already" in answer.json()["message"] and "Retry-After" in answer.headers
    with trio.fail_after(30):  # the server notices that the first one has hung up
        while (await httpx_get(url)).status_code != 200:
            await trio.sleep(0.05)


async def httpx_get(url):
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.get(url)


async def test_a_node_that_is_told_to_stop_breaks_a_copy_off(tmp_path):
    async with served(tmp_path) as place:
        closing = trio.Event()
        closing.set()
        with pytest.raises(admin.Closing):
            await admin.take(Snapshots(place.data, GENESIS, "0"), closing)
        assert not (place.data / "backup").exists()


async def test_whoever_does_not_read_a_copy_cannot_hold_up_the_stop(tmp_path):
    let_go = False

    async def let_go_in_the_end(stream):
        # Hypercorn shields what it sends: if the server cannot end it, only we can.
        nonlocal let_go
        await trio.sleep(PATIENCE_S)
        let_go = True
        await stream.aclose()

    async with trio.open_nursery() as watching:
        async with served(tmp_path) as place:
            with sqlite3.connect(place.data / "chain.db") as chain:  # far more than sockets' buffers take
                chain.execute("CREATE TABLE ballast AS SELECT zeroblob(33554432)")
            chain.close()
            host, _, port = place.url.removeprefix("http://").rpartition(":")
            stream = await trio.open_tcp_stream(host, int(port))
            watching.start_soon(let_go_in_the_end, stream)
            await stream.send_all(f"GET {admin.BACKUP_PATH} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
            await stream.receive_some(1)
            await trio.sleep(0.5)  # until the server waits for us
        watching.cancel_scope.cancel()
    assert not let_go
    with pytest.raises(trio.BrokenResourceError):  # an abort, which no reader can take for the end
        while await stream.receive_some():
            pass
    await stream.aclose()


async def test_a_copy_is_made_only_with_room(place, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "RESERVE_BYTES", 2**60)
    with pytest.raises(NoRoom):
        Snapshots(place.data, GENESIS, "0").take()
    with pytest.raises(BackupRefused, match=r"not_served: .*503.*overloaded.*a copy takes"):
        await fetched(place, tmp_path / "b")


def test_nobody_there(tmp_path):
    with pytest.raises(BackupRefused) as refused:
        fetch("http://127.0.0.1:1", tmp_path / "b")
    assert refused.value.code == "unreachable"


# --- putting back


def changed(one, **fields):
    """The backup with another manifest."""
    shown = json.loads((one / "manifest.json").read_text())
    (one / "manifest.json").write_text(json.dumps({**shown, **fields}))


def refused_by(one, data, of=GENESIS):
    """The code with which it is refused; the directory is as empty as it was."""
    before = set(data.iterdir()) if data.exists() else set()
    with pytest.raises(BackupRefused) as refused:
        restore(one, data, of)
    after = set(data.iterdir()) if data.exists() else set()
    assert after - before <= {data / "lock"}
    return refused.value.code


async def test_a_directory_that_holds_something_is_not_overwritten(tmp_path):
    one = await made(tmp_path)
    for name in ("chain.db", "anything"):
        data = tmp_path / name / "data"
        data.mkdir(parents=True)
        (data / name).write_bytes(b"mine")
        assert refused_by(one, data) == "not_empty"
        assert (data / name).read_bytes() == b"mine"


async def test_what_a_volume_or_a_crash_leaves_is_nothing(tmp_path):
    one, data = await made(tmp_path), tmp_path / "new"
    for name in ("lost+found", "restoring"):
        (data / name).mkdir(parents=True)
    (data / "restoring" / "chain.db").write_bytes(b"half")
    (data / "lock").touch()
    assert restore(one, data, GENESIS).height == 3
    assert {path.name for path in data.iterdir()} == {"chain.db", "lock", "lost+found"}


async def test_a_running_nodes_directory_is_held(tmp_path):
    one, data = await made(tmp_path), tmp_path / "new"
    data.mkdir()
    held = hold(data)
    with pytest.raises(Held):
        restore(one, data, GENESIS)
    os.close(held)


async def test_another_ledgers_backup_is_refused(tmp_path):
    one = await made(tmp_path)
    assert refused_by(one, tmp_path / "new", OTHER) == "other_genesis"
    changed(one, genesis_hash=OTHER.hash.hex())
    assert refused_by(one, tmp_path / "new", OTHER) == "damaged_backup"  # whatever its manifest says


async def test_what_is_damaged_is_refused(tmp_path):
    one = await made(tmp_path)
    content = (one / "chain.db").read_bytes()
    for place in range(0, len(content), max(1, len(content) // 8)):
        (one / "chain.db").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert refused_by(one, tmp_path / "new") == "damaged_backup"
    (one / "chain.db").write_bytes(content[:-1])
    assert refused_by(one, tmp_path / "new") == "damaged_backup"
    (one / "chain.db").unlink()
    assert refused_by(one, tmp_path / "new") == "damaged_backup"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"height": 2}, "damaged_backup"),
        ({"digest": "ab" * 32}, "damaged_backup"),
        ({"version": 2}, "damaged_backup"),
        ({"height": "3"}, "damaged_backup"),
        ({"more": 1}, "damaged_backup"),
    ],
)
async def test_a_manifest_that_does_not_fit_is_refused(tmp_path, fields, code):
    one = await made(tmp_path)
    changed(one, **fields)
    assert refused_by(one, tmp_path / "new") == code


async def test_a_chain_without_the_authorities_word_is_refused(tmp_path):
    """Its bytes are those of its manifest, and nobody has signed what is in it."""
    one = await made(tmp_path)
    for height in (3, 2, 1):
        forge(one, height)
    assert refused_by(one, tmp_path / "new") == "damaged_backup"


def forge(one, height):
    """Take the certificate of a block away, and have the manifest fit."""
    copy = sqlite3.connect(one / "chain.db")
    (content,) = copy.execute("SELECT content FROM blocks WHERE height = ?", (height,)).fetchone()
    block = replace(decode(FinalBlock, content), certificate=None)
    copy.execute("UPDATE blocks SET content = ? WHERE height = ?", (encode(block), height))
    copy.commit()
    copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy.close()
    content = (one / "chain.db").read_bytes()
    changed(one, sha256=sha256(content).hexdigest(), size_bytes=len(content))


def test_what_is_no_backup_is_refused(tmp_path):
    (tmp_path / "b").mkdir()
    assert refused_by(tmp_path / "b", tmp_path / "new") == "no_backup"


# --- the commands


async def test_the_commands(place, tmp_path):
    to, home = tmp_path / "b", tmp_path / "home"
    home.mkdir()
    (home / "genesis.json").write_text(json.dumps(to_json(GENESIS)))
    (home / "node.toml").write_text('[node]\ndata_dir = "data"\ngenesis = "genesis.json"\nrole = "gateway"\n')

    async def run(command, *arguments):
        return await trio.to_thread.run_sync(lambda: CliRunner().invoke(command, list(map(str, arguments))))

    said = await run(backup_command, "--admin", place.url, "--to", to, "--keep", 1)
    assert said.exit_code == 0 and said.stdout == f"{to / 'test-000000000003'}\n", said.output
    assert "test up to block 3" in said.stderr
    said = await run(restore_command, to, "--home", home)
    assert said.exit_code == 0 and "holds test up to block 3, checked" in said.output
    said = await run(restore_command, to, "--home", home)
    assert said.exit_code == 1 and "not_empty" in said.output
    said = await run(restore_command, to, "--data-dir", tmp_path / "d", "--genesis", home / "genesis.json")
    assert said.exit_code == 0, said.output
    said = await run(restore_command, to)
    assert said.exit_code == 2 and "--home" in said.output
    said = await run(backup_command, "--admin", "http://127.0.0.1:1", "--to", to)
    assert said.exit_code == 1 and "unreachable" in said.output
