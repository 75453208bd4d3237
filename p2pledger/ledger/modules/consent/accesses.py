"""The access log: intents, and what custodians did about them. Floor 4, pure.

Asking for the key is the log entry. A rule sees only what stands before its transaction, so it admits an
intent on what it sees, and stores it; whether the basis still held at the end of the block, `is_entitled`
says of any state from that block's on. Invariants: no release from the height of a revocation on; intents
that were entitled are at most as many as the grant allows.
"""

from collections.abc import Collection

from p2pledger.chain.payloads import AccessIntent, AccessRefused, AccessServed, Power, RefusalReason
from p2pledger.chain.schema import DAY_MS
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.consent.rows import (
    DATA,
    GRANTS,
    HANDLES,
    INTENTS,
    MANDATES,
    ONE_TIME_KEYS,
    SEALED_COUNTS,
    BlockUses,
    Data,
    Grant,
    Intent,
    OneTimeKey,
    Report,
    SealedCount,
    by_the_organisation,
    check_custodian,
    check_data,
    check_mandate,
)
from p2pledger.ledger.modules.registry.keys import check_unowned, read_unowned_ahead
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, Readable, with_fields
from p2pledger.types import Hash, Height, Millis

INTENT_LASTS_MS = DAY_MS
"""How long after an intent custodians may give their shares: intents are not for keeping."""
SEALED_BLOCKS_MAX = 2**20
"""How many blocks ahead a sealed access opens at most: a year of the slowest idle chain (30 s a block)."""

ACCESSES_OF = "consent.accesses"
"""handle | height (8 bytes) | intent id. Sealed ones too: whoever shows them asks `Intent.is_open`."""
ACCESSES_BY = "consent.accesses_by"
"""organisation | 0 | height (8 bytes) | intent id. As above."""


def is_entitled(reader: Readable, intent_id: Hash, height: Height) -> bool:
    """Whether a share may be given for an intent, as of the end of the block of this height.

    With the height of the intent's own block it tells whether the intent had a basis: revoked in that block,
    it had none, wherever in the block either stood. With the height of a custodian's `access.served` it tells
    whether that custodian may give its share. `reader` is the state after the block of this height, or
    any later one: the answer is the same. False for an intent that is not there, or comes later.
    """
    intent = INTENTS.get(reader, intent_id)
    if intent is None or height < intent.height:
        return False
    data = DATA.get(reader, intent.data)
    assert data is not None, "an intent is for data that is there"
    if not intent.is_held and data.is_asked(height):
        return False
    if intent.grant is not None:
        grant = GRANTS.get(reader, intent.grant)
        return grant is not None and not grant.is_revoked(height)
    mandate = MANDATES.get(reader, intent.mandate or b"")
    return mandate is not None and mandate.is_live(height)


def uses(reader: Readable, grant_id: Hash) -> int:
    """How many intents were entitled by a grant: each counts once, whether or not shares were given."""
    grant = GRANTS.get(reader, grant_id)
    return 0 if grant is None else _uses(reader, grant)


def _uses(reader: Readable, grant: Grant) -> int:
    """The uses that are settled, and those of the last block with uses that had a basis at its end."""
    if grant.is_revoked(grant.last_height):
        return grant.settled_uses
    last = 0
    for block_uses in grant.last_uses:
        data = DATA.get(reader, block_uses.data)
        assert data is not None, "an intent is for data that is there"
        if not data.is_asked(grant.last_height):
            last += block_uses.count
    return grant.settled_uses + last


def sealed_accesses(reader: Readable, organisation: str = "") -> int:
    """How many sealed accesses there ever were, of an organisation or of all: known while they are sealed."""
    row = SEALED_COUNTS.get(reader, organisation.encode())
    return 0 if row is None else row.count


