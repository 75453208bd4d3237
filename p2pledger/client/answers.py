"""Reading what nodes answer: everything is checked, nothing is believed by its shape. Pure. Floor 7."""

import json
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from p2pledger.chain.transaction import Outcome
from p2pledger.client.exchange import Answer
from p2pledger.client.outcomes import (
    Accepted,
    Fate,
    FinalEvent,
    InvalidAnswer,
    QueryPage,
    Refused,
    Status,
)
from p2pledger.types import Hash, Height, Millis

V = TypeVar("V")


@dataclass(frozen=True)
class Full:
    """The node had no room for this transaction; `code` says of what kind."""

    code: str
    retry_after_ms: int


def content_of(answer: Answer) -> bytes:
    """The body of a good answer. Raises: Refused with the node's code."""
    if answer.status in (200, 202):
        return answer.content
    raise _refused(_object(answer.content))


def read_items(answer: Answer, ids: list[Hash]) -> list[Accepted | Refused | Full]:
    """One item for each of `ids`, in order. Raises: Refused when the request as a whole was."""
    shown = _object(answer.content)
    if "items" not in shown:
        raise _refused(shown)
    items = _field(shown, "items", list)
    if len(items) != len(ids):
        raise InvalidAnswer(f"{len(items)} answers for {len(ids)} transactions")
    return [_item(item, transaction_id) for item, transaction_id in zip(items, ids, strict=True)]


def _item(shown: Any, transaction_id: Hash) -> Accepted | Refused | Full:
    if not isinstance(shown, dict):
        raise InvalidAnswer("an item is not an object")
    if "code" not in shown:
        if _hash(shown, "transaction_id") != transaction_id:
            raise InvalidAnswer("another transaction than the one sent was accepted")
        return Accepted(transaction_id)
    if "retry_after_ms" in shown:
        return Full(_field(shown, "code", str), _field(shown, "retry_after_ms", int))
    refused = _refused(shown)
    refused.transaction_id = transaction_id
    return refused


def read_fate(answer: Answer, transaction_id: Hash) -> Fate:
    """What the node knows of the transaction."""
    shown = _object(answer.content)
    if answer.status == 404 and shown.get("code") == "unknown_transaction":
        return Fate(transaction_id, Outcome.UNKNOWN)
    if answer.status != 200:
        raise _refused(shown)
    if _hash(shown, "transaction_id") != transaction_id:
        raise InvalidAnswer("the fate is another transaction's")
    try:
        outcome = Outcome(_field(shown, "outcome", str))
    except ValueError as error:
        raise InvalidAnswer(str(error)) from None
    if outcome is Outcome.REFUSED:
        code, message = _field(shown, "code", str), shown.get("message")
        return Fate(transaction_id, outcome, code=code, message=message)
    if outcome is not Outcome.FINAL:
        return Fate(transaction_id, outcome)
    result = _field(shown, "result", dict)
    return Fate(
        transaction_id,
        outcome,
        height=Height(_field(shown, "height", int)),
        position=_field(result, "position", int),
        output=_bytes(result, "output"),
    )


def read_status(answer: Answer) -> Status:
    """A node's status; fields that this client does not know are passed over."""
    shown = _object(content_of(answer))
    values: dict[str, Any] = {}
    for field in fields(Status):
        if field.name in ("genesis_hash", "digest"):
            values[field.name] = _hash(shown, field.name)
        elif field.name in ("addresses", "topics", "protocols"):
            values[field.name] = tuple(map(str, _field(shown, field.name, list)))
        else:
            kind = field.type if isinstance(field.type, type) else int  # the others are NewTypes over int
            values[field.name] = _field(shown, field.name, kind)
    return Status(**values)


def read_page(answer: Answer) -> QueryPage:
    """A page of a query's answer."""
    shown = _object(content_of(answer))
    items = _field(shown, "items", list)
    if not all(isinstance(item, dict) for item in items):
        raise InvalidAnswer("an item is not an object")
    after = _field(shown, "next", str) if "next" in shown else None
    return QueryPage(Height(_field(shown, "height", int)), tuple(items), after)


def read_event(data: str) -> FinalEvent:
    """The data of a server-sent event."""
    shown = _object(data.encode())
    return FinalEvent(
        Height(_field(shown, "height", int)),
        _hash(shown, "digest"),
        Millis(_field(shown, "time_ms", int)),
        tuple(_hash_of(text) for text in _field(shown, "transaction_ids", list)),
    )


def _refused(shown: dict[str, Any]) -> Refused:
    cure = shown.get("cure")
    return Refused(
        _field(shown, "code", str), _field(shown, "message", str), cure if isinstance(cure, str) else None
    )


def _object(content: bytes) -> dict[str, Any]:
    try:
        shown = json.loads(content)
    except (ValueError, RecursionError):
        shown = None
    if not isinstance(shown, dict):
        raise InvalidAnswer("the answer is not a JSON object")
    return shown


def _field(shown: dict[str, Any], name: str, kind: type[V]) -> V:
    value = shown.get(name)
    if type(value) is not kind:
        raise InvalidAnswer(f"{name!r} is missing, or not {kind.__name__}")
    return value


def _bytes(shown: dict[str, Any], name: str) -> bytes:
    try:
        return bytes.fromhex(_field(shown, name, str))
    except ValueError:
        raise InvalidAnswer(f"{name!r} is not hexadecimal") from None


def _hash(shown: dict[str, Any], name: str) -> Hash:
    return _hash_of(_field(shown, name, str))


def _hash_of(text: Any) -> Hash:
    try:
        value = bytes.fromhex(text)
    except (ValueError, TypeError):
        value = b""
    if len(value) != 32:
        raise InvalidAnswer("a hash is 64 hexadecimal digits")
    return Hash(value)
