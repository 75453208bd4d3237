"""What can be asked of records. Floor 4, pure.

Each is a function over a state that is read (`Readable`), the rows of an index (`Scan`, as `Store.scan`
reads them) or the transactions of the chain. Lists come in pages: `Page.after` is where the next begins,
and None at the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import DeviceId, RecordAppend, SeqNumber
from p2pledger.chain.payloads.bodies import ADMIN_ACT, AdminAct
from p2pledger.chain.schema import SchemaId
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.ledger.modules.records.bodies import shipped_body
from p2pledger.ledger.modules.records.rows import (
    ADVICE,
    BY_DEVICE,
    BY_ORGANISATION,
    BY_PLACE,
    BY_REFERENCE,
    BY_SCHEMA,
    corrected_by,
    sequence,
)
from p2pledger.ledger.modules.sequence import Gap
from p2pledger.ledger.rules import Page, Scan, after_rows
from p2pledger.ledger.state import Readable
from p2pledger.types import Hash, Millis

_HASH_BYTES = 32

Find = Callable[[Hash], Transaction | None]
"""A transaction of the chain by its id; None when it is not there, or its body was dropped."""


@dataclass(frozen=True)
class Found:
    """A record by the id of its transaction, and the time of its event (of a batch, the first)."""

    id: Hash
    time_ms: Millis


@dataclass(frozen=True)
class Numbered:
    """A device's record or batch, and which of its numbers it holds."""

    id: Hash
    first: SeqNumber
    last: SeqNumber


@dataclass(frozen=True)
class Trace:
    """The records that one leads to, each once, the nearest first. `is_whole`: there are no more."""

    ids: tuple[Hash, ...]
    is_whole: bool


def records_by_schema(
    scan: Scan, schema: SchemaId, from_ms: Millis, to_ms: Millis, after: bytes, limit: int
) -> Page[Found]:
    """Records of a schema with events from one time to another, both included, by time."""
    return _between(scan, BY_SCHEMA, schema, from_ms, to_ms, after, limit)


def records_by_organisation(
    scan: Scan, organisation: OrganisationId, from_ms: Millis, to_ms: Millis, after: bytes, limit: int
) -> Page[Found]:
    """Records that an organisation sponsored, with events from one time to another, by time."""
    return _between(scan, BY_ORGANISATION, organisation, from_ms, to_ms, after, limit)


def records_by_place(
    scan: Scan, place: str, from_ms: Millis, to_ms: Millis, after: bytes, limit: int
) -> Page[Found]:
    """Records of a place with events from one time to another, both included, by time."""
    return _between(scan, BY_PLACE, place, from_ms, to_ms, after, limit)


def _between(
    scan: Scan, index: str, value: str, from_ms: Millis, to_ms: Millis, after: bytes, limit: int
) -> Page[Found]:
    prefix = value.encode() + b"\0"
    # Above every key of an earlier time, and below every one of this: such a key has an id after the time.
    rows = scan(index, prefix, max(after, prefix + from_ms.to_bytes(8, "big")), limit)
    found = [_found(key) for key, _ in rows]
    items = tuple(one for one in found if one.time_ms <= to_ms)
    return Page(items, after_rows(rows, limit) if len(items) == len(found) else None)


def _found(key: bytes) -> Found:
    """What a key ends in: a time and an id."""
    start = len(key) - _HASH_BYTES
    return Found(Hash(key[start:]), Millis(int.from_bytes(key[start - 8 : start], "big")))


def records_by_device(
    scan: Scan, device: DeviceId, from_seq: SeqNumber, after: bytes, limit: int
) -> Page[Numbered]:
    """A device's records and batches that begin at a number or above, by their numbers."""
    start = device + (from_seq - 1).to_bytes(8, "big") if from_seq else b""
    rows = scan(BY_DEVICE, device, max(after, start), limit)
    items = [
        Numbered(Hash(value[8:]), int.from_bytes(key[len(device) :], "big"), int.from_bytes(value[:8], "big"))
        for key, value in rows
    ]
    return Page(tuple(items), after_rows(rows, limit))


def gaps(reader: Readable, device: DeviceId) -> tuple[Gap, ...]:
    """The numbers below a device's highest that have not come, as ascending ranges."""
    return sequence(reader, device).gaps


def referring(scan: Scan, record: Hash, after: bytes, limit: int) -> Page[Hash]:
    """The records that refer to one, or supersede it."""
    rows = scan(BY_REFERENCE, record, after, limit)
    return Page(tuple(Hash(key[_HASH_BYTES:]) for key, _ in rows), after_rows(rows, limit))


def referred(find: Find, record: Hash) -> tuple[Hash, ...]:
    """The records that one refers to, or supersedes; none where its transaction is not at hand."""
    transaction = find(record)
    if transaction is None or transaction.body.kind != RecordAppend.KIND:
        return ()
    payload: RecordAppend = decode(RecordAppend, transaction.body.payload)
    if payload.schema == ADMIN_ACT and payload.body is not None:
        act = shipped_body(payload.schema, payload.body)
        if isinstance(act, AdminAct) and act.supersedes is not None:
            return tuple(dict.fromkeys((*payload.references, act.supersedes)))
    return payload.references


def trace_forward(scan: Scan, record: Hash, limit: int) -> Trace:
    """What came of a record: those that refer to it, those that refer to these, and so on, up to `limit`."""

    def following(one: Hash) -> Sequence[Hash]:
        return referring(scan, one, b"", limit + 1).items

    return _trace(following, record, limit)


def trace_back(find: Find, record: Hash, limit: int) -> Trace:
    """What a record came of: those that it refers to, those that these refer to, and so on, up to `limit`."""
    return _trace(lambda one: referred(find, one), record, limit)


def _trace(next_to: Callable[[Hash], Sequence[Hash]], start: Hash, limit: int) -> Trace:
    seen, waiting = {start: None}, [start]
    for one in waiting:
        for other in next_to(one):
            if other in seen:
                continue
            if len(seen) > limit:
                return Trace(tuple(seen)[1:], is_whole=False)
            seen[other] = None
            waiting.append(other)
    return Trace(tuple(seen)[1:], is_whole=True)


def open_advice(
    reader: Readable, scan: Scan, organisation: OrganisationId, after: bytes, limit: int
) -> Page[Found]:
    """An organisation's AI advice that no human has decided on, the oldest event first.

    A decision that was corrected is none; an advice that was corrected is not open. A page looks at `limit`
    advices and may have fewer, or none, and still not be the last.
    """
    rows = scan(ADVICE, organisation.encode() + b"\0", after, limit)
    items = []
    for key, decision in rows:
        found = _found(key)
        is_decided = bool(decision) and corrected_by(reader, Hash(decision)) is None
        if not is_decided and corrected_by(reader, found.id) is None:
            items.append(found)
    return Page(tuple(items), after_rows(rows, limit))
