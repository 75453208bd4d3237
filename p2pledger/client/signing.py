"""Making transactions. Floor 7."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import TRANSACTION_VERSION, Body, Transaction
from p2pledger.codec import encode
from p2pledger.crypto import Signer
from p2pledger.types import Millis

SALT_BYTES = 8


def transaction(
    genesis: Genesis,
    kind: str,
    payload: Any,
    sponsor: str,
    signers: Sequence[Signer],
    expires_ms: int | None = None,
    salt: bytes | None = None,
) -> Transaction:
    """A signed transaction of this ledger.

    `payload` is the payload type of the kind, or its canonical encoding. `sponsor` is the organisation
    whose quota pays. `expires_ms` is when it is too late for it to become final, by default half the
    expiry window from now, so that clocks may differ by as much. `salt` (8 bytes) is random unless given:
    two calls make two transactions, so keep the one you have and send that again.
    Raises ValueError when a field is beyond its limits.
    """
    if expires_ms is None:
        expires_ms = time.time_ns() // 1_000_000 + genesis.parameters.expiry_window_ms // 2
    ordered = sorted(signers, key=lambda signer: signer.public_key)
    body = Body(
        version=TRANSACTION_VERSION,
        genesis_hash=genesis.hash,
        expires_ms=Millis(expires_ms),
        salt=secrets.token_bytes(SALT_BYTES) if salt is None else salt,
        kind=kind,
        payload=payload if isinstance(payload, bytes) else encode(payload),
        sponsor=sponsor,
        signers=tuple(signer.public_key for signer in ordered),
    )
    return Transaction(body, tuple(signer.sign(body.id) for signer in ordered))


def renewed(
    expired: Transaction, genesis: Genesis, signers: Sequence[Signer], expires_ms: int | None = None
) -> Transaction:
    """The same wish as a new transaction, with a new id.

    Only for one that is known to have expired: while the old one may still become final, both could, and
    the wish would come true twice. The clients' `renew` asks first.
    """
    body = expired.body
    return transaction(genesis, body.kind, body.payload, body.sponsor, signers, expires_ms)
