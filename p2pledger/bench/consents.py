"""A block of each kind of consent's transactions, for `bench modules`. Floor 9.

Each finds the ground prepared by those before it. A hold ends before the next block, so that erasing goes on.
"""

from collections.abc import Iterator, Sequence

from p2pledger.bench.solo import MANDATE, ORGANISATIONS, SPONSOR, Solo, admin, gateway, unsigned
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import (
    AccessIntent,
    AccessRefused,
    AccessServed,
    DataRegister,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    GrantGive,
    GrantRevoke,
    HoldPlace,
    Operation,
    Purpose,
    RefusalReason,
    SizeClass,
)
from p2pledger.chain.schema import DAY_MS
from p2pledger.chain.transaction import Transaction
from p2pledger.client.signing import transaction
from p2pledger.crypto import Signer
from p2pledger.types import ZERO_HASH, Millis

GRANTEE = ORGANISATIONS[1]
CUSTODIANS = ("authority-1", "authority-2", "authority-3")


def consent_kinds(ledger: Solo, number: int, count: int) -> Iterator[list[Transaction]]:
    """The blocks of one round, each to be stored before the next is asked for."""
    handles = [unsigned(f"handle {number} {i}") for i in range(count)]
    at_ms = ledger.next_round.time_ms
    until_ms = Millis((at_ms // DAY_MS + 30) * DAY_MS)

    def block(payloads: Sequence[object], sponsor: str, *signers: Signer) -> list[Transaction]:
        return [_one(ledger, payload, sponsor, *signers) for payload in payloads]

    def residents(payloads: Sequence[object]) -> list[Transaction]:
        signers = zip(payloads, handles, strict=True)
        return [_one(ledger, payload, RESIDENTS, handle, gateway(SPONSOR)) for payload, handle in signers]

    registered = block([_data(handle, until_ms) for handle in handles], SPONSOR, gateway(SPONSOR))
    yield registered
    data = [one.id for one in registered]
    given = residents([_grant(handle, until_ms) for handle in handles])
    yield given
    keys = [unsigned(f"one time {number} {i}").public_key for i in range(count)]
    asked = block(
        [
            AccessIntent(one, grant.id, None, Purpose.SERVICE_PROVISION, key, None)
            for one, grant, key in zip(data, given, keys, strict=True)
        ],
        GRANTEE,
        admin(GRANTEE),
    )
    yield asked
    first, second, _ = CUSTODIANS
    yield block([AccessServed(intent.id) for intent in asked], first, admin(first))
    refused = [AccessRefused(intent.id, RefusalReason.UNAVAILABLE) for intent in asked]
    yield block(refused, second, admin(second))
    yield residents([GrantRevoke(grant.id) for grant in given])
    end_ms = Millis(ledger.next_round.time_ms + 1)
    holds = [HoldPlace(MANDATE.id, None, one, ZERO_HASH, end_ms) for one in data]
    yield block(holds, SPONSOR, admin(SPONSOR))
    yield residents([EraseRequest(None, one) for one in data])
    yield block([EraseDone(one, ErasureMethod.CLEAR) for one in data], first, admin(first))


def _one(ledger: Solo, payload: object, sponsor: str, *signers: Signer) -> Transaction:
    kind: str = getattr(payload, "KIND", "")
    return transaction(ledger.genesis, kind, payload, sponsor, signers, ledger.expires_ms)


def _data(handle: Signer, until_ms: Millis) -> DataRegister:
    return DataRegister(
        commitment=ZERO_HASH,
        schema=MANDATE.schemas[0],
        handle=handle.public_key,
        custodians=CUSTODIANS,
        threshold=2,
        size_class=SizeClass.KIB_4,
        retain_until_ms=until_ms,
    )


def _grant(handle: Signer, until_ms: Millis) -> GrantGive:
    return GrantGive(
        handle=handle.public_key,
        grantee=GRANTEE,
        purpose=Purpose.SERVICE_PROVISION,
        operations=(Operation.CONSULT,),
        notice_hash=ZERO_HASH,
        until_ms=until_ms,
        max_uses=1,
        price=None,
    )
