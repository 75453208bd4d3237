"""Payloads of the registry: organisations, keys, gateways, devices, schemas, status lists. Floor 3."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import RESIDENTS, KeyRole, Quota
from p2pledger.chain.invite import Invite
from p2pledger.chain.payloads.words import DeviceId, Name, Word
from p2pledger.chain.schema import FieldClass, FieldName, SchemaClass, SchemaId
from p2pledger.codec import Length, Pattern, Range
from p2pledger.crypto import Signed
from p2pledger.types import Hash, Height, PeerId, PublicKey

SCHEMA_FIELDS_MAX = 64
ADMINS_MAX = 16
STATUS_COMPRESSED_BYTES_MAX = 16_896
"""Room for 131,072 bits that do not compress at all, and for what gzip adds."""


@dataclass(frozen=True)
class OrgRegister:
    """An organisation more: a measure, which the authorities decide on. Its admins' keys are nobody's yet."""

    KIND = "org.register"

    id: OrganisationId
    kind: Annotated[str, Length(1, 32), Pattern("[a-z]+(-[a-z]+)*")]
    admin_keys: Annotated[tuple[PublicKey, ...], Length(1, ADMINS_MAX)]
    threshold: Annotated[int, Range(1, 7)]
    """How many admins must sign together; a transaction's eighth signature is the new key's own."""
    quota: Quota

    def __post_init__(self) -> None:
        if self.id == RESIDENTS:
            raise ValueError(f"{RESIDENTS!r} is the sponsor of what residents write, not an organisation")
        if len(set(self.admin_keys)) != len(self.admin_keys):
            raise ValueError("an admin key is named once")
        if self.threshold > len(self.admin_keys):
            raise ValueError("an admin threshold lies between 1 and the number of admin keys")


@dataclass(frozen=True)
class OrgQuota:
    """What an organisation may write in a window from now on: a measure. `id` may be the residents' quota."""

    KIND = "org.quota"

    id: OrganisationId
    quota: Quota


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

    def signed_inside(self, genesis_hash: Hash, sponsor: OrganisationId) -> Signed:
        """The admin's signature of the invite, which names its ledger and organisation itself."""
        return self.invite.signed


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


@dataclass(frozen=True)
class SchemaField:
    """A field that records of a schema may carry, or that they may not."""

    name: FieldName
    field_class: FieldClass


@dataclass(frozen=True)
class SchemaPublish:
    """What records under a new schema may say. Signed by an admin or service key of its organisation.

    `name/1` comes first, `name/2` after it and from the same organisation: a schema never changes.
    """

    KIND = "schema.publish"

    id: SchemaId
    subject: SchemaClass
    """Of class personal, records carry a commitment and a day, whatever the fields are."""
    schema_hash: Hash
    """SHA-256 of the document that says what the fields mean."""
    fields: Annotated[tuple[SchemaField, ...], Length(1, SCHEMA_FIELDS_MAX)]
    """By ascending name."""

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if names != sorted(set(names)):
            raise ValueError("fields stand by ascending name, each once")


class StatusPurpose(Enum):
    """What a set bit says of a credential (W3C Bitstring Status List 1.0, section 2.1)."""

    REVOCATION = 1
    """It ended for good."""
    SUSPENSION = 2
    """It does not hold for now."""


@dataclass(frozen=True)
class StatusPublish:
    """The next version of a list of credentials' status bits. Signed by the issuer's admin or service key.

    Once in each slot of `registry.status.STATUS_SLOT_MS`, whether a bit changed or not: so that the time of
    a publication tells nothing about anybody.
    """

    KIND = "status.publish"

    list_id: Name
    """The issuer's own name for it."""
    version: Annotated[int, Range(1, 2**32 - 1)]
    purpose: StatusPurpose
    compressed: Annotated[bytes, Length(18, STATUS_COMPRESSED_BYTES_MAX)]
    """The bits as GZIP (RFC 1952), a byte's highest bit first: the standard's `encodedList`."""
