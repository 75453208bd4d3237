"""What can be asked of custody: where a lot was and what became of it; rates, balances. Floor 4, pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads.custody import OUTPUTS_MAX, Fate, LotId, Material, Place
from p2pledger.codec import U32, Length, Pattern, Range, decode
from p2pledger.errors import Code
from p2pledger.ledger.modules.custody.rows import (
    ALL,
    CHILDREN,
    CLOSED_BY_MATERIAL,
    CLOSED_BY_PLACE,
    DISCREPANCIES,
    LOT_EVENTS,
    MATERIALS,
    TOTAL_G_MAX,
    Balance,
    Discrepancy,
    Lot,
    LotEvent,
    LotStatus,
    balance,
    closings,
    lot,
)
from p2pledger.ledger.queries import TOO_MANY_ROWS, ChainReader, Found, Page, Query, Unanswered, rows_of

TRACE_LOTS_MAX = 4_096
"""How many lots a trace visits at most, all its pages together: the nearest ones.

From each it looks at the 16 neighbours at most that one transformation gave it.
"""
TRACE_ROWS_MAX = 100
"""Each page of a trace goes the way from the lot again."""

_Grams = Annotated[int, Range(0, TOTAL_G_MAX)]
_Month = Annotated[str, Length(7, 7), Pattern("[0-9]{4}-(0[1-9]|1[0-2])")]
OfLot = Annotated[LotId, "The lot, by its id."]
InMonth = Annotated[
    str,
    Length(0, 7),
    Pattern("([0-9]{4}-(0[1-9]|1[0-2]))?"),
    "A month in UTC, such as 2026-01; all of them when left out.",
]
InHands = Annotated[
    str,
    Length(0, 32),
    Pattern("([a-z0-9]+(-[a-z0-9]+)*)?"),
    "An organisation; all of them together when left out.",
]


@dataclass(frozen=True)
class AskChain:
    """A lot's chain of custody from its beginning on: who had it, where, at which mass, by which manifest."""

    lot: OfLot


@dataclass(frozen=True)
class AskLotBack:
    """Lots that a lot came from, the nearest first; each once, at most 4,096 of them.

    Where there are more, the last page has a cursor, which is refused: trace one of its lots.
    """

    lot: OfLot


@dataclass(frozen=True)
class AskLotForward:
    """Lots that a lot became, the nearest first; each once, at most 4,096 of them.

    Where there are more, the last page has a cursor, which is refused: trace one of its lots.
    """

    lot: OfLot


@dataclass(frozen=True)
class AskRecyclingOfMaterial:
    """What became of a material and at which recycling rate, by month and place."""

    material: Annotated[Material, "Six digits of the EU List of Waste, or a GTIN of 14."]
    month: InMonth = ""


@dataclass(frozen=True)
class AskRecyclingAtPlace:
    """What became of the materials at a place and at which recycling rate, by month and material."""

    place: Annotated[Place, "A container, a route or a facility."]
    month: InMonth = ""


@dataclass(frozen=True)
class AskOpenDiscrepancies:
    """Shipments that are frozen until both sides agree on the mass, the oldest first.

    Of one organisation on either side, or of all. A page may have fewer items than its limit.
    """

    organisation: InHands = ALL


@dataclass(frozen=True)
class AskMassBalance:
    """The mass balance of a facility, or of all hands together, by material."""

    organisation: InHands = ALL


@dataclass(frozen=True)
class LotTraced:
    """A lot on the way; `steps` is how many transformations lie between."""

    lot: LotId
    steps: U32
    material: Material
    mass_g: _Grams
    holder: OrganisationId
    status: LotStatus
    place: Place
    fate: Fate | None


@dataclass(frozen=True)
class RecyclingFound:
    """Grams of a material that were closed at a place in a month, by fate, and the rate rounded down.

    Compost is recycling, energy and landfill are not (Directive 2008/98/EC, article 11a); what was sold is
    no waste, and counts on neither side. The rate is of what was treated; null where nothing was.
    """

    material: Material
    month: _Month
    place: Place
    recycled_g: _Grams
    composted_g: _Grams
    energy_g: _Grams
    landfill_g: _Grams
    sold_g: _Grams
    treated_g: _Grams
    rate_per_mille: Annotated[int, Range(0, 1_000)] | None


@dataclass(frozen=True)
class MaterialBalanceFound:
    """A material's balance since genesis. `into_g` and `out_of_g` are its two sides, and are equal."""

    material: Material
    balance: Balance
    into_g: _Grams
    out_of_g: _Grams


def _there(reader: ChainReader, lot_id: LotId) -> Lot:
    row = lot(reader, lot_id)
    if row is None:
        raise Unanswered(Code.UNKNOWN_LOT, f"there is no lot {lot_id.hex()}")
    return row


def ask_chain(reader: ChainReader, asked: AskChain, page: Page) -> Found[LotEvent]:
    """See `AskChain`. Raises: Unanswered."""
    _there(reader, asked.lot)

    def item(_: bytes, value: bytes) -> LotEvent:
        found: LotEvent = decode(LotEvent, value)
        return found

    return rows_of(reader, LOT_EVENTS, asked.lot, page, item)


_Neighbours = Callable[[LotId, Lot], Sequence[LotId]]


def ask_trace_back(reader: ChainReader, asked: AskLotBack, page: Page) -> Found[LotTraced]:
    """See `AskLotBack`; those that are as near in the order of the transformations. Raises: Unanswered."""
    return _trace(reader, asked.lot, lambda _, row: row.parents, page)


