"""What can be asked about records: what they are found by, what leads where, what is missing. Floor 4, pure.

Records of one index come by the time of the event, then by id. A trace goes along the references that records
make, an act that supersedes another among them: back to what a record names, forward to what names it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import (
    REPLACEMENTS_MAX,
    CorrectionReason,
    DeviceId,
    Name,
    RecordAppend,
    RecordCorrect,
    SeqNumber,
)
from p2pledger.chain.payloads.bodies import ADMIN_ACT, AdminAct
from p2pledger.chain.schema import SchemaId
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import Length, Range, decode
from p2pledger.errors import Code, Fatal
from p2pledger.ledger.modules.records.bodies import shipped_body
from p2pledger.ledger.modules.records.decisions import is_decided
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
from p2pledger.ledger.modules.registry.rows import DEVICES
from p2pledger.ledger.modules.sequence import GAPS_MAX, Gap
from p2pledger.ledger.queries import (
    PRUNED,
    TIME_MAX_MS,
    ChainReader,
    Found,
    FromTime,
    Kept,
    Page,
    Query,
    ToTime,
    Unanswered,
    one,
    rows_of,
    walk,
)
from p2pledger.ledger.record import Record
from p2pledger.types import HASH_BYTES, Hash, Height, Millis

TRACE_DEPTH_MAX = 8
TRACE_ROWS_MAX = 100
"""A trace takes a look at an index, or at a body, for each of its items: hence fewer than elsewhere."""

SEQ_MAX = 2**63 - 1

Of = Annotated[Hash, "The record, by the id of its transaction."]
OfDevice = Annotated[DeviceId, "The device, by its id."]
Depth = Annotated[int, Range(1, TRACE_DEPTH_MAX), "How many references away a record may be."]


@dataclass(frozen=True)
class AskBySchema:
    """Records of a schema, by the time of the event."""

    schema: Annotated[SchemaId, "Name and version, such as sensor.reading/1."]
    from_ms: FromTime = 0
    to_ms: ToTime = TIME_MAX_MS

    def __post_init__(self) -> None:
        check_window(self.from_ms, self.to_ms)


@dataclass(frozen=True)
class AskByOrganisation:
    """Records that an organisation sponsored, by the time of the event."""

    organisation: Annotated[OrganisationId, "The sponsor."]
    from_ms: FromTime = 0
    to_ms: ToTime = TIME_MAX_MS

    def __post_init__(self) -> None:
        check_window(self.from_ms, self.to_ms)


@dataclass(frozen=True)
class AskByPlace:
    """Records of a place, by the time of the event."""

    place: Annotated[Name, "The place's id, as records have it."]
    from_ms: FromTime = 0
    to_ms: ToTime = TIME_MAX_MS

    def __post_init__(self) -> None:
        check_window(self.from_ms, self.to_ms)


@dataclass(frozen=True)
class AskByDevice:
    """Records and batches of a device, by the first of their numbers."""

    device: OfDevice
    from_seq: Annotated[SeqNumber, "The least first number."] = 0
    to_seq: Annotated[SeqNumber, "The greatest first number."] = SEQ_MAX

    def __post_init__(self) -> None:
        if self.from_seq > self.to_seq:
            raise ValueError("from_seq lies above to_seq")


@dataclass(frozen=True)
class AskTraceForward:
    """Records that refer to a record, and those that refer to these: where it went.

    Each comes before those that it leads to, and once for each way that leads to it. Siblings come by id.
    """

    record: Of
    depth: Depth = TRACE_DEPTH_MAX


@dataclass(frozen=True)
class AskTraceBack:
    """Records that a record refers to, and those that these refer to: where it came from.

    Each comes before those that it leads to, and once for each way that leads to it. Siblings come as the
    record names them. Beyond a record whose body this node has dropped, nothing can be told.
    """

    record: Of
    depth: Depth = TRACE_DEPTH_MAX


@dataclass(frozen=True)
class AskCorrections:
    """The correction of a record, if there is one. What stands in its place may have been corrected, too."""

    record: Of


@dataclass(frozen=True)
class AskGaps:
    """The highest number that was accepted of a device, and those below it that have not come."""

    device: OfDevice


@dataclass(frozen=True)
class AskOpenAdvice:
    """An organisation's AI advice that no human has decided on, the oldest event first.

    A decision that was corrected is none; an advice that was corrected is not open. A page may have fewer
    items than its limit, or none, and still not be the last.
    """

    organisation: Annotated[OrganisationId, "The organisation that recorded the advice."]


@dataclass(frozen=True)
class RecordFound:
    """A record, by the id of its transaction; `corrected_by`: the correction's."""

    transaction_id: Hash
    schema: SchemaId
    organisation: OrganisationId
    device: DeviceId | None
    time_ms: Millis
    height: Height
    corrected_by: Hash | None


@dataclass(frozen=True)
class DeviceRecordFound:
    """A record of a device and its numbers; a single one begins and ends with the same."""

    transaction_id: Hash
    from_seq: SeqNumber
    to_seq: SeqNumber
    schema: SchemaId
    organisation: OrganisationId
    time_ms: Millis
    height: Height
    corrected_by: Hash | None


