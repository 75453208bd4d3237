"""What is known of the final state is forgotten where a block writes it, and where one was not told of."""

from p2pledger.ledger import known as known_module
from p2pledger.ledger.known import KnownRows


def begun():
    known = KnownRows(7)
    known.after(7).update({b"a": 1, b"b": 2})
    return known


def test_what_a_block_writes_is_read_anew():
    known = begun()
    known.settle(8, {b"a": b"", b"other": None})
    assert known.after(8) == {b"b": 2}


def test_of_a_state_that_it_was_not_told_of_nothing_is_known():
    known = begun()
    known.after(8)[b"a"] = 3
    assert known.after(8) == known.after(6) == {} and known.after(7) == {b"a": 1, b"b": 2}
    known.settle(9, ())
    assert known.after(9) == known.after(7) == {}


def test_what_is_known_is_bounded(monkeypatch):
    monkeypatch.setattr(known_module, "ROWS_KNOWN_MAX", 2)
    known = begun()
    assert known.after(7) == {b"a": 1, b"b": 2}
    known.after(7)[b"c"] = 3
    assert known.after(7) == {}
