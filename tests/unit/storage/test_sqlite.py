"""What only files can suffer: being opened again, killed, damaged, full, read-only, another ledger's."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p2pledger.errors import Fatal
from p2pledger.ledger.entries import DIGITS, path_of
from p2pledger.ledger.machine import IndexRow
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.sqlite import CHAIN_FILE, OtherGenesis, SqliteStore
from tests.unit.storage.chains import GENESIS, START_MS, Chain, make_genesis, make_small, start

ROOT = Path(__file__).parents[3]


def opened(directory: Path) -> SqliteStore:
    return SqliteStore(directory, GENESIS, start())


def fill(store, chain: Chain, blocks: int = 4) -> list:
    return [
        chain.commit(
            store,
            [chain.transaction() for _ in range(3)],
            writes={b"height": b"%d" % n, b"key %d" % n: b"value"},
            index_rows=(IndexRow("by_height", b"%d" % n, b"row"),),
            next_set=GENESIS.authorities if n == 1 else None,
        )
        for n in range(blocks)
    ]


def settle(store, chain: Chain) -> None:
    """Let what was written until now go from the journal into the tables."""
    for n in range(12):
        chain.commit(store, writes={b"other %d" % (n % 2): b"%d" % n})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch) -> None:
    """A few blocks are what some hundred thousand transactions are otherwise."""
    make_small(monkeypatch.setattr)


def seen(store, ids) -> dict[str, object]:
    """Everything that a store answers."""
    return {
        "tip": store.tip(),
        "blocks": list(store.blocks(0, 1_000)),
        "located": [store.locate(id_) for id_ in ids],
        "bodies": list(store.bodies(ids)),
        "receipts": [store.receipt(id_) for id_ in ids],
        "used": store.used(ids),
        "entries": list(store.entries("")),
        "crown": [store.crown.node(prefix) for prefix in ("", *"0123456789abcdef")],
        "nodes": {prefix: store.node(prefix) for prefix in (*"0123456789abcdef", "00", "a7", "f3c")},
        "leaves": list(store.result_leaves(0, 10_000)),
        "consistency": [store.consistency(size) for size in range(1, store.tip().frontier.size + 1)],
        "rows": list(store.scan("by_height", b"", b"", 10_000)),
        "boundaries": [store.boundary(epoch) for epoch in (0, 1)],
    }


def test_opened_again_it_is_what_it_was(tmp_path):
    store, chain = opened(tmp_path), Chain()
    ids = [transaction.id for step in fill(store, chain) for transaction in step.transactions]
    before = seen(store, ids)
    store.close()
    again = opened(tmp_path)
    assert seen(again, ids) == before
    fill(again, chain, 1)
    again.close()
    last = opened(tmp_path)
    assert last.tip().height == 5
    last.close()


BLOCKS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.dictionaries(st.binary(min_size=1, max_size=2), st.none() | st.binary(max_size=4), max_size=6),
        st.dictionaries(st.binary(max_size=3), st.binary(max_size=3), max_size=4),
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(BLOCKS)
def test_any_chain_is_answered_as_the_oracle_answers_it(tmp_path_factory, blocks):
    """Against a memory store and a plain dict; the file is closed and opened again on the way."""
    directory = tmp_path_factory.mktemp("store")
    store, oracle, chain, state, ids = opened(directory), MemoryStore(GENESIS, start()), Chain(), {}, []
    for count, writes, rows, is_certified, is_reopened in blocks:
        transactions = [chain.transaction(START_MS + 1_500 * (i + 1)) for i in range(count)]
        index_rows = tuple(IndexRow("by_height", key, value) for key, value in rows.items())
        step = chain.step(oracle, transactions, writes, index_rows, is_certified)
        for each in (store, oracle):
            each.commit(*step.everything)
        state.update(writes)
        ids += [transaction.id for transaction in transactions]
        if is_reopened:
            store.close()
            store = opened(directory)
    assert seen(store, ids) == seen(oracle, ids)
    assert {key: store.get(key) for key in state} == state
    assert {key: oracle.get(key) for key in state} == state
    store.close()


def test_a_tile_that_a_reader_does_not_see_yet_is_made_of_its_transactions(tmp_path):
    """A block completed it between a reader's snapshot and its look."""
    store, chain = opened(tmp_path), Chain()
    first = chain.commit(store, [chain.transaction() for _ in range(6)])
    leaves = [result.leaf() for result in first.execution.results]
    with store._database.snapshot() as reader:
        assert reader.execute("SELECT COUNT(*) FROM result_tiles").fetchone() == (1,)
        chain.commit(store, [chain.transaction() for _ in range(20)])
        read = store._results.reading(reader)
        assert [read(2 * index) for index in range(6)] == leaves
    store.close()


