"""Writing in the books: balances, chains of custody, weighings. Floor 4, pure."""

from collections.abc import Collection
from typing import Any, Final

from p2pledger.chain.payloads.custody import Fate
from p2pledger.chain.schema import SchemaClass
from p2pledger.codec import encode
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.custody.masses import month_of
from p2pledger.ledger.modules.custody.rows import (
    ALL,
    BALANCES,
    CLOSED_BY_MATERIAL,
    CLOSED_BY_PLACE,
    CLOSINGS,
    LOT_EVENTS,
    LOTS,
    MANIFESTS,
    MATERIALS,
    TOTAL_G_MAX,
    WEIGHINGS,
    Balance,
    Closings,
    Event,
    Lot,
    LotEvent,
    LotStatus,
    WeighingUse,
    balance_key,
    closings_key,
)
from p2pledger.ledger.modules.records import corrected_by, read_corrected_ahead
from p2pledger.ledger.modules.registry.rows import DEVICES
from p2pledger.ledger.modules.registry.schemas import schema_class
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes, new_row, with_fields, with_sums
from p2pledger.types import Hash

SCALES: Final = frozenset({"scale", "weighbridge"})
"""The kinds of device whose records are weighings."""


class Postings:
    """What one transaction does to balances: gathered, then written once for each that it touches.

    Each posting is to an organisation's balance and to that of all together.
    """

    def __init__(self) -> None:
        self._grams: dict[tuple[str, str], dict[str, int]] = {}

    def post(self, material: str, organisation: str, **grams: int) -> None:
        """Add these grams, or take them where they are negative, by the names of `Balance`'s fields."""
        for place in ((material, organisation), (material, ALL)):
            sums = self._grams.get(place)
            if sums is None:
                self._grams[place] = grams.copy()
                continue
            for field, more in grams.items():
                sums[field] = sums.get(field, 0) + more

    def settle(self, changes: Changes, context: Context) -> None:
        """Write the balances. Raises: InvalidTransaction when one would be beyond what a field holds."""
        for (material, organisation), grams in self._grams.items():
            key = balance_key(material, organisation)
            before = BALANCES.get(changes, key)
            if before is None:
                context.emit(MATERIALS, key)
                before = Balance()
            after = with_sums(before, grams)
            if max(vars(after).values()) > TOTAL_G_MAX:
                raise InvalidTransaction(
                    Code.TOO_MUCH_MASS, f"the balance of {material} would exceed {TOTAL_G_MAX} g"
                )
            BALANCES.put(changes, key, after)


def apply_event(
    changes: Changes, context: Context, lot_id: bytes, event: Event, before: Lot, **after: Any
) -> None:
    """Write a lot as something left it, with these fields `after` it, and the next link of its chain."""
    put_event(changes, context, lot_id, event, with_fields(before, events=before.events + 1, **after))


def put_event(changes: Changes, context: Context, lot_id: bytes, event: Event, lot: Lot) -> None:
    """Write a lot as the last of its `events` left it, and that event as a link of its chain."""
    LOTS.put(changes, lot_id, lot)
    at = context.round
    link = new_row(
        LotEvent,
        event=event,
        transaction_id=context.transaction_id,
        height=at.height,
        time_ms=at.time_ms,
        by=context.sponsor,
        holder=lot.holder,
        mass_g=lot.mass_g,
        place=lot.place,
        manifest=lot.manifest,
    )
    context.emit(LOT_EVENTS, lot_id + (lot.events - 1).to_bytes(4, "big"), encode(link))


def check_lot(changes: Changes, context: Context, lot_id: bytes) -> Lot:
    """A lot that the sponsor holds and may dispose of. Raises: InvalidTransaction."""
    row = LOTS.get(changes, lot_id)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_LOT, f"there is no lot {lot_id.hex()}")
    if row.holder != context.sponsor:
        raise InvalidTransaction(Code.NOT_HOLDER, f"lot {lot_id.hex()} is held by {row.holder!r}")
    if row.status is LotStatus.OFFERED and row.manifest is not None:
        offer = MANIFESTS.get(changes, row.manifest)
        if offer is not None and offer.is_lapsed(context.round.time_ms):
            return with_fields(row, status=LotStatus.HELD)
    if row.status is not LotStatus.HELD:
        raise InvalidTransaction(
            Code.LOT_UNAVAILABLE, f"lot {lot_id.hex()} is {row.status.name.lower().replace('_', ' ')}"
        )
    return row


def check_new_lot(changes: Changes, lot_id: bytes) -> None:
    """Refuse the id of a lot that is there, or was: lots stay known. Raises: InvalidTransaction."""
    if LOTS.get(changes, lot_id) is not None:
        raise InvalidTransaction(Code.LOT_TAKEN, f"there is a lot {lot_id.hex()}")


def apply_weighing(changes: Changes, context: Context, record_id: Hash) -> bytes:
    """Let the transaction rest on this weighing record, which nothing else does; returns the scale's id.

    What the record says stands in its transaction only, so that its mass is for auditors to compare.
    Raises: InvalidTransaction.
    """
    record = changes.record(record_id)
    if record is None:
        raise InvalidTransaction(Code.UNKNOWN_RECORD, f"there is no record {record_id.hex()}")
    device = None if record.device is None else DEVICES.get(changes, record.device)
    if record.device is None or device is None or device.kind not in SCALES:
        raise InvalidTransaction(Code.NOT_A_WEIGHING, "the record is not by a scale")
    if record.organisation != context.sponsor:
        raise InvalidTransaction(Code.NOT_A_WEIGHING, f"the record is of {record.organisation!r}")
    if schema_class(changes, record.schema) is SchemaClass.PERSONAL:
        raise InvalidTransaction(Code.NOT_A_WEIGHING, "what a person's scale shows is not for the books")
    if corrected_by(changes, record_id) is not None:
        raise InvalidTransaction(Code.NOT_A_WEIGHING, "the record was corrected")
    if WEIGHINGS.get(changes, record_id) is not None:
        raise InvalidTransaction(Code.WEIGHING_USED, f"something rests on {record_id.hex()} already")
    WEIGHINGS.put(changes, record_id, WeighingUse(context.transaction_id))
    return record.device


def read_weighings_ahead(changes: Changes, records: Collection[Hash]) -> None:
    """What `apply_weighing` is going to ask for, read together."""
    WEIGHINGS.read_ahead(changes, records)
    read_corrected_ahead(changes, records)
    found = changes.read_records_ahead(records)
    DEVICES.read_ahead(changes, {record.device for record in found if record.device is not None})


_FIELD_OF_FATE: Final = {
    Fate.RECYCLED: "recycled_g",
    Fate.COMPOSTED: "composted_g",
    Fate.ENERGY: "energy_g",
    Fate.LANDFILL: "landfill_g",
    Fate.SOLD: "sold_g",
}


def apply_closing(changes: Changes, context: Context, lot: Lot, fate: Fate) -> None:
    """Count a closed lot for its material and place, in the month of the block."""
    month = month_of(context.round.time_ms)
    key = closings_key(lot.material, month, lot.place)
    before = CLOSINGS.get(changes, key)
    if before is None:
        context.emit(CLOSED_BY_MATERIAL, key)
        context.emit(CLOSED_BY_PLACE, f"{lot.place}\0{month}\0{lot.material}".encode())
        before = Closings()
    CLOSINGS.put(changes, key, with_sums(before, {_FIELD_OF_FATE[fate]: lot.mass_g}))
