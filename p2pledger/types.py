"""The words that every floor shares. Floor 0.

Distinct types for values that Python would let us confuse; they cost nothing at run time.
"""

from typing import NewType

Hash = NewType("Hash", bytes)
"""A SHA-256 digest, 32 bytes."""

PublicKey = NewType("PublicKey", bytes)
"""A secp256k1 public key in compressed form, 33 bytes (SEC 1, section 2.3.3)."""

Signature = NewType("Signature", bytes)
"""An ECDSA signature in compact form, r then s, 64 bytes; s is in the lower half of the order."""

PeerId = NewType("PeerId", str)
"""A libp2p peer id as text (base58 of the multihash of the identity key)."""

Height = NewType("Height", int)
"""How many blocks lie below a block; the genesis block has height 0."""

Epoch = NewType("Epoch", int)
"""The reign of one authority list; the first is 0."""

View = NewType("View", int)
"""One leader's turn within an epoch; views start at 1, view 0 is the block that the epoch grows from."""

Millis = NewType("Millis", int)
"""Milliseconds since 1970 UTC for a point in time; plain milliseconds for a duration."""

HASH_BYTES = 32
PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 64

ZERO_HASH = Hash(bytes(HASH_BYTES))
"""Stands where a field of type `Hash` names nothing, so that such a field keeps its width."""
