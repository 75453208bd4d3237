"""The rule for private data: register. Floor 4, pure.

Of the data itself the ledger holds a commitment, the schema's name and a size class; the payload has no field
for anything else.
"""

from collections.abc import Collection

from p2pledger.chain.payloads import DataRegister
from p2pledger.chain.schema import DAY_MS, SchemaClass, day_of
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.consent.rows import (
    DATA,
    HANDLE_DATA_MAX,
    HANDLES,
    Data,
    Handle,
    by_the_organisation,
    check_until,
)
from p2pledger.ledger.modules.registry import check_organisation
from p2pledger.ledger.modules.registry.keys import check_unowned, read_unowned_ahead
from p2pledger.ledger.modules.registry.schemas import schema_class
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, with_fields
from p2pledger.types import Hash, Millis

RETAINED_MAX_MS = 30 * 365 * DAY_MS
"""How far ahead the end of a retention may lie."""

HELD = "consent.held"
"""custodian | 0 | end of the retention (8 bytes) | data id."""
DUE = "consent.due"
"""When every custodian has to have erased it (8 bytes) | data id.

A request or a hold moves that time and adds a row; the row that the data's own row agrees with holds.
"""


def emit_due(context: Context, data: Hash, row: Data) -> None:
    """Let data be found by when it has to be erased."""
    context.emit(DUE, row.erase_by_ms.to_bytes(8, "big") + data)


def apply_register(changes: Changes, context: Context, payload: DataRegister) -> bytes:
    """Data more under a handle, which is of one organisation."""
    if schema_class(changes, payload.schema) is SchemaClass.PERSONAL:
        _check_day(payload.retain_until_ms)
    check_until(context, payload.retain_until_ms, RETAINED_MAX_MS)
    for custodian in payload.custodians:
        check_organisation(changes, custodian)
    check_unowned(changes, context, payload.handle)
    data = context.transaction_id
    handle = HANDLES.get(changes, payload.handle)
    if handle is None:
        handle = Handle(context.sponsor, (data,), is_closed=False)
    else:
        _check_room(context, handle)
        handle = with_fields(handle, data=(*handle.data, data))
    HANDLES.put(changes, payload.handle, handle)
    row = Data(
        organisation=context.sponsor,
        commitment=payload.commitment,
        schema=payload.schema,
        handle=payload.handle,
        custodians=payload.custodians,
        threshold=payload.threshold,
        size_class=payload.size_class,
        retain_until_ms=payload.retain_until_ms,
        request=None,
        erased=(),
        holds=(),
        held_until_ms=Millis(0),
    )
    DATA.put(changes, data, row)
    until = b"\0" + payload.retain_until_ms.to_bytes(8, "big") + data
    for custodian in payload.custodians:
        context.emit(HELD, custodian.encode() + until)
    emit_due(context, data, row)
    return b""


def _check_day(retain_until_ms: Millis) -> None:
    """Refuse an end that would tell when in a day the data arose."""
    if retain_until_ms != day_of(retain_until_ms)[0]:
        raise InvalidTransaction(Code.NOT_A_DAY, "personal data is retained until the beginning of a UTC day")


def _check_room(context: Context, handle: Handle) -> None:
    # A handle that two organisations shared would join up what each knows.
    if handle.organisation != context.sponsor:
        raise InvalidTransaction(Code.HANDLE_TAKEN, "the handle is for another organisation's data")
    if handle.is_closed:
        raise InvalidTransaction(Code.ERASURE_ASKED, "all data of the handle is to be erased")
    if len(handle.data) == HANDLE_DATA_MAX:
        raise InvalidTransaction(Code.TOO_MANY_DATA, f"a handle stands for at most {HANDLE_DATA_MAX} data")


def _read_ahead(changes: Changes, payloads: Collection[DataRegister]) -> None:
    handles = {payload.handle for payload in payloads}
    HANDLES.read_ahead(changes, handles)
    read_unowned_ahead(changes, handles)


RULES = (Rule(DataRegister, by_the_organisation, apply_register, read_ahead=_read_ahead),)
