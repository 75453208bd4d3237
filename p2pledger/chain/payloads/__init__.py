"""What transactions ask for: one payload type per kind. Floor 3.

They stand here, below the ledger, because clients write them; what they mean is in `ledger/modules`,
one rule per type. A payload's `KIND` is the kind of the transaction that carries it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from p2pledger.chain.payloads.governance import (
    AuthorityAdd,
    AuthorityReady,
    AuthorityRemove,
    AuthorityRotate,
    GovPropose,
    GovSuspend,
    GovVote,
    Parameter,
    ParameterSet,
    UpgradePlan,
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
    OrgQuota,
    OrgRegister,
    RevocationReason,
    SchemaField,
    SchemaPublish,
    StatusPublish,
    StatusPurpose,
)
from p2pledger.chain.payloads.words import DeviceId, Name, Word

__all__ = [
    "BATCH_READINGS_MAX",
    "BODY_BYTES_MAX",
    "ITEMS_MAX",
    "MEASURES",
    "PAYLOADS",
    "REFERENCES_MAX",
    "REPLACEMENTS_MAX",
    "Action",
    "AuthorityAdd",
    "AuthorityReady",
    "AuthorityRemove",
    "AuthorityRotate",
    "CorrectionReason",
    "DeviceEnroll",
    "DeviceId",
    "DeviceRetire",
    "DeviceTransfer",
    "GatewayJoin",
    "GovPropose",
    "GovSuspend",
    "GovVote",
    "Item",
    "KeyAdd",
    "KeyRevoke",
    "KeyRotate",
    "Name",
    "OrgQuota",
    "OrgRegister",
    "Parameter",
    "ParameterSet",
    "RecordAppend",
    "RecordBatch",
    "RecordCorrect",
    "RevocationReason",
    "SchemaField",
    "SchemaPublish",
    "SeqNumber",
    "StatusPublish",
    "StatusPurpose",
    "UpgradePlan",
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
            SchemaPublish,
            StatusPublish,
            RecordAppend,
            RecordBatch,
            RecordCorrect,
            GovPropose,
            GovVote,
            GovSuspend,
            AuthorityReady,
            AuthorityRotate,
        )
    }
)
"""The payload type of each kind of transaction."""

MEASURES: Mapping[str, type[Any]] = MappingProxyType(
    {
        measure.KIND: measure
        for measure in (OrgRegister, OrgQuota, AuthorityAdd, AuthorityRemove, ParameterSet, UpgradePlan)
    }
)
"""What `gov.propose` may put to the vote, by kind."""
