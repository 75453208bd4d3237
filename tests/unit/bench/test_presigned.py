"""What is signed beforehand is what nodes take: whole requests, distinct ids, each by its own device."""

from p2pledger.bench.devices import RECORD_BYTES
from p2pledger.bench.presigned import Order, sign
from p2pledger.chain.transaction import Batch, decode_transaction, is_authentic
from p2pledger.codec import decode
from p2pledger.crypto import is_signed
from tests.ledgers import START_MS, genesis


def test_parcels_hold_the_ordered_records_in_turn():
    ledger = genesis()
    order = Order(ledger, 20, "north", first=40, count=50, per_second=10.0, per_parcel=3, start_ms=START_MS)
    parcels = [parcel for some in sign(order) for parcel in some]
    bodies = [data for parcel in parcels for data in decode(Batch, parcel.body).transactions]
    made = [decode_transaction(data) for data in bodies]
    assert [transaction.id for transaction in made] == [i for parcel in parcels for i in parcel.ids]
    assert [len(parcel.ids) for parcel in parcels] == [3] * 16 + [2]
    assert len({transaction.id for transaction in made}) == 50
    assert len({transaction.body.signers for transaction in made}) == 20
    assert all(is_authentic(transaction, is_signed) for transaction in made)
    assert {len(data) for data in bodies} <= {RECORD_BYTES - 1, RECORD_BYTES}
    half_window_ms = ledger.parameters.expiry_window_ms // 2
    assert made[0].body.expires_ms == START_MS + half_window_ms
    assert made[49].body.expires_ms == START_MS + 4_900 + half_window_ms
