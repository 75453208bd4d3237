"""Payloads of consent: private data, grants and mandates, accesses, erasure and holds. Floor 3.

Words: purposes and operations are terms of the W3C Data Privacy Vocabulary (DPV 2); a grant holds what a
consent record of ISO/IEC TS 27560 holds. No field is made for anything of the data itself.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads.words import Name
from p2pledger.chain.schema import SchemaId
from p2pledger.codec import Length, Pattern, Range
from p2pledger.types import Hash, Height, Millis, PublicKey

CUSTODIANS_MAX = 16
USES_MAX = 1_000_000
MANDATE_SCHEMAS_MAX = 16

MandateId = Annotated[bytes, Length(16, 16)]
"""Random, drawn by who proposes the mandate, so that intents can name it."""


class Purpose(Enum):
    """What data is asked for: terms of DPV, none of which stands for every purpose, or for a whole branch."""

    SERVICE_PROVISION = 1
    REQUESTED_SERVICE_PROVISION = 2
    PAYMENT_MANAGEMENT = 3
    IDENTITY_VERIFICATION = 4
    RECORD_MANAGEMENT = 5
    LEGAL_COMPLIANCE = 6
    FRAUD_PREVENTION_AND_DETECTION = 7
    ENFORCE_SECURITY = 8
    PROTECTION_OF_PUBLIC_SECURITY = 9
    IMPROVE_HEALTHCARE = 10
    IMPROVE_PUBLIC_SERVICES = 11
    IMPROVE_TRANSPORT_MOBILITY = 12
    COMBAT_CLIMATE_CHANGE = 13
    PROVIDE_OFFICIAL_STATISTICS = 14
    PUBLIC_POLICY_MAKING = 15
    SCIENTIFIC_RESEARCH = 16
    COMMERCIAL_RESEARCH = 17
    PERSONALISATION = 18
    MARKETING = 19
    SELL_PRODUCTS = 20


COMMERCIAL_PURPOSES = frozenset({Purpose.COMMERCIAL_RESEARCH, Purpose.MARKETING, Purpose.SELL_PRODUCTS})
"""What is done for gain whether or not a price is paid."""


class Operation(Enum):
    """What the grantee may do with what it is given (DPV's terms of processing)."""

    CONSULT = 1
    USE = 2
    ANALYSE = 3
    STORE = 4
    COMBINE = 5
    TRANSFORM = 6
    ANONYMISE = 7
    SHARE = 8


class SizeClass(Enum):
    """Up to how many bytes a payload is padded, so that its length tells no more than this."""

    KIB_4 = 1
    KIB_64 = 2
    MIB_1 = 3
    MIB_16 = 4


@dataclass(frozen=True)
class DataRegister:
    """Private data that lies beside the ledger. Signed by a gateway or department, the sponsor's.

    The data's id is the id of this transaction. `commitment` is to a salted payload; `handle` is a key of
    the resident, made for this organisation alone.
    """

    KIND = "data.register"

    commitment: Hash
    schema: SchemaId
    handle: PublicKey
    custodians: Annotated[tuple[OrganisationId, ...], Length(2, CUSTODIANS_MAX)]
    """Who holds payload and shares of its key: distinct organisations, ascending."""
    threshold: Annotated[int, Range(2, CUSTODIANS_MAX)]
    """How many custodians' shares make the key."""
    size_class: SizeClass
    retain_until_ms: Millis
    """When erasure is due without anybody asking. Of a personal schema: the first instant of a UTC day."""

    def __post_init__(self) -> None:
        if any(a >= b for a, b in pairwise(self.custodians)):
            raise ValueError("custodians are distinct organisations and stand in ascending order")
        if self.threshold > len(self.custodians):
            raise ValueError("the threshold lies between 2 and the number of custodians")


@dataclass(frozen=True)
class Price:
    """What the grantee pays the resident for a grant, off the ledger: public all the same."""

    amount_minor: Annotated[int, Range(1, 2**63 - 1)]
    """In the currency's minor unit: cents."""
    currency: Annotated[str, Length(3, 3), Pattern("[A-Z]{3}")]
    """ISO 4217."""


@dataclass(frozen=True)
class GrantGive:
    """A resident lets one organisation have the data of a handle. Signed by the handle, and a gateway.

    The grant's id is the id of this transaction.
    """

    KIND = "grant.give"

    handle: PublicKey
    grantee: OrganisationId
    purpose: Purpose
    operations: Annotated[tuple[Operation, ...], Length(1, len(Operation))]
    """Distinct, ascending by number."""
    notice_hash: Hash
    """Of the notice that the resident was shown (ISO/IEC TS 27560)."""
    until_ms: Millis
    max_uses: Annotated[int, Range(1, USES_MAX)]
    price: Price | None

    def __post_init__(self) -> None:
        if any(a.value >= b.value for a, b in pairwise(self.operations)):
            raise ValueError("operations are distinct and stand in ascending order")


@dataclass(frozen=True)
class GrantRevoke:
    """A resident takes a grant back: no release in this block or a later one. Signed as it was given."""

    KIND = "grant.revoke"

    grant: Hash


class Power(Enum):
    """What a mandate lets its organisation do."""

    ACCESS = 1
    SEAL = 2
    """Keep an access out of what residents are shown, up to a height that it states."""
    HOLD = 3
    """Keep data from being erased, on a legal order."""


@dataclass(frozen=True)
class MandateGive:
    """Decided by the authorities: an organisation may act without the resident, within what is named here."""

    KIND = "mandate.give"

    id: MandateId
    organisation: OrganisationId
    legal_reference: Name
    """Of the law that allows it: an ELI, an ECLI or a register's number."""
    purpose: Purpose
    powers: Annotated[tuple[Power, ...], Length(1, len(Power))]
    """Distinct, ascending by number."""
    schemas: Annotated[tuple[SchemaId, ...], Length(1, MANDATE_SCHEMAS_MAX)]
    """Distinct, ascending."""
    until_ms: Millis

    def __post_init__(self) -> None:
        if any(a.value >= b.value for a, b in pairwise(self.powers)):
            raise ValueError("powers are distinct and stand in ascending order")
        if any(a >= b for a, b in pairwise(self.schemas)):
            raise ValueError("schemas are distinct and stand in ascending order")


@dataclass(frozen=True)
class MandateEnd:
    """Decided by the authorities: a mandate ends before its time."""

    KIND = "mandate.end"

    mandate: MandateId


@dataclass(frozen=True)
class AccessIntent:
    """The sponsor asks the custodians for the key of data, and so enters the log. Signed by one of its keys.

    Names one basis: a grant or a mandate. The intent's id is the id of this transaction.
    """

    KIND = "access.intent"

    data: Hash
    grant: Hash | None
    mandate: MandateId | None
    purpose: Purpose
    encryption_key: PublicKey
    """Where the shares are sealed to; for this intent only."""
    opens_height: Height | None
    """A sealed access, under a mandate only: residents are shown it from this height on."""

    def __post_init__(self) -> None:
        if (self.grant is None) == (self.mandate is None):
            raise ValueError("an intent rests on a grant or on a mandate")
        if self.opens_height is not None and self.mandate is None:
            raise ValueError("only an access under a mandate is sealed")


@dataclass(frozen=True)
class AccessServed:
    """A custodian is about to give its share for an intent: final before the share leaves it."""

    KIND = "access.served"

    intent: Hash


class RefusalReason(Enum):
    """Why a custodian gives no share."""

    NO_BASIS = 1
    """The basis did not hold after the intent's block, or no longer does."""
    ERASED = 2
    UNAVAILABLE = 3
    """The custodian cannot, though it would."""
    UNLAWFUL = 4
    """The custodian holds that it must not."""


@dataclass(frozen=True)
class AccessRefused:
    """A custodian gives no share for an intent, and says why."""

    KIND = "access.refused"

    intent: Hash
    reason: RefusalReason


def _check_target(handle: PublicKey | None, data: Hash | None) -> None:
    if (handle is None) == (data is None):
        raise ValueError("it is about a handle or about one of its data")


@dataclass(frozen=True)
class EraseRequest:
    """A resident wants data erased: one, or all of a handle. Signed by the handle, and a gateway."""

    KIND = "erase.request"

    handle: PublicKey | None
    data: Hash | None

    def __post_init__(self) -> None:
        _check_target(self.handle, self.data)


class ErasureMethod(Enum):
    """How payload, shares and copies were made unreadable (NIST SP 800-88, section 2.5)."""

    CLEAR = 1
    PURGE = 2
    DESTROY = 3
    CRYPTOGRAPHIC_ERASE = 4


@dataclass(frozen=True)
class EraseDone:
    """A custodian holds nothing of the data any more."""

    KIND = "erase.done"

    data: Hash
    method: ErasureMethod


@dataclass(frozen=True)
class HoldPlace:
    """Data must not be erased until a time, on a legal order: one, or all of a handle.

    Signed by a key of the mandated organisation, the sponsor. The same order again takes the first one's
    place, so that it is prolonged or lifted.
    """

    KIND = "hold.place"

    mandate: MandateId
    handle: PublicKey | None
    data: Hash | None
    order_hash: Hash
    """Of the order and a salt: an order's number can be guessed."""
    until_ms: Millis

    def __post_init__(self) -> None:
        _check_target(self.handle, self.data)
