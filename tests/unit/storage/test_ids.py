"""Every transaction is found by its id while runs of ids fill, are joined, and have been joined."""

import sqlite3
from collections.abc import Collection
from hashlib import sha256
from itertools import pairwise

import pytest
from p2pledger.storage import ids, schema
from p2pledger.storage.bundles import Bundles, Kept, bundled
from p2pledger.storage.database import Damaged
from p2pledger.types import Hash

RUN = 16
"""Results in a run of these tests; so sixteen runs have 256, and a chunk is joined at each result."""


@pytest.fixture(autouse=True)
def small_runs(monkeypatch):
    monkeypatch.setattr(ids, "RUN_BITS", 4)
    monkeypatch.setattr(ids, "CHUNK_BITS", 8)


def id_of(index: int) -> Hash:
    return Hash(sha256(b"%d" % index).digest())


class File:
    """The two tables that finding takes, and what finds by them."""

    def __init__(self, window_ms: int = 1_000) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        for table in schema.TABLES:
            self.database.execute(table)
        self.ids = ids.Ids(bytes(range(8)), window_ms)
        self.end = 0

    def grow(self, count: int, time_ms: int = 0, expires_ms: int = 0) -> None:
        """A block with so many results."""
        block = [id_of(index) for index in range(self.end, self.end + count)]
        for index, id_ in enumerate(block, self.end):
            self.database.executemany(
                schema.BUNDLE_PUT, bundled([Kept(index, id_, 1, 0, expires_ms, b"", b"")])
            )
        self.ids.add(self.database, time_ms, self.end, block)
        self.end += count

    def reopen(self, unexpired: int) -> None:
        self.ids = ids.Ids(bytes(range(8)), self.ids._window_ms)
        self.ids.load(self.database, unexpired, self.end)

    def ask(self, statement: str, *parameters: int) -> list:
        return self.database.execute(statement, parameters).fetchall()

    def index_of(self, id_: Hash, first: int = 0) -> int | None:
        bundles = Bundles(self.ask)
        found = (
            bundles.find(index, id_) for index in self.ids.indexes(id_, self.ids.recent, self.ask, first)
        )
        return next((kept.result_index for kept in found if kept is not None), None)

    def check_all(self) -> None:
        assert all(self.index_of(id_of(index)) == index for index in range(self.end))
        assert self.index_of(id_of(self.end)) is None
        everything = [id_of(index) for index in range(self.end + 20)]
        for first in {0, self.end // 2, self.end, self.ids.recent[0].number * RUN}:
            assert set(self.doubtful(everything, first)) >= set(everything[first : self.end])

    def doubtful(self, some: list[Hash], first: int) -> Collection[Hash]:
        return self.ids.doubtful(some, self.ids.recent, first)

    def rows(self) -> list[tuple[int, bool, int]]:
        """(first run, whether sixteen, entries) of each row of the first chunk."""
        found = self.ask(schema.ID_CHUNKS, *ids._places(0, 0, 10**6))
        return [(row[0] >> 1, bool(row[0] & 1), len(row[1]) // ids.ENTRY_BYTES) for row in reversed(found)]


@pytest.fixture
def file():
    made = File()
    yield made
    made.database.close()


@pytest.mark.parametrize("size", [1, 7, 64, 300])
def test_all_are_found_at_any_length(file, size):
    while file.end < 4 * 16 * RUN:
        file.grow(size)
        for index in {0, file.end // 3, file.end - size, file.end - 1}:
            assert file.index_of(id_of(index)) == index
        assert file.index_of(id_of(file.end)) is None
    file.check_all()


@pytest.mark.parametrize("end", [1, RUN - 1, RUN, RUN + 1, 16 * RUN, 16 * RUN + 9, 50 * RUN])
def test_all_are_found_after_a_start(file, end):
    file.grow(end)
    for unexpired in (0, end // 2, end):
        file.reopen(unexpired)
        file.check_all()
    for _ in range(40):
        file.grow(9)
    file.check_all()


def test_all_are_found_once_marks_have_gone_round(file):
    for number in range(300):
        file.grow(RUN, number)
        if number % 40 == 39 or number > 250:
            everything = [id_of(index) for index in range(file.end)]
            for first in (file.ids.recent[0].number * RUN, file.end - 20, file.end):
                assert set(file.doubtful(everything, first)) >= set(everything[first:])
    file.reopen(file.end - 5 * RUN)
    file.check_all()


class Searched(bytearray):
    searches = 0

    def __contains__(self, stem):
        Searched.searches += 1
        return super().__contains__(stem)


def searched(file) -> list[ids.Run]:
    """The runs in memory, their chunks counting how often one is searched."""
    Searched.searches = 0
    return [ids.Run(run.number, [*map(Searched, run.chunks)]) for run in file.ids.recent]


def test_what_is_not_there_is_seldom_searched_for(file):
    file.grow(8 * RUN)
    runs = searched(file)
    known, new = [[id_of(index) for index in range(start, start + 100)] for start in (0, file.end)]
    assert list(file.ids.doubtful(known, runs, 0)) == known and Searched.searches >= 100
    Searched.searches = 0
    assert list(file.ids.doubtful(new, runs, 0)) == [] and Searched.searches < 10


def test_what_is_not_there_is_seldom_searched_for_in_many_full_runs(monkeypatch):
    monkeypatch.setattr(ids, "RUN_BITS", 10)
    monkeypatch.setattr(ids, "CHUNK_BITS", 4)  # a run to 32 marks, as in real ones
    file = File()
    for _ in range(3 * ids.MARKED_MAX):  # marks go round
        file.grow(1 << 10)
    new = [id_of(index) for index in range(file.end, file.end + 1_000)]
    first = file.ids.recent[0].number << 10
    assert list(file.ids.doubtful(new, searched(file), first)) == [] and Searched.searches < 600
    file.database.close()


def test_what_is_in_no_run_in_memory_is_not_doubted_until_older_ones_count(file):
    for time_ms in (0, 5_000, 9_000):
        file.grow(20 * RUN, time_ms)
    new = [id_of(index) for index in range(file.end, file.end + 50)]
    oldest = file.ids.recent[0].number * RUN
    assert oldest > 0
    assert list(file.doubtful(new, oldest)) == []
    assert list(file.doubtful([*new, id_of(oldest)], oldest)) == [id_of(oldest)]
    assert list(file.doubtful(new, oldest - 1)) == new


def test_nothing_is_written_but_full_runs(file):
    file.grow(RUN - 1)
    assert file.ask("SELECT * FROM id_chunks") == []
    file.grow(1)
    assert file.ask("SELECT SUM(LENGTH(content)) FROM id_chunks") == [(RUN * ids.ENTRY_BYTES,)]


def test_sixteen_runs_become_one_while_the_next_sixteen_fill(file):
    def joined() -> int:
        return file.ask("SELECT COUNT(*) FROM id_chunks WHERE number & 1")[0][0]

    for _ in range(16 * RUN):
        file.grow(1)
    assert joined() == 0
    counts = []
    for _ in range(16 * RUN):
        file.grow(1)
        counts.append(joined())
    assert counts[-1] == 256
    assert max(b - a for a, b in pairwise(counts)) == 1
    assert [row[:2] for row in file.rows()] == [(0, True)] + [(run, False) for run in range(16, 32)]


def test_a_long_chain_has_few_runs(file):
    file.grow(20_000)
    assert len(file.rows()) <= 20_000 // (16 * RUN) + 2 * 16


@pytest.mark.parametrize("end", [0, RUN, 16 * RUN, 17 * RUN])
def test_empty_blocks_change_nothing(file, end):
    file.grow(end)
    before = file.rows()
    for time_ms in range(10):
        file.grow(0, time_ms)
    assert file.rows() == before
    file.check_all()


def test_an_id_that_begins_like_another_is_told_apart(file, monkeypatch):
    monkeypatch.setattr(ids, "STEM_BYTES", 0)
    monkeypatch.setattr(ids, "ENTRY_BYTES", 3)
    for _ in range(12):
        file.grow(50)
    file.check_all()


def test_entries_are_found_where_they_begin_only(file, monkeypatch):
    """Five zero bytes stand at many places of a row when all ids begin with them."""
    monkeypatch.setitem(globals(), "id_of", lambda index: Hash(bytes(8) + sha256(b"%d" % index).digest()[8:]))
    file.grow(2_000)
    for index in range(0, 2_000, 37):
        assert file.index_of(id_of(index)) == index


def test_what_has_not_expired_is_told_by_the_blocks_times():
    """Every result is a block of its own, a millisecond after the one before, and expires after 40 ms."""
    file = File(window_ms=40)
    for index in range(900):
        file.grow(1, index, index + 40)
        assert index - 42 <= file.ids.unexpired <= max(index - 40, 0)
        first = file.ids.unexpired
        for known in range(max(0, index - 45), index + 2):
            assert (file.index_of(id_of(known), first) is not None) == (first <= known <= index)
    assert file.ids.recent[0].number == file.ids.unexpired >> 4
    file.database.close()


def test_of_what_has_expired_no_run_is_looked_into():
    file = File(window_ms=20)
    for index in range(600):
        file.grow(1, index)
    asked = []
    assert not list(file.ids.indexes(id_of(0), file.ids.recent, asked.append, file.ids.unexpired))
    assert asked == []
    file.database.close()


def test_many_recent_runs_are_not_all_in_memory(file):
    file.grow(60 * RUN)
    file.grow(0)
    assert len(file.ids.recent) == ids.RECENT_MAX
    assert all(file.index_of(id_of(index), 0) == index for index in range(60 * RUN))


@pytest.mark.parametrize("end", [RUN, 20 * RUN, 33 * RUN + 3, 40 * RUN + 9, 47 * RUN])
def test_a_start_makes_the_recent_runs_that_were_there(file, end):
    """Some of them are joined by then, and some of these in part."""
    while file.end < end:
        file.grow(min(5, end - file.end))
    file.grow(0)
    before = file.ids.recent
    file.reopen(0)
    assert file.ids.recent == before
    file.reopen(end)
    assert file.ids.recent == before[-1:]


def test_a_reader_misses_nothing_that_leaves_memory_meanwhile(file):
    file.grow(RUN - 1)
    recent = file.ids.recent
    for time_ms in range(0, 200_000, 2_000):
        file.grow(RUN, time_ms)
    assert file.ids.recent[0].number > 90
    assert list(file.ids.indexes(id_of(3), recent, file.ask)) == [3]
    later = file.ids.recent
    assert list(file.ids.indexes(id_of(3), later, file.ask)) == [3]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM id_chunks WHERE number & 0xffffffff = 66",
        "DELETE FROM id_chunks WHERE number & 1",
        "UPDATE id_chunks SET content = CAST(content || x'00' AS BLOB)",
        "UPDATE id_chunks SET content = 'text'",
        "UPDATE id_chunks SET number = number + 1 WHERE number & 0xffffffff = 66",
    ],
)
@pytest.mark.parametrize("end", [40 * RUN, 50 * RUN])
def test_a_row_that_is_not_what_it_was_is_noticed(file, statement, end):
    file.grow(end)
    file.reopen(end)
    assert file.database.execute(statement).rowcount > 0
    with pytest.raises(Damaged):
        file.check_all()


def test_damage_is_not_joined(file):
    file.grow(16 * RUN)
    file.database.execute("UPDATE id_chunks SET content = x''")
    with pytest.raises(Damaged):
        file.grow(1)


def test_a_row_is_sought_and_none_is_scanned(file):
    plan = file.ask(f"EXPLAIN QUERY PLAN {schema.ID_CHUNKS}", 0, 1)
    assert "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan[0][3]
