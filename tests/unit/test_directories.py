"""A directory is held by one process at a time, and by nobody once that process has ended, however it did."""

import errno
import os
import subprocess
import sys

import pytest
from p2pledger.directories import Held, hold
from p2pledger.errors import Fatal
from p2pledger.storage import database
from p2pledger.storage.sqlite import SqliteStore
from tests.unit.storage.chains import GENESIS, start

HOLDS = """
import sys, time
from pathlib import Path
from p2pledger.directories import hold
held = hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_it_is_held_against_others_until_it_is_let_go_of(tmp_path):
    held = hold(tmp_path)
    with pytest.raises(Held, match="is held by another process: stop that one first"):
        hold(tmp_path)
    os.close(held)
    os.close(hold(tmp_path))


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(Held):
            hold(tmp_path)
        process.kill()
    os.close(hold(tmp_path))


def test_a_store_holds_its_directory_until_it_is_closed(tmp_path):
    store = SqliteStore(tmp_path, GENESIS, start())
    with pytest.raises(Held) as refused:
        SqliteStore(tmp_path, GENESIS, start())
    assert refused.value.code == "directory_held"
    store.close()
    store.close()  # twice does no harm, least of all to whoever opens it next
    again = SqliteStore(tmp_path, GENESIS, start())
    store.close()
    with pytest.raises(Held):
        hold(tmp_path)
    again.close()


def test_a_directory_that_cannot_be_held_is_no_store(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(Fatal, match="Is a directory"):
        SqliteStore(tmp_path, GENESIS, start())


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EROFS, "whether its volume is mounted read-only"),
        (errno.EACCES, "see who owns it"),
        (errno.ENOSPC, "free some space"),
        (errno.EIO, "look into the system's log"),
    ],
)
def test_a_store_whose_directory_cannot_be_held_says_what_to_do(tmp_path, monkeypatch, number, cure):
    def refused(directory):
        raise OSError(number, os.strerror(number), str(directory))

    monkeypatch.setattr(database, "hold", refused)
    with pytest.raises(Fatal, match=cure):
        SqliteStore(tmp_path, GENESIS, start())
