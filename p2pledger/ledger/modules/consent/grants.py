"""What an access may rest on: residents' grants, and mandates that the authorities decide on. Floor 4, pure.

A grant is revoked from the height of the revocation's own block on; a mandate begins and ends at heights that
are known a block ahead. Neither names a wildcard: its organisation is one that exists, its purpose one of a
closed list.
"""

from collections.abc import Collection

from p2pledger.chain.payloads import GrantGive, GrantRevoke, MandateEnd, MandateGive
from p2pledger.chain.payloads.consent import COMMERCIAL_PURPOSES
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.consent.rows import (
    GRANTS,
    HANDLES,
    MANDATES,
    Grant,
    Mandate,
    check_handle,
    check_until,
)
from p2pledger.ledger.modules.registry import check_organisation, check_signed_for_resident
from p2pledger.ledger.modules.registry.schemas import schema_class
from p2pledger.ledger.rules import Context, Measure, Rule, always
from p2pledger.ledger.state import Changes, with_fields
from p2pledger.types import Height

GRANTS_OF = "consent.grants"
"""handle | height (8 bytes) | grant id."""
COMMERCIAL = "consent.commercial"
"""grantee | 0 | height (8 bytes) | grant id: of grants that have a price or a commercial purpose."""
MANDATES_OF = "consent.mandates"
"""organisation | 0 | mandate id."""


def for_a_resident(changes: Changes, context: Context, payload: object) -> None:
    """The signers' check of what a resident asks for: a gateway hands it in (the handle's key is checked
    with the payload)."""
    check_signed_for_resident(changes, context)


def apply_give(changes: Changes, context: Context, payload: GrantGive) -> bytes:
    """A grant more, with nothing used of it."""
    context.check_signed_by(payload.handle, "the handle's key")
    if check_handle(changes, payload.handle).is_closed:
        raise InvalidTransaction(Code.ERASURE_ASKED, "all data of the handle is to be erased")
    check_organisation(changes, payload.grantee)
    check_until(context, payload.until_ms)
    grant, height = context.transaction_id, context.round.height
    row = Grant(
        handle=payload.handle,
        grantee=payload.grantee,
        purpose=payload.purpose,
        operations=payload.operations,
        notice_hash=payload.notice_hash,
        until_ms=payload.until_ms,
        max_uses=payload.max_uses,
        price=payload.price,
        height=height,
        revoked_height=None,
        settled_uses=0,
        last_height=height,
        last_uses=(),
    )
    GRANTS.put(changes, grant, row)
    when = height.to_bytes(8, "big") + grant
    context.emit(GRANTS_OF, payload.handle + when)
    if payload.price is not None or payload.purpose in COMMERCIAL_PURPOSES:
        context.emit(COMMERCIAL, payload.grantee.encode() + b"\0" + when)
    return b""


def apply_revoke(changes: Changes, context: Context, payload: GrantRevoke) -> bytes:
    """The end of a grant, from this block on: intents that stand before it in the block have no basis."""
    row = GRANTS.get(changes, payload.grant)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_GRANT, f"there is no grant {payload.grant.hex()}")
    context.check_signed_by(row.handle, "the handle's key")
    if row.revoked_height is not None:
        raise InvalidTransaction(Code.GRANT_REVOKED, f"it was revoked at height {row.revoked_height}")
    GRANTS.put(changes, payload.grant, with_fields(row, revoked_height=context.round.height))
    return b""


def enact_mandate(changes: Changes, context: Context, payload: MandateGive, from_height: Height) -> None:
    """A mandate from this height on. Raises: InvalidTransaction."""
    if MANDATES.get(changes, payload.id) is not None:
        raise InvalidTransaction(Code.MANDATE_TAKEN, f"there is a mandate {payload.id.hex()} already")
    check_organisation(changes, payload.organisation)
    check_until(context, payload.until_ms)
    for schema in payload.schemas:
        schema_class(changes, schema)
    row = Mandate(
        organisation=payload.organisation,
        legal_reference=payload.legal_reference,
        purpose=payload.purpose,
        powers=payload.powers,
        schemas=payload.schemas,
        until_ms=payload.until_ms,
        from_height=from_height,
        ended_height=None,
    )
    MANDATES.put(changes, payload.id, row)
    context.emit(MANDATES_OF, payload.organisation.encode() + b"\0" + payload.id)


def enact_end(changes: Changes, context: Context, payload: MandateEnd, from_height: Height) -> None:
    """A mandate is in force below this height only; a planned end can come nearer.

    Raises: InvalidTransaction.
    """
    row = MANDATES.get(changes, payload.mandate)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_MANDATE, f"there is no mandate {payload.mandate.hex()}")
    if row.ended_height is not None and row.ended_height <= from_height:
        raise InvalidTransaction(Code.NOT_IN_FORCE, f"it ends at height {row.ended_height} already")
    MANDATES.put(changes, payload.mandate, with_fields(row, ended_height=from_height))


def _read_handles_ahead(changes: Changes, payloads: Collection[GrantGive]) -> None:
    HANDLES.read_ahead(changes, {payload.handle for payload in payloads})


def _read_grants_ahead(changes: Changes, payloads: Collection[GrantRevoke]) -> None:
    GRANTS.read_ahead(changes, {payload.grant for payload in payloads})


RULES = (
    Rule(GrantGive, for_a_resident, apply_give, read_ahead=_read_handles_ahead),
    Rule(GrantRevoke, for_a_resident, apply_revoke, read_ahead=_read_grants_ahead, is_urgent=always),
)
MEASURES = (Measure(MandateGive, enact_mandate), Measure(MandateEnd, enact_end))