@dataclass(frozen=True)
class RecordTraced:
    """A record on the way, `depth` references away; `via` is the record before it.

    `has_body`: false where this node has dropped what it refers to.
    """

    transaction_id: Hash
    via: Hash
    depth: Annotated[int, Range(1, TRACE_DEPTH_MAX)]
    schema: SchemaId
    organisation: OrganisationId
    device: DeviceId | None
    time_ms: Millis
    height: Height
    corrected_by: Hash | None
    has_body: bool


@dataclass(frozen=True)
class CorrectionFound:
    """A correction. `reason` and `replacements` are null where this node has dropped its body."""

    record: Hash
    corrected_by: Hash
    height: Height
    reason: CorrectionReason | None
    replacements: Annotated[tuple[Hash, ...], Length(0, REPLACEMENTS_MAX)] | None


@dataclass(frozen=True)
class DeviceNumbers:
    """Which numbers of a device were accepted: all up to `highest` but the gaps. Null: none yet."""

    device: DeviceId
    highest: SeqNumber | None
    gaps: Annotated[tuple[Gap, ...], Length(0, GAPS_MAX)]


def check_window(from_ms: int, to_ms: int) -> None:
    """Raises: ValueError when a span of time ends before it begins."""
    if from_ms > to_ms:
        raise ValueError("from_ms lies after to_ms")


def kept(reader: ChainReader, transaction_id: Hash) -> Kept:
    """A transaction that an index, or a row of the state, names. Raises: Fatal when it is not there."""
    found = reader.kept(transaction_id)
    if found is None:
        raise Fatal(f"the transaction {transaction_id.hex()} is named, and is not in the chain")
    return found


def _record(found: Kept, transaction_id: Hash) -> Record:
    if found.record is None:
        raise Fatal(f"the transaction {transaction_id.hex()} is named as a record, and is none")
    return found.record


def _check_record(reader: ChainReader, transaction_id: Hash) -> Kept:
    found = reader.kept(transaction_id)
    if found is None or found.record is None:
        raise Unanswered(Code.UNKNOWN_RECORD, f"there is no record {transaction_id.hex()}")
    return found


def found_record(reader: ChainReader, transaction_id: Hash) -> RecordFound:
    """A record that an index names."""
    row = _record(kept(reader, transaction_id), transaction_id)
    by = corrected_by(reader, transaction_id)
    return RecordFound(transaction_id, row.schema, row.organisation, row.device, row.time_ms, row.height, by)


def by_time(
    reader: ChainReader, index: str, subject: str, from_ms: int, to_ms: int, page: Page
) -> Found[RecordFound]:
    """A page of an index whose keys are subject | 0 | event time (8 bytes) | transaction id."""
    prefix = subject.encode() + b"\0"
    return rows_of(
        reader,
        index,
        prefix,
        page,
        lambda key, _: found_record(reader, Hash(key[-HASH_BYTES:])),
        after=prefix + from_ms.to_bytes(8, "big"),  # an id follows in each key, so it is above this
        until=None if to_ms == TIME_MAX_MS else prefix + (to_ms + 1).to_bytes(8, "big"),
    )


def ask_by_schema(reader: ChainReader, asked: AskBySchema, page: Page) -> Found[RecordFound]:
    """See `AskBySchema`."""
    return by_time(reader, BY_SCHEMA, asked.schema, asked.from_ms, asked.to_ms, page)


def ask_by_organisation(reader: ChainReader, asked: AskByOrganisation, page: Page) -> Found[RecordFound]:
    """See `AskByOrganisation`."""
    return by_time(reader, BY_ORGANISATION, asked.organisation, asked.from_ms, asked.to_ms, page)


def ask_by_place(reader: ChainReader, asked: AskByPlace, page: Page) -> Found[RecordFound]:
    """See `AskByPlace`."""
    return by_time(reader, BY_PLACE, asked.place, asked.from_ms, asked.to_ms, page)


def _check_device(reader: ChainReader, device: bytes) -> None:
    if DEVICES.get(reader, device) is None:
        raise Unanswered(Code.UNKNOWN_DEVICE, f"there is no device {device.hex()}")


def ask_by_device(reader: ChainReader, asked: AskByDevice, page: Page) -> Found[DeviceRecordFound]:
    """See `AskByDevice`. Raises: Unanswered."""
    _check_device(reader, asked.device)

    def item(key: bytes, value: bytes) -> DeviceRecordFound:
        number, (to_seq, id_) = key[-8:], (value[:8], Hash(value[8:]))
        row, by = _record(kept(reader, id_), id_), corrected_by(reader, id_)
        first, last = int.from_bytes(number, "big"), int.from_bytes(to_seq, "big")
        return DeviceRecordFound(id_, first, last, row.schema, row.organisation, row.time_ms, row.height, by)

    before = (asked.from_seq - 1).to_bytes(8, "big") if asked.from_seq else b""
    until = asked.device + (asked.to_seq + 1).to_bytes(8, "big")
    return rows_of(reader, BY_DEVICE, asked.device, page, item, after=asked.device + before, until=until)


