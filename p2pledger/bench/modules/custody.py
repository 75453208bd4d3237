"""Blocks of custody's kinds: a lot created, shipped, disputed, settled, transformed, closed. Floor 9."""

from collections.abc import Iterator, Sequence
from typing import Any

from p2pledger.bench.modules.turn import Turn
from p2pledger.bench.solo import SPONSOR
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


def kinds(
    turn: Turn, weighings: Sequence[Transaction], receipts: Sequence[Transaction]
) -> Iterator[list[Transaction]]:
    """A block of each kind, for as many lots as there are weighings; these are the devices' records.

    The sponsor ships to itself; half of each load does not arrive.
    """
    for payloads in _payloads(weighings, receipts, turn.ledger.next_round.time_ms):
        yield [
            turn.by_admin(payload, *([device.signer] if isinstance(payload, LotCreate) else []))
            for payload, device in zip(payloads, turn.writers, strict=True)
        ]


def _payloads(
    weighings: Sequence[Transaction], receipts: Sequence[Transaction], at_ms: Millis
) -> Iterator[list[Any]]:
    lots = [weighing.id[:16] for weighing in weighings]
    made = [weighing.id[16:] for weighing in weighings]
    yield [
        LotCreate(lot, _MATERIAL, MASS_G, _PLACE, at_ms, one.id)
        for lot, one in zip(lots, weighings, strict=True)
    ]
    yield [ShipOffer(lot, (lot,), SPONSOR, SPONSOR) for lot in lots]
    yield [ShipAccept(lot) for lot in lots]
    yield [ShipReceive(lot, MASS_G // 2, _PLACE, one.id) for lot, one in zip(lots, receipts, strict=True)]
    yield [DiscrepancyResolve(lot, DiscrepancyReason.SPILLAGE, MASS_G // 2) for lot in lots]
    yield [
        LotTransform((lot,), (NewLot(new, "191201", MASS_G // 2 - 1),), 1, "sorting", _PLACE)
        for lot, new in zip(lots, made, strict=True)
    ]
    yield [LotClose(new, Fate.RECYCLED) for new in made]
