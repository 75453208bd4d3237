"""The schemas that every ledger knows, and whether what they describe belongs to a person. Floor 3."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Annotated

from p2pledger.codec import Length, Pattern
from p2pledger.types import Millis

SchemaId = Annotated[str, Length(3, 48), Pattern(r"[a-z]+(\.[a-z]+)*/[1-9][0-9]{0,3}")]
"""A schema's name and version: `sensor.reading/1`."""

FieldName = Annotated[str, Length(1, 32), Pattern("[a-z]+(_[a-z0-9]+)*")]
"""The name of a field of a record's body: the standard's word, its unit last."""

Commitment = Annotated[bytes, Length(32, 32)]
"""SHA-256 over a random salt and a value, which both stay off the ledger."""

DAY_MS = 86_400_000


class SchemaClass(Enum):
    """Whose facts a schema describes."""

    PUBLIC = 1
    """An organisation's: may stand on the ledger in clear."""
    PERSONAL = 2
    """A resident's: only a salted commitment or a root may, and no time finer than a UTC day."""


class FieldClass(Enum):
    """How a field of a record may stand on the ledger."""

    PUBLIC = 1
    """In clear."""
    COMMIT = 2
    """As a salted commitment of 32 bytes only."""
    FORBIDDEN = 3
    """Not at all: named so that nobody has to wonder whether it was forgotten."""


SCHEMAS: Mapping[str, SchemaClass] = MappingProxyType(
    {
        "sensor.reading/1": SchemaClass.PUBLIC,
        "personal.reading/1": SchemaClass.PERSONAL,
        "epcis.object/1": SchemaClass.PUBLIC,
        "epcis.transform/1": SchemaClass.PUBLIC,
        "admin.act/1": SchemaClass.PUBLIC,
        "ai.advice/1": SchemaClass.PUBLIC,
    }
)
"""The schemas shipped. `personal.reading/1` covers a meter in a dwelling and a person's trip alike, so
that not even the schema says which it was."""

SHIPPED_NAMESPACES = frozenset(schema.partition(".")[0] for schema in SCHEMAS)
"""The first words of the names of shipped schemas: nobody publishes under them."""


def version_of(schema: SchemaId) -> tuple[str, int]:
    """A schema's name and its version, of which each is a schema of its own."""
    name, _, version = schema.partition("/")
    return name, int(version)


def day_of(time_ms: Millis) -> tuple[Millis, Millis]:
    """The first and the last millisecond of the UTC day that holds a time."""
    first = time_ms - time_ms % DAY_MS
    return Millis(first), Millis(first + DAY_MS - 1)
