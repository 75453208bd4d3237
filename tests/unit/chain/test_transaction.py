from dataclasses import replace

import pytest
from p2pledger.chain.transaction import (
    PAYLOAD_BYTES_MAX,
    SIGNERS_MAX,
    TRANSACTION_BYTES_MAX,
    Body,
    Transaction,
    are_authentic,
    decode_transaction,
    is_authentic,
)
from p2pledger.codec import encode
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidMessage
from tests.ledgers import START_MS, genesis, signer

GENESIS = genesis()


def make(names: list[str], payload: bytes = b"\x80") -> Transaction:
    signers = sorted((signer(name) for name in names), key=lambda one: one.public_key)
    body = Body(1, GENESIS.hash, START_MS, bytes(8), "record.append", payload, "city",
                tuple(one.public_key for one in signers))  # fmt: skip
    return Transaction(body, tuple(one.sign(body.id) for one in signers))


def test_every_signature_must_hold():
    good = make(["a", "b"])
    assert is_authentic(good, is_signed)
    swapped = Transaction(good.body, good.signatures[::-1])
    assert not is_authentic(swapped, is_signed)
    half = Transaction(good.body, (good.signatures[0], signer("c").sign(good.id)))
    assert not is_authentic(half, is_signed)
    alone = make(["c"])
    forged = Transaction(alone.body, good.signatures[:1])
    assert are_authentic([swapped, good, alone, half]) == [False, True, True, False]
    assert are_authentic([forged, alone]) == [False, True]


def test_the_id_covers_every_field_but_the_signatures():
    body = make(["a"]).body
    others = [
        replace(body, genesis_hash=bytes(32)),
        replace(body, expires_ms=START_MS + 1),
        replace(body, salt=bytes(7) + b"\1"),
        replace(body, kind="record.batch"),
        replace(body, payload=b"\x81\x00"),
        replace(body, sponsor="utility"),
        replace(body, signers=(signer("b").public_key,)),
    ]
    assert len({one.id for one in (body, *others)}) == 8


def test_the_largest_there_is_fits_and_one_byte_more_does_not():
    names = [f"signer {n}" for n in range(SIGNERS_MAX)]
    largest = make(names, bytes(PAYLOAD_BYTES_MAX))
    assert len(largest.encoded) <= TRANSACTION_BYTES_MAX
    decoded = decode_transaction(largest.encoded)
    assert decoded == largest and is_authentic(decoded, is_signed)
    with pytest.raises(ValueError):
        encode(make(["a"], bytes(PAYLOAD_BYTES_MAX + 1)))
    with pytest.raises(InvalidMessage) as refusal:
        decode_transaction(bytes(TRANSACTION_BYTES_MAX + 1))
    assert refusal.value.code == "too_large"


def test_signers_are_distinct_and_ascending():
    body = make(["a", "b"]).body
    for signers in (body.signers[::-1], body.signers[:1] * 2):
        with pytest.raises(ValueError):
            replace(body, signers=signers)
    with pytest.raises(ValueError):
        Transaction(body, make(["a"]).signatures)


@pytest.mark.parametrize(
    "kind", ["a.b", "Record.append", "record", "record.append.x", "record.", "r2.append"]
)
def test_a_kind_is_a_module_and_a_verb(kind):
    body = make(["a"]).body
    if kind == "a.b":
        replace(body, kind=kind)
        return
    with pytest.raises(ValueError):
        replace(body, kind=kind)
