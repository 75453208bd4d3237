"""What transactions ask for: one payload type per kind. Floor 3.

They stand here, below the ledger, because clients write them; what they mean is in `ledger/modules`,
one rule per type. A payload's `KIND` is the kind of the transaction that carries it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from p2pledger.chain.payloads.consent import (
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
    MandateEnd,
    MandateGive,
    MandateId,
    Operation,
    Power,
    Price,
    Purpose,
    RefusalReason,
    SizeClass,
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
    "AccessIntent",
    "AccessRefused",
    "AccessServed",
    "Action",
    "CorrectionReason",
    "DataRegister",
    "DeviceEnroll",
    "DeviceId",
    "DeviceRetire",
    "DeviceTransfer",
    "EraseDone",
    "EraseRequest",
    "ErasureMethod",
    "GatewayJoin",
    "GrantGive",
    "GrantRevoke",
    "HoldPlace",
    "Item",
    "KeyAdd",
    "KeyRevoke",
    "KeyRotate",
    "MandateEnd",
    "MandateGive",
    "MandateId",
    "Name",
    "Operation",
    "Power",
    "Price",
    "Purpose",
    "RecordAppend",
    "RecordBatch",
    "RecordCorrect",
    "RefusalReason",
    "RevocationReason",
    "SeqNumber",
    "SizeClass",
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
            DataRegister,
            GrantGive,
            GrantRevoke,
            AccessIntent,
            AccessServed,
            AccessRefused,
            EraseRequest,
            EraseDone,
            HoldPlace,
        )
    }
)
"""The payload type of each kind."""
