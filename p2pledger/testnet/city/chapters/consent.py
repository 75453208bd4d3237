"""A resident lets a company look, sees that it did, takes it back, and has the data erased. Floor 8.

SYNTHETIC: all of it. Only the facts are on the ledger; payload and keys would lie with the custodians.
"""

from p2pledger.chain.payloads import (
    AccessIntent,
    AccessServed,
    DataRegister,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    GrantGive,
    GrantRevoke,
    Operation,
    Price,
    Purpose,
    SizeClass,
)
from p2pledger.crypto import KeySigner
from p2pledger.testnet.city.cast import DAY_MS, HOSPITAL, MAKER, REGISTRY, TRANSPORT
from p2pledger.testnet.city.stage import RESIDENT, Stage, commitment, hash_of, new_key
from p2pledger.types import Hash, Millis

CUSTODIANS = tuple(sorted((HOSPITAL, REGISTRY, TRANSPORT)))
PRICE = Price(1_500, "EUR")
PURPOSE = Purpose.COMMERCIAL_RESEARCH


async def play(stage: Stage) -> KeySigner:
    """The chapter. Returns the resident's handle."""
    handle = new_key()
    trips = (await stage.say(_register(stage, handle), TRANSPORT)).transaction_id
    code = await stage.is_refused(_intent(trips, hash_of("a grant that nobody gave")), MAKER)
    stage.expect("without a grant there is no access", code, "unknown_grant")
    grant = (await stage.say_for_resident(_grant(stage, handle), TRANSPORT, handle)).transaction_id
    code = await stage.is_refused(_intent(trips, grant, Purpose.MARKETING), MAKER)
    stage.expect("a grant is for its purpose", code, "outside_basis")
    code = await stage.is_refused(_intent(trips, grant), HOSPITAL)
    stage.expect("a grant is for whom it names", code, "outside_basis")
    intent = (await stage.say(_intent(trips, grant), MAKER)).transaction_id
    for custodian in CUSTODIANS[:2]:
        await stage.say(AccessServed(intent), custodian)
    code = await stage.is_refused_to_resident(GrantRevoke(grant), TRANSPORT, new_key())
    stage.expect("nobody else takes a grant back", code, "missing_signature")
    await stage.say_for_resident(GrantRevoke(grant), TRANSPORT, handle)
    code = await stage.is_refused(_intent(trips, grant), MAKER)
    stage.expect("after the revocation there is no access", code, "grant_revoked")
    code = await stage.is_refused(AccessServed(intent), CUSTODIANS[2])
    stage.expect("nor is an older one served any more", code, "no_basis")

    accesses = await stage.ask("consent.accesses-of", handle=handle.public_key)
    stage.expect(
        "the resident sees the one access that there was", [each["id"] for each in accesses], [intent.hex()]
    )
    bought = await stage.ask("consent.commercial-grants", buyer=MAKER)
    stage.expect(
        "what was granted for money is public, with its price",
        [(each["id"], each["grant"]["price"]["amount_minor"]) for each in bought],
        [(grant.hex(), PRICE.amount_minor)],
    )
    await _erase(stage, handle, trips)
    return handle


async def _erase(stage: Stage, handle: KeySigner, data: Hash) -> None:
    await stage.say_for_resident(EraseRequest(None, data), TRANSPORT, handle)
    for custodian in CUSTODIANS[:-1]:
        await stage.say(EraseDone(data, ErasureMethod.CRYPTOGRAPHIC_ERASE), custodian)
    held = await _held_by(stage, CUSTODIANS[-1], data)
    stage.expect("who has not reported the erasure is seen to hold it still", held, True)
    await stage.say(EraseDone(data, ErasureMethod.CRYPTOGRAPHIC_ERASE), CUSTODIANS[-1])
    holders = [custodian for custodian in CUSTODIANS if await _held_by(stage, custodian, data)]
    stage.expect("once all have reported it, nobody holds it", holders, [])


async def _held_by(stage: Stage, custodian: str, data: Hash) -> bool:
    held = await stage.ask("consent.held-by", custodian=custodian)
    return any(each["id"] == data.hex() for each in held)


def _register(stage: Stage, handle: KeySigner) -> DataRegister:
    return DataRegister(
        commitment=commitment(),
        schema="personal.reading/1",
        handle=handle.public_key,
        custodians=CUSTODIANS,
        threshold=2,
        size_class=SizeClass.KIB_64,
        retain_until_ms=Millis((stage.now_ms() // DAY_MS + 90) * DAY_MS),
    )


def _grant(stage: Stage, handle: KeySigner) -> GrantGive:
    return GrantGive(
        handle=handle.public_key,
        grantee=MAKER,
        purpose=PURPOSE,
        operations=(Operation.ANALYSE,),
        notice_hash=hash_of("the notice that the resident was shown"),
        until_ms=Millis(stage.now_ms() + 30 * DAY_MS),
        max_uses=2,
        price=PRICE,
    )


def _intent(data: Hash, grant: Hash, purpose: Purpose = PURPOSE) -> AccessIntent:
    return AccessIntent(
        data=data,
        grant=grant,
        mandate=None,
        purpose=purpose,
        encryption_key=new_key().public_key,
        opens_height=None,
    )


async def look(stage: Stage, handle: KeySigner) -> None:
    """What can be seen at the day's end."""
    accesses = await stage.ask("consent.accesses-of", handle=handle.public_key)
    grants = await stage.ask("consent.grants", handle=handle.public_key)
    held = await stage.ask("consent.held-of", handle=handle.public_key)
    stage.sees(RESIDENT, "who looked", [each["intent"]["organisation"] for each in accesses])
    stage.sees(RESIDENT, "what was granted", [_granted(each["grant"]) for each in grants])
    stage.sees(RESIDENT, "who has erased it", [each["data"]["erased"] for each in held])
    bought = await stage.ask("consent.commercial-grants", buyer=MAKER)
    stage.sees(MAKER, "grants that it paid for", len(bought))
    for custodian in CUSTODIANS:
        kept = await stage.ask("consent.held-by", custodian=custodian)
        stage.sees(custodian, "private data in its custody", len(kept))
    overdue = await stage.ask("consent.overdue-erasures")
    stage.sees(REGISTRY, "overdue erasures", len(overdue))


def _granted(grant: dict[str, object]) -> dict[str, object]:
    return {name: grant[name] for name in ("grantee", "purpose", "revoked_height") if name in grant}