def apply_intent(changes: Changes, context: Context, payload: AccessIntent) -> bytes:
    """An entry of the log, if by what stands before it the sponsor may have the data."""
    data, round_ = check_data(changes, payload.data), context.round
    is_held = payload.mandate is not None and data.is_held_under(payload.mandate, round_.time_ms)
    if data.is_erased:
        raise InvalidTransaction(Code.ERASED, "every custodian has erased the data")
    if data.is_to_be_erased(round_.time_ms) and not is_held:
        raise InvalidTransaction(Code.ERASURE_ASKED, "the data is to be erased")
    if payload.grant is not None:
        _apply_use(changes, context, payload, payload.grant, data)
    else:
        _check_mandated(changes, context, payload, data)
    _apply_key(changes, context, payload)
    if payload.opens_height is not None:
        _apply_seal(changes, context, payload.opens_height)
    intent = Intent(
        organisation=context.sponsor,
        data=payload.data,
        grant=payload.grant,
        mandate=payload.mandate,
        purpose=payload.purpose,
        encryption_key=payload.encryption_key,
        height=round_.height,
        time_ms=round_.time_ms,
        opens_height=payload.opens_height,
        is_held=is_held,
        reports=(),
    )
    INTENTS.put(changes, context.transaction_id, intent)
    when = round_.height.to_bytes(8, "big") + context.transaction_id
    context.emit(ACCESSES_OF, data.handle + when)
    context.emit(ACCESSES_BY, context.sponsor.encode() + b"\0" + when)
    return b""


def _apply_use(changes: Changes, context: Context, payload: AccessIntent, grant_id: Hash, data: Data) -> None:
    grant, height = GRANTS.get(changes, grant_id), context.round.height
    if grant is None:
        raise InvalidTransaction(Code.UNKNOWN_GRANT, f"there is no grant {grant_id.hex()}")
    asked = context.sponsor, payload.purpose, data.handle
    if asked != (grant.grantee, grant.purpose, grant.handle):
        raise InvalidTransaction(
            Code.OUTSIDE_BASIS,
            f"the grant is to {grant.grantee!r} for {grant.purpose.name.lower()}, and its own handle's data",
        )
    if grant.is_revoked(height):
        raise InvalidTransaction(Code.GRANT_REVOKED, f"it was revoked at height {grant.revoked_height}")
    if grant.until_ms <= context.round.time_ms:
        raise InvalidTransaction(Code.NOT_IN_FORCE, f"the grant ended at {grant.until_ms} ms")
    if _uses(changes, grant) >= grant.max_uses:
        raise InvalidTransaction(Code.USES_EXHAUSTED, f"the grant allows {grant.max_uses} uses")
    if grant.last_height < height:
        grant = with_fields(grant, settled_uses=_uses(changes, grant), last_height=height, last_uses=())
    counts = {block_uses.data: block_uses.count for block_uses in grant.last_uses}
    counts[payload.data] = counts.get(payload.data, 0) + 1
    last = tuple(BlockUses(data_id, count) for data_id, count in counts.items())
    GRANTS.put(changes, grant_id, with_fields(grant, last_uses=last))


def _check_mandated(changes: Changes, context: Context, payload: AccessIntent, data: Data) -> None:
    mandate = check_mandate(changes, context, payload.mandate or b"", Power.ACCESS)
    if payload.purpose is not mandate.purpose or data.schema not in mandate.schemas:
        raise InvalidTransaction(
            Code.OUTSIDE_BASIS,
            f"the mandate is for {mandate.purpose.name.lower()}, and {', '.join(mandate.schemas)}",
        )
    if payload.opens_height is not None and Power.SEAL not in mandate.powers:
        raise InvalidTransaction(Code.OUTSIDE_BASIS, "the mandate gives no power to seal")


def _apply_key(changes: Changes, context: Context, payload: AccessIntent) -> None:
    key = payload.encryption_key
    check_unowned(changes, context, key)
    if ONE_TIME_KEYS.get(changes, key) is not None or HANDLES.get(changes, key) is not None:
        raise InvalidTransaction(Code.KEY_USED, "the one-time key is in use already; make a new one")
    ONE_TIME_KEYS.put(changes, key, OneTimeKey(context.transaction_id))


def _apply_seal(changes: Changes, context: Context, opens_height: Height) -> None:
    height = context.round.height
    if opens_height <= height:
        raise InvalidTransaction(Code.BACKDATED, f"height {opens_height} has come already")
    if opens_height > height + SEALED_BLOCKS_MAX:
        raise InvalidTransaction(
            Code.SEAL_TOO_LONG, f"it opens at height {height + SEALED_BLOCKS_MAX} at last"
        )
    for organisation in ("", context.sponsor):
        count = sealed_accesses(changes, organisation)
        SEALED_COUNTS.put(changes, organisation.encode(), SealedCount(count + 1))


