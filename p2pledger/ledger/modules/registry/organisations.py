"""Measures about organisations: one more, and another quota for one. Floor 4, pure.

Either works from a height on that is not reached when it is decided, and nothing is written when it comes.
"""

from dataclasses import dataclass

from p2pledger.chain.genesis import ORGANISATIONS_MAX, KeyRole
from p2pledger.chain.payloads.registry import OrgQuota, OrgRegister
from p2pledger.codec import U32
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.registry.keys import check_unowned
from p2pledger.ledger.modules.registry.rows import (
    COMING_QUOTAS_MAX,
    KEYS,
    ORGANISATIONS,
    ComingQuota,
    Key,
    Organisation,
    organisation,
)
from p2pledger.ledger.rules import Context, Measure
from p2pledger.ledger.state import Changes, Table, with_fields
from p2pledger.types import Height, Millis


@dataclass(frozen=True)
class OrganisationCount:
    """How many organisations were registered after genesis."""

    count: U32


_REGISTERED = Table("organisation-count", OrganisationCount)


def enact_org_register(changes: Changes, context: Context, payload: OrgRegister, from_height: Height) -> None:
    """An organisation more, with its admins' keys: unknown before the height, a sponsor from it on."""
    if organisation(changes, payload.id) is not None:
        raise InvalidTransaction(Code.ORGANISATION_TAKEN, f"{payload.id!r} is registered already")
    registered = (_REGISTERED.get(changes, b"") or OrganisationCount(0)).count + 1
    if len(context.genesis.organisations) + registered > ORGANISATIONS_MAX:
        raise InvalidTransaction(
            Code.TOO_MANY_ORGANISATIONS, f"a ledger has at most {ORGANISATIONS_MAX} organisations"
        )
    _REGISTERED.put(changes, b"", OrganisationCount(registered))
    admins = tuple(sorted(payload.admin_keys))
    for key in admins:
        check_unowned(changes, context, key)
        KEYS.put(changes, key, Key(payload.id, KeyRole.ADMIN, from_height, None, None, None, None))
    row = Organisation(payload.kind, admins, payload.threshold, payload.quota, Millis(0), from_height)
    ORGANISATIONS.put(changes, payload.id.encode(), row)


def enact_org_quota(changes: Changes, context: Context, payload: OrgQuota, from_height: Height) -> None:
    """Another quota from a height on, until which those that were decided for before it hold.

    It takes the place of what was decided for that height or a later one.
    """
    row = organisation(changes, payload.id)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_SPONSOR, f"there is no organisation {payload.id!r}")
    now = context.round.height
    kept = [one for one in row.coming_quotas if now < one.from_height < from_height]
    if len(kept) == COMING_QUOTAS_MAX:
        raise InvalidTransaction(
            Code.TOO_MANY_CHANGES, f"{COMING_QUOTAS_MAX} changes of the quota are still to come"
        )
    coming = (*kept, ComingQuota(payload.quota, from_height))
    changed = with_fields(row, quota=row.quota_at(now), coming_quotas=coming)
    ORGANISATIONS.put(changes, payload.id.encode(), changed)


MEASURES = (Measure(OrgRegister, enact_org_register), Measure(OrgQuota, enact_org_quota))