def ask_trace_forward(reader: ChainReader, asked: AskLotForward, page: Page) -> Found[LotTraced]:
    """See `AskLotForward`; those that are as near by their ids. Raises: Unanswered."""

    def children(lot_id: LotId, _: Lot) -> Sequence[LotId]:
        rows = reader.scan(CHILDREN, lot_id, b"", OUTPUTS_MAX)  # a lot is spent once
        return [key[len(lot_id) :] for key, _ in rows]

    return _trace(reader, asked.lot, children, page)


def _trace(reader: ChainReader, start: LotId, neighbours: _Neighbours, page: Page) -> Found[LotTraced]:
    """A page of a walk, that begins behind the lot that the cursor names."""
    shown: list[LotTraced] = []
    is_behind = not page.after
    for traced in _walk(reader, start, _there(reader, start), neighbours):
        if traced is None and not shown:
            raise Unanswered(TOO_MANY_ROWS, f"{TRACE_LOTS_MAX} lots were traced, and there are more")
        if traced is None or len(shown) == page.limit:
            return Found(tuple(shown), shown[-1].lot)
        if is_behind:
            shown.append(traced)
        is_behind = is_behind or traced.lot == page.after
    return Found(tuple(shown))


def _walk(reader: ChainReader, start: LotId, row: Lot, neighbours: _Neighbours) -> Iterator[LotTraced | None]:
    """Breadth first from a lot, each lot once; None at the end where there are more than may be visited."""
    seen, line, steps = {start}, [(start, row)], 0
    while line:
        steps += 1
        following = []
        for lot_id, its_row in line:
            for near in neighbours(lot_id, its_row):
                if near in seen:
                    continue
                if len(seen) > TRACE_LOTS_MAX:
                    yield None
                    return
                near_row = _there(reader, near)
                seen.add(near)
                following.append((near, near_row))
                yield _traced(near, steps, near_row)
        line = following


def _traced(lot_id: LotId, steps: int, row: Lot) -> LotTraced:
    return LotTraced(lot_id, steps, row.material, row.mass_g, row.holder, row.status, row.place, row.fate)


def _recycling(reader: ChainReader, material: Material, month: str, place: Place) -> RecyclingFound:
    row = closings(reader, material, month, place)
    recycled_g = row.recycled_g + row.composted_g
    treated_g = recycled_g + row.energy_g + row.landfill_g
    return RecyclingFound(
        material=material,
        month=month,
        place=place,
        recycled_g=row.recycled_g,
        composted_g=row.composted_g,
        energy_g=row.energy_g,
        landfill_g=row.landfill_g,
        sold_g=row.sold_g,
        treated_g=treated_g,
        rate_per_mille=recycled_g * 1_000 // treated_g if treated_g else None,
    )


def _of_month(name: str, month: str) -> bytes:
    return f"{name}\0{month}\0".encode() if month else f"{name}\0".encode()


def ask_recycling_of_material(
    reader: ChainReader, asked: AskRecyclingOfMaterial, page: Page
) -> Found[RecyclingFound]:
    """See `AskRecyclingOfMaterial`."""

    def item(key: bytes, _: bytes) -> RecyclingFound:
        material, month, place = key.decode().split("\0")
        return _recycling(reader, material, month, place)

    return rows_of(reader, CLOSED_BY_MATERIAL, _of_month(asked.material, asked.month), page, item)


def ask_recycling_at_place(
    reader: ChainReader, asked: AskRecyclingAtPlace, page: Page
) -> Found[RecyclingFound]:
    """See `AskRecyclingAtPlace`."""

    def item(key: bytes, _: bytes) -> RecyclingFound:
        place, month, material = key.decode().split("\0")
        return _recycling(reader, material, month, place)

    return rows_of(reader, CLOSED_BY_PLACE, _of_month(asked.place, asked.month), page, item)


def ask_open_discrepancies(
    reader: ChainReader, asked: AskOpenDiscrepancies, page: Page
) -> Found[Discrepancy]:
    """See `AskOpenDiscrepancies`."""

    def item(_: bytes, value: bytes) -> Discrepancy | None:
        found: Discrepancy = decode(Discrepancy, value)
        return found if found.accepted_mass_g is None else None

    return rows_of(reader, DISCREPANCIES, asked.organisation.encode() + b"\0", page, item)


def ask_mass_balance(reader: ChainReader, asked: AskMassBalance, page: Page) -> Found[MaterialBalanceFound]:
    """See `AskMassBalance`."""
    prefix = asked.organisation.encode() + b"\0"

    def item(key: bytes, _: bytes) -> MaterialBalanceFound:
        material = key[len(prefix) :].decode()
        row = balance(reader, material, asked.organisation)
        return MaterialBalanceFound(material, row, row.into_g, row.out_of_g)

    return rows_of(reader, MATERIALS, prefix, page, item)


QUERIES = (
    Query("custody.chain", AskChain, LotEvent, ask_chain),
    Query("custody.trace-back", AskLotBack, LotTraced, ask_trace_back, TRACE_ROWS_MAX),
    Query("custody.trace-forward", AskLotForward, LotTraced, ask_trace_forward, TRACE_ROWS_MAX),
    Query("custody.recycling-of-material", AskRecyclingOfMaterial, RecyclingFound, ask_recycling_of_material),
    Query("custody.recycling-at-place", AskRecyclingAtPlace, RecyclingFound, ask_recycling_at_place),
    Query("custody.open-discrepancies", AskOpenDiscrepancies, Discrepancy, ask_open_discrepancies),
    Query("custody.mass-balance", AskMassBalance, MaterialBalanceFound, ask_mass_balance),
)
