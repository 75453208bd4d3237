"""Blocks of consent's kinds: data registered, granted, asked for, erased. Floor 9.

A hold ends before the next block, so that erasing goes on.
"""

from collections.abc import Iterator, Sequence

from p2pledger.bench.modules.turn import Turn
from p2pledger.bench.solo import AUTHORITIES, ORGANISATIONS, SPONSOR, START_MS, admin, gateway
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
    MandateGive,
    Operation,
    Power,
    Purpose,
    RefusalReason,
    SizeClass,
)
from p2pledger.chain.schema import DAY_MS
from p2pledger.chain.transaction import Transaction
from p2pledger.crypto import Signer
from p2pledger.ledger.modules.consent.rows import LASTS_MAX_MS
from p2pledger.types import ZERO_HASH, Millis

GRANTEE = ORGANISATIONS[1]
CUSTODIANS = AUTHORITIES[:3]
MANDATE = MandateGive(
    id=bytes(16),
    organisation=SPONSOR,
    legal_reference="none",
    purpose=Purpose.ENFORCE_SECURITY,
    powers=(Power.HOLD,),
    schemas=("personal.reading/1",),
    until_ms=Millis(START_MS + LASTS_MAX_MS),
)
MEASURES = (MANDATE,)
"""What has to be decided before these blocks."""


def kinds(turn: Turn) -> Iterator[list[Transaction]]:
    """A block of each kind, each to be stored before the next is asked for."""
    handles, keys = turn.keys("handle"), turn.keys("one time")
    until_ms = Millis((turn.ledger.next_round.time_ms // DAY_MS + 30) * DAY_MS)

    def block(payloads: Sequence[object], sponsor: str, *signers: Signer) -> list[Transaction]:
        return [turn.of(payload, sponsor, *signers) for payload in payloads]

    def residents(payloads: Sequence[object]) -> list[Transaction]:
        signers = zip(payloads, handles, strict=True)
        return [turn.of(payload, RESIDENTS, handle, gateway(SPONSOR)) for payload, handle in signers]

    registered = block([_data(handle, until_ms) for handle in handles], SPONSOR, gateway(SPONSOR))
    yield registered
    data = [one.id for one in registered]
    given = residents([_grant(handle, until_ms) for handle in handles])
    yield given
    asked = block(
        [
            AccessIntent(one, grant.id, None, Purpose.SERVICE_PROVISION, key.public_key, None)
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
    end_ms = Millis(turn.ledger.next_round.time_ms + 1)
    holds = [HoldPlace(MANDATE.id, None, one, ZERO_HASH, end_ms) for one in data]
    yield block(holds, SPONSOR, admin(SPONSOR))
    yield residents([EraseRequest(None, one) for one in data])
    yield block([EraseDone(one, ErasureMethod.CLEAR) for one in data], first, admin(first))


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
