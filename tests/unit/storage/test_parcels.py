"""Index rows in parcels: found as a sorted table would find them."""

from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p2pledger.ledger.machine import IndexRow
from p2pledger.storage.database import Damaged
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.parcels import packed, unpacked
from p2pledger.storage.sqlite import SqliteStore
from tests.unit.storage.chains import GENESIS, Chain, make_small, start

KEYS = st.binary(max_size=3) | st.sampled_from([b"", b"\xff", b"\xff\xff", b"a", b"ab", b"a\x00"])
BLOCKS = st.lists(st.dictionaries(KEYS, st.binary(max_size=2), max_size=9), min_size=8, max_size=25)
QUESTIONS = st.lists(st.tuples(KEYS, KEYS, st.integers(1, 9)), min_size=1, max_size=20)


@given(st.dictionaries(st.binary(max_size=9), st.binary(max_size=300), min_size=1))
def test_a_parcel_comes_back_as_it_was(rows):
    row = packed(7, sorted(rows), rows)
    assert row[:2] == (7, min(rows)) and unpacked(row) == sorted(rows.items())


def test_a_parcel_that_is_not_what_it_was_is_refused():
    number, first, content, checksum = packed(7, [b"a", b"b"], {b"a": b"1", b"b": b""})
    changed = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]
    for row in (
        *((number, first, one, checksum) for one in changed),
        (number + 1, first, content, checksum),
        (number, b"b", content, checksum),
        (number, first, content[:3], checksum),
        (number, first, content + b"\0", checksum),
        (number, first, "text", checksum),
        (number, None, content, checksum),
    ):
        with pytest.raises(Damaged):
            unpacked(row)


@settings(max_examples=60, deadline=None)
@given(BLOCKS, QUESTIONS)
def test_an_index_of_many_generations_is_answered_as_the_oracle_answers_it(tmp_path_factory, blocks, asked):
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch.setattr)
        directory, chain = tmp_path_factory.mktemp("store"), Chain()
        oracle = MemoryStore(GENESIS, start())
        with closing(SqliteStore(directory, GENESIS, start())) as store:
            for rows in blocks:
                made = tuple(IndexRow("i", key, value) for key, value in rows.items())
                step = chain.step(oracle, (), {}, made)
                for each in (oracle, store):
                    each.commit(*step.everything)
            for prefix, after, limit in asked:
                expected = list(oracle.scan("i", prefix, after, limit))
                assert list(store.scan("i", prefix, after, limit)) == expected
