"""A volume of backups that is full: the oldest makes room for the newest, and the last one never does."""

import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
import trio
from p2pledger import backup as backups
from p2pledger.backup import BackupRefused, fetch
from tests.unit.test_backup import served

BALLAST_BYTES = 4 * 1024 * 1024


@pytest.fixture
async def place(tmp_path):
    """A chain whose copies are far larger than what lies beside them."""
    async with served(tmp_path) as place:
        with sqlite3.connect(place.data / "chain.db") as chain:
            chain.execute(f"CREATE TABLE ballast AS SELECT zeroblob({BALLAST_BYTES})")
        chain.close()
        yield place


async def fetched(place, to, keep):
    return await trio.to_thread.run_sync(lambda: fetch(place.url, to, keep=keep))


async def two_of(place, to):
    """Two backups, the older one first."""
    older = await fetched(place, to, None)
    await place.grow()
    newer = await fetched(place, to, None)
    await place.grow()
    return older, newer


@pytest.fixture
def volume(monkeypatch):
    """Let backups find a volume on which so many bytes more are free than now."""

    def of(to, free_bytes):
        holds = used(to) + free_bytes
        monkeypatch.setattr(backups, "free_bytes", lambda directory: holds - used(directory))

    return of


def used(directory):
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


async def test_where_there_is_room_nothing_goes_before_the_new_one_is_there(place, tmp_path, volume):
    to = tmp_path / "b"
    older, newer = await two_of(place, to)
    volume(to, 2 * BALLAST_BYTES)
    newest = await fetched(place, to, 2)
    assert backups.backups(to) == [older, newer, newest]


async def test_the_oldest_makes_room_for_the_newest(place, tmp_path, volume):
    to = tmp_path / "b"
    older, newer = await two_of(place, to)
    volume(to, BALLAST_BYTES // 2)
    newest = await fetched(place, to, 2)
    assert backups.backups(to) == [newer, newest] and not older.exists()


async def test_no_more_go_than_have_to(place, tmp_path, volume):
    to = tmp_path / "b"
    _, newer = await two_of(place, to)
    last = await fetched(place, to, None)
    await place.grow()
    volume(to, BALLAST_BYTES // 2)
    newest = await fetched(place, to, 2)  # one of three is enough, though two more than `keep` are there
    assert backups.backups(to) == [newer, last, newest]


@pytest.mark.parametrize("keep", [1, 3, None])
async def test_what_must_stay_stays_and_the_refusal_says_what_to_do(place, tmp_path, volume, keep):
    to = tmp_path / "b"
    there = list(await two_of(place, to))
    if keep == 1:
        shutil.rmtree(there.pop(0))
    volume(to, BALLAST_BYTES // 2)
    with pytest.raises(BackupRefused, match="enlarge the volume") as refused:
        await fetched(place, to, keep)
    assert refused.value.code == "no_room"
    assert backups.backups(to) == there
    assert not list(to.glob(".partial-*"))


async def test_nothing_goes_that_would_not_make_room_enough(place, tmp_path, volume):
    to = tmp_path / "b"
    there = list(await two_of(place, to))
    volume(to, -8 * BALLAST_BYTES)
    with pytest.raises(BackupRefused, match="no_room"):
        await fetched(place, to, 2)
    assert backups.backups(to) == there


async def test_nothing_goes_for_a_block_of_which_there_is_a_backup(place, tmp_path, volume):
    to = tmp_path / "b"
    older, newer = await two_of(place, to)
    newest = await fetched(place, to, None)
    volume(to, 0)
    assert await fetched(place, to, 2) == newest
    assert backups.backups(to) == [older, newer, newest]


def can_mount():
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


real_volume = pytest.mark.skipif(
    not can_mount(), reason="it takes root and unshare to give a process its own volume"
)

MOUNTED = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && cp -a "$3"/* "$2" && shift 3 && "$@"; ls "$VOLUME"'


async def on_a_volume(tmp_path, size_bytes, holding, *command):
    """What a command says, and then what is there, where a volume of this size holds these backups."""
    volume = tmp_path / "volume"
    volume.mkdir()
    arguments = [str(size_bytes), str(volume), str(holding), sys.executable, *command]
    done = await trio.run_process(
        ["unshare", "-m", "sh", "-c", MOUNTED, "sh", *arguments],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "VOLUME": str(volume)},
    )
    return done.stdout.decode().splitlines()


@real_volume
async def test_a_full_volume_takes_the_next_backup(place, tmp_path):
    to = tmp_path / "b"
    _, newer = await two_of(place, to)
    command = ("-m", "p2pledger", "backup", f"--admin={place.url}", f"--to={tmp_path / 'volume'}", "--keep=2")
    said = await on_a_volume(tmp_path, used(to) + BALLAST_BYTES // 2, to, *command)
    assert said[-3:] == ["lock", newer.name, f"test-{place.height:012}"], said
    assert any("1 older removed" in line for line in said)


LATE = """
import sys
from pathlib import Path
from p2pledger import backup
backup.free_bytes = lambda directory: 2**60
try:
    backup.fetch(sys.argv[1], Path(sys.argv[2]))
except backup.BackupRefused as error:
    print(error)
"""


@real_volume
async def test_room_that_others_took_meanwhile_is_missed_as_it_was_before(place, tmp_path):
    to = tmp_path / "b"
    older, newer = await two_of(place, to)
    command = ("-c", LATE, place.url, str(tmp_path / "volume"))
    said = await on_a_volume(tmp_path, used(to) + BALLAST_BYTES // 2, to, *command)
    assert said[0].startswith("no_room: ") and "enlarge the volume" in said[0], said
    assert said[1:] == ["lock", older.name, newer.name]
