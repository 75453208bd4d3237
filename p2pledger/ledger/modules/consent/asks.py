"""What the table of queries has of consent: questions with limits, over `consent.queries`. Floor 4, pure."""

from dataclasses import dataclass
from typing import Annotated, Any

from p2pledger.chain.authority import OrganisationId
from p2pledger.codec import U64, Length, Pattern
from p2pledger.ledger.modules.consent import queries
from p2pledger.ledger.modules.consent.accesses import sealed_accesses
from p2pledger.ledger.modules.consent.queries import Access, Granted, Held, HeldByOrder, Mandated, Overdue
from p2pledger.ledger.queries import ChainReader, Found, Page, Query, one
from p2pledger.types import PublicKey

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
    """What a custodian holds and has not erased, and until when, by the end of the retention."""

    custodian: Annotated[OrganisationId, "The custodian."]


@dataclass(frozen=True)
class AskOverdueErasures:
    """Data that should be erased by now, and who has not reported it; the longest overdue first."""


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
    """Legal holds in force, by their ends."""


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
class SealedFound:
    """How many sealed accesses there ever were, of an organisation or, with an empty name, of all."""

    organisation: Annotated[str, Length(0, 32)]
    count: U64


def _found(page: queries.Page[Any]) -> Found[Any]:
    return Found(page.items, page.after)


def ask_accesses_of(reader: ChainReader, asked: AskAccessesOf, page: Page) -> Found[Access]:
    """See `AskAccessesOf`."""
    height, paging = reader.height, (page.after, page.limit)
    return _found(queries.accesses_of(reader, reader.scan, asked.handle, height, *paging))


def ask_accesses_by(reader: ChainReader, asked: AskAccessesBy, page: Page) -> Found[Access]:
    """See `AskAccessesBy`."""
    height, paging = reader.height, (page.after, page.limit)
    return _found(queries.accesses_by(reader, reader.scan, asked.organisation, height, *paging))


def ask_held_of(reader: ChainReader, asked: AskHeldOf, page: Page) -> Found[Held]:
    """See `AskHeldOf`. The cursor is the last datum's id."""
    held = queries.held_of(reader, asked.handle)
    first = next((i + 1 for i, each in enumerate(held) if each.id == page.after), 0)
    shown = held[first : first + page.limit]
    return Found(shown, shown[-1].id if first + page.limit < len(held) else None)


def ask_held_by(reader: ChainReader, asked: AskHeldBy, page: Page) -> Found[Held]:
    """See `AskHeldBy`."""
    return _found(queries.held_by(reader, reader.scan, asked.custodian, page.after, page.limit))


def ask_overdue_erasures(reader: ChainReader, asked: AskOverdueErasures, page: Page) -> Found[Overdue]:
    """See `AskOverdueErasures`."""
    return _found(queries.overdue_erasures(reader, reader.scan, reader.time_ms, page.after, page.limit))


def ask_commercial_grants(reader: ChainReader, asked: AskCommercialGrants, page: Page) -> Found[Granted]:
    """See `AskCommercialGrants`."""
    return _found(queries.commercial_grants(reader, reader.scan, asked.buyer, page.after, page.limit))


def ask_grants(reader: ChainReader, asked: AskGrants, page: Page) -> Found[Granted]:
    """See `AskGrants`."""
    return _found(queries.grants_of(reader, reader.scan, asked.handle, page.after, page.limit))


def ask_mandates(reader: ChainReader, asked: AskMandates, page: Page) -> Found[Mandated]:
    """See `AskMandates`."""
    return _found(queries.mandates_of(reader, reader.scan, asked.organisation, page.after, page.limit))


def ask_open_holds(reader: ChainReader, asked: AskOpenHolds, page: Page) -> Found[HeldByOrder]:
    """See `AskOpenHolds`."""
    return _found(queries.open_holds(reader, reader.scan, reader.time_ms, page.after, page.limit))


def ask_sealed_accesses(reader: ChainReader, asked: AskSealedAccesses, page: Page) -> Found[SealedFound]:
    """See `AskSealedAccesses`."""
    return one(SealedFound(asked.organisation, sealed_accesses(reader, asked.organisation)))


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
