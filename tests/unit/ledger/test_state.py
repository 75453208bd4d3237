from collections import Counter

import pytest
from p2pledger.codec import encode
from p2pledger.errors import Fatal
from p2pledger.ledger.decoded import Decoded
from p2pledger.ledger.entries import path_range
from p2pledger.ledger.quota import Usage
from p2pledger.ledger.state import Changes, EmptyState, Table, new_row, with_sums


@pytest.mark.parametrize(
    ("prefix", "low", "high"),
    [
        ("", "00" * 32, "ff" * 32),
        ("a", "a0" + "00" * 31, "af" + "ff" * 31),
        ("1234", "1234" + "00" * 30, "1234" + "ff" * 30),
    ],
)
def test_a_prefix_is_a_range_of_paths(prefix, low, high):
    assert path_range(prefix) == (bytes.fromhex(low), bytes.fromhex(high))


def test_a_row_that_does_not_decode_is_our_own_corruption():
    table, changes = Table("usage", Usage), Changes(EmptyState())
    table.put(changes, b"k", Usage(1, 2, 3))
    assert table.get(changes, b"k") == Usage(1, 2, 3)
    assert changes.get(table.key(b"k")) is not None
    changes.put(b"usage/k", b"rubbish")
    with pytest.raises(Fatal, match="no Usage under"):
        table.get(changes, b"k")


class Counted(EmptyState):
    """A state that counts how often each of its values is read."""

    def __init__(self, values):
        self.values, self.reads = values, Counter()

    def get(self, key):
        self.reads[key] += 1
        return self.values.get(key)

    def get_all(self, keys):
        return {key: self.get(key) for key in keys}


def test_a_row_is_read_once_and_encoded_as_it_is_in_the_end():
    state = Counted({b"usage/k": encode(Usage(1, 2, 3))})
    table, changes = Table("usage", Usage), Changes(state)
    assert table.get(changes, b"k") == Usage(1, 2, 3) and table.get(changes, b"none") is None
    assert table.get(changes, b"k") is table.get(changes, b"k") and table.get(changes, b"none") is None
    table.put(changes, b"k", Usage(1, 3, 4))
    mark = changes.mark()
    table.put(changes, b"k", Usage(1, 4, 5))
    table.put(changes, b"none", Usage(0, 0, 0))
    assert table.get(changes, b"k") == Usage(1, 4, 5) and table.get(changes, b"none") == Usage(0, 0, 0)
    changes.undo(mark)
    assert table.get(changes, b"k") == Usage(1, 3, 4) and table.get(changes, b"none") is None
    assert changes.writes() == {b"usage/k": encode(Usage(1, 3, 4))}
    changes.undo(0)
    assert state.reads == {b"usage/k": 1, b"usage/none": 2}, "what a write hid is read anew once it is undone"
    assert table.get(changes, b"k") == Usage(1, 2, 3) and changes.writes() == {}


def test_rows_that_were_read_ahead_are_at_hand():
    state = Counted({b"usage/k": encode(Usage(1, 2, 3)), b"usage/w": encode(Usage(7, 7, 7))})
    table, changes = Table("usage", Usage), Changes(state)
    table.put(changes, b"w", Usage(1, 3, 4))
    table.read_ahead(changes, {b"k", b"none", b"w"})
    assert state.reads == {b"usage/k": 1, b"usage/none": 1}
    for _ in range(2):
        rows = [table.get(changes, key) for key in (b"k", b"none", b"w")]
        assert rows == [Usage(1, 2, 3), None, Usage(1, 3, 4)]
    assert state.reads == {b"usage/k": 1, b"usage/none": 1}
    with pytest.raises(Fatal, match="no Usage under"):
        table.read_ahead(Changes(Counted({b"usage/k": b"rubbish"})), {b"k"})


def test_rows_that_are_forgotten_are_decoded_anew(monkeypatch):
    monkeypatch.setattr("p2pledger.ledger.state._ROWS", Decoded(2))
    rows = [Usage(number, 0, 0) for number in range(5)]
    table, changes = Table("usage", Usage), Changes(EmptyState())
    for row in rows:
        table.put(changes, b"%d" % row.window, row)
    state = Counted(changes.writes())
    for _ in range(2):
        assert [table.get(state, b"%d" % row.window) for row in rows] == rows


def test_a_row_that_is_asked_for_again_and_again_is_not_forgotten(monkeypatch):
    monkeypatch.setattr("p2pledger.ledger.state._ROWS", Decoded(8))
    table, state = Table("usage", Usage), Counted({b"usage/k": encode(Usage(1, 2, 3))})
    first = table.get(state, b"k")
    for number in range(32):
        other = Changes(EmptyState())
        table.put(other, b"w", Usage(number, 7, 7))
        other.writes()
        assert table.get(state, b"k") is first


def test_tables_do_not_run_into_each_other():
    changes = Changes(EmptyState())
    Table("a", Usage).put(changes, b"b", Usage(1, 1, 1))
    assert Table("ab", Usage).get(changes, b"") is None
    with pytest.raises(ValueError):
        Table("a/b", Usage)


def test_sums_are_added_to_fields_of_another_row():
    row = Usage(1, 2, 3)
    more = with_sums(row, {"size_bytes": -3, "transactions": 5})
    assert more == Usage(1, 7, 0) and row == Usage(1, 2, 3) and encode(more) == encode(Usage(1, 7, 0))
    with pytest.raises(KeyError):
        with_sums(row, {"colour": 1})


def test_a_new_row_is_what_its_class_makes_of_the_same_fields():
    fields = {"window": 1, "transactions": 2, "size_bytes": 3}
    row = new_row(Usage, **fields)
    assert row == Usage(1, 2, 3) and hash(row) == hash(Usage(1, 2, 3))
    assert encode(row) == encode(Usage(1, 2, 3))
    for wrong in ({"window": 1}, fields | {"colour": "red"}):
        with pytest.raises(TypeError):
            new_row(Usage, **wrong)
    with pytest.raises(TypeError):
        new_row(Usage, 1, **fields)
