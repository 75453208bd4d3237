"""From the body of a POST to encoded transactions. Pure. Floor 7.

CBOR: one encoded transaction, or a `Batch` of them. JSON: one transaction as an object of its fields, or
`{"transactions": [...]}`; bytes (the payload too) are lower-case hexadecimal. JSON is read strictly,
because a number that two parsers read differently is two transactions: integers only, written the one
way, no duplicate keys.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, NoReturn

from p2pledger.api.refusals import Refusal
from p2pledger.chain.transaction import Transaction, decode_transaction
from p2pledger.codec import Length, decode, from_json
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash

REQUEST_BYTES_MAX = 4 * 1024 * 1024
REQUEST_TRANSACTIONS_MAX = 1_024
"""So that judging one request never holds up the others for long."""

JSON_DIGITS_MAX = 20
"""The digits of 2**64 - 1."""

CBOR = "application/cbor"
JSON = "application/json"

_ARRAY_OF_ONE = 0x81  # a Batch is an array of its one field; a transaction is an array of two


@dataclass(frozen=True)
class _Batch:
    """As a `Batch`, of items that may be no transactions: each is judged on its own."""

    transactions: Annotated[tuple[Annotated[bytes, Length(0, REQUEST_BYTES_MAX)], ...], Length(1, 16_384)]


@dataclass(frozen=True)
class Submission:
    """What was sent: encoded transactions, or for each one why it could not be read. `many`: as a list."""

    items: tuple[bytes | InvalidMessage, ...]
    many: bool


def read_submission(media_type: str, body: bytes) -> Submission:
    """The transactions of a request body.

    Raises: Refusal (unsupported_media_type, malformed, not_canonical, too_many_transactions).
    """
    if media_type == CBOR:
        return _read_cbor(body)
    if media_type == JSON:
        return _read_json(body)
    raise Refusal(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        f"transactions come as {CBOR} or {JSON}",
    )


def _read_cbor(body: bytes) -> Submission:
    if not body or body[0] != _ARRAY_OF_ONE:
        return Submission((body,), many=False)
    try:
        batch: _Batch = decode(_Batch, body)
    except InvalidMessage as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, error.code, f"not a batch: {error}") from None
    _check_count(len(batch.transactions))
    return Submission(batch.transactions, many=True)


def _read_json(body: bytes) -> Submission:
    try:
        value = parse_json(body)
    except InvalidMessage as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, error.code, str(error)) from None
    if isinstance(value, dict) and value.keys() == {"transactions"}:
        listed = value["transactions"]
        if type(listed) is not list or not listed:
            raise Refusal(HTTPStatus.BAD_REQUEST, "malformed", "transactions is a list of at least one")
        _check_count(len(listed))
        return Submission(tuple(map(_encoded, listed)), many=True)
    return Submission((_encoded(value),), many=False)


def _encoded(shown: Any) -> bytes | InvalidMessage:
    try:
        transaction: Transaction = from_json(Transaction, shown)
    except InvalidMessage as error:
        return error
    return transaction.encoded


def _check_count(count: int) -> None:
    if count > REQUEST_TRANSACTIONS_MAX:
        raise Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_many_transactions",
            f"{count} transactions; a request carries at most {REQUEST_TRANSACTIONS_MAX}",
        )


def parse_json(data: bytes) -> Any:
    """The value of a JSON text in which every number is an integer and no key stands twice.

    Raises: InvalidMessage.
    """
    try:
        return json.loads(
            data.decode(),
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise InvalidMessage("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidMessage(f"not JSON: {error}") from None
    except RecursionError:
        raise InvalidMessage("JSON nested too deeply") from None


def _integer(text: str) -> int:
    if len(text) > JSON_DIGITS_MAX or text.startswith("-"):
        raise InvalidMessage(f"numbers are integers from 0 to 2**64 - 1, not {text[:24]}")
    return int(text)


def _refuse_number(text: str) -> NoReturn:
    raise InvalidMessage(f"numbers are integers, written as such; not {text[:24]}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise InvalidMessage(f"the key {key[:64]!r} stands twice")
        value[key] = item
    return value


def id_of(encoded: bytes | InvalidMessage) -> Hash | None:
    """The id of a transaction that was refused, if its bytes are good enough to have one."""
    try:
        return decode_transaction(encoded).id if isinstance(encoded, bytes) else None
    except InvalidMessage:
        return None
