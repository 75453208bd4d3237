"""What transactions ask for: one payload type per kind. Floor 3.

They stand here, below the ledger, because clients write them; what they mean is in `ledger/modules`,
one rule per type. A payload's `KIND` is the kind of the transaction that carries it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from p2pledger.chain.payloads.programs import (
    CLAIM_PERIODS_MAX,
    EXPIRY_PERIODS_MAX,
    POINTS_MAX,
    SETTLEMENT_ROWS_MAX,
    AccountEnroll,
    ClaimAudit,
    Drive,
    Earned,
    EnergyParameters,
    EnergyRow,
    EnergySettle,
    EnergyWh,
    Enrolment,
    MobilityClaim,
    MobilityParameters,
    Points,
    PointsRedeem,
    ProgramChange,
    ProgramCreate,
    ProgramId,
    Revoked,
    Terms,
    sign_enrolment,
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
    "CLAIM_PERIODS_MAX",
    "EXPIRY_PERIODS_MAX",
    "ITEMS_MAX",
    "PAYLOADS",
    "POINTS_MAX",
    "REFERENCES_MAX",
    "REPLACEMENTS_MAX",
    "SETTLEMENT_ROWS_MAX",
    "AccountEnroll",
    "Action",
    "ClaimAudit",
    "CorrectionReason",
    "DeviceEnroll",
    "DeviceId",
    "DeviceRetire",
    "DeviceTransfer",
    "Drive",
    "Earned",
    "EnergyParameters",
    "EnergyRow",
    "EnergySettle",
    "EnergyWh",
    "Enrolment",
    "GatewayJoin",
    "Item",
    "KeyAdd",
    "KeyRevoke",
    "KeyRotate",
    "MobilityClaim",
    "MobilityParameters",
    "Name",
    "Points",
    "PointsRedeem",
    "ProgramChange",
    "ProgramCreate",
    "ProgramId",
    "RecordAppend",
    "RecordBatch",
    "RecordCorrect",
    "RevocationReason",
    "Revoked",
    "SeqNumber",
    "Terms",
    "Word",
    "sign_enrolment",
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
            AccountEnroll,
            MobilityClaim,
            EnergySettle,
            PointsRedeem,
            ClaimAudit,
        )
    }
)
"""The payload type of each kind."""
