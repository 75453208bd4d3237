"""Rules for shipments: offer, accept, receive, and settling a discrepancy. Floor 4, pure."""

from collections.abc import Collection

from p2pledger.chain.payloads.custody import (
    MASS_G_MAX,
    DiscrepancyResolve,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.codec import encode
from p2pledger.errors import Code, Fatal, InvalidTransaction
from p2pledger.ledger.modules.custody.books import (
    Postings,
    apply_event,
    apply_weighing,
    check_lot,
    read_weighings_ahead,
)
from p2pledger.ledger.modules.custody.lots import BY_THE_ORGANISATION, ORGANISATION_ROLES
from p2pledger.ledger.modules.custody.masses import is_within_tolerance, split
from p2pledger.ledger.modules.custody.rows import (
    ALL,
    DISCREPANCIES,
    LOTS,
    MANIFESTS,
    OFFER_LAPSES_MS,
    Discrepancy,
    Event,
    Lot,
    LotStatus,
    Manifest,
    ManifestStatus,
)
from p2pledger.ledger.modules.registry import check_organisation, live_keys
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, with_fields


def apply_offer(changes: Changes, context: Context, payload: ShipOffer) -> bytes:
    """A manifest more; its lots are bound to it until it is accepted or lapses."""
    if MANIFESTS.get(changes, payload.manifest) is not None:
        raise InvalidTransaction(Code.MANIFEST_TAKEN, f"there is a manifest {payload.manifest.hex()}")
    for name in (payload.carrier, payload.consignee):
        check_organisation(changes, name)
    lots = {lot_id: check_lot(changes, context, lot_id) for lot_id in payload.lots}
    mass_g = sum(lot.mass_g for lot in lots.values())
    if mass_g > MASS_G_MAX:
        raise InvalidTransaction(Code.TOO_MUCH_MASS, f"the lots weigh {mass_g} g, {MASS_G_MAX} at most")
    row = Manifest(
        lots=payload.lots,
        shipper=context.sponsor,
        carrier=payload.carrier,
        consignee=payload.consignee,
        mass_g=mass_g,
        offered_ms=context.round.time_ms,
        status=ManifestStatus.OFFERED,
    )
    MANIFESTS.put(changes, payload.manifest, row)
    for lot_id, lot in lots.items():
        bound = {"status": LotStatus.OFFERED, "manifest": payload.manifest}
        apply_event(changes, context, lot_id, Event.OFFERED, lot, **bound)
    return b""


def apply_accept(changes: Changes, context: Context, payload: ShipAccept) -> bytes:
    """The lots are in transit. They stay in the shipper's books until they are received."""
    row = _check_step(changes, payload.manifest, ManifestStatus.OFFERED)
    _check_party(context, row.carrier, "carrier")
    if row.is_lapsed(context.round.time_ms):
        raise InvalidTransaction(
            Code.OFFER_LAPSED, f"the offer ended at {row.offered_ms + OFFER_LAPSES_MS} ms"
        )
    MANIFESTS.put(changes, payload.manifest, with_fields(row, status=ManifestStatus.IN_TRANSIT))
    postings = Postings()
    for lot_id, lot in _lots(changes, row).items():
        apply_event(changes, context, lot_id, Event.ACCEPTED, lot, status=LotStatus.IN_TRANSIT)
        postings.post(lot.material, row.shipper, held_g=-lot.mass_g, in_transit_g=lot.mass_g)
    postings.settle(changes, context)
    return b""


def apply_receive(changes: Changes, context: Context, payload: ShipReceive) -> bytes:
    """The lots are the consignee's, or frozen if the difference is beyond the tolerance."""
    before = _check_step(changes, payload.manifest, ManifestStatus.IN_TRANSIT)
    _check_party(context, before.consignee, "consignee")
    apply_weighing(changes, context, payload.weighing)
    is_disputed = not is_within_tolerance(before.mass_g, payload.mass_g)
    row = with_fields(
        before,
        status=ManifestStatus.DISPUTED if is_disputed else ManifestStatus.RECEIVED,
        received_mass_g=payload.mass_g,
        received_height=context.round.height,
        place=payload.place,
    )
    MANIFESTS.put(changes, payload.manifest, row)
    if not is_disputed:
        _apply_handover(changes, context, row, payload.mass_g, LotStatus.IN_TRANSIT)
        return b""
    postings = Postings()
    for lot_id, lot in _lots(changes, row).items():
        apply_event(changes, context, lot_id, Event.FROZEN, lot, status=LotStatus.FROZEN)
        postings.post(lot.material, row.shipper, in_transit_g=-lot.mass_g, frozen_g=lot.mass_g)
    postings.settle(changes, context)
    _emit_discrepancy(context, payload.manifest, row)
    return b""


def apply_resolve(changes: Changes, context: Context, payload: DiscrepancyResolve) -> bytes:
    """The lots are the consignee's at the mass that both sides accept."""
    before = _check_step(changes, payload.manifest, ManifestStatus.DISPUTED)
    if context.sponsor not in (before.shipper, before.consignee):
        raise InvalidTransaction(
            Code.NOT_A_PARTY, f"only {before.shipper!r} and {before.consignee!r} settle this"
        )
    keys = [key for key in live_keys(changes, context) if key.role in ORGANISATION_ROLES]
    for name in (before.shipper, before.consignee):
        if all(key.organisation != name for key in keys):
            raise InvalidTransaction(Code.MISSING_SIGNATURE, f"{name!r} has to sign this too")
    assert before.received_mass_g is not None, "a disputed manifest was received"
    least, most = sorted((before.mass_g, before.received_mass_g))
    if not least <= payload.accepted_mass_g <= most:
        raise InvalidTransaction(
            Code.NOT_BETWEEN, f"{payload.accepted_mass_g} g is not between {least} g and {most} g"
        )
    row = with_fields(
        before,
        status=ManifestStatus.SETTLED,
        accepted_mass_g=payload.accepted_mass_g,
        reason=payload.reason,
    )
    MANIFESTS.put(changes, payload.manifest, row)
    _apply_handover(changes, context, row, payload.accepted_mass_g, LotStatus.FROZEN)
    _emit_discrepancy(context, payload.manifest, row)
    return b""


def _apply_handover(
    changes: Changes, context: Context, row: Manifest, mass_g: int, status: LotStatus
) -> None:
    """Give the lots, which have this status, to the consignee at this mass in all.

    The difference is the shipper's gain or loss: it was in its books that they were on their way.
    """
    assert row.place is not None, "what is handed over was received at a place"
    lots, postings = _lots(changes, row), Postings()
    is_frozen = status is LotStatus.FROZEN
    event, field = (Event.SETTLED, "frozen_g") if is_frozen else (Event.RECEIVED, "in_transit_g")
    shares = split(mass_g, {lot_id: lot.mass_g for lot_id, lot in lots.items()})
    for lot_id, lot in lots.items():
        share_g = shares[lot_id]
        lost_g = lot.mass_g - share_g
        postings.post(
            lot.material,
            row.shipper,
            **{field: -lot.mass_g},
            gains_g=max(-lost_g, 0),
            losses_g=max(lost_g, 0),
            delivered_g=share_g,
        )
        postings.post(lot.material, row.consignee, received_g=share_g, held_g=share_g)
        apply_event(
            changes,
            context,
            lot_id,
            event,
            lot,
            mass_g=share_g,
            holder=row.consignee,
            status=LotStatus.HELD if share_g else LotStatus.LOST,
            place=row.place,
        )
    postings.settle(changes, context)


def _check_step(changes: Changes, manifest_id: bytes, step: ManifestStatus) -> Manifest:
    row = MANIFESTS.get(changes, manifest_id)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_MANIFEST, f"there is no manifest {manifest_id.hex()}")
    if row.status is not step:
        found = row.status.name.lower().replace("_", " ")
        raise InvalidTransaction(Code.OUT_OF_STEP, f"manifest {manifest_id.hex()} is {found}")
    return row


