import json

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p2pledger.api.refusals import Refusal, refusal_of
from p2pledger.api.submission import (
    CBOR,
    JSON,
    REQUEST_TRANSACTIONS_MAX,
    Submission,
    parse_json,
    read_submission,
)
from p2pledger.chain.transaction import Batch
from p2pledger.codec import encode, to_json
from p2pledger.errors import Code, InvalidMessage, InvalidTransaction
from p2pledger.node.service import Busy
from tests.unit.api.small_ledger import make_genesis, make_transaction

GENESIS = make_genesis()
TRANSACTION = make_transaction(GENESIS)


@pytest.mark.parametrize(
    "text",
    [
        "1.0", "1e3", "1E0", "-1", "-0", "NaN", "Infinity", "-Infinity", "1" * 21, "9" * 5_000,
        '{"a":1,"a":1}', '{"a":{"b":1,"c":2,"b":3}}', "01", "+1", "0x1", "[1,]", "{'a':1}", "", "[" * 100_000,
        '"\\ud800', "\ufeff1",
    ],
)  # fmt: skip
def test_json_that_two_parsers_may_read_differently_is_refused(text):
    with pytest.raises(InvalidMessage):
        parse_json(text.encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_only_utf_8_is_read(encoding):
    with pytest.raises(InvalidMessage):
        parse_json('{"ä": 1}'.encode(encoding))


@settings(max_examples=50)
@given(
    st.recursive(
        st.integers(0, 2**64 - 1) | st.text() | st.booleans() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_of_integers_and_text_is_read_as_it_was_meant(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary())
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(data):
    for media_type in (CBOR, JSON):
        try:
            submission = read_submission(media_type, data)
        except Refusal as refusal:
            assert refusal.status in (400, 413)
        else:
            assert submission.items


@pytest.mark.parametrize(
    "change",
    [
        {"expires_ms": 1.0},
        {"expires_ms": "1"},
        {"expires_ms": 2**64},
        {"salt": "0G" * 8},
        {"salt": "AB" * 8},
        {"payload": []},
        {"kind": "Record.append"},
        {"kind": "record.\ud800"},
        {"extra": 1},
    ],
)
def test_a_field_beyond_its_limits_is_named(change):
    shown = to_json(TRANSACTION)
    body = json.dumps(shown | {"body": shown["body"] | change}).encode()
    try:
        (item,) = read_submission(JSON, body).items
    except Refusal as refusal:
        assert refusal.code == "malformed"
    else:
        assert isinstance(item, InvalidMessage)
        assert next(iter(change)) in str(item)
        str(item).encode()


def test_both_forms_read_back_what_was_written():
    batch = Batch((TRANSACTION.encoded,) * 2)
    shown = {"transactions": [to_json(TRANSACTION)] * 2}
    expected = ((TRANSACTION.encoded,) * 2, True)
    for media_type, body in ((CBOR, encode(batch)), (JSON, json.dumps(shown).encode())):
        submission = read_submission(media_type, body)
        assert (submission.items, submission.many) == expected


@pytest.mark.parametrize("item", [bytes(20_481), b""], ids=["too large", "empty"])
def test_an_item_that_no_transaction_can_be_harms_no_other_of_its_batch(item):
    submission = read_submission(CBOR, cbor2.dumps([[TRANSACTION.encoded, item]]))
    assert submission == Submission((TRANSACTION.encoded, item), many=True)


@pytest.mark.parametrize("media_type", [CBOR, JSON])
def test_too_many_transactions_are_refused_before_any_is_judged(media_type):
    count = REQUEST_TRANSACTIONS_MAX + 1
    body = encode(Batch((b"x",) * count)) if media_type == CBOR else json.dumps({"transactions": [1] * count})
    with pytest.raises(Refusal) as refused:
        read_submission(media_type, body if isinstance(body, bytes) else body.encode())
    assert (refused.value.code, refused.value.status) == ("too_many_transactions", 413)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidMessage("x"), 400, "malformed"),
        (InvalidMessage("x", code="too_large"), 413, "too_large"),
        (InvalidTransaction(Code.MALFORMED, "the payload"), 400, "malformed"),
        (InvalidTransaction(Code.NOT_CANONICAL, "the payload"), 400, "not_canonical"),
        (InvalidTransaction(Code.OVER_QUOTA, "x"), 422, "over_quota"),
        (InvalidTransaction(Code.DUPLICATE, "x"), 409, "duplicate"),
        (InvalidTransaction(Code.REPLAYED, "x"), 409, "replayed"),
        (Busy(1), 429, "mempool_full"),
        (Busy(1, Code.TOO_MANY_PENDING), 429, "too_many_pending"),
    ],
)
def test_each_refusal_has_its_status(error, status, code):
    refusal = refusal_of(error, TRANSACTION.id)
    assert (refusal.status, refusal.view()["code"]) == (status, code)
    assert refusal.view()["transaction_id"] == TRANSACTION.id.hex()


def test_a_fault_of_ours_is_not_answered_as_a_refusal():
    with pytest.raises(ZeroDivisionError):
        refusal_of(ZeroDivisionError())


@pytest.mark.parametrize(("wait_ms", "seconds"), [(1, "1"), (1_000, "1"), (1_001, "2"), (30_000, "30")])
def test_retry_after_is_never_too_early(wait_ms, seconds):
    assert refusal_of(Busy(wait_ms)).headers() == {"Retry-After": seconds}
