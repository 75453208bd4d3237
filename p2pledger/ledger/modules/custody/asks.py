"""What the table of queries has of custody: questions with limits, over `custody.queries`. Floor 4, pure."""

from dataclasses import dataclass
from typing import Annotated, Any

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads.custody import Fate, LotId, Material, Place
from p2pledger.codec import U32, Length, Pattern, Range
from p2pledger.errors import Code
from p2pledger.ledger.modules.custody import queries
from p2pledger.ledger.modules.custody.queries import Recycling, TracedLot
from p2pledger.ledger.modules.custody.rows import (
    ALL,
    TOTAL_G_MAX,
    Balance,
    Discrepancy,
    LotEvent,
    LotStatus,
    lot,
)
from p2pledger.ledger.queries import ChainReader, Found, Page, Query, Unanswered

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
    """Lots that a lot came from, the nearest first; each once, at most 4,096 of them."""

    lot: OfLot


@dataclass(frozen=True)
class AskLotForward:
    """Lots that a lot became, the nearest first; each once, at most 4,096 of them."""

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

    The rate is of what was treated, which leaves out what was sold; null where nothing was.
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


def _check_lot(reader: ChainReader, lot_id: LotId) -> None:
    if lot(reader, lot_id) is None:
        raise Unanswered(Code.UNKNOWN_LOT, f"there is no lot {lot_id.hex()}")


def _found(page: queries.Page[Any]) -> Found[Any]:
    return Found(page.items, page.after)


def ask_chain(reader: ChainReader, asked: AskChain, page: Page) -> Found[LotEvent]:
    """See `AskChain`. Raises: Unanswered."""
    _check_lot(reader, asked.lot)
    return _found(queries.chain_of_custody(reader.scan, asked.lot, page.after, page.limit))


def _traced(page: queries.Page[TracedLot]) -> Found[LotTraced]:
    items = []
    for one in page.items:
        row = one.lot
        items.append(
            LotTraced(
                one.lot_id, one.steps, row.material, row.mass_g, row.holder, row.status, row.place, row.fate
            )
        )
    return Found(tuple(items), page.after)


def ask_trace_back(reader: ChainReader, asked: AskLotBack, page: Page) -> Found[LotTraced]:
    """See `AskLotBack`. Raises: Unanswered."""
    _check_lot(reader, asked.lot)
    return _traced(queries.trace_back(reader, asked.lot, page.after, page.limit))


def ask_trace_forward(reader: ChainReader, asked: AskLotForward, page: Page) -> Found[LotTraced]:
    """See `AskLotForward`. Raises: Unanswered."""
    _check_lot(reader, asked.lot)
    return _traced(queries.trace_forward(reader, reader.scan, asked.lot, page.after, page.limit))


def _recycling(page: queries.Page[Recycling]) -> Found[RecyclingFound]:
    items = []
    for one in page.items:
        row = one.closings
        grams = row.recycled_g, row.composted_g, row.energy_g, row.landfill_g, row.sold_g
        items.append(
            RecyclingFound(one.material, one.month, one.place, *grams, one.treated_g, one.rate_per_mille)
        )
    return Found(tuple(items), page.after)


def ask_recycling_of_material(
    reader: ChainReader, asked: AskRecyclingOfMaterial, page: Page
) -> Found[RecyclingFound]:
    """See `AskRecyclingOfMaterial`."""
    month, paging = asked.month, (page.after, page.limit)
    return _recycling(queries.recycling_of_material(reader, reader.scan, asked.material, month, *paging))


def ask_recycling_at_place(
    reader: ChainReader, asked: AskRecyclingAtPlace, page: Page
) -> Found[RecyclingFound]:
    """See `AskRecyclingAtPlace`."""
    month, paging = asked.month, (page.after, page.limit)
    return _recycling(queries.recycling_at_place(reader, reader.scan, asked.place, month, *paging))


def ask_open_discrepancies(
    reader: ChainReader, asked: AskOpenDiscrepancies, page: Page
) -> Found[Discrepancy]:
    """See `AskOpenDiscrepancies`."""
    return _found(queries.open_discrepancies(reader.scan, asked.organisation, page.after, page.limit))


def ask_mass_balance(reader: ChainReader, asked: AskMassBalance, page: Page) -> Found[MaterialBalanceFound]:
    """See `AskMassBalance`."""
    found = queries.mass_balance(reader, reader.scan, asked.organisation, page.after, page.limit)
    items = (
        MaterialBalanceFound(one.material, one.balance, one.balance.into_g, one.balance.out_of_g)
        for one in found.items
    )
    return Found(tuple(items), found.after)


QUERIES = (
    Query("custody.chain", AskChain, LotEvent, ask_chain),
    Query("custody.trace-back", AskLotBack, LotTraced, ask_trace_back, TRACE_ROWS_MAX),
    Query("custody.trace-forward", AskLotForward, LotTraced, ask_trace_forward, TRACE_ROWS_MAX),
    Query("custody.recycling-of-material", AskRecyclingOfMaterial, RecyclingFound, ask_recycling_of_material),
    Query("custody.recycling-at-place", AskRecyclingAtPlace, RecyclingFound, ask_recycling_at_place),
    Query("custody.open-discrepancies", AskOpenDiscrepancies, Discrepancy, ask_open_discrepancies),
    Query("custody.mass-balance", AskMassBalance, MaterialBalanceFound, ask_mass_balance),
)
