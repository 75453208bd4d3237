"""Many records of devices at once: what blocks are full of. Floor 4, pure.

What a record means stands in `rules`. Here plain ones, as most are, are carried out or tried for a third of
what that takes, or none of them is: `tests/properties/test_machine.py` holds both to do the same.
"""

from collections.abc import Sequence
from operator import add

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
from p2pledger.ledger.modules.sequence import Sequence as DeviceSequence
from p2pledger.ledger.rules import Context, IndexRows
from p2pledger.ledger.state import Changes

MACHINES = (KeyRole.GATEWAY, KeyRole.DEVICE)
"""The roles in which records of devices are signed."""

_PUBLIC = {schema for schema in BODIES if SCHEMAS[schema] is SchemaClass.PUBLIC}
_PLAIN = _PUBLIC - {ADMIN_ACT, AI_ADVICE}
"""Schemas of class public of which a record is itself and nothing more."""


def append_run(
    changes: Changes, context: Context, transactions: Sequence[Transaction], payloads: Sequence[RecordAppend]
) -> bool:
    """See `ApplyRun`."""
    if (numbers := _numbers_after(changes, context, transactions, payloads)) is None:
        return False
    SEQUENCES.put_all(changes, numbers)
    context.rows.append(_rows(transactions, payloads))
    return True


def check_append_run(
    changes: Changes, context: Context, transactions: Sequence[Transaction], payloads: Sequence[RecordAppend]
) -> bool:
    """See `CheckRun`. Of a device's own records one may be good for another's sake only."""
    numbers = _numbers_after(changes, context, transactions, payloads)
    return numbers is not None and len(numbers) == len(payloads)


def _numbers_after(
    changes: Changes, context: Context, transactions: Sequence[Transaction], payloads: Sequence[RecordAppend]
) -> dict[bytes, DeviceSequence] | None:
    """Which numbers of its devices are taken after a run, if all of it is plain and good; else None.

    Plain is what refers to nothing, and what a device or its gateway has signed first.
    """
    devices = [payload.device for payload in payloads if payload.device is not None]
    schemas = {payload.schema for payload in payloads}
    if len(devices) < len(payloads) or not schemas <= _PLAIN:
        return None
    for schema in schemas:
        bodies = [one.body for one in payloads if one.schema == schema and one.body is not None]
        if not are_shipped_bodies(schema, bodies):
            return None
    signers = [transaction.body.signers[0] for transaction in transactions]
    keys, writers = KEYS.get_all(changes, signers), DEVICES.get_all(changes, devices)
    known = zip(devices, SEQUENCES.get_all(changes, devices), strict=True)
    numbers = {device: sequence or UNNUMBERED for device, sequence in known}
    at, latest_ms = context.round, context.round.time_ms + FUTURE_MAX_MS
    for transaction, payload, key, device, writer in zip(
        transactions, payloads, keys, devices, writers, strict=True
    ):
        seq, sponsor = payload.seq, transaction.body.sponsor
        if seq is None or payload.references or payload.time_ms > latest_ms:
            return None
        if key is None or not key.is_live(at.height):
            return None
        if writer is None or writer.is_retired or not key.organisation == writer.organisation == sponsor:
            return None
        if key.role not in MACHINES or (key.device != device and key.peer != writer.gateway):
            return None
        try:
            numbers[device] = numbers[device].accept(seq, seq, at.time_ms)
        except InvalidTransaction:
            return None
    return numbers


def _rows(transactions: Sequence[Transaction], payloads: Sequence[RecordAppend]) -> IndexRows:
    """The index rows of records that have a device and a number each."""
    devices = [payload.device for payload in payloads if payload.device is not None]
    seqs = [payload.seq.to_bytes(8, "big") for payload in payloads if payload.seq is not None]
    ids, each = [transaction.id for transaction in transactions], (BY_DEVICE, BY_SCHEMA, BY_ORGANISATION)
    whens = [
        b"\0" + payload.time_ms.to_bytes(8, "big") + id_ for payload, id_ in zip(payloads, ids, strict=True)
    ]
    pairs = list(zip(payloads, whens, strict=True))
    by_schema = [payload.schema.encode() + when for payload, when in pairs]
    sponsors = zip(transactions, whens, strict=True)
    by_organisation = [transaction.body.sponsor.encode() + when for transaction, when in sponsors]
    by_place = [payload.where.encode() + when for payload, when in pairs if payload.where is not None]
    names = [name for payload in payloads for name in (each if payload.where is None else (*each, BY_PLACE))]
    rows = {
        BY_DEVICE: (list(map(add, devices, seqs)), list(map(add, seqs, ids))),
        BY_SCHEMA: (by_schema, [b""] * len(ids)),
        BY_ORGANISATION: (by_organisation, [b""] * len(ids)),
    }
    if by_place:
        rows[BY_PLACE] = by_place, [b""] * len(by_place)
    return IndexRows(names, rows)
