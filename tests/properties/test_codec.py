"""Any bytes are the one encoding of a value, or are refused; whatever type they are taken for."""

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from p2pledger.chain.transaction import decode_transaction
from p2pledger.codec import decode, encode, from_json
from p2pledger.errors import InvalidMessage
from tests.vectors.make import TRANSACTIONS, VALUES

KINDS = [kind for kind, _ in VALUES.values()]
ENCODED = [(kind, encode(value, kind)) for kind, value in VALUES.values()]

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.binary(max_size=66)
    | st.text(max_size=8)
)
anything = st.recursive(
    leaves,
    lambda inside: st.lists(inside, max_size=14) | st.dictionaries(st.text(max_size=3), inside),
    max_leaves=30,
)


def check(kind, data: bytes) -> None:
    try:
        value = decode(kind, data)
    except InvalidMessage as refusal:
        assert refusal.code in ("malformed", "not_canonical")
    else:
        assert encode(value, kind) == data


@given(st.sampled_from(KINDS), st.binary(max_size=200))
@example(KINDS[0], b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff")
def test_random_bytes(kind, data):
    check(kind, data)


@given(st.sampled_from(KINDS), anything)
def test_other_values(kind, value):
    check(kind, cbor2.dumps(value))
    check(kind, cbor2.dumps(value, canonical=True))
    try:
        from_json(kind, value)
    except InvalidMessage as refusal:
        assert refusal.code == "malformed"


@given(
    st.sampled_from(ENCODED),
    st.integers(0),
    st.sampled_from(["set", "drop", "insert", "cut"]),
    st.integers(0, 255),
)
def test_a_good_message_with_one_byte_wrong(good, where, how, byte):
    kind, data = good
    where %= len(data)
    bad = {
        "set": data[:where] + bytes([byte]) + data[where + 1 :],
        "drop": data[:where] + data[where + 1 :],
        "insert": data[:where] + bytes([byte]) + data[where:],
        "cut": data[:where],
    }[how]
    check(kind, bad)


@given(st.sampled_from(ENCODED), st.sampled_from(KINDS))
def test_a_message_taken_for_another(good, kind):
    check(kind, good[1])


@given(st.sampled_from(list(TRANSACTIONS.values())), st.integers(0), st.integers(0, 255))
def test_a_transactions_id_and_encoding_are_those_of_its_bytes(good, where, byte):
    data = bytearray(good.encoded)
    data[where % len(data)] = byte
    try:
        one = decode_transaction(bytes(data))
    except InvalidMessage:
        return
    assert one.encoded == encode(one) == bytes(data)
    fresh = decode(type(one), bytes(data))
    assert one.id == fresh.id and "encoded" not in fresh.__dict__


@pytest.mark.parametrize(("kind", "data"), ENCODED)
def test_every_cut_is_refused(kind, data):
    for length in range(0, len(data), max(1, len(data) // 50)):
        with pytest.raises(InvalidMessage):
            decode(kind, data[:length])
    with pytest.raises(InvalidMessage):
        decode(kind, data + b"\x00")