def _traced(reader: ChainReader, start: Hash, found: Found[tuple[bytes, ...]]) -> Found[RecordTraced]:
    items = []
    for path in found.items:
        id_, via = Hash(path[-1]), Hash(path[-2]) if len(path) > 1 else start
        there = kept(reader, id_)
        row, by, has_body = _record(there, id_), corrected_by(reader, id_), there.transaction is not None
        items.append(
            RecordTraced(
                id_, via, len(path), row.schema, row.organisation, row.device, row.time_ms, row.height, by,
                has_body,
            )
        )  # fmt: skip
    return Found(tuple(items), found.next)


def ask_trace_forward(reader: ChainReader, asked: AskTraceForward, page: Page) -> Found[RecordTraced]:
    """See `AskTraceForward`. Raises: Unanswered."""
    _check_record(reader, asked.record)

    def step(id_: bytes, after: bytes, limit: int) -> Sequence[bytes]:
        rows = reader.scan(BY_REFERENCE, id_, id_ + after if after else b"", limit)
        return [key[HASH_BYTES:] for key, _ in rows]

    return _traced(reader, asked.record, walk(asked.record, step, page, asked.depth))


def referred(transaction: Transaction | None) -> Sequence[bytes]:
    """The records that one refers to, then the act that it supersedes; none where its body was dropped."""
    if transaction is None or transaction.body.kind != RecordAppend.KIND:
        return ()
    payload: RecordAppend = decode(RecordAppend, transaction.body.payload)
    if payload.schema == ADMIN_ACT and payload.body is not None:
        act = shipped_body(payload.schema, payload.body)
        if isinstance(act, AdminAct) and act.supersedes is not None:
            return tuple(dict.fromkeys((*payload.references, act.supersedes)))
    return payload.references


def ask_trace_back(reader: ChainReader, asked: AskTraceBack, page: Page) -> Found[RecordTraced]:
    """See `AskTraceBack`. Raises: Unanswered."""
    if _check_record(reader, asked.record).transaction is None:
        raise Unanswered(PRUNED, "this node has dropped the record's body, which says what it refers to")

    def step(id_: bytes, after: bytes, limit: int) -> Sequence[bytes]:
        found = reader.kept(Hash(id_))  # None only of what somebody made a cursor of
        references = referred(None if found is None else found.transaction)
        first = references.index(after) + 1 if after in references else 0 if not after else len(references)
        return references[first : first + limit]

    return _traced(reader, asked.record, walk(asked.record, step, page, asked.depth))


def ask_corrections(reader: ChainReader, asked: AskCorrections, page: Page) -> Found[CorrectionFound]:
    """See `AskCorrections`. Raises: Unanswered."""
    _check_record(reader, asked.record)
    by = corrected_by(reader, asked.record)
    if by is None:
        return Found(())
    there = kept(reader, by)
    payload: RecordCorrect | None = None
    if there.transaction is not None:
        payload = decode(RecordCorrect, there.transaction.body.payload)
    reason = None if payload is None else payload.reason
    replacements = None if payload is None else payload.replacements
    return one(CorrectionFound(asked.record, by, there.height, reason, replacements))


def ask_gaps(reader: ChainReader, asked: AskGaps, page: Page) -> Found[DeviceNumbers]:
    """See `AskGaps`. Raises: Unanswered."""
    _check_device(reader, asked.device)
    row = sequence(reader, asked.device)
    highest = row.next_number - 1 if row.next_number else None
    return one(DeviceNumbers(asked.device, highest, tuple(row.gaps)))


def ask_open_advice(reader: ChainReader, asked: AskOpenAdvice, page: Page) -> Found[RecordFound]:
    """See `AskOpenAdvice`."""

    def item(key: bytes, decision: bytes) -> RecordFound | None:
        advice = Hash(key[-HASH_BYTES:])
        found = None if is_decided(reader, advice, decision) else found_record(reader, advice)
        return found if found is not None and found.corrected_by is None else None

    return rows_of(reader, ADVICE, asked.organisation.encode() + b"\0", page, item)


QUERIES = (
    Query("records.by-schema", AskBySchema, RecordFound, ask_by_schema),
    Query("records.by-organisation", AskByOrganisation, RecordFound, ask_by_organisation),
    Query("records.by-place", AskByPlace, RecordFound, ask_by_place),
    Query("records.by-device", AskByDevice, DeviceRecordFound, ask_by_device),
    Query("records.trace-forward", AskTraceForward, RecordTraced, ask_trace_forward, TRACE_ROWS_MAX),
    Query("records.trace-back", AskTraceBack, RecordTraced, ask_trace_back, TRACE_ROWS_MAX),
    Query("records.corrections", AskCorrections, CorrectionFound, ask_corrections),
    Query("records.gaps", AskGaps, DeviceNumbers, ask_gaps),
    Query("records.open-advice", AskOpenAdvice, RecordFound, ask_open_advice),
)
