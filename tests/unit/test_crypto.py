"""Signatures and hashes, against published vectors."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.crypto import Domain, KeySigner, are_signed, is_public_key, is_signed
from p2pledger.types import Hash, PublicKey, Signature

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
DIGEST = Hash(sha256(b"something").digest())
SIGNER = KeySigner(bytes(31) + b"\x07")


def test_signing_is_rfc_6979():
    signature = KeySigner(bytes(31) + b"\x01").sign(Hash(sha256(b"Satoshi Nakamoto").digest()))
    assert signature.hex() == (
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
    )


def test_the_generator_is_the_key_of_one():
    assert KeySigner(bytes(31) + b"\x01").public_key.hex() == (
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
    )


def test_a_tagged_hash_is_bip_340s():
    tag = sha256(b"BIP0340/challenge").digest()
    assert Domain("BIP0340/challenge").hash(b"data") == sha256(tag + tag + b"data").digest()
    assert Domain("a").hash(b"data") != Domain("b").hash(b"data")


def test_the_other_s_is_refused():
    signature = SIGNER.sign(DIGEST)
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    assert s <= ORDER // 2
    high = Signature(r + (ORDER - s).to_bytes(32, "big"))
    assert is_signed(SIGNER.public_key, DIGEST, signature)
    assert not is_signed(SIGNER.public_key, DIGEST, high)


@given(st.integers(0, 8 * 64 - 1))
def test_a_changed_bit_is_noticed(bit):
    signature = bytearray(SIGNER.sign(DIGEST))
    signature[bit // 8] ^= 1 << bit % 8
    assert not is_signed(SIGNER.public_key, DIGEST, Signature(bytes(signature)))


@given(st.binary(max_size=70), st.binary(max_size=40), st.binary(max_size=40))
def test_verifying_never_raises(signature, digest, key):
    assert not is_signed(PublicKey(key), Hash(digest), Signature(signature))
    assert not is_signed(SIGNER.public_key, Hash(digest), Signature(signature))
    assert not is_signed(SIGNER.public_key, DIGEST, Signature(signature))


ODD_KEYS = [
    SIGNER.public_key,
    KeySigner(bytes(31) + b"\x08").public_key,
    bytes(33),
    b"",
    b"\x02" + b"\xff" * 32,
]
ODD_DIGESTS = [DIGEST, bytes(32), b"", DIGEST + b"\0"]
ODD_SIGNATURES = [SIGNER.sign(DIGEST), SIGNER.sign(Hash(bytes(32))), bytes(64), b"\xff" * 64, b"", bytes(65)]


@given(st.lists(st.tuples(*map(st.sampled_from, (ODD_KEYS, ODD_DIGESTS, ODD_SIGNATURES))), max_size=8))
def test_many_are_verified_as_each_is(signed):
    columns = [list(column) for column in zip(*signed, strict=True)] or [[], [], []]
    assert are_signed(*columns) == [is_signed(*one) for one in signed]
    good = SIGNER.public_key, DIGEST, SIGNER.sign(DIGEST)
    assert are_signed(*([part] * 3 for part in good)) == [True] * 3


@pytest.mark.parametrize("r_and_s", [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (2**256 - 1, 1)])
def test_numbers_out_of_range_sign_nothing(r_and_s):
    signature = Signature(b"".join(number.to_bytes(32, "big") for number in r_and_s))
    assert not is_signed(SIGNER.public_key, DIGEST, signature)


def test_another_key_or_digest_does_not_verify():
    signature = SIGNER.sign(DIGEST)
    assert not is_signed(KeySigner(bytes(31) + b"\x08").public_key, DIGEST, signature)
    assert not is_signed(SIGNER.public_key, Hash(bytes(32)), signature)


def test_only_compressed_points_are_keys():
    key = SIGNER.public_key
    assert is_public_key(key)
    assert not is_public_key(key[:-1])
    assert not is_public_key(b"\x05" + key[1:])
    assert not is_public_key(b"\x02" + b"\xff" * 32)
    assert not is_public_key(bytes(33))
    assert not is_public_key(b"\x04" + bytes(64))


@pytest.mark.parametrize("secret", [b"", bytes(32), bytes(31), bytes(33), ORDER.to_bytes(32, "big")])
def test_a_bad_secret_is_refused(secret):
    with pytest.raises(ValueError):
        KeySigner(secret)
