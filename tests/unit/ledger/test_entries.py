"""A packed bucket says what its entries say, whatever is changed in it."""

from hypothesis import given
from hypothesis import strategies as st
from p2pledger.ledger.entries import Entry, holds, merged, packed, place_in, repacked, unpacked
from p2pledger.types import Hash


def path(number: int) -> Hash:
    return Hash(bytes(31) + bytes([number]))


def leaf(number: int) -> Hash:
    # As a path that may be there: what looks like one at the wrong place is none.
    return path(number % 20)


NUMBERS = st.integers(0, 19)
BUCKETS = st.dictionaries(NUMBERS, NUMBERS).map(
    lambda content: [Entry(path(number), leaf(content[number])) for number in sorted(content)]
)
CHANGES = st.dictionaries(NUMBERS, st.none() | NUMBERS).map(
    lambda changed: {
        path(number): None if value is None else leaf(value) for number, value in changed.items()
    }
)


@given(BUCKETS, CHANGES)
def test_changes_are_laid_over_a_packed_bucket_as_over_its_entries(entries, changed):
    bucket = packed(entries)
    assert unpacked(bucket) == tuple(entries)
    assert repacked(bucket, changed) == packed(merged(entries, changed))


@given(BUCKETS, NUMBERS)
def test_an_entry_is_found_where_it_stands_and_nowhere_else(entries, number):
    start, is_there = place_in(packed(entries), path(number))
    before = [entry for entry in entries if entry.path < path(number)]
    assert start == len(packed(before))
    assert is_there == any(entry.path == path(number) for entry in entries)
    assert holds(packed(entries), path(number)) == is_there


@given(BUCKETS, st.binary(min_size=32, max_size=32))
def test_what_lies_across_two_entries_is_no_entry(entries, some):
    bucket = packed(entries)
    paths = {entry.path for entry in entries}
    assert not holds(bucket, some) or some in paths
    for start in range(len(bucket) - 31):
        assert holds(bucket, bucket[start : start + 32]) == (bucket[start : start + 32] in paths)
