"""Consent's rows, and what follows from them at a height or a time. Floor 4, pure.

What ends, ends at a height or a time that its row names; whether it has, is derived when it is read. So
what held at a height is answered the same way by every later state.
"""

from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import (
    ErasureMethod,
    MandateId,
    Name,
    Operation,
    Power,
    Price,
    Purpose,
    RefusalReason,
    SizeClass,
)
from p2pledger.chain.payloads.consent import CUSTODIANS_MAX, MANDATE_SCHEMAS_MAX, USES_MAX
from p2pledger.chain.schema import DAY_MS, SchemaId
from p2pledger.codec import U64, Length, Range
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.registry.rows import signed_in_role
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Readable, Table
from p2pledger.types import Hash, Height, Millis, PublicKey

LASTS_MAX_MS = 365 * DAY_MS
"""How long a grant, a mandate or a hold lasts at most; then it has to be given again."""
HANDLE_DATA_MAX = 32
"""How many data a handle stands for: what is asked of a handle touches no more rows than this."""
HOLDS_MAX = 8
"""How many holds may be in force on one datum."""
ERASE_WITHIN_MS = 30 * DAY_MS
"""How long custodians have to erase (GDPR, Art. 12(3): within a month)."""


@dataclass(frozen=True)
class Handle:
    """A resident's pseudonym at one organisation. Nothing new comes under it once all is to be erased."""

    organisation: OrganisationId
    data: Annotated[tuple[Hash, ...], Length(1, HANDLE_DATA_MAX)]
    is_closed: bool


@dataclass(frozen=True)
class Request:
    """When a resident asked for the erasure."""

    height: Height
    time_ms: Millis


@dataclass(frozen=True)
class Erased:
    """A custodian's word that it holds nothing any more."""

    custodian: OrganisationId
    method: ErasureMethod
    height: Height


@dataclass(frozen=True)
class Hold:
    """A legal order by which data is kept."""

    organisation: OrganisationId
    mandate: MandateId
    order_hash: Hash
    until_ms: Millis


@dataclass(frozen=True)
class Data:
    """Private data beside the ledger: who holds it, until when, and what became of it."""

    organisation: OrganisationId
    commitment: Hash
    schema: SchemaId
    handle: PublicKey
    custodians: Annotated[tuple[OrganisationId, ...], Length(2, CUSTODIANS_MAX)]
    threshold: Annotated[int, Range(2, CUSTODIANS_MAX)]
    size_class: SizeClass
    retain_until_ms: Millis
    request: Request | None
    erased: Annotated[tuple[Erased, ...], Length(0, CUSTODIANS_MAX)]
    holds: Annotated[tuple[Hold, ...], Length(0, HOLDS_MAX)]
    held_until_ms: Millis
    """When the last of those holds ended that had ended when another one was placed; 0 for none."""

    @property
    def is_erased(self) -> bool:
        """Whether the erasure is complete: every custodian has reported."""
        return len(self.erased) == len(self.custodians)

    @property
    def missing(self) -> tuple[OrganisationId, ...]:
        """The custodians that have not reported that they erased it."""
        done = {one.custodian for one in self.erased}
        return tuple(name for name in self.custodians if name not in done)

    @property
    def erase_by_ms(self) -> Millis:
        """Until when every custodian has to report: from the request or the retention's end, or from the
        end of the last hold."""
        asked_ms = self.retain_until_ms
        if self.request is not None:
            asked_ms = min(asked_ms, self.request.time_ms)
        free_ms = max((hold.until_ms for hold in self.holds), default=self.held_until_ms)
        return Millis(max(asked_ms, free_ms, self.held_until_ms) + ERASE_WITHIN_MS)

    def is_asked(self, height: Height) -> bool:
        """Whether the resident had asked for the erasure by the end of the block of this height."""
        return self.request is not None and self.request.height <= height

    def is_to_be_erased(self, time_ms: Millis) -> bool:
        """Whether the erasure was asked for, or the retention has passed, which counts as much."""
        return self.request is not None or self.retain_until_ms <= time_ms

    def held_ms(self, time_ms: Millis) -> Millis | None:
        """Until when holds that are in force at a time keep it; None when there are none."""
        return max((hold.until_ms for hold in self.holds if hold.until_ms > time_ms), default=None)

    def is_held_under(self, mandate: MandateId, time_ms: Millis) -> bool:
        """Whether a hold is in force that rests on this mandate."""
        return any(hold.mandate == mandate and hold.until_ms > time_ms for hold in self.holds)


@dataclass(frozen=True)
class BlockUses:
    """Intents for one datum in one block."""

    data: Hash
    count: Annotated[int, Range(1, USES_MAX)]


@dataclass(frozen=True)
class Grant:
    """What a resident allows one organisation.

    `settled_uses` are the entitled intents of the blocks before `last_height`; those of that block are in
    `last_uses` until a later intent settles them, since what comes after an intent in its block may still
    take its basis away (`accesses.uses`).
    """

    handle: PublicKey
    grantee: OrganisationId
    purpose: Purpose
    operations: Annotated[tuple[Operation, ...], Length(1, len(Operation))]
    notice_hash: Hash
    until_ms: Millis
    max_uses: Annotated[int, Range(1, USES_MAX)]
    price: Price | None
    height: Height
    revoked_height: Height | None
    settled_uses: Annotated[int, Range(0, USES_MAX)]
    last_height: Height
    last_uses: Annotated[tuple[BlockUses, ...], Length(0, HANDLE_DATA_MAX)]

    def is_revoked(self, height: Height) -> bool:
        """Whether it was revoked by the end of the block of this height."""
        return self.revoked_height is not None and self.revoked_height <= height


