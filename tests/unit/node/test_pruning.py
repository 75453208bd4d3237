"""A gateway that drops old bodies goes on with the ledger as those do that keep them."""

import pytest
from p2pledger.bench.devices import record
from p2pledger.bench.solo import ORGANISATIONS, SPONSOR, admin, gateway_peer, solo
from p2pledger.chain.message import BlocksRequest, BodiesRequest
from p2pledger.chain.payloads import CorrectionReason, RecordCorrect
from p2pledger.client.signing import transaction
from p2pledger.node import pruning
from p2pledger.node.answers import answers
from p2pledger.node.pruning import Pruning
from p2pledger.types import PeerId

OTHER = ORGANISATIONS[1]
KEPT = 5


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """Ten devices, and twelve blocks in which each writes one record."""
    monkeypatch.setattr(pruning, "AT_ONCE_BLOCKS", 4)
    with solo(tmp_path) as opened:
        devices = opened.enrol(10)
        for seq in range(12):
            now_ms = opened.next_round.time_ms
            opened.commit(
                opened.execute(
                    [record(opened.genesis, d, SPONSOR, seq, now_ms, opened.expires_ms) for d in devices]
                )
            )
        yield opened


def ids_of(ledger, *heights):
    return [i for height in heights for i in ledger.store.block(height).transaction_ids]


def test_bodies_of_others_go_when_they_are_old_and_many_enough(ledger):
    store, tidy = ledger.store, Pruning(ledger.store, KEPT, gateway_peer(OTHER)).go_on
    old, young = ids_of(ledger, *range(1, 9)), ids_of(ledger, *range(9, 14))
    records = [store.record(i) for i in old]
    tidy()
    assert (store.tip().height, store.pruned_height) == (13, 8)
    assert not store.bodies(old) and [t.id for t in store.bodies(young)] == young
    assert [store.record(i) for i in old] == records
    for _ in range(3):
        ledger.commit(ledger.execute([]))
        tidy()
    assert store.pruned_height == 8
    ledger.commit(ledger.execute([]))
    tidy()
    assert store.pruned_height == 12


def test_its_own_stay_and_whoever_has_not_joined_drops_nothing(ledger):
    everything = ids_of(ledger, *range(1, 14))
    Pruning(ledger.store, KEPT, PeerId("nobody")).go_on()
    assert ledger.store.pruned_height == 0
    Pruning(ledger.store, KEPT, gateway_peer(SPONSOR)).go_on()
    assert ledger.store.pruned_height == 8
    assert [t.id for t in ledger.store.bodies(everything)] == everything


def test_the_rules_find_records_whose_bodies_are_gone(ledger):
    wrong, standing = ids_of(ledger, 2)[0], ids_of(ledger, 13)[0]
    payload = RecordCorrect(wrong, CorrectionReason.INCORRECT_DATA, (standing,))
    correction = transaction(
        ledger.genesis, payload.KIND, payload, SPONSOR, [admin(SPONSOR)], ledger.expires_ms
    )
    before = ledger.execute([correction])
    Pruning(ledger.store, KEPT, gateway_peer(OTHER)).go_on()
    assert not ledger.store.bodies([wrong])
    after = ledger.execute([correction])
    assert after.header == before.header
    ledger.commit(after)


def test_a_peer_gets_all_blocks_and_such_bodies_as_are_left(ledger):
    Pruning(ledger.store, KEPT, gateway_peer(OTHER)).go_on()
    blocks = list(answers(BlocksRequest(1, 13), None, ledger.store, {}))
    assert [block.header.height for block in blocks] == list(range(1, 14))
    assert list(answers(BodiesRequest(tuple(ids_of(ledger, 3))), None, ledger.store, {})) == []
    (batch,) = answers(BodiesRequest(tuple(ids_of(ledger, 3, 12))), None, ledger.store, {})
    assert len(batch.transactions) == 10
