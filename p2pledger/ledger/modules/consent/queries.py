"""What residents, organisations and the public may ask of consent. Floor 4, pure.

Functions over a state and over `Store.scan` of the same height. Lists are paged in key order, which never
changes for rows that are there: a page goes on after the key that the one before it ended with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import MandateId
from p2pledger.chain.payloads.consent import CUSTODIANS_MAX, USES_MAX
from p2pledger.codec import Length, Range
from p2pledger.ledger.modules.consent.accesses import ACCESSES_BY, ACCESSES_OF, is_entitled, uses
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
from p2pledger.ledger.queries import Scan
from p2pledger.ledger.state import Readable
from p2pledger.types import Hash, Height, Millis, PublicKey

T = TypeVar("T")

PAGE_MAX = 1_000
"""How many items a page has at most."""
HASH_BYTES, STAMP_BYTES = 32, 8


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items of a list, and the key to ask for more with; None when there are no more."""

    items: tuple[T, ...]
    after: bytes | None


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


def accesses_of(
    reader: Readable, scan: Scan, handle: PublicKey, height: Height, after: bytes = b"", limit: int = PAGE_MAX
) -> Page[Access]:
    """Who asked for a handle's data, oldest first, as it is shown after the block of this height.

    Sealed accesses come in at their places once they are open; neither items nor `after` tell of them before.
    """
    return _page(scan, ACCESSES_OF, handle, after, limit, _shown_access(reader, height))


def accesses_by(
    reader: Readable,
    scan: Scan,
    organisation: OrganisationId,
    height: Height,
    after: bytes = b"",
    limit: int = PAGE_MAX,
) -> Page[Access]:
    """What an organisation asked for, oldest first; sealed ones as in `accesses_of`."""
    prefix = organisation.encode() + b"\0"
    return _page(scan, ACCESSES_BY, prefix, after, limit, _shown_access(reader, height))


def held_of(reader: Readable, handle: PublicKey) -> tuple[Held, ...]:
    """What is held under a handle, where and until when, in the order of registration; erased data too."""
    row = HANDLES.get(reader, handle)
    ids = () if row is None else row.data
    return tuple(Held(data, _there(DATA.get(reader, data))) for data in ids)


def held_by(
    reader: Readable, scan: Scan, custodian: OrganisationId, after: bytes = b"", limit: int = PAGE_MAX
) -> Page[Held]:
    """What a custodian holds and has not erased, by the end of its retention."""

    def shown(key: bytes) -> Held | None:
        row = _there(DATA.get(reader, Hash(key[-HASH_BYTES:])))
        return Held(Hash(key[-HASH_BYTES:]), row) if custodian in row.missing else None

    return _page(scan, HELD, custodian.encode() + b"\0", after, limit, shown)


def overdue_erasures(
    reader: Readable, scan: Scan, time_ms: Millis, after: bytes = b"", limit: int = PAGE_MAX
) -> Page[Overdue]:
    """What should have been erased before this time and is not, by the state that `reader` reads.

    The longest overdue first. Its work grows with all that ever fell due: one asks seldom.
    """

    def shown(key: bytes) -> Overdue | None:
        data = Hash(key[STAMP_BYTES:])
        row = _there(DATA.get(reader, data))
        if row.is_erased or row.erase_by_ms != _stamp(key):
            return None
        return Overdue(data, row.erase_by_ms, row.missing)

    return _page(scan, DUE, b"", after, limit, shown, lambda key: _stamp(key) >= time_ms)


def commercial_grants(
    reader: Readable, scan: Scan, buyer: OrganisationId, after: bytes = b"", limit: int = PAGE_MAX
) -> Page[Granted]:
    """What residents let an organisation have for a price or for its gain, oldest first; revoked ones too."""
    return _page(scan, COMMERCIAL, buyer.encode() + b"\0", after, limit, _shown_grant(reader))


def grants_of(
    reader: Readable, scan: Scan, handle: PublicKey, after: bytes = b"", limit: int = PAGE_MAX
) -> Page[Granted]:
    """What a handle granted, oldest first; revoked ones too."""
    return _page(scan, GRANTS_OF, handle, after, limit, _shown_grant(reader))


def mandates_of(
    reader: Readable, scan: Scan, organisation: OrganisationId, after: bytes = b"", limit: int = PAGE_MAX
) -> Page[Mandated]:
    """The mandates of an organisation, by id; those that are over too."""
    prefix = organisation.encode() + b"\0"

    def shown(key: bytes) -> Mandated | None:
        mandate = key[len(prefix) :]
        return Mandated(mandate, _there(MANDATES.get(reader, mandate)))

    return _page(scan, MANDATES_OF, prefix, after, limit, shown)


def open_holds(
    reader: Readable, scan: Scan, time_ms: Millis, after: bytes = b"", limit: int = PAGE_MAX
) -> Page[HeldByOrder]:
    """The legal holds in force at a time, by their ends."""

    def shown(key: bytes) -> HeldByOrder | None:
        name = key[STAMP_BYTES:]
        data, order, organisation = (
            Hash(name[:HASH_BYTES]),
            name[HASH_BYTES:][:HASH_BYTES],
            name[64:].decode(),
        )
        for hold in _there(DATA.get(reader, data)).holds:
            if (hold.until_ms, hold.order_hash, hold.organisation) == (_stamp(key), order, organisation):
                return HeldByOrder(data, hold)
        return None

    start = (time_ms + 1).to_bytes(STAMP_BYTES, "big")  # above every row that ends by then, below the next
    return _page(scan, HOLDS, b"", max(after, start), limit, shown)


def _page(
    scan: Scan,
    index: str,
    prefix: bytes,
    after: bytes,
    limit: int,
    shown: Callable[[bytes], T | None],
    is_past: Callable[[bytes], bool] = lambda key: False,
) -> Page[T]:
    """The rows after a key that are shown, up to `limit`, and up to the first that is past the list's end.

    One shown item more is looked for, so that `after` never names a row that is not shown.
    """
    limit = max(1, min(limit, PAGE_MAX))
    items: list[T] = []
    last, place = b"", after
    while rows := scan(index, prefix, place, limit + 1):
        for key, _ in rows:
            if is_past(key):
                return Page(tuple(items), None)
            item = shown(key)
            if item is None:
                continue
            if len(items) == limit:
                return Page(tuple(items), last)
            items.append(item)
            last = key
        place = rows[-1][0]
    return Page(tuple(items), None)


def _shown_access(reader: Readable, height: Height) -> Callable[[bytes], Access | None]:
    def shown(key: bytes) -> Access | None:
        intent_id = Hash(key[-HASH_BYTES:])
        intent = _there(INTENTS.get(reader, intent_id))
        if not intent.is_open(height):
            return None
        data = _there(DATA.get(reader, intent.data))
        return Access(intent_id, data.handle, intent, is_entitled(reader, intent_id, intent.height))

    return shown


def _shown_grant(reader: Readable) -> Callable[[bytes], Granted | None]:
    def shown(key: bytes) -> Granted | None:
        grant = Hash(key[-HASH_BYTES:])
        return Granted(grant, _there(GRANTS.get(reader, grant)), uses(reader, grant))

    return shown


def _stamp(key: bytes) -> int:
    return int.from_bytes(key[:STAMP_BYTES], "big")


def _there(row: T | None) -> T:
    assert row is not None, "an index row stands for a row of the state"
    return row
