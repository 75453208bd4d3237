"""What transactions ask for: one payload type per kind. Floor 3.

They stand here, below the ledger, because clients write them; what they mean is in `ledger/modules`,
one rule per type. A payload's `KIND` is the kind of the transaction that carries it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Any

from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.invite import Invite
from p2pledger.chain.schema import SchemaId
from p2pledger.codec import Length, Pattern, Range
from p2pledger.types import Hash, Height, Millis, PeerId, PublicKey

BATCH_READINGS_MAX = 4_096
BODY_BYTES_MAX = 2_048
ITEMS_MAX = 32
REFERENCES_MAX = 16
REPLACEMENTS_MAX = 16

DeviceId = Annotated[bytes, Length(16, 16)]
"""Random, drawn by who enrols the device: it says nothing of place or person."""

SeqNumber = Annotated[int, Range(0, 2**63 - 1)]
"""The number that a device gives each of its readings and records, from 0."""

Word = Annotated[str, Length(1, 32), Pattern("[a-z]+(_[a-z]+)*")]
"""A word of GS1's Core Business Vocabulary, such as `in_transit`; or of our own in its manner."""

Name = Annotated[str, Length(1, 64), Pattern("[!-~]+")]
"""An identifier of a thing or a place: a URN, an EPC, a GTIN, a register's number."""


class RevocationReason(Enum):
    """Why a key ends (after RFC 5280, section 5.3.1)."""

    UNSPECIFIED = 0
    COMPROMISED = 1
    SUPERSEDED = 4
    CEASED = 5


@dataclass(frozen=True)
class KeyAdd:
    """A new admin or service key for the sponsor. Signed by its admins, and by the new key itself.

    `from_height`: the first block that it may sign in; 0 for the next one.
    """

    KIND = "key.add"

    key: PublicKey
    role: KeyRole
    encryption_key: PublicKey | None
    """Where others seal what only its owner may read."""
    from_height: Height

    def __post_init__(self) -> None:
        if self.role not in (KeyRole.ADMIN, KeyRole.SERVICE):
            raise ValueError("gateways' keys come by invite, devices' by enrolment")


@dataclass(frozen=True)
class KeyRotate:
    """Another key takes a key's place, role and device or gateway. Signed by the admins and the new key.

    From block `from_height` on (0: the next one) the new key is valid and the old one is not.
    """

    KIND = "key.rotate"

    old_key: PublicKey
    new_key: PublicKey
    encryption_key: PublicKey | None
    from_height: Height


@dataclass(frozen=True)
class KeyRevoke:
    """A key of the sponsor ends, whatever its role. Signed by the admins.

    From block `from_height` on (0: the next one) it signs nothing; what it signed before stays valid.
    """

    KIND = "key.revoke"

    key: PublicKey
    reason: RevocationReason
    from_height: Height


@dataclass(frozen=True)
class GatewayJoin:
    """A new gateway brings its invite, its transaction key (which signs this) and its libp2p peer id."""

    KIND = "gateway.join"

    key: PublicKey
    peer: PeerId
    invite: Invite


@dataclass(frozen=True)
class DeviceEnroll:
    """A device begins behind a gateway. Signed by gateway and device together."""

    KIND = "device.enroll"

    device: DeviceId
    key: PublicKey
    gateway: PeerId
    kind: Word
    voucher_hash: Hash
    """Of the device's ownership voucher (FIDO Device Onboard), which stays off the ledger."""


@dataclass(frozen=True)
class DeviceTransfer:
    """A device moves behind another gateway, and to its organisation. Signed by new gateway and device.

    Its sequence numbers go on.
    """

    KIND = "device.transfer"

    device: DeviceId
    gateway: PeerId
    voucher_hash: Hash


@dataclass(frozen=True)
class DeviceRetire:
    """A device ends for good. Signed by gateway and device together (else its key is revoked)."""

    KIND = "device.retire"

    device: DeviceId
    voucher_hash: Hash


class Action(Enum):
    """What happened to the things of a record (EPCIS 2.0, section 7.3.2)."""

    ADD = 1
    OBSERVE = 2
    DELETE = 3


@dataclass(frozen=True)
class Item:
    """So much of something: `unit` is a code of UNECE Recommendation 20 (`GRM`, `WHR`, `C62` for pieces)."""

    id: Name
    quantity: Annotated[int, Range(-(2**63), 2**63 - 1)]
    unit: Annotated[str, Length(2, 3), Pattern("[A-Z0-9]+")]


@dataclass(frozen=True)
class RecordAppend:
    """One fact. Signed by a key of the sponsor, or by its device or that device's gateway.

    `device` and `seq` come together: a device's records are numbered, an organisation's are not.
    `body` in clear or `commitment` (the hash of a salt and a body kept elsewhere), or neither.
    """

    KIND = "record.append"

    schema: SchemaId
    time_ms: Millis
    device: DeviceId | None
    seq: SeqNumber | None
    action: Action
    what: Annotated[tuple[Item, ...], Length(0, ITEMS_MAX)]
    where: Name | None
    business_step: Word | None
    disposition: Word | None
    references: Annotated[tuple[Hash, ...], Length(0, REFERENCES_MAX)]
    """Earlier records, by the ids of their transactions."""
    body: Annotated[bytes, Length(1, BODY_BYTES_MAX)] | None
    commitment: Hash | None

    def __post_init__(self) -> None:
        if (self.device is None) != (self.seq is None):
            raise ValueError("a device and its sequence number come together")
        if self.body is not None and self.commitment is not None:
            raise ValueError("a record has a body or a commitment to one, not both")
        if self.references and len(set(self.references)) != len(self.references):
            raise ValueError("a record refers to another one once")


@dataclass(frozen=True)
class RecordBatch:
    """Readings of a device, of which only the root is on the ledger. Signed by its gateway, or by itself.

    The numbers `from_seq` to `to_seq` are all there: a batch never spans a gap, so gaps stay visible.
    In a schema of class personal the times are the first and last millisecond of one UTC day.
    """

    KIND = "record.batch"

    schema: SchemaId
    device: DeviceId
    from_seq: SeqNumber
    to_seq: SeqNumber
    count: Annotated[int, Range(1, BATCH_READINGS_MAX)]
    first_ms: Millis
    last_ms: Millis
    root: Hash
    """`chain.reading.readings_root` of the readings."""

    def __post_init__(self) -> None:
        if self.to_seq - self.from_seq + 1 != self.count:
            raise ValueError("a batch has one reading per sequence number")
        if self.first_ms > self.last_ms:
            raise ValueError("a batch ends before it begins")


class CorrectionReason(Enum):
    """Why a record is not to be relied on (after EPCIS 2.0's error declaration)."""

    INCORRECT_DATA = 1
    DID_NOT_OCCUR = 2


@dataclass(frozen=True)
class RecordCorrect:
    """Says that a record is wrong, and which ones stand in its place. The record itself stays."""

    KIND = "record.correct"

    target: Hash
    reason: CorrectionReason
    replacements: Annotated[tuple[Hash, ...], Length(0, REPLACEMENTS_MAX)]

    def __post_init__(self) -> None:
        if self.target in self.replacements or len(set(self.replacements)) != len(self.replacements):
            raise ValueError("replacements are other records, each named once")


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
        )
    }
)
"""The payload type of each kind."""
