"""Any bytes are the one encoding of a value, or are refused; whatever type they are taken for.

An oracle that shares neither code nor library with the codec says which (see `wire`).
"""

import json
import tracemalloc
from dataclasses import replace

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from p2pledger.chain.transaction import (
    TRANSACTION_BYTES_MAX,
    Transaction,
    decode_transaction,
    decode_transactions,
)
from p2pledger.codec import decode, decode_all, encode, from_json, to_json
from p2pledger.codec.annotations import shape_of
from p2pledger.codec.source import Refused
from p2pledger.codec.templates import ALIKE_MIN, TEMPLATE_BYTES_MAX, Template
from p2pledger.errors import InvalidMessage
from tests.properties import cbor
from tests.properties.cbor import ARRAY, BYTES, TAG, TEXT, head
from tests.properties.effort import effort
from tests.properties.wire import KINDS, SENT, Wrong, plain_of, value_of, values
from tests.vectors.make import TRANSACTIONS, VALUES

ALL = sorted(KINDS)
VECTORS = [(kind, encode(value, kind)) for kind, value in VALUES.values()]
NAMED = st.sampled_from(ALL).flatmap(lambda name: st.tuples(st.just(name), values(KINDS[name])))
GOOD = st.sampled_from(VECTORS) | NAMED.map(lambda item: (KINDS[item[0]], encode(item[1], KINDS[item[0]])))

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


def judge(kind, data: bytes) -> bool:
    """Whether the codec takes these bytes, which it must do if and only if the oracle does."""
    try:
        expected = value_of(kind, data)
    except Wrong:
        with pytest.raises(InvalidMessage) as refusal:
            decode(kind, data)
        assert refusal.value.code in ("malformed", "not_canonical")
        return False
    value = decode(kind, data)
    assert value == expected
    assert encode(value, kind) == data
    return True


# --- what is written can be read


@effort(250)
@given(NAMED)
def test_a_value_has_the_encoding_of_the_rfc_and_comes_back(item):
    name, value = item
    data = encode(value, KINDS[name])
    assert data == cbor.write(plain_of(value, tagged=name in SENT))
    assert judge(KINDS[name], data)


@effort(300)
@given(NAMED)
def test_a_value_comes_back_from_json(item):
    name, value = item
    shown = json.loads(json.dumps(to_json(value, KINDS[name])))
    assert from_json(KINDS[name], shown) == value


@pytest.mark.parametrize("name", ALL)
def test_no_type_is_without_values(name):
    """So that a strategy that came to nothing is seen."""
    found = []

    @effort(5)
    @given(values(KINDS[name]))
    def look(value):
        found.append(value)

    look()
    assert found


# --- what is not its one encoding cannot


@effort(300)
@given(st.sampled_from(ALL), st.binary(max_size=200))
@example("Genesis", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff")
def test_random_bytes(name, data):
    judge(KINDS[name], data)


@effort(300)
@given(st.sampled_from(ALL), anything)
def test_other_values(name, value):
    judge(KINDS[name], cbor2.dumps(value))
    judge(KINDS[name], cbor2.dumps(value, canonical=True))
    try:
        from_json(KINDS[name], value)
    except InvalidMessage as refusal:
        assert refusal.code == "malformed"


@effort(300)
@given(GOOD, st.sampled_from(ALL))
def test_a_message_taken_for_another(good, name):
    judge(KINDS[name], good[1])


@st.composite
def broken(draw):
    """A good message with one item said in another way, or moved, or one byte wrong."""
    kind, data = draw(GOOD)
    at = draw(st.sampled_from(cbor.heads(data)))
    other = draw(st.sampled_from(cbor.heads(data)))
    before, itself, after = data[: at.start], data[at.start : at.start + at.size], data[at.start + at.size :]
    byte = bytes([draw(st.integers(0, 255))])
    where = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(EDITS)):
        case "longer number":
            itself = head(at.major, at.number, draw(st.sampled_from([1, 2, 4, 8])) if at.number < 256 else 8)
        case "another number":
            itself = head(at.major, draw(st.integers(0, 30) | st.just(at.number ^ 1)))
        case "huge number":
            itself = head(at.major, draw(st.sampled_from([2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1])))
        case "another major type":
            itself = head(draw(st.integers(0, 6)), at.number)
        case "indefinite":
            itself, after = bytes([at.major << 5 | 31]), after + b"\xff" * draw(st.integers(0, 2))
        case "tag":
            itself = head(TAG, draw(st.sampled_from([0, 1, 2, 24, 28, 29, 35, 256, 258, 55799]))) + itself
        case "float":
            itself = draw(st.sampled_from([b"\xf9\x3c\x00", b"\xfa\x3f\x80\x00\x00", b"\xfb" + bytes(8)]))
        case "simple value":
            itself = draw(st.sampled_from([b"\xf4", b"\xf5", b"\xf6", b"\xf7", b"\xf8\x18", b"\xf8\xff"]))
        case "deeper":
            itself = head(ARRAY, 1) * draw(st.sampled_from([1, 2, 50, 5_000])) + itself
        case "twice":
            itself += itself
        case "gone":
            itself = b""
        case "another's":
            itself = data[other.start : other.start + other.size]
        case "swapped":
            first, last = sorted((at, other))
            return kind, (
                data[: first.start] + data[last.start :] + data[first.start : last.start]
                if draw(st.booleans())
                else data[: first.start] + data[last.start : last.start + last.size] + data[first.start :]
            )
        case "cut":
            return kind, data[:where]
        case "set":
            return kind, data[:where] + byte + data[where + 1 :]
        case "inserted":
            return kind, data[:where] + byte * draw(st.sampled_from([1, 1, 9, 100])) + data[where:]
    return kind, before + itself + after


