"""The schemas that every ledger knows, and whether what they describe belongs to a person. Floor 3."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Annotated

from p2pledger.codec import Length, Pattern
from p2pledger.types import Millis

SchemaId = Annotated[str, Length(3, 48), Pattern(r"[a-z]+(\.[a-z]+)*/[1-9][0-9]{0,3}")]
"""A schema's name and version: `sensor.reading/1`."""

DAY_MS = 86_400_000


class SchemaClass(Enum):
    """Whose facts a schema describes."""

    PUBLIC = 1
    """An organisation's: may stand on the ledger in clear."""
    PERSONAL = 2
    """A resident's: only a salted commitment or a root may, and no time finer than a UTC day."""


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


def day_of(time_ms: Millis) -> tuple[Millis, Millis]:
    """The first and the last millisecond of the UTC day that holds a time."""
    first = time_ms - time_ms % DAY_MS
    return Millis(first), Millis(first + DAY_MS - 1)
