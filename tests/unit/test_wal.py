"""The log of a SQLite file: written over itself while nobody else can write, and bound."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from p2pledger import wal
from p2pledger.errors import Fatal


def opened(file: Path, timeout_s: float = 5) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=timeout_s, isolation_level=None)


@pytest.fixture
def file(tmp_path) -> Path:
    """A file whose rows are in its log alone, as a killed process leaves it."""
    left, file = tmp_path / "left.db", tmp_path / "some.db"
    with closing(opened(left)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE kept (number INTEGER)")
        connection.executemany("INSERT INTO kept VALUES (?)", [(number,) for number in range(1_000)])
        file.write_bytes(left.read_bytes())
        wal.log_of(file).write_bytes(wal.log_of(left).read_bytes())
    return file


def test_every_byte_of_the_log_is_written_again_and_synced_once(file, monkeypatch):
    before, written, synced = wal.log_of(file).read_bytes(), bytearray(), []
    pwrite, fsync = os.pwrite, os.fsync

    def pwrite_noted(descriptor, data, offset):
        assert offset == len(written)
        written.extend(data)
        return pwrite(descriptor, data, offset)

    def fsync_noted(descriptor):
        synced.append(len(written))
        fsync(descriptor)

    monkeypatch.setattr(os, "pwrite", pwrite_noted)
    monkeypatch.setattr(os, "fsync", fsync_noted)
    monkeypatch.setattr(wal, "_CHUNK_BYTES", 10_000)
    with closing(opened(file)) as connection:
        wal.rewrite_log(connection, file)
        assert wal.log_of(file).read_bytes() == before == bytes(written)
        assert synced == [len(before)]
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1_000,)


def test_a_log_that_another_process_writes_to_is_not_touched(file):
    with closing(opened(file)) as other, closing(opened(file, timeout_s=0)) as connection:
        other.execute("BEGIN IMMEDIATE")
        before = wal.log_of(file).stat().st_mtime_ns
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            wal.rewrite_log(connection, file)
        assert wal.log_of(file).stat().st_mtime_ns == before


def test_without_a_log_nothing_is_made(tmp_path):
    file = tmp_path / "none.db"
    with closing(opened(file)) as connection:
        wal.rewrite_log(connection, file)
    assert not wal.log_of(file).exists()


def test_a_settled_file_has_all_rows_and_an_empty_log(file):
    with closing(opened(file)) as connection:
        wal.rewrite_log(connection, file)
        wal.settle(connection, file)
        assert wal.log_of(file).stat().st_size == 0
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        copied = file.with_name("copied.db")
        copied.write_bytes(file.read_bytes())
        with closing(opened(copied)) as alone:
            assert alone.execute("SELECT count(*) FROM kept").fetchone() == (1_000,)


def test_a_file_that_is_being_read_is_not_settled(file):
    with closing(opened(file)) as reader, closing(opened(file, timeout_s=0)) as connection:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM kept").fetchone()
        wal.rewrite_log(connection, file)
        with pytest.raises(Fatal, match="another process"):
            wal.settle(connection, file)


def bounds(count: int, pages: int) -> list[int]:
    with closing(sqlite3.connect(":memory:")) as connection:
        drawn = []
        for _ in range(count):
            wal.bound(connection, pages)
            drawn.append(connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0])
        return drawn


def test_each_start_draws_how_long_its_log_grows_within_a_quarter():
    drawn = bounds(400, 10)
    # One of the five lacks once in 10^38 runs.
    assert set(drawn) == set(range(8, 13))


def test_the_log_does_not_outgrow_its_bound(tmp_path):
    file = tmp_path / "some.db"
    with closing(opened(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        wal.bound(connection, 40)
        connection.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, body BLOB)")
        for number in range(400):
            connection.execute("INSERT INTO kept VALUES (?, ?)", (number, bytes(page_bytes)))
        assert file.stat().st_size > 300 * page_bytes
        assert wal.log_of(file).stat().st_size < 60 * (page_bytes + 24)
