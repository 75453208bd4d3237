"""What a bucket's row holds, against the entries' own rows, while keys come, change and go."""

import random
import sqlite3

import pytest
from p2pledger.ledger.entries import BUCKET_ENTRIES_MAX, by_bucket, leaves_of
from p2pledger.storage import buckets, schema


@pytest.fixture
def writer():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table in schema.TABLES:
        connection.execute(table)
    yield connection
    connection.close()


def write(connection, writes):
    """As a slice is written that changes these keys of the bucket at the root's first digit."""
    changed = by_bucket(leaves_of(writes), 1)
    for leaves in changed.values():
        for path, leaf in leaves.items():
            if leaf is None:
                connection.execute(schema.STATE_REMOVE, (path,))
            else:
                connection.execute(schema.STATE_PUT, (path, leaf, b"", b""))
    buckets.write(connection, changed)
    for prefix in changed:
        is_there = any(path.hex()[:1] == prefix for (path,) in connection.execute("SELECT path FROM state"))
        connection.execute(schema.NODE_REMOVE, (prefix,))
        if is_there:
            connection.execute(schema.NODE_PUT, (prefix, bytes(32)))


def expected(connection):
    """By the entries' rows alone: each bucket of 1 to 64 entries as bytes."""
    found = {}
    for path, leaf in connection.execute("SELECT path, leaf FROM state ORDER BY path"):
        found.setdefault(int(path.hex()[:1], 16), []).append(path + leaf)
    return {number: b"".join(some) for number, some in found.items() if len(some) <= BUCKET_ENTRIES_MAX}


@pytest.mark.parametrize("is_repeated", [False, True], ids=["once", "twice"])
def test_a_bucket_is_what_its_entries_are(writer, is_repeated):
    rng, keys = random.Random(7), [b"%d" % number for number in range(1_600)]
    sizes = set()
    for turn in range(60):
        some = rng.sample(keys, 400)
        is_shrinking = turn // 6 % 2
        writes = {
            key: None if rng.random() < (0.9 if is_shrinking else 0.1) else rng.randbytes(4) for key in some
        }
        for _ in range(1 + is_repeated):
            write(writer, writes)
        rows = dict(writer.execute("SELECT number, entries FROM buckets"))
        assert rows == expected(writer)
        sizes.add(len(rows))
    assert 0 in sizes, "all were split once"
    assert 16 in sizes, "none was"
