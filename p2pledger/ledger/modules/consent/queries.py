"""What residents, organisations and the public may ask of consent. Floor 4, pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import MandateId
from p2pledger.chain.payloads.consent import CUSTODIANS_MAX, USES_MAX
from p2pledger.codec import U64, Length, Pattern, Range
from p2pledger.errors import Fatal
from p2pledger.ledger.modules.consent.accesses import (
    ACCESSES_BY,
    ACCESSES_OF,
    is_entitled,
    sealed_accesses,
    uses,
)
from p2pledger.ledger.modules.consent.data import DUE, HELD
from p2pledger.ledger.modules.consent.erasure import HOLDS
from p2pledger.ledger.modules.consent.grants import COMMERCIAL, GRANTS_OF, MANDATES_OF
from p2pledger.ledger.modules.consent.rows import (
    DATA,
    GRANTS,
    HANDLES,
    INTENTS,
    MANDATES,
    Data,
    Grant,
    Hold,
    Intent,
    Mandate,
)
from p2pledger.ledger.queries import ChainReader, Found, Page, Query, one, rows_of
from p2pledger.types import HASH_BYTES, Hash, Millis, PublicKey

T = TypeVar("T")

STAMP_BYTES = 8
OfHandle = Annotated[PublicKey, "The handle, a resident's pseudonymous key."]
OfOrganisation = Annotated[OrganisationId, "The organisation."]


@dataclass(frozen=True)
class AskAccessesOf:
    """Who asked for the data of a handle, why, when, and what custodians did about it, the oldest first.

    Sealed accesses come in at their places once they are open; nothing tells of them before.
    """

    handle: OfHandle


@dataclass(frozen=True)
class AskAccessesBy:
    """What an organisation asked for, why and when, the oldest first.

    Sealed accesses come in at their places once they are open; nothing tells of them before.
    """

    organisation: OfOrganisation


@dataclass(frozen=True)
class AskHeldOf:
    """What is held under a handle, where and until when, in the order of registration; erased data too."""

    handle: OfHandle


@dataclass(frozen=True)
class AskHeldBy:
    """What a custodian holds and has not erased, and until when, by the end of the retention.

    What is erased is passed over: a page may have fewer items than its limit.
    """

    custodian: Annotated[OrganisationId, "The custodian."]


@dataclass(frozen=True)
class AskOverdueErasures:
    """Data that should be erased by now, and who has not reported it; the longest overdue first.

    What was due and is erased is passed over: a page may have fewer items than its limit.
    """


@dataclass(frozen=True)
class AskCommercialGrants:
    """What residents let an organisation have for a price or for its gain, the oldest first; revoked, too."""

    buyer: Annotated[OrganisationId, "The organisation that was granted it."]


@dataclass(frozen=True)
class AskGrants:
    """What a handle granted, and how often that was used, the oldest first; revoked grants too."""

    handle: OfHandle


@dataclass(frozen=True)
class AskMandates:
    """Mandates of an organisation and the law that they rest on, by their ids; those that are over too."""

    organisation: OfOrganisation


@dataclass(frozen=True)
class AskOpenHolds:
    """Legal holds in force, by their ends.

    What a later end has replaced is passed over: a page may have fewer items than its limit.
    """


@dataclass(frozen=True)
class AskSealedAccesses:
    """How many sealed accesses were ever asked for: public while they are sealed."""

    organisation: Annotated[
        str,
        Length(0, 32),
        Pattern("([a-z0-9]+(-[a-z0-9]+)*)?"),
        "By which organisation; by all of them when left out.",
    ] = ""


@dataclass(frozen=True)
class Access:
    """An entry of the log: who asked for which data, why and when, and what custodians did about it.

    `had_basis`: whether the basis held at the end of the intent's block.
    """

    id: Hash
    handle: PublicKey
    intent: Intent
    had_basis: bool


@dataclass(frozen=True)
class Held:
    """Data that lies with custodians, until when its row says."""

    id: Hash
    data: Data


@dataclass(frozen=True)
class Overdue:
    """Data that should be erased by now, and the custodians that have not reported it."""

    id: Hash
    erase_by_ms: Millis
    missing: Annotated[tuple[OrganisationId, ...], Length(1, CUSTODIANS_MAX)]


@dataclass(frozen=True)
class Granted:
    """A grant, and how often it was used."""

    id: Hash
    grant: Grant
    uses: Annotated[int, Range(0, USES_MAX)]


@dataclass(frozen=True)
class Mandated:
    """A mandate, in force or not."""

    id: MandateId
    mandate: Mandate


@dataclass(frozen=True)
class HeldByOrder:
    """A legal hold on data."""

    id: Hash
    hold: Hold


@dataclass(frozen=True)
class SealedFound:
    """How many sealed accesses there ever were, of an organisation or, with an empty name, of all."""

    organisation: Annotated[str, Length(0, 32)]
    count: U64


def _accesses(reader: ChainReader, index: str, prefix: bytes, page: Page) -> Found[Access]:
    """The accesses after a key that are open, up to the page's limit.

    Sealed rows are passed over without counting, and one open access more is looked for, so that neither
    the number of items nor `next` tells of a sealed one.
    """
    items: list[Access] = []
    last, place = b"", page.after
    while rows := reader.scan(index, prefix, place, page.limit + 1):
        for key, _ in rows:
            access = _open_access(reader, Hash(key[-HASH_BYTES:]))
            if access is None:
                continue
            if len(items) == page.limit:
                return Found(tuple(items), last)
            items.append(access)
            last = key
        place = rows[-1][0]
    return Found(tuple(items))


def _open_access(reader: ChainReader, intent_id: Hash) -> Access | None:
    intent = _there(INTENTS.get(reader, intent_id))
    if not intent.is_open(reader.height):
        return None
    data = _there(DATA.get(reader, intent.data))
    return Access(intent_id, data.handle, intent, is_entitled(reader, intent_id, intent.height))


def ask_accesses_of(reader: ChainReader, asked: AskAccessesOf, page: Page) -> Found[Access]:
    """See `AskAccessesOf`."""
    return _accesses(reader, ACCESSES_OF, asked.handle, page)


def ask_accesses_by(reader: ChainReader, asked: AskAccessesBy, page: Page) -> Found[Access]:
    """See `AskAccessesBy`."""
    return _accesses(reader, ACCESSES_BY, _named(asked.organisation), page)


def ask_held_of(reader: ChainReader, asked: AskHeldOf, page: Page) -> Found[Held]:
    """See `AskHeldOf`. The cursor is the last datum's id."""
    row = HANDLES.get(reader, asked.handle)
    ids: Sequence[Hash] = () if row is None else row.data
    first = next((place + 1 for place, each in enumerate(ids) if each == page.after), 0)
    shown = ids[first : first + page.limit]
    items = tuple(Held(each, _there(DATA.get(reader, each))) for each in shown)
    return Found(items, shown[-1] if first + page.limit < len(ids) else None)


