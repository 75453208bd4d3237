"""What stands in clear in the body of a record, by its schema. Floor 3.

The body of a shipped schema is the canonical encoding of its record below: what it does not declare has no
place there. The body of a published schema is a `FieldList`, judged by the classes that the schema gives its
fields. Neither has room for prose: numbers, words, identifiers and commitments are all there is. A field of
class `commit` is a `Commitment`: whoever wants to show what is behind it shows the value and its salt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

from p2pledger.chain.payloads.records import Item
from p2pledger.chain.payloads.words import Name, Word
from p2pledger.chain.schema import Commitment, FieldClass, FieldName, SchemaId
from p2pledger.codec import U32, Length, Pattern, Range
from p2pledger.types import Hash

FIELDS_MAX = 64
VALUES_MAX = 256
SIDES_MAX = 16
INPUTS_MAX = 16

AI_ADVICE = "ai.advice/1"
ADMIN_ACT = "admin.act/1"

_I64 = Annotated[int, Range(-(2**63), 2**63 - 1)]


@dataclass(frozen=True)
class SensorReading:
    """Values that a sensor measured one after the other (EPCIS 2.0, section 7.3.6, `sensorReport`)."""

    measurement: Word
    """What was measured, such as `temperature` or `volumetric_flow` (CBV 2.0, section 7.7)."""
    unit: Annotated[str, Length(2, 3), Pattern("[A-Z0-9]+")]
    """A code of UNECE Recommendation 20."""
    interval_ms: U32
    """Between one value and the next; the first is of the record's own time."""
    values: Annotated[tuple[_I64, ...], Length(1, VALUES_MAX)]


@dataclass(frozen=True)
class EpcisObject:
    """What an event with things belongs to (EPCIS 2.0, section 7.4.2): which things, stands in `what`."""

    business_transaction: Name | None
    source: Name | None
    destination: Name | None


@dataclass(frozen=True)
class EpcisTransform:
    """Things that went in and things that came out (EPCIS 2.0, section 7.4.6)."""

    transformation: Name | None
    inputs: Annotated[tuple[Item, ...], Length(1, SIDES_MAX)]
    outputs: Annotated[tuple[Item, ...], Length(1, SIDES_MAX)]


@dataclass(frozen=True)
class AdminAct:
    """An office's act: who decided what on which ground. The document itself stays in the office's file."""

    office: Name
    act_type: Word
    legal_basis: Name
    """Such as a European Legislation Identifier."""
    document_hash: Commitment
    """Of the document and a salt: applications are forms, and what is in them can be guessed."""
    decision: Word
    supersedes: Hash | None
    """The act that this one takes the place of, by the id of its transaction."""


class HumanDecision(Enum):
    """What an office did with what a system advised."""

    ACCEPTED = 1
    REJECTED = 2
    OVERRIDDEN = 3


@dataclass(frozen=True)
class AiAdvice:
    """What a system advised. Open until a human decides: here, or in a record that refers to this one."""

    model_id: Name
    model_hash: Hash
    """Of the model's weights and settings, so that it can be asked again."""
    input_ids: Annotated[tuple[Hash, ...], Length(0, INPUTS_MAX)]
    """Records, or commitments to data that is kept elsewhere."""
    output_commitment: Commitment
    human_decision: HumanDecision | None
    deciding_office: Name | None

    def __post_init__(self) -> None:
        if (self.human_decision is None) != (self.deciding_office is None):
            raise ValueError("a decision and the office that made it come together")


Shipped = SensorReading | EpcisObject | EpcisTransform | AdminAct | AiAdvice

BODIES: Mapping[SchemaId, type[Any]] = MappingProxyType(
    {
        "sensor.reading/1": SensorReading,
        "epcis.object/1": EpcisObject,
        "epcis.transform/1": EpcisTransform,
        ADMIN_ACT: AdminAct,
        AI_ADVICE: AiAdvice,
    }
)
"""The record in the body of each shipped schema; one of class personal has none."""


def field_classes(body: type[Any]) -> Mapping[FieldName, FieldClass]:
    """The class of each field of a shipped schema's body, by the field's name."""
    hints = get_type_hints(body, include_extras=True)
    return {
        name: FieldClass.COMMIT if hint == Commitment else FieldClass.PUBLIC for name, hint in hints.items()
    }


@dataclass(frozen=True)
class Number:
    """An integer of the unit that the field's name ends in."""

    TAG = 1
    value: _I64


@dataclass(frozen=True)
class Label:
    """An identifier or a code: no spaces, no prose."""

    TAG = 2
    value: Name


@dataclass(frozen=True)
class Digest:
    """A hash: in a field of class commit, of a value and its salt."""

    TAG = 3
    value: Commitment


@dataclass(frozen=True)
class Field:
    """A field that a published schema declares."""

    name: FieldName
    value: Number | Label | Digest


@dataclass(frozen=True)
class FieldList:
    """The body of a published schema: some of its fields, by ascending name."""

    fields: Annotated[tuple[Field, ...], Length(1, FIELDS_MAX)]

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if names != sorted(set(names)):
            raise ValueError("fields stand by ascending name, each once")
