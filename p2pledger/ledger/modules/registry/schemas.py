"""Schemas that organisations publish: what a record of one may say. Floor 4, pure.

A published schema never changes, so that a record can be read by it for ever: what is new is a new version,
under a new id. Invariant: a schema's id, owner and fields are what they were when it was published.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads.registry import SCHEMA_FIELDS_MAX, SchemaField, SchemaPublish
from p2pledger.chain.schema import SCHEMAS, SHIPPED_NAMESPACES, SchemaClass, SchemaId, version_of
from p2pledger.codec import Length, encode
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.registry.rows import signed_in_role
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, Readable, Table
from p2pledger.types import Hash


@dataclass(frozen=True)
class PublishedSchema:
    """A schema as it was published, for good."""

    owner: OrganisationId
    subject: SchemaClass
    schema_hash: Hash
    fields: Annotated[tuple[SchemaField, ...], Length(1, SCHEMA_FIELDS_MAX)]


SCHEMAS_PUBLISHED = Table("schema", PublishedSchema)

SCHEMAS_INDEX = "registry.schemas"
"""schema -> its encoded `PublishedSchema`."""


def published_schema(reader: Readable, schema: SchemaId) -> PublishedSchema | None:
    """A schema that an organisation published; None for those shipped, and for those that are not there."""
    return SCHEMAS_PUBLISHED.get(reader, schema.encode())


def check_published(reader: Readable, schema: SchemaId) -> PublishedSchema:
    """A schema that an organisation published. Raises: InvalidTransaction."""
    known = published_schema(reader, schema)
    if known is None:
        raise InvalidTransaction(Code.UNKNOWN_SCHEMA, f"there is no schema {schema!r}")
    return known


def schema_class(reader: Readable, schema: SchemaId) -> SchemaClass:
    """Whose facts a schema describes, shipped or published. Raises: InvalidTransaction."""
    return SCHEMAS.get(schema) or check_published(reader, schema).subject


def apply_schema_publish(changes: Changes, context: Context, payload: SchemaPublish) -> bytes:
    """A schema more. The first version of a name makes it its publisher's; others follow one by one."""
    name, version = version_of(payload.id)
    if name.partition(".")[0] in SHIPPED_NAMESPACES or published_schema(changes, payload.id) is not None:
        raise InvalidTransaction(Code.SCHEMA_TAKEN, f"{payload.id} is published already, or shipped")
    if version > 1:
        before = published_schema(changes, f"{name}/{version - 1}")
        if before is None:
            raise InvalidTransaction(Code.UNKNOWN_SCHEMA, f"there is no {name}/{version - 1} to follow")
        if before.owner != context.sponsor:
            raise InvalidTransaction(Code.SCHEMA_TAKEN, f"{name} is published by {before.owner!r}")
    row = PublishedSchema(context.sponsor, payload.subject, payload.schema_hash, payload.fields)
    SCHEMAS_PUBLISHED.put(changes, payload.id.encode(), row)
    context.emit(SCHEMAS_INDEX, payload.id.encode(), encode(row))
    return b""


def _read_schemas_ahead(changes: Changes, payloads: Collection[SchemaPublish]) -> None:
    SCHEMAS_PUBLISHED.read_ahead(changes, {payload.id.encode() for payload in payloads})


RULES = (
    Rule(
        SchemaPublish,
        signed_in_role(KeyRole.ADMIN, KeyRole.SERVICE),
        apply_schema_publish,
        read_ahead=_read_schemas_ahead,
    ),
)
