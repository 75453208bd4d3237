"""What the newest blocks wrote is found while it goes from the journal into the tables."""

import shutil
import threading
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.ledger.entries import BUCKET_BYTES_MAX, BUCKET_ENTRIES_MAX, DIGITS, entry_of, packed
from p2pledger.ledger.machine import IndexRow
from p2pledger.storage import tail
from p2pledger.storage.database import Damaged
from p2pledger.storage.journal import Effects, effects_of, effects_of_row, journal_row
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.parcels import unpacked
from p2pledger.storage.sqlite import SqliteStore
from tests.unit.storage.chains import GENESIS, Chain, execution, make_small, start

KEYS = [b"key %d" % i for i in range(60)]
DEPTH = 1


@pytest.fixture(autouse=True)
def small_parts(monkeypatch) -> None:
    make_small(monkeypatch.setattr)


def opened(directory: Path) -> SqliteStore:
    return SqliteStore(directory, GENESIS, start())


def rows_at(random: Random, height: int) -> tuple[IndexRow, ...]:
    """New rows, and some that take an older one's place."""
    keys = (b"%03d" % height, b"%03d" % random.randrange(height + 1), b"last")
    return tuple(IndexRow("by_height", key, b"%d" % height) for key in keys)


def writes_at(random: Random, height: int) -> dict[bytes, bytes | None]:
    """Changed and removed keys; now and then so many that buckets split, and none, so that they are whole."""
    many = [b"many %d" % i for i in range(700)]
    if height % 20 == 5:
        return dict.fromkeys(many, b"%d" % height)
    if height % 20 == 13:
        return dict.fromkeys(many)
    return {key: random.choice((None, b"%d" % height)) for key in random.sample(KEYS, random.randrange(6))}


def state_of(store) -> list[object]:
    return [
        store.tip(),
        store.crown.root,
        list(store.entries("")),
        [store.get(key) for key in (*KEYS, b"genesis")],
        store.get_all((*KEYS, b"genesis")),
        [store.children(digit) for digit in "0123456789abcdef"],
        [store.node(digit + "3") for digit in "0123456789abcdef"],
        list(store.entries("a7")),
        list(store.scan("by_height", b"", b"", 1_000)),
        list(store.scan("by_height", b"01", b"012", 3)),
    ]


def check_buckets(store, oracle) -> None:
    """Whole buckets come at one go, and none that is split comes as a whole."""
    for prefix, bucket in store.buckets(DIGITS).items():
        whole = list(oracle.entries(prefix))
        assert bucket is None or bucket == packed(whole)
        assert bucket is None or len(whole) <= BUCKET_ENTRIES_MAX


def check_read_together(store: SqliteStore) -> None:
    """Read together, buckets are what each is by itself, and none but those that are split is left out."""
    state = store._state
    alone = {digit: state._stored_bucket(digit) for digit in DIGITS}
    whole = {digit: one for digit, one in alone.items() if len(one) <= BUCKET_BYTES_MAX}
    assert state._stored.read(DIGITS) == whole
    rows = dict(store._database.rows("SELECT number, entries FROM buckets"))
    assert rows == {int(digit, 16): one for digit, one in whole.items() if one}


def stored_rows(store: SqliteStore) -> int:
    """How many index rows are in the tables, those of a generation that is going there too."""
    return sum(len(unpacked(row)) for row in store._database.rows("SELECT * FROM index_parcels"))


def test_after_a_crash_at_any_height_all_is_there(tmp_path):
    """Images of the files after each commit, as a process leaves them that is killed."""
    random, chain, oracle = Random(1), Chain(), MemoryStore(GENESIS, start())
    with closing(opened(tmp_path / "first")) as store:
        for height in range(1, 60):
            step = chain.step(oracle, (), writes_at(random, height), rows_at(random, height))
            for each in (oracle, store):
                each.commit(*step.everything)
            assert state_of(store) == state_of(oracle)
            check_buckets(store, oracle)
            check_read_together(store)
            shutil.copytree(tmp_path / "first", tmp_path / "image")
            with closing(opened(tmp_path / "image")) as image:
                assert state_of(image) == state_of(oracle)
                more = chain.step(oracle, (), writes_at(random, 1), rows_at(random, height))
                image.commit(*more.everything)
            shutil.rmtree(tmp_path / "image")


def test_opened_again_and_again_it_goes_on(tmp_path):
    random, chain, oracle = Random(2), Chain(), MemoryStore(GENESIS, start())
    store = opened(tmp_path)
    for height in range(1, 150):
        step = chain.step(oracle, (), writes_at(random, height), rows_at(random, height))
        for each in (oracle, store):
            each.commit(*step.everything)
        if random.random() < 0.4:
            store.close()
            store = opened(tmp_path)
        check_buckets(store, oracle)
        check_read_together(store)
    assert state_of(store) == state_of(oracle)
    assert any(bucket is not None for bucket in store.buckets(DIGITS).values())
    store.close()


def test_what_is_in_the_tables_leaves_the_journal(tmp_path):
    random, chain = Random(3), Chain()
    with closing(opened(tmp_path)) as store:
        for height in range(1, 200):
            chain.commit(
                store, writes={random.choice(KEYS): b"%d" % height}, index_rows=rows_at(random, height)
            )
            (kept,) = store._database.rows("SELECT COUNT(*) FROM journal")[0]
            assert kept < 20 and len(store._tail.newest()) <= 2
        assert stored_rows(store) > 180