def ask_held_by(reader: ChainReader, asked: AskHeldBy, page: Page) -> Found[Held]:
    """See `AskHeldBy`."""

    def item(key: bytes, _: bytes) -> Held | None:
        data = Hash(key[-HASH_BYTES:])
        row = _there(DATA.get(reader, data))
        return Held(data, row) if asked.custodian in row.missing else None

    return rows_of(reader, HELD, _named(asked.custodian), page, item)


def ask_overdue_erasures(reader: ChainReader, asked: AskOverdueErasures, page: Page) -> Found[Overdue]:
    """See `AskOverdueErasures`."""

    def item(key: bytes, _: bytes) -> Overdue | None:
        data = Hash(key[STAMP_BYTES:])
        row = _there(DATA.get(reader, data))
        if row.is_erased or row.erase_by_ms != int.from_bytes(key[:STAMP_BYTES], "big"):
            return None
        return Overdue(data, row.erase_by_ms, row.missing)

    return rows_of(reader, DUE, b"", page, item, until=_stamp(reader.time_ms))


def _granted(reader: ChainReader) -> Callable[[bytes, bytes], Granted]:
    def item(key: bytes, _: bytes) -> Granted:
        grant = Hash(key[-HASH_BYTES:])
        return Granted(grant, _there(GRANTS.get(reader, grant)), uses(reader, grant))

    return item


