"""Index rows keep their order and are found by index."""

from hypothesis import given
from hypothesis import strategies as st
from p2pledger.ledger.rules import IndexRow, IndexRows

ROWS = st.lists(st.builds(IndexRow, st.sampled_from("abc"), st.binary(max_size=2), st.binary(max_size=2)))


@given(ROWS, ROWS, ROWS)
def test_rows_stand_in_their_order_and_are_found_by_index(first, second, third):
    some, before = IndexRows.of(second), IndexRows.of(first)
    rows, expected = IndexRows.of([*first, some, *third]), first + second + third
    assert list(rows) == expected and len(rows) == len(expected)
    assert rows == IndexRows.of(expected) == before.followed_by(second + third)
    assert list(before) == first and list(some) == second
    assert list(rows.columns) == list(dict.fromkeys(row.name for row in expected))
    for name in "abcd":
        found = [row for row in expected if row.name == name]
        assert rows.of_index(name) == ([row.key for row in found], [row.value for row in found])
