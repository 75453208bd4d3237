"""Payloads of records: single facts, batches of readings, corrections. Floor 3."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from p2pledger.chain.payloads.words import DeviceId, Name, Word
from p2pledger.chain.schema import SchemaId
from p2pledger.codec import Length, Pattern, Range
from p2pledger.types import Hash, Millis

BATCH_READINGS_MAX = 4_096
BODY_BYTES_MAX = 2_048
ITEMS_MAX = 32
REFERENCES_MAX = 16
REPLACEMENTS_MAX = 16

SeqNumber = Annotated[int, Range(0, 2**63 - 1)]
"""The number that a device gives each of its readings and records, from 0."""


class Action(Enum):
    """What happened to the things of a record (EPCIS 2.0, section 7.3.2)."""

    ADD = 1
    OBSERVE = 2
    DELETE = 3


@dataclass(frozen=True)
class Item:
    """So much of something: `unit` is a code of UNECE Recommendation 20 (`GRM`, `WHR`, `C62` for pieces)."""

    id: Name
    quantity: Annotated[int, Range(-(2**63), 2**63 - 1)]
    unit: Annotated[str, Length(2, 3), Pattern("[A-Z0-9]+")]


@dataclass(frozen=True, slots=True)
class RecordAppend:
    """One fact. Signed by a key of the sponsor, or by its device or that device's gateway.

    `device` and `seq` come together: a device's records are numbered, an organisation's are not.
    `body` in clear or `commitment` (the hash of a salt and a body kept elsewhere), or neither.
    """

    KIND = "record.append"

    schema: SchemaId
    time_ms: Millis
    device: DeviceId | None
    seq: SeqNumber | None
    action: Action
    what: Annotated[tuple[Item, ...], Length(0, ITEMS_MAX)]
    where: Name | None
    business_step: Word | None
    disposition: Word | None
    references: Annotated[tuple[Hash, ...], Length(0, REFERENCES_MAX)]
    """Earlier records, by the ids of their transactions."""
    body: Annotated[bytes, Length(1, BODY_BYTES_MAX)] | None
    commitment: Hash | None

    def __post_init__(self) -> None:
        if (self.device is None) != (self.seq is None):
            raise ValueError("a device and its sequence number come together")
        if self.body is not None and self.commitment is not None:
            raise ValueError("a record has a body or a commitment to one, not both")
        if self.references and len(set(self.references)) != len(self.references):
            raise ValueError("a record refers to another one once")


@dataclass(frozen=True)
class RecordBatch:
    """Readings of a device, of which only the root is on the ledger. Signed by its gateway, or by itself.

    The numbers `from_seq` to `to_seq` are all there: a batch never spans a gap, so gaps stay visible.
    In a schema of class personal the times are the first and last millisecond of one UTC day.
    """

    KIND = "record.batch"

    schema: SchemaId
    device: DeviceId
    from_seq: SeqNumber
    to_seq: SeqNumber
    count: Annotated[int, Range(1, BATCH_READINGS_MAX)]
    first_ms: Millis
    last_ms: Millis
    root: Hash
    """`chain.reading.readings_root` of the readings."""

    def __post_init__(self) -> None:
        if self.to_seq - self.from_seq + 1 != self.count:
            raise ValueError("a batch has one reading per sequence number")
        if self.first_ms > self.last_ms:
            raise ValueError("a batch ends before it begins")


class CorrectionReason(Enum):
    """Why a record is not to be relied on (after EPCIS 2.0's error declaration)."""

    INCORRECT_DATA = 1
    DID_NOT_OCCUR = 2


@dataclass(frozen=True)
class RecordCorrect:
    """Says that a record is wrong, and which ones stand in its place. The record itself stays."""

    KIND = "record.correct"

    target: Hash
    reason: CorrectionReason
    replacements: Annotated[tuple[Hash, ...], Length(0, REPLACEMENTS_MAX)]

    def __post_init__(self) -> None:
        if self.target in self.replacements or len(set(self.replacements)) != len(self.replacements):
            raise ValueError("replacements are other records, each named once")