EDITS = (
    *("longer number", "another number", "huge number", "another major type", "indefinite", "tag", "float"),
    *("simple value", "deeper", "twice", "gone", "another's", "swapped", "cut", "set", "inserted"),
)


@effort(600)
@given(broken())
def test_a_good_message_with_one_thing_wrong(wrong):
    judge(*wrong)


@given(st.sampled_from(list(TRANSACTIONS.values())), st.integers(0), st.integers(0, 255))
def test_a_transactions_id_and_encoding_are_those_of_its_bytes(good, where, byte):
    data = bytearray(good.encoded)
    data[where % len(data)] = byte
    try:
        one = decode_transaction(bytes(data))
    except InvalidMessage:
        return
    assert one.encoded == encode(one) == bytes(data)
    made = Transaction(replace(one.body), one.signatures)
    assert made == one and (made.id, made.encoded) == (one.id, one.encoded)
    assert one.body.id == one.id == made.body.id


# --- many at once are what each of them is


@st.composite
def together(draw):
    """Encodings of one type, now and then with one of them broken, or with bytes moved to its neighbour."""
    name = draw(st.sampled_from(ALL))
    kind = KINDS[name]
    data = [encode(value, kind) for value in draw(st.lists(values(kind), max_size=4))]
    data *= draw(st.sampled_from([1, 1, 1, ALIKE_MIN]))
    if data and draw(st.booleans()):
        at, byte = draw(st.integers(0, len(data) - 1)), bytes([draw(st.integers(0, 255))])
        where = draw(st.integers(0, len(data[at])))
        one, after = data[at], data[(at + 1) % len(data)]
        match draw(st.sampled_from(["set", "cut", "moved", "long", "other"])):
            case "set":
                data[at] = one[:where] + byte + one[where + 1 :]
            case "cut":
                data[at] = one[:where]
            case "moved" if len(data) > 1:
                data[at], data[(at + 1) % len(data)] = one[:where], one[where:] + after
            case "long":
                data[at] = one + byte
            case "other":
                data[at] = draw(st.binary(max_size=20))
    return kind, data


def outcome(work):
    try:
        return work()
    except InvalidMessage as refusal:
        return refusal.code, str(refusal)


@effort(400)
@given(together())
def test_many_are_decoded_as_each_is(some):
    kind, data = some
    for _ in range(2):  # what was read the first time is a template of what comes the second time
        assert outcome(lambda: decode_all(kind, data)) == outcome(lambda: [decode(kind, one) for one in data])


@st.composite
def alike(draw):
    """A good message, and the same with some bytes of it changed."""
    kind, data = draw(GOOD)
    other = bytearray(data)
    bytes_ = st.sampled_from([0, 1, 22, 23, 24, 25, 27, 32, 64, 0x58, 0x81, 0xF6, 255]) | st.integers(0, 255)
    for where, byte in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), bytes_), max_size=4)):
        other[where] = byte
    return kind, data, bytes(other)


def check_template(kind, template, value, other):
    """What is read by a template is what it is by itself."""
    try:
        read = template.read([other, encode(value, kind)])
    except Refused:
        return
    assert read == [decode(kind, other), value]


