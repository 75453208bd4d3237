"""How the API says no: one shape, a stable code, and how to mend it. Floor 7.

    {"code": "body_too_large", "message": "...", "cure": "...", "transaction_id": "..."}

`cure` and `transaction_id` are there when they are known. Codes of the ledger come through as they are;
those that only HTTP can cause are listed here. All of them are explained in docs/errors.md.
"""

from http import HTTPStatus
from typing import Any

from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.node.service import Busy
from p2pledger.types import Hash

Json = dict[str, Any]

CURES = {
    "malformed": "Compare the request with the example in docs/api.md.",
    "not_canonical": "Encode with the shortest integers and definite lengths: one value has one encoding.",
    "too_large": "Split the payload into several transactions.",
    "body_too_large": "Send fewer transactions in one request.",
    "too_many_transactions": "Send fewer transactions in one request.",
    "body_too_slow": "Send the whole body at once.",
    "unsupported_media_type": "Send application/cbor or application/json, without a content encoding.",
    "not_acceptable": "Accept application/json or application/cbor.",
    "invalid_parameter": "See the parameter's limits in /openapi.json.",
    "not_found": "The routes are listed in /docs.",
    "method_not_allowed": "The Allow header names the methods of this route.",
    "unknown_transaction": "Send the same bytes again: nothing happens twice under one id.",
    "unknown_block": "Ask for a height from 1 up to the height in /v1/status.",
    "not_final": "Wait with GET /v1/transactions/{id}?wait_ms=30000.",
    "receipt_not_ready": "Ask again after Retry-After: the certificate comes with one of the next blocks.",
    "mempool_full": "Send the same bytes again after Retry-After, or to another node.",
    "overloaded": "Send it again after Retry-After, or to another node.",
    "too_many_subscribers": "Subscribe at another node, or try again after Retry-After.",
    "internal": "Look into the node's log; send the same bytes again, or to another node.",
}
"""What the user can do about a code; the codes of the ledger's rules carry theirs in docs/errors.md."""


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

    Malformed bytes are 400, a full mempool 429, what is there already 409, and what the ledger's rules
    refuse 422. An exception of any other kind is raised: it is a fault of ours.
    """
    if isinstance(error, Busy):
        return Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "mempool_full",
            str(error),
            transaction_id=transaction_id,
            retry_after_ms=error.retry_after_ms,
        )
    if isinstance(error, InvalidTransaction):
        status = HTTPStatus.CONFLICT if error.code == "duplicate" else HTTPStatus.UNPROCESSABLE_ENTITY
        return Refusal(status, error.code, error.message, transaction_id=transaction_id)
    if isinstance(error, InvalidMessage):
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if error.code == "too_large" else HTTPStatus.BAD_REQUEST
        return Refusal(status, error.code, str(error), transaction_id=transaction_id)
    raise error