def test_the_journal_of_empty_blocks_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "GENERATION_BLOCKS_MAX", 10)
    random, chain = Random(4), Chain()
    with closing(opened(tmp_path)) as store:
        for height in range(1, 30):
            chain.commit(store, writes=writes_at(random, height))
        for _ in range(60):
            chain.commit(store)
        assert store._database.rows("SELECT COUNT(*) FROM journal")[0][0] <= 2 * 10
        root = store.crown.root
    with closing(opened(tmp_path)) as store:
        assert store.crown.root == root


def test_a_slice_of_every_size_is_written_while_the_next_generation_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(tail, "GENERATION_ROWS_MAX", 2_000)
    chain, most = Chain(), 0
    with closing(opened(tmp_path)) as store:
        for height in range(300):
            rows = tuple(IndexRow("i", b"%d %d" % (i, height), b"") for i in range(20))
            before = stored_rows(store)
            chain.commit(store, index_rows=rows)
            most = max(most, stored_rows(store) - before)
    assert 0 < most < 40, "a block of 20 rows moves about as many"


def test_readers_see_whole_buckets_and_all_rows_while_rows_move(tmp_path):
    store, chain, is_done, faults = opened(tmp_path), Chain(), threading.Event(), []
    written, all_bytes = 20, len(packed([entry_of(b"", b"")])) * (len(KEYS) + 1)
    chain.commit(store, writes=dict.fromkeys(KEYS, b"0"))
    chain.commit(store, index_rows=tuple(IndexRow("i", b"%04d" % i, b"") for i in range(written)))

    def read() -> None:
        try:
            while not is_done.is_set():
                known = written
                assert len(store.entries("")) == len(KEYS) + 1
                assert all(store.get(key) is not None for key in KEYS)
                together = store.get_all([*KEYS, b"not there"])
                assert together.pop(b"not there") is None and None not in together.values()
                assert sum(len(bucket or b"") for bucket in store.buckets(DIGITS).values()) == all_bytes
                keys = [key for key, _ in store.scan("i", b"", b"", 10_000)]
                assert keys == sorted(set(keys)) and len(keys) >= known
                assert [key for key, _ in store.scan("i", b"", b"0004", 3)] == [b"0005", b"0006", b"0007"]
        except BaseException as error:
            faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for height in range(150):
        rows = tuple(IndexRow("i", b"%04d" % (written + i), b"") for i in range(3))
        chain.commit(store, writes=dict.fromkeys(KEYS[height % 50 :][:9], b"%d" % height), index_rows=rows)
        written += 3
    is_done.set()
    for reader in readers:
        reader.join()
    store.close()
    assert not faults


def test_a_reader_reads_anew_when_a_generation_has_gone_meanwhile(tmp_path):
    """What it would lay over the tables is older than what has gone into them since."""
    chain, reads = Chain(), []
    with closing(opened(tmp_path)) as store:
        chain.commit(store, writes={b"a": b"old"})

        def read() -> dict[bytes, bytes]:
            if not reads:
                chain.commit(store, writes={b"a": b"new"})
            while any(b"a" in newer.values for newer in store._tail.newest()):
                chain.commit(store, writes=dict.fromkeys(KEYS[:10], b"x"))
            reads.append(dict(store._database.rows("SELECT key, value FROM state")))
            return reads[-1]

        found = store._tail.over(read, lambda rows, newer: rows | newer.values)
        assert found[b"a"] == b"new" and len(reads) == 2


ROWS = st.lists(st.builds(IndexRow, st.text(max_size=3), st.binary(max_size=3), st.binary(max_size=3)))
WRITES = st.dictionaries(st.binary(max_size=3), st.none() | st.binary(max_size=4))


def effects(writes: dict[bytes, bytes | None], rows: list[IndexRow]) -> Effects:
    oracle = MemoryStore(GENESIS, start())
    made = execution(oracle, oracle.tip().frontier, 7, (), writes, tuple(rows))
    return effects_of(made)


@given(WRITES, ROWS, st.integers(1, 2**40))
def test_a_row_of_the_journal_comes_back_as_it_was(writes, rows, first):
    wrote = effects(writes, rows)
    assert effects_of_row(journal_row(7, first, wrote), DEPTH) == (first, wrote)


def test_a_row_of_the_journal_that_is_not_what_it_was_is_refused():
    height, content, checksum = journal_row(
        7, 3, effects({b"a": b"1", b"b": None}, [IndexRow("i", b"k", b"v")])
    )
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(Damaged):
            effects_of_row((height, changed, checksum), DEPTH)
    for row in (
        (8, content, checksum),
        (7, content[:-1], checksum),
        (7, "text", checksum),
        (7, None, checksum),
    ):
        with pytest.raises(Damaged):
            effects_of_row(row, DEPTH)


def test_leaves_of_a_journal_row_are_those_of_its_values():
    _, back = effects_of_row(journal_row(1, 1, effects({b"a": b"1"}, [])), DEPTH)
    entry = entry_of(b"a", b"1")
    assert back.leaves == {entry.path.hex()[:1]: {entry.path: entry.leaf}}
