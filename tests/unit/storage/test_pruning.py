"""What only files show of dropped bodies: some at a time, back after a start, room for what follows."""

import sqlite3
from contextlib import closing

import pytest
from p2pledger.chain.payloads import Action, RecordAppend
from p2pledger.codec import encode
from p2pledger.errors import Fatal
from p2pledger.storage import pruning
from p2pledger.storage.sqlite import CHAIN_FILE, SqliteStore
from tests.unit.storage.chains import GENESIS, START_MS, Chain, start

OWN, OTHER = "org-0", "org-1"


def opened(directory):
    return SqliteStore(directory, GENESIS, start())


def fill(store, sizes, body_bytes=1):
    """A block of so many records of another organisation for each of `sizes`; their ids."""
    chain, ids = Chain(), []
    fact = RecordAppend(
        "sensor.reading/1", START_MS, None, None, Action.OBSERVE, (), None, None, None, (),
        bytes(body_bytes), None,
    )  # fmt: skip
    for size in sizes:
        made = [chain.transaction(payload=encode(fact), sponsor=OTHER) for _ in range(size)]
        ids += [t.id for t in chain.commit(store, made).transactions]
    return ids


def query(directory, statement):
    with closing(sqlite3.connect(directory / CHAIN_FILE)) as connection:
        rows = connection.execute(statement).fetchall()
        connection.commit()
        return rows


def test_as_many_blocks_at_a_time_as_have_so_many_rows_but_one_at_least(tmp_path, monkeypatch):
    monkeypatch.setattr(pruning, "ROWS_MAX", 6)
    with closing(opened(tmp_path)) as store:
        ids = fill(store, [3, 3, 1, 9, 0, 0, 2])
        heights = []
        while store.pruned_height < 7:
            store.prune(7, OWN)
            heights.append(store.pruned_height)
        assert heights == [2, 3, 4, 7]
        assert not store.bodies(ids)


def test_after_a_start_it_is_known_how_far_bodies_were_dropped(tmp_path):
    with closing(opened(tmp_path)) as store:
        ids = fill(store, [2] * 5)
        store.prune(3, OWN)
        located, records = [store.locate(i) for i in ids], [store.record(i) for i in ids]
    with closing(opened(tmp_path)) as store:
        assert store.pruned_height == 3
        assert [store.locate(i) for i in ids] == located and [store.record(i) for i in ids] == records
        assert store.used(ids) == set(ids)
        store.prune(5, OWN)
        assert store.pruned_height == 5 and not store.bodies(ids)


def test_dropped_bodies_leave_whole_pages_free(tmp_path):
    with closing(opened(tmp_path)) as store:
        fill(store, [100] * 3, body_bytes=1_000)
        store.prune(2, OWN)
    (free,), (size,) = (query(tmp_path, f"PRAGMA {what}")[0] for what in ("freelist_count", "page_size"))
    assert free * size > 200 * 900


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transactions SET content = content || x'00'",
        "UPDATE transactions SET content = CAST(content || x'00' AS BLOB)",
        "UPDATE transactions SET content = x'81f6'",
        "UPDATE transactions SET content = 129",
        "UPDATE meta SET value = zeroblob(12) WHERE name = 'pruned'",
        "UPDATE meta SET value = x'00' WHERE name = 'pruned'",
    ],
)
def test_what_was_changed_in_their_place_stops_the_node(tmp_path, statement):
    with closing(opened(tmp_path)) as store:
        (first, *_) = fill(store, [2] * 3)
        store.prune(2, OWN)
    query(tmp_path, statement)
    with pytest.raises(Fatal), closing(opened(tmp_path)) as store:
        store.locate(first)
