"""Waste and goods from hand to hand, with mass balance. Floor 4, pure.

`rows` are the tables, `lots` and `shipments` the rules, `books` what both write in, `masses` the arithmetic,
`queries` what can be asked. Invariants: inputs = outputs + loss; a lot is spent once; what differs beyond
the tolerance is frozen until both sides sign; at every height and per material, created + gains = held + in
transit + frozen + closed + losses. What was decided: docs/decisions/custody.md.
"""

from p2pledger.ledger.modules.custody import lots, shipments
from p2pledger.ledger.modules.custody.rows import (
    Balance,
    Closings,
    Discrepancy,
    Event,
    Lot,
    LotEvent,
    LotStatus,
    Manifest,
    ManifestStatus,
    balance,
    closings,
    lot,
    manifest,
)

__all__ = [
    "RULES",
    "Balance",
    "Closings",
    "Discrepancy",
    "Event",
    "Lot",
    "LotEvent",
    "LotStatus",
    "Manifest",
    "ManifestStatus",
    "balance",
    "closings",
    "lot",
    "manifest",
]

RULES = (*lots.RULES, *shipments.RULES)
