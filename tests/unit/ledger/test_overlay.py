from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.state import EmptyState
from tests.ledgers import Effects


def test_a_stack_may_be_as_high_as_it_likes():
    reader, id_ = EmptyState(), bytes(32)
    block = Effects(reader, {b"deep": b"down"}, [id_])
    reader = Overlay(reader, block)
    for _ in range(5_000):
        reader = Overlay(reader, Effects(reader, {}))
    assert reader.get(b"deep") == b"down" and reader.get(b"none") is None
    assert reader.crown.root == block.crown.root and len(reader.entries("")) == 1
    assert reader.get_all([b"deep", b"none"]) == {b"deep": b"down", b"none": None}
    assert reader.used([id_, bytes(31)]) == {id_}


def test_the_upper_write_is_seen_removals_too():
    lower = Overlay(EmptyState(), Effects(EmptyState(), {b"a": b"1", b"b": b"2"}))
    upper = Overlay(lower, Effects(lower, {b"a": None, b"b": b"3"}))
    assert (upper.get(b"a"), upper.get(b"b")) == (None, b"3")
    assert (lower.get(b"a"), lower.get(b"b")) == (b"1", b"2")
    assert len(lower.entries("")) == 2 and len(upper.entries("")) == 1
