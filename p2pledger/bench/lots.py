"""A lot's life for `bench modules`: created, shipped, disputed, settled, transformed, closed. Floor 9."""

from collections.abc import Iterator, Sequence
from typing import Any

from p2pledger.chain.payloads import (
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotCreate,
    LotTransform,
    NewLot,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.types import Millis

MASS_G = 1_000_000
_MATERIAL, _PLACE = "200301", "facility:bench"


def lot_payloads(
    organisation: str, weighings: Sequence[Transaction], receipts: Sequence[Transaction], at_ms: Millis
) -> Iterator[list[Any]]:
    """The payloads of a block of each kind of custody, for as many lots as there are weighings.

    The organisation, whose scales wrote the weighings and the receipts' records, ships to itself; half of
    each load does not arrive.
    """
    lots = [weighing.id[:16] for weighing in weighings]
    made = [weighing.id[16:] for weighing in weighings]
    yield [
        LotCreate(lot, _MATERIAL, MASS_G, _PLACE, at_ms, one.id)
        for lot, one in zip(lots, weighings, strict=True)
    ]
    yield [ShipOffer(lot, (lot,), organisation, organisation) for lot in lots]
    yield [ShipAccept(lot) for lot in lots]
    yield [ShipReceive(lot, MASS_G // 2, _PLACE, one.id) for lot, one in zip(lots, receipts, strict=True)]
    yield [DiscrepancyResolve(lot, DiscrepancyReason.SPILLAGE, MASS_G // 2) for lot in lots]
    yield [
        LotTransform((lot,), (NewLot(new, "191201", MASS_G // 2 - 1),), 1, "sorting", _PLACE)
        for lot, new in zip(lots, made, strict=True)
    ]
    yield [LotClose(new, Fate.RECYCLED) for new in made]
