"""What transactions ask for: one payload type per kind. Floor 3.

They stand here, below the ledger, because clients write them; what they mean is in `ledger/modules`,
one rule per type. A payload's `KIND` is the kind of the transaction that carries it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from p2pledger.chain.payloads.custody import (
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotCreate,
    LotId,
    LotTransform,
    ManifestId,
    Material,
    NewLot,
    Place,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.chain.payloads.records import (
    BATCH_READINGS_MAX,
    BODY_BYTES_MAX,
    ITEMS_MAX,
    REFERENCES_MAX,
    REPLACEMENTS_MAX,
    Action,
    CorrectionReason,
    Item,
    RecordAppend,
    RecordBatch,
    RecordCorrect,
    SeqNumber,
)
from p2pledger.chain.payloads.registry import (
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    RevocationReason,
)
from p2pledger.chain.payloads.words import DeviceId, Name, Word

__all__ = [
    "BATCH_READINGS_MAX",
    "BODY_BYTES_MAX",
    "ITEMS_MAX",
    "PAYLOADS",
    "REFERENCES_MAX",
    "REPLACEMENTS_MAX",
    "Action",
    "CorrectionReason",
    "DeviceEnroll",
    "DeviceId",
    "DeviceRetire",
    "DeviceTransfer",
    "DiscrepancyReason",
    "DiscrepancyResolve",
    "Fate",
    "GatewayJoin",
    "Item",
    "KeyAdd",
    "KeyRevoke",
    "KeyRotate",
    "LotClose",
    "LotCreate",
    "LotId",
    "LotTransform",
    "ManifestId",
    "Material",
    "Name",
    "NewLot",
    "Place",
    "RecordAppend",
    "RecordBatch",
    "RecordCorrect",
    "RevocationReason",
    "SeqNumber",
    "ShipAccept",
    "ShipOffer",
    "ShipReceive",
    "Word",
]

PAYLOADS: Mapping[str, type[Any]] = MappingProxyType(
    {
        payload.KIND: payload
        for payload in (
            KeyAdd,
            KeyRotate,
            KeyRevoke,
            GatewayJoin,
            DeviceEnroll,
            DeviceTransfer,
            DeviceRetire,
            RecordAppend,
            RecordBatch,
            RecordCorrect,
            LotCreate,
            ShipOffer,
            ShipAccept,
            ShipReceive,
            LotTransform,
            LotClose,
            DiscrepancyResolve,
        )
    }
)
"""The payload type of each kind."""