def _check_party(context: Context, name: str, party: str) -> None:
    if context.sponsor != name:
        raise InvalidTransaction(Code.NOT_A_PARTY, f"the {party} is {name!r}, not {context.sponsor!r}")


def _lots(changes: Changes, row: Manifest) -> dict[bytes, Lot]:
    found = {}
    for lot_id in row.lots:
        lot = LOTS.get(changes, lot_id)
        if lot is None:
            raise Fatal(f"a manifest names the lot {lot_id.hex()}, which is not there")
        found[lot_id] = lot
    return found


def _emit_discrepancy(context: Context, manifest_id: bytes, row: Manifest) -> None:
    assert row.received_mass_g is not None and row.received_height is not None, "it was received"
    value = Discrepancy(
        manifest=manifest_id,
        shipper=row.shipper,
        carrier=row.carrier,
        consignee=row.consignee,
        sent_mass_g=row.mass_g,
        received_mass_g=row.received_mass_g,
        accepted_mass_g=row.accepted_mass_g,
        reason=row.reason,
    )
    when, encoded = b"\0" + row.received_height.to_bytes(8, "big") + manifest_id, encode(value)
    for name in sorted({ALL, row.shipper, row.consignee}):
        context.emit(DISCREPANCIES, name.encode() + when, encoded)


def _read_offered_ahead(changes: Changes, payloads: Collection[ShipOffer]) -> None:
    MANIFESTS.read_ahead(changes, {payload.manifest for payload in payloads})
    LOTS.read_ahead(changes, {lot_id for payload in payloads for lot_id in payload.lots})


def _read_manifests_ahead(
    changes: Changes, payloads: Collection[ShipAccept | ShipReceive | DiscrepancyResolve]
) -> None:
    manifests = {payload.manifest for payload in payloads}
    MANIFESTS.read_ahead(changes, manifests)
    rows = [MANIFESTS.get(changes, manifest) for manifest in manifests]
    LOTS.read_ahead(changes, {lot_id for row in rows if row is not None for lot_id in row.lots})


def _read_received_ahead(changes: Changes, payloads: Collection[ShipReceive]) -> None:
    _read_manifests_ahead(changes, payloads)
    read_weighings_ahead(changes, {payload.weighing for payload in payloads})


RULES = (
    Rule(ShipOffer, BY_THE_ORGANISATION, apply_offer, None, _read_offered_ahead),
    Rule(ShipAccept, BY_THE_ORGANISATION, apply_accept, None, _read_manifests_ahead),
    Rule(ShipReceive, BY_THE_ORGANISATION, apply_receive, None, _read_received_ahead),
    Rule(DiscrepancyResolve, BY_THE_ORGANISATION, apply_resolve, None, _read_manifests_ahead),
)
