"""Rules for records: one fact, a batch of readings, a correction. Floor 4, pure."""

from collections.abc import Collection

from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import RecordAppend, RecordBatch, RecordCorrect
from p2pledger.chain.payloads.bodies import ADMIN_ACT, AI_ADVICE, BODIES, AdminAct, AiAdvice, Shipped
from p2pledger.chain.schema import SchemaClass, SchemaId, day_of
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.records.bodies import check_published_body, shipped_body
from p2pledger.ledger.modules.records.rows import (
    ADVICE,
    BY_DEVICE,
    BY_ORGANISATION,
    BY_PLACE,
    BY_REFERENCE,
    BY_SCHEMA,
    CORRECTED,
    CORRECTIONS,
    FUTURE_MAX_MS,
    SEQUENCES,
    UNNUMBERED,
    Correction,
    advice_key,
    corrected_by,
    read_corrected_ahead,
)
from p2pledger.ledger.modules.records.runs import MACHINES, append_run, check_append_run
from p2pledger.ledger.modules.registry import Device, live_keys
from p2pledger.ledger.modules.registry.rows import DEVICES, signed_in_role
from p2pledger.ledger.modules.registry.schemas import check_published, schema_class
from p2pledger.ledger.record import Record
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes
from p2pledger.types import Hash, Millis


def _check_author(changes: Changes, context: Context, device: bytes) -> Device:
    """The device that a record is by: it or its gateway has signed, and the sponsor is its organisation."""
    row = DEVICES.get(changes, device)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_DEVICE, "there is no such device")
    if row.is_retired:
        raise InvalidTransaction(Code.DEVICE_RETIRED, "the device is retired")
    if row.organisation == context.sponsor:
        for key in live_keys(changes, context):
            if key.organisation == row.organisation and (key.device == device or key.peer == row.gateway):
                return row
    raise InvalidTransaction(Code.MISSING_SIGNATURE, "neither the device nor its gateway has signed")


def _check_time(context: Context, time_ms: Millis) -> None:
    ahead_ms = time_ms - context.round.time_ms
    if ahead_ms > FUTURE_MAX_MS:
        raise InvalidTransaction(Code.IN_FUTURE, f"the event lies {ahead_ms} ms ahead of the block")


def _apply_numbers(changes: Changes, context: Context, device: bytes, first: int, last: int) -> None:
    before = SEQUENCES.get(changes, device) or UNNUMBERED
    SEQUENCES.put(changes, device, before.accept(first, last, context.round.time_ms))
    value = last.to_bytes(8, "big") + context.transaction_id
    context.emit(BY_DEVICE, device + first.to_bytes(8, "big"), value)


def _emit_record(context: Context, schema: SchemaId, time_ms: Millis) -> None:
    when = b"\0" + time_ms.to_bytes(8, "big") + context.transaction_id
    context.emit(BY_SCHEMA, schema.encode() + when)
    context.emit(BY_ORGANISATION, context.sponsor.encode() + when)


def _check_in_clear(payload: RecordAppend) -> None:
    """Refuse what would tell of a person: only a commitment, and a day's beginning as the time, may stand."""
    if payload.body is not None or payload.what or payload.where is not None:
        raise InvalidTransaction(
            Code.PERSONAL_IN_CLEAR, f"{payload.schema} is personal: give a salted commitment only"
        )
    if payload.time_ms != day_of(payload.time_ms)[0]:
        raise InvalidTransaction(
            Code.NOT_A_DAY, f"{payload.schema} is personal: give the day's first instant"
        )


def _apply_references(
    changes: Changes, context: Context, payload: RecordAppend, body: Shipped | None
) -> None:
    """The records that one refers to are there; advice among them is decided on by an act or a decision."""
    is_decision = payload.schema == ADMIN_ACT or (
        isinstance(body, AiAdvice) and body.human_decision is not None
    )
    for reference in payload.references:
        target = _referred(changes, reference)
        context.emit(BY_REFERENCE, reference + context.transaction_id)
        if is_decision and target.schema == AI_ADVICE and target.organisation == context.sponsor:
            key = advice_key(target.organisation, target.time_ms, reference)
            context.emit(ADVICE, key, context.transaction_id)
    if isinstance(body, AdminAct) and body.supersedes is not None:
        target = _referred(changes, body.supersedes)
        if target.schema != ADMIN_ACT or target.organisation != context.sponsor:
            raise InvalidTransaction(
                Code.UNKNOWN_RECORD, f"{context.sponsor!r} has no act {body.supersedes.hex()} to supersede"
            )
        context.emit(BY_REFERENCE, body.supersedes + context.transaction_id)


def _referred(changes: Changes, reference: Hash) -> Record:
    target = changes.record(reference)
    if target is None:
        raise InvalidTransaction(Code.UNKNOWN_RECORD, f"there is no record {reference.hex()}")
    return target


def _emit_advice(context: Context, time_ms: Millis, body: Shipped | None) -> None:
    """Advice is open unless it says in clear that a human decided: under a commitment that cannot be seen."""
    is_decided = isinstance(body, AiAdvice) and body.human_decision is not None
    key = advice_key(context.sponsor, time_ms, context.transaction_id)
    context.emit(ADVICE, key, context.transaction_id if is_decided else b"")