def test_killed_during_commits_it_opens_at_a_whole_height(tmp_path):
    said = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.storage.committer", str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        heights = [int(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        heights += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        assert heights[0] == said + 1 or heights[0] == said + 2
        said = heights[-1]
        store = opened(tmp_path)
        height = store.tip().height
        assert said <= height <= said + 1, "what commit returned for is there"
        said = height
        assert store.get(b"height") == b"%d" % height
        assert len(store.blocks(1, 10_000)) == height
        assert store.tip().frontier.size == 3 * height == len(store.result_leaves(0, 10**6))
        assert all(store.receipt(id_) for block in store.blocks(1, 10_000) for id_ in block.transaction_ids)
        store.close()


def test_the_data_of_another_ledger(tmp_path):
    opened(tmp_path).close()
    with pytest.raises(OtherGenesis, match=f"rm -r {tmp_path}") as refused:
        SqliteStore(tmp_path, make_genesis("elsewhere"), start())
    assert GENESIS.hash.hex() in str(refused.value)
    opened(tmp_path).close()


@pytest.mark.parametrize(
    ("row", "value"), [("format", (99).to_bytes(4, "big")), ("start", bytes(32))], ids=["format", "start"]
)
def test_the_data_of_another_version(tmp_path, row, value):
    opened(tmp_path).close()
    change(tmp_path, "UPDATE meta SET value = ? WHERE name = ?", value, row)
    with pytest.raises(Fatal, match="version"):
        opened(tmp_path)


def change(directory: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(directory / CHAIN_FILE)
    assert connection.execute(statement, parameters).rowcount >= 1
    connection.commit()
    connection.close()


SPOIL_TILE = "UPDATE result_tiles SET leaves = zeroblob(128) WHERE number = "
"""Four leaves make a tile here."""


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE blocks SET content = content || x'00' WHERE height = 2", lambda s, t: s.block(2)),
        ("UPDATE blocks SET digest = zeroblob(32) WHERE height = 2", lambda s, t: s.block(2)),
        ("UPDATE transactions SET content = content || x'00'", lambda s, t: s.locate(t)),
        ("UPDATE transactions SET content = content || x'00'", lambda s, t: s.bodies([t])),
        ("UPDATE transactions SET content = CAST(content || x'00' AS BLOB)", lambda s, t: s.locate(t)),
        ("UPDATE transactions SET content = x''", lambda s, t: s.receipt(t)),
        ("UPDATE transactions SET checksum = checksum + 1", lambda s, t: s.receipt(t)),
        (SPOIL_TILE + "0", lambda s, t: s.receipt(t)),
        ("UPDATE result_tiles SET leaves = zeroblob(96) WHERE number = 0", lambda s, t: s.receipt(t)),
        ("UPDATE result_tiles SET leaves = 'text' WHERE number = 0", lambda s, t: s.locate(t)),
        ("DELETE FROM blocks WHERE height = 1", lambda s, t: s.receipt(t)),
        ("UPDATE state SET value = x'00' WHERE key = CAST('height' AS BLOB)", lambda s, t: s.get(b"height")),
        ("UPDATE state SET leaf = zeroblob(32)", lambda s, t: s.get(b"height")),
        ("DELETE FROM state WHERE key = CAST('height' AS BLOB)", lambda s, t: s.get(b"height")),
        *[
            (statement, read)
            for statement in (
                "UPDATE buckets SET entries = CAST(entries || zeroblob(64) AS BLOB)",
                "UPDATE buckets SET entries = zeroblob(64)",
                "UPDATE buckets SET entries = 'text'",
                "DELETE FROM buckets",
            )
            for read in (
                lambda s, t: s.get(b"height"),
                lambda s, t: s.get(b"not there") or s.entries(""),
                lambda s, t: s.entries(""),
                lambda s, t: s.buckets(DIGITS),
                lambda s, t: s.get_all([b"key %d" % n for n in range(100)]),
            )
        ],
        (
            SPOIL_TILE + "1",
            lambda s, t: s.result_leaves(0, 9),
        ),
        (
            SPOIL_TILE + "0",
            lambda s, t: s.result_leaves(1, 4),
        ),
        (SPOIL_TILE + "0", lambda s, t: s.consistency(1)),
        ("UPDATE result_nodes SET hash = zeroblob(32) WHERE number = 3", lambda s, t: s.result_leaves(0, 9)),
        ("DELETE FROM result_nodes WHERE number = 3", lambda s, t: s.result_leaves(1, 4)),
        ("DELETE FROM blocks WHERE height = 2", lambda s, t: s.block(2)),
        ("DELETE FROM blocks WHERE height = 2", lambda s, t: s.blocks(1, 9)),
        ("UPDATE blocks SET height = 0 WHERE height = 2", lambda s, t: s.block(2)),
        *[
            (statement, lambda s, t: s.scan("by_height", b"", b"", 9))
            for statement in (
                "UPDATE index_parcels SET content = CAST(content || x'00' AS BLOB)",
                "UPDATE index_parcels SET content = x''",
                "UPDATE index_parcels SET first = 'text'",
                "DELETE FROM index_parcels",
                "UPDATE index_shelves SET parcels = parcels + 1",
            )
        ],
        ("UPDATE boundaries SET content = content || x'00'", lambda s, t: s.boundary(0)),
    ],
)
def test_a_changed_row_stops_the_node(tmp_path, statement, read):
    store, chain = opened(tmp_path), Chain()
    first = fill(store, chain)[0].transactions[0]
    settle(store, chain)
    store.close()
    change(tmp_path, statement)
    with pytest.raises(Fatal), closing(opened(tmp_path)) as store:  # a start reads some blocks itself
        read(store, first.id)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE nodes SET hash = zeroblob(32) WHERE LENGTH(prefix) = 1",
        "DELETE FROM nodes WHERE LENGTH(prefix) = 1",
        "INSERT INTO nodes VALUES ('0000', zeroblob(32))",
        "UPDATE result_nodes SET hash = zeroblob(32)",
        "UPDATE blocks SET results_end = results_end - 1 WHERE height = 4",
        "DELETE FROM blocks WHERE height = 4",
        "UPDATE journal SET content = CAST(content || x'00' AS BLOB) WHERE height = 4",
        "UPDATE journal SET content = CAST(content || x'00' AS BLOB) WHERE height = 2",
        "DELETE FROM journal WHERE height = 4",
        "DELETE FROM journal WHERE height = 3",
        "DELETE FROM journal WHERE height = 1",
        "DELETE FROM journal",
        "UPDATE meta SET value = zeroblob(12) WHERE name = 'secret'",
    ],
)
def test_a_tip_that_does_not_match_its_roots_is_not_opened(tmp_path, statement):
    store = opened(tmp_path)
    fill(store, Chain())
    store.close()
    change(tmp_path, statement)
    with pytest.raises(Fatal):
        opened(tmp_path)


