"""Every transaction is found by its id while runs of ids fill, are merged, and have been merged."""

import sqlite3
from hashlib import sha256
from itertools import pairwise

import pytest
from p2pledger.storage import ids, schema
from p2pledger.types import Hash

RUN = 16
"""Results in a run of these tests; so sixteen runs have 256, and a part of a merge is due at each result."""


@pytest.fixture(autouse=True)
def small_runs(monkeypatch):
    monkeypatch.setattr(ids, "RUN_BITS", 4)


@pytest.fixture
def database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table in schema.TABLES:
        connection.execute(table)
    yield connection
    connection.close()


def id_of(index: int) -> Hash:
    return Hash(sha256(b"%d" % index).digest())


def grow(database: sqlite3.Connection, first: int, count: int) -> None:
    """A block with the results `first` and following."""
    block = [id_of(index) for index in range(first, first + count)]
    rows = [(index, id_, 1, 0, index, b"", b"", 0) for index, id_ in enumerate(block, first)]
    database.executemany(schema.TRANSACTION_PUT, rows)
    ids.add_ids(database, first, block)


def index_of(database: sqlite3.Connection, id_: Hash) -> int | None:
    found = ids.find(database, id_)
    return None if found is None else found[0]


def asks(database: sqlite3.Connection, window: ids.Window, index: int, time_ms: int) -> bool:
    """Whether an id is used."""
    return database.execute(*_split(window.asking(id_of(index), time_ms))).fetchall() == [(1,)]


def _split(asking: tuple) -> tuple[str, tuple]:
    return asking[0], asking[1:]


def runs(database: sqlite3.Connection) -> dict[int, int]:
    """How many rows stand in each run."""
    return dict(database.execute("SELECT run, COUNT(*) FROM transaction_ids GROUP BY run"))


@pytest.mark.parametrize("size", [1, 7, 64, 300])
def test_all_are_found_at_any_length(database, size):
    end = 0
    while end < 4 * 16 * RUN:
        grow(database, end, size)
        end += size
        for index in {0, end // 3, end - size, end - 1}:
            assert index_of(database, id_of(index)) == index
        assert index_of(database, id_of(end)) is None
    assert sum(runs(database).values()) == end
    assert all(index_of(database, id_of(index)) == index for index in range(end))


def test_sixteen_runs_become_one_while_the_next_sixteen_fill(database):
    for index in range(16 * RUN):
        grow(database, index, 1)
    assert runs(database) == dict.fromkeys(range(16), RUN)
    moved = [0]
    for index in range(16 * RUN, 2 * 16 * RUN):
        grow(database, index, 1)
        moved.append(runs(database).get(-1, 0))
    assert moved[-1] == 16 * RUN
    assert max(b - a for a, b in pairwise(moved)) <= RUN
    assert runs(database) == {-1: 16 * RUN} | dict.fromkeys(range(16, 32), RUN)


def test_a_long_chain_has_few_runs(database):
    grow(database, 0, 20_000)
    assert len(runs(database)) <= 20_000 // (16 * RUN) + 2 * 16


def test_an_empty_block_changes_nothing(database):
    grow(database, 0, 3)
    grow(database, 3, 0)
    assert runs(database) == {0: 3}


@pytest.mark.parametrize("end", [RUN, 16 * RUN, 17 * RUN])
def test_empty_blocks_at_the_end_of_a_run(database, end):
    window = ids.Window(1)
    grow(database, 0, end)
    for time_ms in range(10):
        window.add(time_ms, end, end)
    assert not asks(database, window, end, 0)
    assert index_of(database, id_of(0)) == 0


def test_an_empty_chain_has_no_transactions(database):
    assert index_of(database, id_of(0)) is None


def test_an_id_that_begins_like_another_is_told_apart(database, monkeypatch):
    monkeypatch.setattr(ids, "short_id", lambda id_: 7)
    for first in range(0, 600, 50):
        grow(database, first, 50)
    assert all(index_of(database, id_of(index)) == index for index in range(600))
    assert index_of(database, id_of(600)) is None


def test_it_is_used_until_it_expires(database):
    """Every result is a block of its own, a millisecond after the one before, and expires after 40 ms."""
    window = ids.Window(40)
    for index in range(900):
        block = [id_of(index)]
        database.execute(schema.TRANSACTION_PUT, (index, block[0], 1, 0, index + 40, b"", b"", 0))
        ids.add_ids(database, index, block)
        window.add(index, index, index + 1)
        for known in range(max(0, index - 45), index + 2):
            assert asks(database, window, known, index) == (index - 40 <= known <= index)


def test_after_a_start_all_is_counted_as_recent(database):
    for first in range(0, 600, 50):
        grow(database, first, 50)
    window = ids.Window(1_000)
    assert asks(database, window, 5, 5) and not asks(database, window, 5, 6)
    window.add(5, 600, 600)
    assert asks(database, window, 5, 5)


def test_of_what_has_expired_no_run_is_looked_into(database):
    window = ids.Window(40)
    for index in range(600):
        grow(database, index, 1)
        window.add(index, index, index + 1)
    _, *asked = window.asking(id_of(0), 0)
    assert set(asked[:-3]) == {34, 35, 36, 37, -3}


def test_each_run_is_sought_and_none_is_scanned(database):
    grow(database, 0, 600)
    plan = database.execute(f"EXPLAIN QUERY PLAN {schema.TRANSACTION_BY_ID}", (4, 8, 7, id_of(0)))
    steps = [row[3] for row in plan]
    assert any("ids USING PRIMARY KEY (run=? AND short_id=?)" in step for step in steps)
    assert not any(step.startswith(("SCAN ids", "SCAN t")) for step in steps)
    moved = database.execute(
        f"EXPLAIN QUERY PLAN {schema.IDS_MERGE}", {"first": 0, "low": 0, "high": 0, "into": -1}
    )
    assert any("(run=? AND short_id>? AND short_id<?)" in row[3] for row in moved)
