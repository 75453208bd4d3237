"""What may stand in clear in a record: what its schema declares, as it declares it. Floor 4, pure."""

from collections.abc import Collection

from p2pledger.chain.payloads.bodies import BODIES, Digest, FieldList, Shipped
from p2pledger.chain.schema import FieldClass, SchemaId
from p2pledger.codec import decode
from p2pledger.errors import Code, InvalidMessage, InvalidTransaction
from p2pledger.ledger.decoded import Decoded
from p2pledger.ledger.modules.registry.schemas import PublishedSchema

BODIES_DECODED_MAX = 4_096
"""Bodies that are remembered decoded: a record is looked at when it arrives, is proposed and is executed."""


_DECODED = Decoded(BODIES_DECODED_MAX)


def shipped_body(schema: SchemaId, body: bytes) -> Shipped:
    """The body of a shipped schema. Raises: InvalidTransaction."""
    try:
        decoded: Shipped = _DECODED.get(BODIES[schema], body)
    except InvalidMessage as error:
        raise InvalidTransaction(
            Code.UNDECLARED_FIELD, f"the body is not the fields of {schema}: {error}"
        ) from None
    return decoded


def are_shipped_bodies(schema: SchemaId, bodies: Collection[bytes]) -> bool:
    """Whether `shipped_body` takes each of these, which are decoded together."""
    try:
        _DECODED.read_ahead(BODIES[schema], bodies)
    except InvalidMessage:
        return False
    return True


def check_published_body(schema: SchemaId, published: PublishedSchema, body: bytes) -> None:
    """Refuse a body with a field that the schema forbids or does not declare. Raises: InvalidTransaction."""
    try:
        decoded: FieldList = decode(FieldList, body)
    except InvalidMessage as error:
        raise InvalidTransaction(error.code, f"the body is no list of fields: {error}") from None
    classes = {field.name: field.field_class for field in published.fields}
    for field in decoded.fields:
        match classes.get(field.name):
            case None:
                raise InvalidTransaction(
                    Code.UNDECLARED_FIELD, f"{schema} does not declare a field {field.name!r}"
                )
            case FieldClass.FORBIDDEN:
                raise InvalidTransaction(Code.FORBIDDEN_FIELD, f"{schema} forbids the field {field.name!r}")
            case FieldClass.COMMIT if not isinstance(field.value, Digest):
                raise InvalidTransaction(
                    Code.FIELD_IN_CLEAR, f"{schema} allows a salted commitment only in {field.name!r}"
                )