def ask_commercial_grants(reader: ChainReader, asked: AskCommercialGrants, page: Page) -> Found[Granted]:
    """See `AskCommercialGrants`."""
    return rows_of(reader, COMMERCIAL, _named(asked.buyer), page, _granted(reader))


def ask_grants(reader: ChainReader, asked: AskGrants, page: Page) -> Found[Granted]:
    """See `AskGrants`."""
    return rows_of(reader, GRANTS_OF, asked.handle, page, _granted(reader))


def ask_mandates(reader: ChainReader, asked: AskMandates, page: Page) -> Found[Mandated]:
    """See `AskMandates`."""
    prefix = _named(asked.organisation)

    def item(key: bytes, _: bytes) -> Mandated:
        mandate = key[len(prefix) :]
        return Mandated(mandate, _there(MANDATES.get(reader, mandate)))

    return rows_of(reader, MANDATES_OF, prefix, page, item)


def ask_open_holds(reader: ChainReader, asked: AskOpenHolds, page: Page) -> Found[HeldByOrder]:
    """See `AskOpenHolds`."""

    def item(key: bytes, _: bytes) -> HeldByOrder | None:
        until_ms, name = int.from_bytes(key[:STAMP_BYTES], "big"), key[STAMP_BYTES:]
        data, order = Hash(name[:HASH_BYTES]), name[HASH_BYTES : 2 * HASH_BYTES]
        organisation = name[2 * HASH_BYTES :].decode()
        for hold in _there(DATA.get(reader, data)).holds:
            if (hold.until_ms, hold.order_hash, hold.organisation) == (until_ms, order, organisation):
                return HeldByOrder(data, hold)
        return None  # the same order was placed again, with another end

    # Above every row that ends by now, and below the next one.
    return rows_of(reader, HOLDS, b"", page, item, after=_stamp(reader.time_ms + 1))


def ask_sealed_accesses(reader: ChainReader, asked: AskSealedAccesses, page: Page) -> Found[SealedFound]:
    """See `AskSealedAccesses`."""
    return one(SealedFound(asked.organisation, sealed_accesses(reader, asked.organisation)))


def _named(organisation: OrganisationId) -> bytes:
    return organisation.encode() + b"\0"


def _stamp(time_ms: int) -> bytes:
    return time_ms.to_bytes(STAMP_BYTES, "big")


def _there(row: T | None) -> T:
    if row is None:
        raise Fatal("an index names what is not in the state")
    return row


QUERIES = (
    Query("consent.accesses-of", AskAccessesOf, Access, ask_accesses_of),
    Query("consent.accesses-by", AskAccessesBy, Access, ask_accesses_by),
    Query("consent.held-of", AskHeldOf, Held, ask_held_of),
    Query("consent.held-by", AskHeldBy, Held, ask_held_by),
    Query("consent.overdue-erasures", AskOverdueErasures, Overdue, ask_overdue_erasures),
    Query("consent.commercial-grants", AskCommercialGrants, Granted, ask_commercial_grants),
    Query("consent.grants", AskGrants, Granted, ask_grants),
    Query("consent.mandates", AskMandates, Mandated, ask_mandates),
    Query("consent.open-holds", AskOpenHolds, HeldByOrder, ask_open_holds),
    Query("consent.sealed-accesses", AskSealedAccesses, SealedFound, ask_sealed_accesses),
)
