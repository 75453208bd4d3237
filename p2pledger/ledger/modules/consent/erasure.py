"""Erasure and legal holds. Floor 4, pure.

A resident asks, or the retention passes, which needs no transaction; each custodian reports for itself, and
the erasure is complete with the last of them. A hold in force blocks the reports, never the request: what
was asked for meanwhile falls due when the hold has ended.
"""

from collections.abc import Collection, Sequence

from p2pledger.chain.payloads import EraseDone, EraseRequest, HoldPlace, Power
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.consent.data import emit_due
from p2pledger.ledger.modules.consent.grants import for_a_resident
from p2pledger.ledger.modules.consent.rows import (
    DATA,
    HANDLES,
    HOLDS_MAX,
    Data,
    Erased,
    Hold,
    Request,
    by_the_organisation,
    check_custodian,
    check_data,
    check_handle,
    check_mandate,
    check_until,
)
from p2pledger.ledger.rules import Context, Rule, always
from p2pledger.ledger.state import Changes, with_fields
from p2pledger.types import Hash, Millis, PublicKey

HOLDS = "consent.holds"
"""The hold's end (8 bytes) | data id | order hash | organisation.

One that was prolonged or lifted has another row; the row that the data's own row agrees with holds.
"""


def _target(changes: Changes, handle: PublicKey | None, data: Hash | None) -> Sequence[tuple[Hash, Data]]:
    """The data that a payload is about. Raises: InvalidTransaction."""
    if data is not None:
        return ((data, check_data(changes, data)),)
    assert handle is not None, "a payload names a handle or data"
    return [(each, check_data(changes, each)) for each in check_handle(changes, handle).data]


def apply_request(changes: Changes, context: Context, payload: EraseRequest) -> bytes:
    """From this block on the data is for erasing only. All of a handle: the handle ends with it."""
    target = _target(changes, payload.handle, payload.data)
    handle = target[0][1].handle
    context.check_signed_by(handle, "the handle's key")
    fresh = [(data, row) for data, row in target if row.request is None and not row.is_erased]
    if payload.handle is not None:
        known = check_handle(changes, handle)
        if known.is_closed:
            raise InvalidTransaction(Code.ERASURE_ASKED, "all data of the handle is to be erased already")
        HANDLES.put(changes, handle, with_fields(known, is_closed=True))
    elif not fresh:
        code = Code.ERASED if target[0][1].is_erased else Code.ERASURE_ASKED
        raise InvalidTransaction(code, "the data is to be erased already, or is")
    for data, before in fresh:
        row = with_fields(before, request=Request(context.round.height, context.round.time_ms))
        _put(changes, context, data, before, row)
    return b""


def apply_done(changes: Changes, context: Context, payload: EraseDone) -> bytes:
    """One custodian has nothing left; the last one's report completes the erasure."""
    row, time_ms = check_data(changes, payload.data), context.round.time_ms
    check_custodian(context, row)
    if context.sponsor not in row.missing:
        raise InvalidTransaction(Code.ALREADY_REPORTED, f"{context.sponsor!r} has erased it already")
    if not row.is_to_be_erased(time_ms):
        raise InvalidTransaction(Code.ERASURE_NOT_ASKED, f"it is retained until {row.retain_until_ms} ms")
    if (held_ms := row.held_ms(time_ms)) is not None:
        raise InvalidTransaction(Code.HELD, f"a legal hold keeps it until {held_ms} ms")
    done = Erased(context.sponsor, payload.method, context.round.height)
    DATA.put(changes, payload.data, with_fields(row, erased=(*row.erased, done)))
    return b""


def apply_hold(changes: Changes, context: Context, payload: HoldPlace) -> bytes:
    """What is held of the mandate's schemas stays: of the one datum, or of the handle as it is now."""
    mandate = check_mandate(changes, context, payload.mandate, Power.HOLD)
    check_until(context, payload.until_ms)
    target = _target(changes, payload.handle, payload.data)
    covered = [(data, row) for data, row in target if row.schema in mandate.schemas]
    if not covered:
        raise InvalidTransaction(Code.OUTSIDE_BASIS, f"the mandate is for {', '.join(mandate.schemas)}")
    kept = [(data, row) for data, row in covered if not row.is_erased]
    if not kept:
        raise InvalidTransaction(Code.ERASED, "nothing is left to be held")
    hold = Hold(context.sponsor, payload.mandate, payload.order_hash, payload.until_ms)
    name = payload.order_hash + context.sponsor.encode()
    for data, before in kept:
        _put(changes, context, data, before, _held(before, hold, context.round.time_ms))
        context.emit(HOLDS, payload.until_ms.to_bytes(8, "big") + data + name)
    return b""


def _held(row: Data, hold: Hold, time_ms: Millis) -> Data:
    """The data under one hold more, or under a hold with another end; those that have ended go."""
    order = hold.organisation, hold.order_hash
    others = [each for each in row.holds if (each.organisation, each.order_hash) != order]
    over = [each.until_ms for each in others if each.until_ms <= time_ms]
    holds = (*(each for each in others if each.until_ms > time_ms), hold)
    if len(holds) > HOLDS_MAX:
        raise InvalidTransaction(Code.TOO_MANY_HOLDS, f"data has at most {HOLDS_MAX} holds at once")
    return with_fields(row, holds=holds, held_until_ms=max([row.held_until_ms, *over]))


def _put(changes: Changes, context: Context, data: Hash, before: Data, row: Data) -> None:
    DATA.put(changes, data, row)
    if row.erase_by_ms != before.erase_by_ms:
        emit_due(context, data, row)


def _read_ahead(changes: Changes, payloads: Collection[EraseDone | EraseRequest | HoldPlace]) -> None:
    DATA.read_ahead(changes, {payload.data for payload in payloads if payload.data is not None})


RULES = (
    Rule(EraseRequest, for_a_resident, apply_request, read_ahead=_read_ahead, is_urgent=always),
    Rule(EraseDone, by_the_organisation, apply_done, read_ahead=_read_ahead),
    Rule(HoldPlace, by_the_organisation, apply_hold, read_ahead=_read_ahead),
)