def apply_served(changes: Changes, context: Context, payload: AccessServed) -> bytes:
    """A custodian announces its share. It gives it once this is final and `is_entitled` at this height."""
    intent, data = _check_reportable(changes, context, payload.intent)
    round_ = context.round
    if round_.time_ms > intent.time_ms + INTENT_LASTS_MS:
        raise InvalidTransaction(Code.INTENT_OVER, f"the intent was for {INTENT_LASTS_MS} ms")
    if context.sponsor not in data.missing:
        raise InvalidTransaction(Code.ERASED, f"{context.sponsor!r} has erased the data")
    if not (is_entitled(changes, payload.intent, round_.height) and _is_kept(intent, data, round_.time_ms)):
        raise InvalidTransaction(Code.NO_BASIS, "the intent's basis does not hold")
    _put_report(changes, context, payload.intent, intent, None)
    return b""


def apply_refused(changes: Changes, context: Context, payload: AccessRefused) -> bytes:
    """A custodian says that it gives no share, whatever the intent's basis."""
    intent, _ = _check_reportable(changes, context, payload.intent)
    _put_report(changes, context, payload.intent, intent, payload.reason)
    return b""


def _is_kept(intent: Intent, data: Data, time_ms: Millis) -> bool:
    """Whether data is not to be erased at a time, or a hold keeps it under the intent's own mandate."""
    if intent.is_held:
        return data.is_held_under(intent.mandate or b"", time_ms)
    return not data.is_to_be_erased(time_ms)


def _check_reportable(changes: Changes, context: Context, intent_id: Hash) -> tuple[Intent, Data]:
    intent = INTENTS.get(changes, intent_id)
    if intent is None:
        raise InvalidTransaction(Code.UNKNOWN_INTENT, f"there is no intent {intent_id.hex()}")
    data = check_data(changes, intent.data)
    check_custodian(context, data)
    if any(report.custodian == context.sponsor for report in intent.reports):
        raise InvalidTransaction(Code.ALREADY_REPORTED, f"{context.sponsor!r} has reported on this intent")
    if intent.height == context.round.height:
        raise InvalidTransaction(Code.INTENT_NOT_FINAL, "the basis is judged at the end of this block")
    return intent, data


def _put_report(
    changes: Changes, context: Context, intent_id: Hash, intent: Intent, refusal: RefusalReason | None
) -> None:
    report = Report(context.sponsor, context.round.height, refusal)
    INTENTS.put(changes, intent_id, with_fields(intent, reports=(*intent.reports, report)))


def _read_intents_ahead(changes: Changes, payloads: Collection[AccessIntent]) -> None:
    DATA.read_ahead(changes, {payload.data for payload in payloads})
    GRANTS.read_ahead(changes, {payload.grant for payload in payloads if payload.grant is not None})
    MANDATES.read_ahead(changes, {payload.mandate for payload in payloads if payload.mandate is not None})
    keys = {payload.encryption_key for payload in payloads}
    ONE_TIME_KEYS.read_ahead(changes, keys)
    HANDLES.read_ahead(changes, keys)
    read_unowned_ahead(changes, keys)


def _read_reports_ahead(changes: Changes, payloads: Collection[AccessServed | AccessRefused]) -> None:
    INTENTS.read_ahead(changes, {payload.intent for payload in payloads})
    intents = [INTENTS.get(changes, payload.intent) for payload in payloads]
    DATA.read_ahead(changes, {intent.data for intent in intents if intent is not None})
    grants = {intent.grant for intent in intents if intent is not None and intent.grant is not None}
    GRANTS.read_ahead(changes, grants)


RULES = (
    Rule(AccessIntent, by_the_organisation, apply_intent, read_ahead=_read_intents_ahead),
    Rule(AccessServed, by_the_organisation, apply_served, read_ahead=_read_reports_ahead),
    Rule(AccessRefused, by_the_organisation, apply_refused, read_ahead=_read_reports_ahead),
)
