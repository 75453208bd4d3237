"""Who may sign what, from which height to which. Floor 4, pure.

`rows` are the tables, `keys`, `devices`, `schemas` and `status` the rules, `organisations` the measures,
`queries` what can be asked. Invariants: a live key has one owner; revocation works from a height on, never
backwards; a published schema never changes; versions of a status list follow one by one, in their slots.
"""

from p2pledger.chain.genesis import RESIDENTS, Genesis, KeyRole
from p2pledger.codec import encode
from p2pledger.ledger.modules.registry import devices, keys, organisations, schemas, status
from p2pledger.ledger.modules.registry.devices import check_invite, gateway_on_invite
from p2pledger.ledger.modules.registry.rows import (
    KEYS,
    ORGANISATIONS,
    PEERS_INDEX,
    Device,
    Gateway,
    Key,
    Office,
    Organisation,
    allowed_peers,
    apply_gateway,
    check_organisation,
    check_signed_for_resident,
    check_sponsor,
    gateway,
    live_key,
    live_keys,
    organisation,
    take_office,
)
from p2pledger.ledger.rules import IndexRow
from p2pledger.ledger.state import Changes
from p2pledger.types import Height, Millis

__all__ = [
    "MEASURES",
    "RULES",
    "Device",
    "Gateway",
    "Key",
    "Organisation",
    "allowed_peers",
    "apply_genesis",
    "check_invite",
    "check_organisation",
    "check_signed_for_resident",
    "check_sponsor",
    "gateway",
    "gateway_on_invite",
    "live_key",
    "live_keys",
    "organisation",
]

RULES = (*keys.RULES, *devices.RULES, *schemas.RULES, *status.RULES)
MEASURES = organisations.MEASURES
"""What the authorities decide on."""


def apply_genesis(changes: Changes, genesis: Genesis) -> tuple[IndexRow, ...]:
    """Write the organisations, the residents' quota, admin keys and gateways of the genesis file.

    Returns their index rows.
    """
    residents = Organisation(RESIDENTS, (), 1, genesis.residents_quota, Millis(0))
    ORGANISATIONS.put(changes, RESIDENTS.encode(), residents)
    for founder in genesis.organisations:
        admins = tuple(sorted(founder.admin_keys))
        row = Organisation(founder.kind, admins, founder.threshold, founder.quota, Millis(0))
        ORGANISATIONS.put(changes, founder.id.encode(), row)
        for key in admins:
            KEYS.put(changes, key, Key(founder.id, KeyRole.ADMIN, Height(0), None, None, None, None))
    for member in (*genesis.authorities.members, *genesis.next_authorities.members):
        take_office(changes, member.key, member.peer, Office(member.organisation))
    rows = []
    for first in genesis.gateways:
        key_row = Key(first.organisation, KeyRole.GATEWAY, Height(0), None, None, None, first.peer)
        KEYS.put(changes, first.key, key_row)
        gateway_row = Gateway(first.peer, first.key, first.organisation)
        apply_gateway(changes, gateway_row)
        rows.append(IndexRow(PEERS_INDEX, first.peer.encode(), encode(gateway_row)))
    return tuple(rows)
