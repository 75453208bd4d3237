"""What can be asked of custody, over the state and the index rows. Floor 4, pure.

Every list is paged, in an order that stays as it is while the chain grows: what is new gets its place in it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from p2pledger.codec import decode
from p2pledger.ledger.modules.custody.rows import (
    ALL,
    CHILDREN,
    CLOSED_BY_MATERIAL,
    CLOSED_BY_PLACE,
    DISCREPANCIES,
    LOT_EVENTS,
    LOTS,
    MATERIALS,
    Balance,
    Closings,
    Discrepancy,
    Lot,
    LotEvent,
    balance,
    closings,
)
from p2pledger.ledger.queries import Scan
from p2pledger.ledger.state import Readable

T = TypeVar("T")

TRACE_LOTS_MAX = 4_096
"""How many lots a trace visits at most, all its pages together: the nearest ones."""
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of what was asked for, in order. Ask again with `after` for what follows; None: that was all."""

    items: tuple[T, ...]
    after: bytes | None


@dataclass(frozen=True)
class TracedLot:
    """A lot that another one came from, or became; `steps` is how many transformations lie between."""

    lot_id: bytes
    steps: int
    lot: Lot


@dataclass(frozen=True)
class MaterialBalance:
    """A material, and its balance in the hands that were asked for."""

    material: str
    balance: Balance


@dataclass(frozen=True)
class Recycling:
    """What became of a material at a place in a month.

    Compost is recycling, energy and landfill are not (Directive 2008/98/EC, article 11a); what was sold is
    no waste, and counts on neither side.
    """

    material: str
    month: str
    place: str
    closings: Closings

    @property
    def recycled_g(self) -> int:
        """What counts as recycled."""
        return self.closings.recycled_g + self.closings.composted_g

    @property
    def treated_g(self) -> int:
        """What the rate is a share of."""
        return self.recycled_g + self.closings.energy_g + self.closings.landfill_g

    @property
    def rate_per_mille(self) -> int | None:
        """The recycling rate, rounded down; None where nothing was treated."""
        return self.recycled_g * 1_000 // self.treated_g if self.treated_g else None


def recycling_rate_per_mille(rows: Iterable[Recycling]) -> int | None:
    """The rate over several materials, months or places together; None where nothing was treated."""
    recycled_g = treated_g = 0
    for row in rows:
        recycled_g, treated_g = recycled_g + row.recycled_g, treated_g + row.treated_g
    return recycled_g * 1_000 // treated_g if treated_g else None


def chain_of_custody(scan: Scan, lot_id: bytes, after: bytes = b"", limit: int = 100) -> Page[LotEvent]:
    """What happened to a lot, from its beginning on: who had it, where, at which mass, by which manifest."""
    return _page(
        ((key, decode(LotEvent, value)) for key, value in _rows(scan, LOT_EVENTS, lot_id, after)), limit
    )


def trace_back(reader: Readable, lot_id: bytes, after: bytes = b"", limit: int = 100) -> Page[TracedLot]:
    """The lots that a lot came from, nearest first, in the order that the transformations name them."""

    def parents(lot: bytes) -> Iterator[bytes]:
        row = LOTS.get(reader, lot)
        return iter(row.parents if row is not None else ())

    return _trace(reader, lot_id, parents, after, limit)


def trace_forward(
    reader: Readable, scan: Scan, lot_id: bytes, after: bytes = b"", limit: int = 100
) -> Page[TracedLot]:
    """The lots that a lot became, nearest first, then by their ids."""

    def children(lot: bytes) -> Iterator[bytes]:
        return (key[len(lot) :] for key, _ in _rows(scan, CHILDREN, lot, b""))

    return _trace(reader, lot_id, children, after, limit)


def mass_balance(
    reader: Readable, scan: Scan, organisation: str = ALL, after: bytes = b"", limit: int = 100
) -> Page[MaterialBalance]:
    """The balances of a facility, or of all hands together, by material."""
    prefix = organisation.encode() + b"\0"
    names = ((key, key[len(prefix) :].decode()) for key, _ in _rows(scan, MATERIALS, prefix, after))
    return _page(
        ((key, MaterialBalance(name, balance(reader, name, organisation))) for key, name in names), limit
    )


def open_discrepancies(
    scan: Scan, organisation: str = ALL, after: bytes = b"", limit: int = 100
) -> Page[Discrepancy]:
    """What is frozen until both sides agree, oldest first: of one organisation on either side, or of all.

    A page looks at `limit` discrepancies, settled ones too, and may have fewer, or none, and not be the last.
    """
    rows = scan(DISCREPANCIES, organisation.encode() + b"\0", after, limit + 1)
    found = [decode(Discrepancy, value) for _, value in rows[:limit]]
    items = tuple(one for one in found if one.accepted_mass_g is None)
    return Page(items, rows[limit - 1][0] if len(rows) > limit else None)


def recycling_of_material(
    reader: Readable, scan: Scan, material: str, month: str = "", after: bytes = b"", limit: int = 100
) -> Page[Recycling]:
    """What became of a material, by month and place; in one month, or in all."""
    rows = _rows(scan, CLOSED_BY_MATERIAL, _prefix(material, month), after)
    names = ((key, key.decode().split("\0")) for key, _ in rows)
    return _page(
        (
            (key, Recycling(name, when, at, closings(reader, name, when, at)))
            for key, (name, when, at) in names
        ),
        limit,
    )


def recycling_at_place(
    reader: Readable, scan: Scan, place: str, month: str = "", after: bytes = b"", limit: int = 100
) -> Page[Recycling]:
    """What became of the materials at a place, by month and material; in one month, or in all."""
    rows = _rows(scan, CLOSED_BY_PLACE, _prefix(place, month), after)
    names = ((key, key.decode().split("\0")) for key, _ in rows)
    return _page(
        (
            (key, Recycling(name, when, at, closings(reader, name, when, at)))
            for key, (at, when, name) in names
        ),
        limit,
    )


def _prefix(name: str, month: str) -> bytes:
    return f"{name}\0{month}\0".encode() if month else f"{name}\0".encode()


def _rows(scan: Scan, index: str, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All rows of a prefix above a key, some at a time."""
    while rows := scan(index, prefix, after, _ROWS_AT_ONCE):
        yield from rows
        after = rows[-1][0]


def _page(found: Iterator[tuple[bytes, T]], limit: int) -> Page[T]:
    """The first `limit` of these; `after` is the key of the last one, if there are more."""
    some = list(islice(found, limit + 1))
    is_more = len(some) > limit
    items = some[:limit]
    return Page(tuple(item for _, item in items), items[-1][0] if is_more and items else None)


def _trace(
    reader: Readable, start: bytes, neighbours: Callable[[bytes], Iterator[bytes]], after: bytes, limit: int
) -> Page[TracedLot]:
    """Breadth first from a lot, each lot once; a page begins behind the lot `after`."""
    found = _walk(reader, start, neighbours)
    if after:
        for key, _ in found:
            if key == after:
                break
    return _page(found, limit)


def _walk(
    reader: Readable, start: bytes, neighbours: Callable[[bytes], Iterator[bytes]]
) -> Iterator[tuple[bytes, TracedLot]]:
    seen, line, steps = {start}, [start], 0
    while line:
        steps += 1
        following = []
        for lot_id in line:
            for near in neighbours(lot_id):
                row = LOTS.get(reader, near)
                if near in seen or row is None or len(seen) > TRACE_LOTS_MAX:
                    continue
                seen.add(near)
                following.append(near)
                yield near, TracedLot(near, steps, row)
        line = following
