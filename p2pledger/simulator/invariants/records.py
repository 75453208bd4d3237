"""What records promise, by plain books over the accepted transactions. Floor 8.

A device enrols before it speaks, and no number of it stands twice; no event far ahead of its block; of a
person nothing in clear and no time finer than a day; in a body what its schema declares, and nothing else; a
record corrected once, by its own organisation.
"""

from dataclasses import dataclass, field
from typing import Any

import cbor2

from p2pledger.chain.payloads import DeviceEnroll, RecordAppend, RecordBatch, RecordCorrect, SchemaPublish
from p2pledger.chain.schema import FieldClass, SchemaClass
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode

AHEAD_MS_MAX = 120_000
GAPS_MAX = 64
DAY_MS = 24 * 60 * 60 * 1_000

_SHIPPED = {
    "sensor.reading/1": (str, str, int, list),
    "personal.reading/1": (),
    "epcis.object/1": (str | None, str | None, str | None),
    "epcis.transform/1": (str | None, list, list),
    "admin.act/1": (str, str, str, bytes, str, bytes | None),
    "ai.advice/1": (str, bytes, list, bytes, int | None, str | None),
}
"""The types of the fields of each shipped schema, in their order."""
_PERSONAL = {"personal.reading/1"}
_DIGEST = 3
"""Says in a published schema's body that a value is a hash."""


@dataclass
class _Written:
    schema: str
    organisation: str
    decided_by: list[bytes] = field(default_factory=list)
    corrected_by: bytes | None = None


class RecordsInvariants:
    """Takes accepted transactions in their order. Each raises ValueError when it breaks what was promised."""

    def __init__(self) -> None:
        self.taken: dict[bytes, set[int]] = {}
        """The numbers of each device."""
        self.written: dict[bytes, _Written] = {}
        self.published: dict[str, SchemaPublish] = {}

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """An accepted transaction, in the block of this height and time. Raises: ValueError."""
        body = transaction.body
        if body.kind == DeviceEnroll.KIND:
            enrolled: DeviceEnroll = decode(DeviceEnroll, body.payload)
            self.taken.setdefault(enrolled.device, set())
        elif body.kind == SchemaPublish.KIND:
            schema: SchemaPublish = decode(SchemaPublish, body.payload)
            self.published[schema.id] = schema
        elif body.kind == RecordAppend.KIND:
            self._append(transaction.id, body.sponsor, decode(RecordAppend, body.payload), time_ms)
        elif body.kind == RecordBatch.KIND:
            self._batch(transaction.id, body.sponsor, decode(RecordBatch, body.payload), time_ms)
        elif body.kind == RecordCorrect.KIND:
            self._correct(transaction.id, body.sponsor, decode(RecordCorrect, body.payload))

    def open_advice(self, organisation: str) -> set[bytes]:
        """The ids of an organisation's advice that no human has decided on."""
        return {
            one
            for one, row in self.written.items()
            if row.schema == "ai.advice/1" and row.organisation == organisation and not row.corrected_by
            if all(self.written[decision].corrected_by for decision in row.decided_by)
        }

    def gaps(self, device: bytes) -> list[tuple[int, int]]:
        """The ranges of numbers that are missing below a device's highest."""
        taken = sorted(self.taken.get(device, ()))
        before = zip([-1, *taken], taken, strict=False)
        return [(left + 1, right - 1) for left, right in before if right - left > 1]

    def _append(self, own: bytes, sponsor: str, payload: RecordAppend, time_ms: int) -> None:
        _require(payload.time_ms <= time_ms + AHEAD_MS_MAX, "an event far ahead of its block")
        if self._is_personal(payload.schema):
            clear = payload.body is None and not payload.what and payload.where is None
            _require(clear, "a person's record in clear")
            _require(payload.time_ms % DAY_MS == 0, "a person's record with a time of day")
        fields = [] if payload.body is None else self._fields(payload.schema, payload.body)
        referred = set(payload.references)
        _require(referred <= self.written.keys(), "a reference to no record")
        if payload.schema == "admin.act/1" and fields and fields[5] is not None:
            old = self.written.get(fields[5])
            is_act = old is not None and old.schema == "admin.act/1" and old.organisation == sponsor
            _require(is_act, "an act supersedes what is no act of the organisation")
        if payload.device is not None and payload.seq is not None:
            self._take(payload.device, payload.seq, payload.seq)
        self.written[own] = _Written(payload.schema, sponsor)
        is_advice = payload.schema == "ai.advice/1"
        is_decision = bool(fields) and fields[4] is not None if is_advice else payload.schema == "admin.act/1"
        if is_decision:
            for one in [*referred, *([own] if is_advice else [])]:
                if self.written[one].organisation == sponsor:
                    self.written[one].decided_by.append(own)

    def _batch(self, own: bytes, sponsor: str, payload: RecordBatch, time_ms: int) -> None:
        if self._is_personal(payload.schema):
            is_day = payload.first_ms % DAY_MS == 0 and payload.last_ms == payload.first_ms + DAY_MS - 1
            _require(is_day, "a person's batch that is not of one day")
            _require(payload.first_ms <= time_ms + AHEAD_MS_MAX, "a day far ahead of its block")
        else:
            _require(payload.last_ms <= time_ms + AHEAD_MS_MAX, "readings far ahead of their block")
        self._take(payload.device, payload.from_seq, payload.to_seq)
        self.written[own] = _Written(payload.schema, sponsor)

    def _correct(self, own: bytes, sponsor: str, payload: RecordCorrect) -> None:
        for one in (payload.target, *payload.replacements):
            row = self.written.get(one)
            _require(row is not None and row.organisation == sponsor, "a correction of another's record")
        target = self.written[payload.target]
        _require(target.corrected_by is None, "a record corrected twice")
        target.corrected_by = own

    def _take(self, device: bytes, first: int, last: int) -> None:
        numbers = set(range(first, last + 1))
        _require(device in self.taken, "a device speaks that is not enrolled")
        taken = self.taken[device]
        _require(not numbers & taken, "a number taken twice")
        taken |= numbers
        _require(len(self.gaps(device)) <= GAPS_MAX, "too many gaps")

    def _is_personal(self, schema: str) -> bool:
        known = schema in _SHIPPED or schema in self.published
        _require(known, "a record of an unknown schema")
        if schema in self.published:
            return self.published[schema].subject is SchemaClass.PERSONAL
        return schema in _PERSONAL

    def _fields(self, schema: str, body: bytes) -> list[Any]:
        """The fields of a body, once each is one that its schema declares."""
        try:
            plain = cbor2.loads(body)
        except (cbor2.CBORDecodeError, ValueError):
            raise ValueError("a body that is no CBOR") from None
        _require(type(plain) is list and len(plain) > 0, "a body that is no list")
        if schema in self.published:
            declared = {field.name: field.field_class for field in self.published[schema].fields}
            for name, value in plain[0]:
                _require(name in declared, f"the undeclared field {name}")
                _require(declared[name] is not FieldClass.FORBIDDEN, f"the forbidden field {name}")
                is_open = declared[name] is FieldClass.PUBLIC
                _require(is_open or (value[0] == _DIGEST and len(value[1]) == 32), f"{name} in clear")
        else:
            types = _SHIPPED[schema]
            is_whole = len(plain) == len(types) and all(map(isinstance, plain, types))
            _require(is_whole, f"a body that is not the fields of {schema}")
        return list(plain)


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise ValueError(found)