@dataclass(frozen=True)
class Mandate:
    """What the authorities allow an organisation to do without the resident, and over which heights."""

    organisation: OrganisationId
    legal_reference: Name
    purpose: Purpose
    powers: Annotated[tuple[Power, ...], Length(1, len(Power))]
    schemas: Annotated[tuple[SchemaId, ...], Length(1, MANDATE_SCHEMAS_MAX)]
    until_ms: Millis
    from_height: Height
    ended_height: Height | None

    def is_live(self, height: Height) -> bool:
        """Whether it is in force in the block of this height; known one block ahead."""
        return self.from_height <= height and (self.ended_height is None or height < self.ended_height)


@dataclass(frozen=True)
class Report:
    """What a custodian did about an intent: gave its share, or refused."""

    custodian: OrganisationId
    height: Height
    refusal: RefusalReason | None


@dataclass(frozen=True)
class Intent:
    """An entry of the access log: who asks for what, on which basis, in the block of which height and time.

    `is_held`: a hold under its mandate was in force, so that a request to erase does not stop it.
    """

    organisation: OrganisationId
    data: Hash
    grant: Hash | None
    mandate: MandateId | None
    purpose: Purpose
    encryption_key: PublicKey
    height: Height
    time_ms: Millis
    opens_height: Height | None
    is_held: bool
    reports: Annotated[tuple[Report, ...], Length(0, CUSTODIANS_MAX)]

    def is_open(self, height: Height) -> bool:
        """Whether residents are shown it after the block of this height: sealed ones are not at first."""
        return self.opens_height is None or self.opens_height <= height


@dataclass(frozen=True)
class OneTimeKey:
    """The intent that a one-time key was used for."""

    intent: Hash


@dataclass(frozen=True)
class SealedCount:
    """How many sealed accesses were asked for, ever."""

    count: U64


HANDLES = Table("consent-handle", Handle)
DATA = Table("consent-data", Data)
GRANTS = Table("consent-grant", Grant)
MANDATES = Table("consent-mandate", Mandate)
INTENTS = Table("consent-intent", Intent)
ONE_TIME_KEYS = Table("consent-one-time-key", OneTimeKey)
SEALED_COUNTS = Table("consent-sealed", SealedCount)
"""By organisation; all together under the empty key."""

by_the_organisation = signed_in_role(KeyRole.ADMIN, KeyRole.GATEWAY, KeyRole.SERVICE)
"""The signers' check of what an organisation does: a device does not act for it."""


def check_until(context: Context, until_ms: Millis, lasts_max_ms: int = LASTS_MAX_MS) -> None:
    """Refuse an end that has come already, or lies too far ahead of the block. Raises: InvalidTransaction."""
    ahead_ms = until_ms - context.round.time_ms
    if ahead_ms <= 0:
        raise InvalidTransaction(Code.UNTIL_PASSED, f"{until_ms} ms has come {-ahead_ms} ms ago")
    if ahead_ms > lasts_max_ms:
        raise InvalidTransaction(
            Code.UNTIL_TOO_FAR, f"{until_ms} ms is {ahead_ms} ms ahead, {lasts_max_ms} at most"
        )


def check_data(reader: Readable, data: Hash) -> Data:
    """The data of this id. Raises: InvalidTransaction."""
    row = DATA.get(reader, data)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_DATA, f"there is no data {data.hex()}")
    return row


def check_handle(reader: Readable, handle: PublicKey) -> Handle:
    """The handle of this key. Raises: InvalidTransaction."""
    row = HANDLES.get(reader, handle)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_HANDLE, "no data is registered under this handle")
    return row


def check_custodian(context: Context, row: Data) -> None:
    """Refuse a sponsor that is none of the data's custodians. Raises: InvalidTransaction."""
    if context.sponsor not in row.custodians:
        raise InvalidTransaction(
            Code.NOT_CUSTODIAN, f"{context.sponsor!r} is not among {', '.join(row.custodians)}"
        )


def check_mandate(reader: Readable, context: Context, mandate: MandateId, power: Power) -> Mandate:
    """The sponsor's mandate of this id, in force now and with this power. Raises: InvalidTransaction."""
    row = MANDATES.get(reader, mandate)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_MANDATE, f"there is no mandate {mandate.hex()}")
    if row.organisation != context.sponsor or power not in row.powers:
        raise InvalidTransaction(
            Code.OUTSIDE_BASIS, f"the mandate gives {context.sponsor!r} no power to {power.name.lower()}"
        )
    if not row.is_live(context.round.height) or row.until_ms <= context.round.time_ms:
        raise InvalidTransaction(
            Code.NOT_IN_FORCE,
            f"the mandate is in force from height {row.from_height} on, until {row.until_ms} ms"
            + (f" or height {row.ended_height}" if row.ended_height is not None else ""),
        )
    return row