def test_damaged_pages(tmp_path):
    store = opened(tmp_path)
    fill(store, Chain(), 20)
    store.close()
    file = tmp_path / CHAIN_FILE
    with file.open("r+b") as raw:
        raw.seek(4_096)
        raw.write(b"\xa5" * (os.path.getsize(file) - 4_096))
    with pytest.raises(Fatal, match="SQLITE_CORRUPT"):
        opened(tmp_path)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / CHAIN_FILE).write_bytes(b"not a database" * 1_000)
    with pytest.raises(Fatal, match="damaged"):
        opened(tmp_path)


def test_a_full_disk_leaves_the_block_before_and_stops_the_node(tmp_path):
    store, chain = opened(tmp_path), Chain()
    fill(store, chain, 2)
    connection = store._database._writer
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    step = chain.step(store, writes={b"%d" % i: bytes(100) for i in range(1_000)})
    with pytest.raises(Fatal, match="the disk is full: free some space"):
        store.commit(*step.everything)
    assert store.tip().height == 2
    assert store.get(b"0") is None
    connection.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(Fatal, match="an earlier write failed"):
        store.commit(*step.everything)
    store.close()
    again = opened(tmp_path)
    again.commit(*step.everything)
    assert again.tip().height == 3
    again.close()


def test_a_database_that_may_only_be_read(tmp_path):
    store, chain = opened(tmp_path), Chain()
    store._database._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(Fatal, match="it cannot be written"):
        fill(store, chain, 1)
    store.close()


def test_a_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match="file"):
        opened(tmp_path / "file")


def test_every_commit_is_synced(tmp_path):
    store = opened(tmp_path)
    writer = store._database._writer
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    statements: list[str] = []
    writer.set_trace_callback(statements.append)
    fill(store, Chain(), 1)
    assert [s.split()[0] for s in statements].count("COMMIT") == 1
    store.close()


def test_sizes_and_free_space(tmp_path):
    store = opened(tmp_path)
    fill(store, Chain(), 1)
    sizes = store.sizes()
    assert sizes["chain.db-wal"] > 0
    assert sizes["chain.db"] == os.path.getsize(tmp_path / CHAIN_FILE)
    assert store.free_bytes() > 0
    store.close()


def test_ids_that_begin_alike_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pledger.storage.ids.STEM_BYTES", 0)
    monkeypatch.setattr("p2pledger.storage.ids.ENTRY_BYTES", 3)
    store, chain = opened(tmp_path), Chain()
    transactions = [t for step in fill(store, chain) for t in step.transactions]
    assert [store.locate(t.id).transaction for t in transactions] == transactions
    assert store.locate(chain.transaction().id) is None
    assert not store.used([chain.transaction().id])
    store.close()


def test_what_a_kept_bucket_does_not_hold_is_not_looked_for_on_disk(tmp_path):
    with closing(opened(tmp_path)) as store:
        fill(store, Chain())
        keys = [b"absent %d" % number for number in range(100)]
        first = store.get_all(keys)
        rows, asked = store._database.rows, []
        store._database.rows = lambda *question: asked.append(question) or rows(*question)
        more = [b"absent, too, %d" % number for number in range(100)]
        assert set(first.values()) | set(store.get_all(more).values()) == {None}
        prefixes = {path_of(key).hex()[: store.crown.depth] for key in keys + more}
        assert len(asked) <= 2 * len(prefixes)
        asked.clear()
        assert store.buckets(prefixes).keys() == prefixes and not asked
