"""The bytes that are hashed, signed and sent are those of the golden file."""

import json
from typing import Any

import pytest
from p2pledger.chain.invite import parse_invite
from p2pledger.chain.joining import JoinReply, JoinWish
from p2pledger.chain.message import Frame, Reply, Request
from p2pledger.chain.payloads import MEASURES, PAYLOADS
from p2pledger.chain.receipt import check_receipt
from p2pledger.chain.transaction import decode_transaction
from p2pledger.codec import decode, from_json, to_json
from p2pledger.crypto import is_signed
from tests.vectors import make

GOLDEN: dict[str, dict[str, str]] = json.loads(make.PATH.read_text())
MADE = make.vectors()


@pytest.mark.parametrize("section", ["encodings", "hashes", "texts"])
def test_no_byte_has_changed(section):
    assert MADE[section] == GOLDEN[section], "this changes the protocol: see tests/vectors/make.py"


@pytest.mark.parametrize("name", GOLDEN["encodings"])
def test_the_bytes_are_read_as_the_value(name):
    kind, value = make.VALUES[name]
    assert decode(kind, bytes.fromhex(GOLDEN["encodings"][name])) == value


@pytest.mark.parametrize("name", GOLDEN["encodings"])
def test_the_value_survives_json(name):
    kind, value = make.VALUES[name]
    assert from_json(kind, json.loads(json.dumps(to_json(value, kind)))) == value


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_transactions_id_comes_from_its_bytes(kind):
    one = decode_transaction(bytes.fromhex(GOLDEN["encodings"][f"transaction {kind}"]))
    assert one.id.hex() == GOLDEN["hashes"][f"transaction id {kind}"]
    assert one == make.TRANSACTIONS[kind] and one.body.id == make.TRANSACTIONS[kind].id


def test_the_receipt_holds():
    assert check_receipt(make.RECEIPT, make.GENESIS, is_signed) == make.TRANSACTIONS["record.batch"]


def test_the_invite_is_read_from_its_text():
    assert parse_invite(GOLDEN["texts"]["invite"]) == make.INVITATION


def test_every_payload_and_every_message_has_a_vector():
    assert {f"payload {kind}" for kind in PAYLOADS} <= set(GOLDEN["encodings"])
    assert {f"measure {kind}" for kind in MEASURES} <= set(GOLDEN["encodings"])
    unions = ("frame", Frame), ("request", Request), ("reply", Reply), ("knock", JoinWish)
    for word, union in (*unions, ("join reply", JoinReply)):
        members: Any = union.__args__
        assert {f"{word} {member.__name__}" for member in members} <= set(GOLDEN["encodings"])