@effort(600)
@given(alike())
def test_a_template_takes_nothing_that_is_no_value(messages):
    kind, data, other = messages
    value = decode(kind, data)
    template = Template(shape_of(kind), value)
    assert template.read([data]) == [value]
    check_template(kind, template, value, other)


@pytest.mark.parametrize(("kind", "data"), [v for v in VECTORS if len(v[1]) <= TEMPLATE_BYTES_MAX])
def test_no_byte_of_what_is_read_by_a_template_goes_unseen(kind, data):
    value = decode(kind, data)
    template = Template(shape_of(kind), value)
    for where in range(len(data)):
        for byte in {0, 23, 24, 255, data[where] ^ 1, data[where] ^ 0x20, data[where] ^ 0x80}:
            check_template(kind, template, value, data[:where] + bytes([byte]) + data[where + 1 :])


@pytest.mark.parametrize("kind", {kind: None for kind, _ in VECTORS})
def test_an_item_does_not_end_where_the_next_one_begins(kind):
    """Read as one array they are fine, and together they are as long as they should be."""
    good = next(data for vector, data in VECTORS if vector == kind)
    for where in {1, len(good) // 2, len(good) - 1}:
        for data in ([good[:where], good[where:] + good], [good + good[:where], good[where:]]):
            with pytest.raises(InvalidMessage):
                decode_all(kind, data)


@given(st.sampled_from(list(TRANSACTIONS.values())), st.integers(0), st.integers(0, 255))
def test_transactions_are_decoded_together_as_each_is(good, where, byte):
    bad = bytearray(good.encoded)
    bad[where % len(bad)] = byte
    data = [*(one.encoded for one in TRANSACTIONS.values()), bytes(bad)]

    def whole(one):
        return one, one.id, one.body.id, one.encoded, one.opened

    alone = outcome(lambda: [whole(decode_transaction(one)) for one in data])
    assert outcome(lambda: [whole(one) for one in decode_transactions(data)]) == alone


def test_a_transaction_that_is_too_long_is_refused_among_others():
    data = [*(one.encoded for one in TRANSACTIONS.values()), bytes(TRANSACTION_BYTES_MAX + 1)]
    with pytest.raises(InvalidMessage) as refusal:
        decode_transactions(data)
    assert refusal.value.code == "too_large"


@pytest.mark.parametrize(("kind", "data"), VECTORS)
def test_every_cut_is_refused(kind, data):
    for length in range(0, len(data), max(1, len(data) // 50)):
        with pytest.raises(InvalidMessage):
            decode(kind, data[:length])
    with pytest.raises(InvalidMessage):
        decode(kind, data + b"\x00")


# --- at a price that the length bounds

MEMORY_PER_BYTE = 48
"""What one byte of a message may take while it is read: `81 80` is an array of an array."""
MEMORY_AT_LEAST = 256 * 1024

GREEDY = {
    "a string of 2**62 bytes": head(BYTES, 2**62) + bytes(100),
    "a text of 2**30 bytes": head(TEXT, 2**30) + bytes(100),
    "an array of 2**62": head(ARRAY, 2**62) + bytes(100),
    "an array of 2**27": head(ARRAY, 2**27) + bytes(100),
    "a map of 2**27": head(cbor.MAP, 2**27) + bytes(100),
    "arrays in arrays": head(ARRAY, 1) * 300_000,
    "tags in tags": head(TAG, 0) * 300_000,
    "indefinite arrays in arrays": b"\x9f" * 300_000,
    "many empty arrays": head(ARRAY, 300_000) + head(ARRAY, 0) * 300_000,
    "many arrays of one": head(ARRAY, 150_000) + b"\x81\x00" * 150_000,
    "many small trees": head(ARRAY, 60_000) + b"\x81\x81\x81\x81\x80" * 60_000,
    "many empty maps": head(ARRAY, 300_000) + head(cbor.MAP, 0) * 300_000,
    "a map of arrays as keys": head(cbor.MAP, 60_000)
    + b"".join(b"\x81" + cbor.write(i) + b"\x00" for i in range(60_000)),
    "a large integer as a tag": head(TAG, 2) + head(BYTES, 300_000) + b"\xff" * 300_000,
}


@pytest.mark.parametrize("name", GREEDY)
@pytest.mark.parametrize("kind", ["frame", "Receipt", "Genesis"])
def test_refusing_costs_no_more_memory_than_the_message_is_long(name, kind):
    data = GREEDY[name]
    tracemalloc.start()
    try:
        with pytest.raises(InvalidMessage):
            decode(KINDS[kind], data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY_AT_LEAST + MEMORY_PER_BYTE * len(data)
