"""Hashes and signatures, each under a domain. Floor 1.

SHA-256; ECDSA over secp256k1 with RFC 6979 nonces in the 64-byte compact form, where only the lower
half of s is accepted, so that a valid signature cannot be turned into a second one.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import repeat
from typing import Any, NamedTuple, Protocol

from coincurve import PrivateKey as _PrivateKey
from coincurve import PublicKey as _PublicKey
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from coincurve.ecdsa import der_to_cdata, serialize_compact

from p2pledger.types import Hash, PublicKey, Signature

PARSED_KEYS_MAX = 65_536
"""How many public keys are kept parsed: parsing one costs as much as verifying with it."""


class Domain:
    """A prefix that keeps a hash for one purpose from standing for another (BIP 340's tagged hash).

    `Domain("x").hash(data)` is SHA-256(SHA-256("x") | SHA-256("x") | data).
    """

    def __init__(self, name: str) -> None:
        tag = sha256(name.encode()).digest()
        self._start = sha256(tag + tag)

    def hash(self, data: bytes) -> Hash:
        """The digest of `data` in this domain, 32 bytes."""
        state = self._start.copy()
        state.update(data)
        return state.digest()  # type: ignore[return-value] # naming it `Hash` would be one more call

    def hash_all(self, data: Iterable[bytes]) -> list[Hash]:
        """The digest of each in this domain."""
        start, digests = self._start.copy, []
        for one in data:
            state = start()
            state.update(one)
            digests.append(state.digest())
        return digests  # type: ignore[return-value]


class Signed(NamedTuple):
    """A digest, and what is said to be a key's signature of it: `is_signed(*signed)` tells."""

    key: PublicKey
    digest: Hash
    signature: Signature


class Signer(Protocol):
    """Holds one private key."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what this signs."""

    def sign(self, digest: Hash) -> Signature:
        """Sign a 32-byte digest. Same key and digest: same signature (RFC 6979)."""


class KeySigner:
    """A `Signer` over a private key in this process's memory.

    `secret`: 32 bytes. Raises ValueError when they are zero or not below the group's order.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise ValueError("a private key has 32 bytes")
        self._key = _PrivateKey(secret)
        self.public_key = PublicKey(self._key.public_key.format())

    def sign(self, digest: Hash) -> Signature:
        """See `Signer.sign`."""
        return Signature(serialize_compact(der_to_cdata(self._key.sign(digest, hasher=None))))


_CONTEXT = GLOBAL_CONTEXT.ctx
_RAW_SIGNATURE = ffi.typeof("secp256k1_ecdsa_signature *")  # named by text, it would be looked up each time


@lru_cache(maxsize=PARSED_KEYS_MAX)
def _parsed(key: PublicKey) -> Any:
    """The key as libsecp256k1 holds it; None when it is none."""
    try:
        return _PublicKey(key).public_key if len(key) == 33 else None
    except ValueError:
        return None


def is_public_key(key: bytes) -> bool:
    """Whether these bytes are a point of the curve in compressed form."""
    return _parsed(PublicKey(key)) is not None


def is_signed(key: PublicKey, digest: Hash, signature: Signature) -> bool:
    """Whether `signature` is the key's own over `digest`, with s in the lower half. Never raises.

    Releases the interpreter's lock while it verifies, so threads scale.
    """
    parsed = _parsed(key)
    if parsed is None or len(digest) != 32 or len(signature) != 64:
        return False
    raw = ffi.new(_RAW_SIGNATURE)
    # secp256k1_ecdsa_verify itself refuses an s in the upper half.
    return bool(
        lib.secp256k1_ecdsa_signature_parse_compact(_CONTEXT, raw, signature)
        and lib.secp256k1_ecdsa_verify(_CONTEXT, raw, digest, parsed)
    )


def are_signed(
    keys: Sequence[PublicKey], digests: Sequence[Hash], signatures: Sequence[Signature]
) -> list[bool]:
    """`is_signed` of each key with its digest and its signature.

    Verifying reads a megabyte of tables and drives all else out of the caches. So everything is made ready
    before the first, and no line of Python stands between one and the next.
    """
    parsed = list(map(_parsed, keys))
    raws = list(map(ffi.new, repeat(_RAW_SIGNATURE, len(parsed))))
    are_sized = {*map(len, digests)} <= {32} and {*map(len, signatures)} <= {64}
    parse, verify = lib.secp256k1_ecdsa_signature_parse_compact, lib.secp256k1_ecdsa_verify
    if are_sized and all(parsed) and all(map(parse, repeat(_CONTEXT), raws, signatures)):
        return list(map(bool, map(verify, repeat(_CONTEXT), raws, digests, parsed)))
    return list(map(is_signed, keys, digests, signatures))
