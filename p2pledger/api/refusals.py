"""How the API says no: one shape, a stable code, and how to mend it. Floor 7.

    {"code": "body_too_large", "message": "...", "cure": "...", "transaction_id": "...",
     "retry_after_ms": 500}

`transaction_id` is there when the bytes were looked at and good enough to have one, `retry_after_ms` when
the same request may be taken later. Codes of the ledger come through as they are; all are explained in
docs/errors.md.
"""

from http import HTTPStatus
from typing import Any

from p2pledger.api.cures import CURES
from p2pledger.errors import Code, InvalidMessage, InvalidTransaction
from p2pledger.node.service import Busy
from p2pledger.types import Hash

Json = dict[str, Any]

_STATUSES: dict[str, HTTPStatus] = {
    Code.MALFORMED: HTTPStatus.BAD_REQUEST,
    Code.NOT_CANONICAL: HTTPStatus.BAD_REQUEST,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.DUPLICATE: HTTPStatus.CONFLICT,
    Code.REPLAYED: HTTPStatus.CONFLICT,
}
"""Of refusals that do not mean that the ledger's rules are against it; a code has one status."""


class Refusal(Exception):
    """A request that is answered with an error. `status` is the HTTP status, `code` is stable."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        *,
        transaction_id: Hash | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.transaction_id = transaction_id
        self.retry_after_ms = retry_after_ms

    def view(self) -> Json:
        """The JSON object that is answered."""
        view: Json = {"code": self.code, "message": self.message}
        if self.code in CURES:
            view["cure"] = CURES[self.code]
        if self.transaction_id is not None:
            view["transaction_id"] = self.transaction_id.hex()
        if self.retry_after_ms is not None:
            view["retry_after_ms"] = self.retry_after_ms
        return view

    def headers(self) -> dict[str, str]:
        """The headers that go with it: Retry-After in whole seconds, never 0."""
        if self.retry_after_ms is None:
            return {}
        return {"Retry-After": str(max(1, -(-self.retry_after_ms // 1000)))}


def refusal_of(error: Exception, transaction_id: Hash | None = None) -> Refusal:
    """The refusal that answers an item of `Service.submit` that is not an id.

    Bytes that cannot be read are 400, those of a payload too; no room in the mempool is 429, what is there
    already 409, and what the ledger's rules refuse 422. An exception of any other kind is raised: it is a
    fault of ours.
    """
    if isinstance(error, Busy):
        return Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            error.code,
            str(error),
            transaction_id=transaction_id,
            retry_after_ms=error.retry_after_ms,
        )
    if isinstance(error, InvalidTransaction | InvalidMessage):
        status = _STATUSES.get(error.code, HTTPStatus.UNPROCESSABLE_ENTITY)
        message = error.message if isinstance(error, InvalidTransaction) else str(error)
        return Refusal(status, error.code, message, transaction_id=transaction_id)
    raise error
