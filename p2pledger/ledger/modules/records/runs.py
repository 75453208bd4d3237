"""Many records of devices at once: what blocks are full of. Floor 4, pure.

What a record means stands in `rules`. Here plain ones, as most are, are carried out for a third of what that
takes, or none of them is: `tests/properties/test_machine.py` holds both to do the same.
"""

from collections.abc import Sequence

from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import RecordAppend
from p2pledger.chain.payloads.bodies import ADMIN_ACT, AI_ADVICE, BODIES
from p2pledger.chain.schema import SCHEMAS, SchemaClass
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.records.bodies import are_shipped_bodies
from p2pledger.ledger.modules.records.rows import (
    BY_DEVICE,
    BY_ORGANISATION,
    BY_PLACE,
    BY_SCHEMA,
    FUTURE_MAX_MS,
    SEQUENCES,
    UNNUMBERED,
)
from p2pledger.ledger.modules.registry.rows import DEVICES, KEYS
from p2pledger.ledger.rules import Context, IndexRow, new_index_row
from p2pledger.ledger.state import Changes

MACHINES = (KeyRole.GATEWAY, KeyRole.DEVICE)
"""The roles in which records of devices are signed."""

_PUBLIC = {schema for schema in BODIES if SCHEMAS[schema] is SchemaClass.PUBLIC}
_PLAIN = _PUBLIC - {ADMIN_ACT, AI_ADVICE}
"""Schemas of class public of which a record is itself and nothing more."""


def append_run(
    changes: Changes, context: Context, transactions: Sequence[Transaction], payloads: Sequence[RecordAppend]
) -> bool:
    """See `ApplyRun`. Plain is what refers to nothing, and what a device or its gateway has signed first."""
    devices = [payload.device for payload in payloads if payload.device is not None]
    schemas = {payload.schema for payload in payloads}
    if len(devices) < len(payloads) or not schemas <= _PLAIN:
        return False
    for schema in schemas:
        bodies = [one.body for one in payloads if one.schema == schema and one.body is not None]
        if not are_shipped_bodies(schema, bodies):
            return False
    signers = [transaction.body.signers[0] for transaction in transactions]
    keys, writers = KEYS.get_all(changes, signers), DEVICES.get_all(changes, devices)
    known = zip(devices, SEQUENCES.get_all(changes, devices), strict=True)
    numbers = {device: sequence or UNNUMBERED for device, sequence in known}
    at, rows, latest_ms = context.round, list[IndexRow](), context.round.time_ms + FUTURE_MAX_MS
    for transaction, payload, key, device, writer in zip(
        transactions, payloads, keys, devices, writers, strict=True
    ):
        body, seq, time_ms = transaction.body, payload.seq, payload.time_ms
        if seq is None or payload.references or time_ms > latest_ms:
            return False
        if key is None or not key.is_live(at.height):
            return False
        if writer is None or writer.is_retired or not key.organisation == writer.organisation == body.sponsor:
            return False
        if key.role not in MACHINES or (key.device != device and key.peer != writer.gateway):
            return False
        try:
            numbers[device] = numbers[device].accept(seq, seq, at.time_ms)
        except InvalidTransaction:
            return False
        number, when = seq.to_bytes(8, "big"), time_ms.to_bytes(8, "big") + transaction.id
        rows.append(new_index_row(IndexRow, (BY_DEVICE, device + number, number + transaction.id)))
        rows.append(new_index_row(IndexRow, (BY_SCHEMA, payload.schema.encode() + b"\0" + when, b"")))
        rows.append(new_index_row(IndexRow, (BY_ORGANISATION, body.sponsor.encode() + b"\0" + when, b"")))
        if payload.where is not None:
            rows.append(new_index_row(IndexRow, (BY_PLACE, payload.where.encode() + b"\0" + when, b"")))
    for device, sequence in numbers.items():
        SEQUENCES.put(changes, device, sequence)
    context.rows += rows
    return True