def apply_append(changes: Changes, context: Context, payload: RecordAppend) -> bytes:
    """One fact more, at the device's number if it has one."""
    if schema_class(changes, payload.schema) is SchemaClass.PERSONAL:
        _check_in_clear(payload)
    body: Shipped | None = None
    if payload.body is not None:
        if payload.schema in BODIES:
            body = shipped_body(payload.schema, payload.body)
        else:
            published = check_published(changes, payload.schema)
            check_published_body(payload.schema, published, payload.body)
    _check_time(context, payload.time_ms)
    if payload.references or type(body) is AdminAct:
        _apply_references(changes, context, payload, body)
    if payload.device is not None and payload.seq is not None:
        _check_author(changes, context, payload.device)
        _apply_numbers(changes, context, payload.device, payload.seq, payload.seq)
    _emit_record(context, payload.schema, payload.time_ms)
    if payload.where is not None:
        when = payload.time_ms.to_bytes(8, "big") + context.transaction_id
        context.emit(BY_PLACE, payload.where.encode() + b"\0" + when)
    if payload.schema == AI_ADVICE:
        _emit_advice(context, payload.time_ms, body)
    return b""


def apply_batch(changes: Changes, context: Context, payload: RecordBatch) -> bytes:
    """Readings of a device under one root, at the numbers that they have."""
    times = payload.first_ms, payload.last_ms
    if schema_class(changes, payload.schema) is SchemaClass.PERSONAL:
        if times != day_of(payload.first_ms):
            raise InvalidTransaction(
                Code.NOT_A_DAY, f"{payload.schema} is personal: give the bounds of one UTC day"
            )
        # The day may not be over: its end says nothing about when a reading was taken.
        _check_time(context, payload.first_ms)
    else:
        _check_time(context, payload.last_ms)
    _check_author(changes, context, payload.device)
    _apply_numbers(changes, context, payload.device, payload.from_seq, payload.to_seq)
    _emit_record(context, payload.schema, payload.first_ms)
    if payload.schema == AI_ADVICE:
        _emit_advice(context, payload.first_ms, None)
    return b""


def apply_correct(changes: Changes, context: Context, payload: RecordCorrect) -> bytes:
    """A mark on a record that it is wrong; the record stays as it was."""
    _check_own_record(changes, context, payload.target)
    before = corrected_by(changes, payload.target)
    if before is not None:
        raise InvalidTransaction(Code.ALREADY_CORRECTED, f"by {before.hex()}; correct that one")
    for replacement in payload.replacements:
        _check_own_record(changes, context, replacement)
    CORRECTED.put(changes, payload.target, Correction(context.transaction_id))
    context.emit(CORRECTIONS, payload.target, context.transaction_id)
    return b""


def _check_own_record(changes: Changes, context: Context, transaction_id: Hash) -> None:
    row = changes.record(transaction_id)
    if row is None or row.organisation != context.sponsor:
        raise InvalidTransaction(
            Code.UNKNOWN_RECORD, f"{context.sponsor!r} has no record {transaction_id.hex()}"
        )
    own = [key for key in live_keys(changes, context) if key.organisation == context.sponsor]
    if not any(key.role is not KeyRole.DEVICE or key.device == row.device for key in own):
        raise InvalidTransaction(Code.MISSING_SIGNATURE, "a device corrects its own records only")


_by_anyone = signed_in_role(*KeyRole)
_by_machines = signed_in_role(*MACHINES)
_by_the_organisation = signed_in_role(KeyRole.ADMIN, KeyRole.GATEWAY, KeyRole.SERVICE)


def _check_append_signers(changes: Changes, context: Context, payload: RecordAppend) -> None:
    # A device's records are numbered: an unnumbered one is not its to write.
    check = _by_the_organisation if payload.device is None else _by_machines
    check(changes, context, payload)


def _append_order(payload: RecordAppend) -> tuple[bytes, int] | None:
    if payload.device is None or payload.seq is None:
        return None
    return payload.device, payload.seq


def _batch_order(payload: RecordBatch) -> tuple[bytes, int]:
    return payload.device, payload.from_seq


def _read_appended_ahead(changes: Changes, payloads: Collection[RecordAppend]) -> None:
    _read_ahead(changes, payloads)
    changes.read_records_ahead({one for payload in payloads for one in payload.references})


def _read_ahead(changes: Changes, payloads: Collection[RecordAppend | RecordBatch]) -> None:
    # Each once, but in the block's order, as `Ground.read_ahead` has it.
    writers = dict.fromkeys([payload.device for payload in payloads if payload.device is not None])
    DEVICES.read_ahead(changes, writers)
    SEQUENCES.read_ahead(changes, writers)


def _read_targets_ahead(changes: Changes, payloads: Collection[RecordCorrect]) -> None:
    targets = {payload.target for payload in payloads}
    read_corrected_ahead(changes, targets)
    replacements = {one for payload in payloads for one in payload.replacements}
    changes.read_records_ahead(targets | replacements)


RULES = (
    Rule(
        RecordAppend,
        _check_append_signers,
        apply_append,
        _append_order,
        _read_appended_ahead,
        apply_run=append_run,
        check_run=check_append_run,
    ),
    Rule(RecordBatch, _by_machines, apply_batch, _batch_order, _read_ahead),
    Rule(RecordCorrect, _by_anyone, apply_correct, read_ahead=_read_targets_ahead),
)
