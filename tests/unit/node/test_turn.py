"""What is sent to a view's leader: what was passed over, as much as one message carries."""

from p2pledger.ledger.mempool import OVERTAKEN_MS, Mempool, Share
from p2pledger.node import turn as turn_module
from p2pledger.node.turn import Turn
from tests.ledgers import START_MS, genesis, transaction

GENESIS = genesis()
ALL = Share("city", 10**6, 10**9)
PATIENCE_MS = 100


def make(count):
    return [transaction(GENESIS, b"\x80", "city", "city 1", kind="record.append") for _ in range(count)]


def test_late_is_what_waits_longer_than_patience_or_was_overtaken():
    mempool, (old, newer, youngest, gone, final) = Mempool(10, 10**6, 1), make(5)
    turn = Turn(None, mempool)
    for one, after_ms in ((old, 0), (gone, 0), (newer, 50), (youngest, 80), (final, 2_000)):
        mempool.add(one, START_MS + after_ms, ALL)
    mempool.remove([gone.id])
    counted, at = [youngest, gone, old, newer], START_MS + PATIENCE_MS
    assert turn.late(counted, at, PATIENCE_MS) == []
    assert turn.late(counted, at + 1, PATIENCE_MS) == [old]
    assert turn.late(counted, at + 81, PATIENCE_MS) == [youngest, old, newer]
    mempool.settle([final.id], START_MS + 2_000)
    assert turn.late(counted, START_MS + 2_001, PATIENCE_MS) == [youngest, old, newer]
    assert 2_000 - OVERTAKEN_MS > 80, "they were overtaken, each of them"


def test_late_is_no_more_than_one_message_carries_of_all_that_counted(monkeypatch):
    mempool, many = Mempool(10, 10**6, 1), make(5)
    size = len(many[0].encoded)
    for one in many:
        mempool.add(one, START_MS, ALL)
    for bytes_max, count in ((3 * size, 2), (3 * size + 1, 3), (1, 0), (5 * size + 1, 5)):
        monkeypatch.setattr(turn_module, "BATCH_BYTES_MAX", bytes_max)
        assert Turn(None, mempool).late(many, START_MS + 1_000, PATIENCE_MS) == many[:count]
