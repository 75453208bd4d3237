"""Rules for lots: create, transform, close. Floor 4, pure."""

from collections.abc import Collection

from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads.custody import LotClose, LotCreate, LotTransform
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.custody.books import (
    Postings,
    apply_closing,
    apply_event,
    apply_weighing,
    check_lot,
    check_new_lot,
    put_event,
    read_weighings_ahead,
)
from p2pledger.ledger.modules.custody.masses import split
from p2pledger.ledger.modules.custody.rows import CHILDREN, LOTS, Event, Lot, LotStatus
from p2pledger.ledger.modules.records import FUTURE_MAX_MS
from p2pledger.ledger.modules.registry import live_keys
from p2pledger.ledger.modules.registry.rows import signed_in_role
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, new_row

ORGANISATION_ROLES = (KeyRole.ADMIN, KeyRole.GATEWAY, KeyRole.SERVICE)
"""Whose keys speak for an organisation in custody. A device speaks for itself only."""

BY_THE_ORGANISATION = signed_in_role(*ORGANISATION_ROLES)


def apply_create(changes: Changes, context: Context, payload: LotCreate) -> bytes:
    """A lot more, of what the sponsor's scale weighed."""
    check_new_lot(changes, payload.lot)
    ahead_ms = payload.time_ms - context.round.time_ms
    if ahead_ms > FUTURE_MAX_MS:
        raise InvalidTransaction(Code.IN_FUTURE, f"the event lies {ahead_ms} ms ahead of the block")
    scale = apply_weighing(changes, context, payload.weighing)
    own = [key.device for key in live_keys(changes, context) if key.organisation == context.sponsor]
    if scale not in own:
        raise InvalidTransaction(Code.MISSING_SIGNATURE, "the scale that weighed it has to sign this too")
    lot = new_row(
        Lot,
        material=payload.material,
        mass_g=payload.mass_g,
        holder=context.sponsor,
        status=LotStatus.HELD,
        place=payload.place,
        parents=(),
        manifest=None,
        fate=None,
        events=1,
    )
    put_event(changes, context, payload.lot, Event.CREATED, lot)
    postings = Postings()
    postings.post(lot.material, lot.holder, created_g=lot.mass_g, held_g=lot.mass_g)
    postings.settle(changes, context)
    return b""


def apply_transform(changes: Changes, context: Context, payload: LotTransform) -> bytes:
    """Inputs are spent, outputs are there instead; the loss is shared by the inputs in proportion."""
    inputs = {lot_id: check_lot(changes, context, lot_id) for lot_id in payload.inputs}
    inputs_g = sum(lot.mass_g for lot in inputs.values())
    outputs_g = sum(output.mass_g for output in payload.outputs)
    if inputs_g != outputs_g + payload.loss_g:
        raise InvalidTransaction(
            Code.MASS_UNBALANCED, f"inputs {inputs_g} g, outputs {outputs_g} g and loss {payload.loss_g} g"
        )
    postings, facility = Postings(), context.sponsor
    losses_g = split(payload.loss_g, {lot_id: lot.mass_g for lot_id, lot in inputs.items()})
    for lot_id, lot in inputs.items():
        loss_g = losses_g[lot_id]
        spent_g = lot.mass_g - loss_g
        postings.post(lot.material, facility, held_g=-lot.mass_g, spent_g=spent_g, losses_g=loss_g)
        apply_event(changes, context, lot_id, Event.SPENT, lot, status=LotStatus.SPENT)
    for output in payload.outputs:
        check_new_lot(changes, output.lot)
        postings.post(output.material, facility, made_g=output.mass_g, held_g=output.mass_g)
        made = new_row(
            Lot,
            material=output.material,
            mass_g=output.mass_g,
            holder=facility,
            status=LotStatus.HELD,
            place=payload.place,
            parents=payload.inputs,
            manifest=None,
            fate=None,
            events=1,
        )
        put_event(changes, context, output.lot, Event.MADE, made)
        for lot_id in payload.inputs:
            context.emit(CHILDREN, lot_id + output.lot, context.transaction_id)
    postings.settle(changes, context)
    return b""


def apply_close(changes: Changes, context: Context, payload: LotClose) -> bytes:
    """A lot leaves custody, with the fate that its holder answers for."""
    lot = check_lot(changes, context, payload.lot)
    closed = {"status": LotStatus.CLOSED, "fate": payload.fate}
    apply_event(changes, context, payload.lot, Event.CLOSED, lot, **closed)
    apply_closing(changes, context, lot, payload.fate)
    postings = Postings()
    postings.post(lot.material, lot.holder, held_g=-lot.mass_g, closed_g=lot.mass_g)
    postings.settle(changes, context)
    return b""


def _read_created_ahead(changes: Changes, payloads: Collection[LotCreate]) -> None:
    LOTS.read_ahead(changes, {payload.lot for payload in payloads})
    read_weighings_ahead(changes, {payload.weighing for payload in payloads})


def _read_transformed_ahead(changes: Changes, payloads: Collection[LotTransform]) -> None:
    inputs = {lot_id for payload in payloads for lot_id in payload.inputs}
    outputs = {output.lot for payload in payloads for output in payload.outputs}
    LOTS.read_ahead(changes, inputs | outputs)


def _read_closed_ahead(changes: Changes, payloads: Collection[LotClose]) -> None:
    LOTS.read_ahead(changes, {payload.lot for payload in payloads})


RULES = (
    Rule(LotCreate, BY_THE_ORGANISATION, apply_create, None, _read_created_ahead),
    Rule(LotTransform, BY_THE_ORGANISATION, apply_transform, None, _read_transformed_ahead),
    Rule(LotClose, BY_THE_ORGANISATION, apply_close, None, _read_closed_ahead),
)
