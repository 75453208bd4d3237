"""What the API answers, as JSON: bytes are lower-case hexadecimal, times milliseconds UTC. Floor 7.

Answers that are values of the chain itself (blocks, receipts, genesis) are shown by `codec.to_json`.
"""

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict

from p2pledger.api.cures import CURES
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.receipt import Result
from p2pledger.chain.transaction import Outcome
from p2pledger.node.service import Fate, FinalEvent, Health, NodeStatus
from p2pledger.types import Hash


class View(BaseModel):
    """An answer. Fields that are None are left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def json_bytes(self) -> bytes:
        """The body of the answer."""
        return self.model_dump_json(exclude_none=True).encode()


class ErrorView(View):
    """Why a request or a transaction was refused; every code is explained in docs/errors.md."""

    code: str
    message: str
    cure: str | None = None
    transaction_id: str | None = None
    retry_after_ms: int | None = None


Answers = dict[int | str, dict[str, Any]]
"""What a route is said to answer, by status."""


def errors(*statuses: int) -> Answers:
    """These refusals, and any other of the same shape: else the framework documents one of its own shape."""
    return {
        **{status: {"model": ErrorView} for status in statuses},
        "default": {"model": ErrorView, "description": "Any other refusal, of the same shape."},
    }


class AcceptedView(View):
    """The transaction is in the mempool; it will end as final, refused with a code, or expired."""

    transaction_id: str


class ItemsView(View):
    """One answer for each transaction sent, in order: its id, or why it was refused."""

    items: list[AcceptedView | ErrorView]


class ResultView(View):
    """What a final transaction's rule had to say: `output` is canonical CBOR, often empty."""

    position: int
    output: str


class FateView(View):
    """What is known of a transaction: outcome is pending, final, refused or expired."""

    transaction_id: str
    outcome: str
    height: int | None = None
    result: ResultView | None = None
    code: str | None = None
    message: str | None = None
    cure: str | None = None


class StatusView(View):
    """Where a node stands. `notice` says why an authority does not vote; it is empty when all is well."""

    version: str
    chain_id: str
    genesis_hash: str
    role: str
    peer: str
    addresses: list[str]
    topics: list[str]
    protocols: list[str]
    peers: list[str]
    height: int
    digest: str
    head_time_ms: int
    best_known_height: int
    epoch: int
    view: int
    authorities: int
    is_authority: bool
    is_voting: bool
    notice: str
    mempool_transactions: int
    mempool_bytes: int


class HealthView(View):
    """A probe's answer, with what is the matter when it is not ok."""

    ok: bool
    reasons: list[str]
    notices: list[str]
    """What no restart would mend: the probe is ok all the same."""


class EventView(View):
    """A block became final: the data of a server-sent event whose id is the height."""

    height: int
    digest: str
    time_ms: int
    transaction_ids: list[str]


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def status_view(status: NodeStatus) -> StatusView:
    """A node's status."""
    return StatusView(**{name: _plain(value) for name, value in asdict(status).items()})


def fate_view(transaction_id: Hash, fate: Fate, result: Result | None) -> FateView:
    """What is known of a transaction; `result` when it is final."""
    is_refused = fate.outcome is Outcome.REFUSED
    return FateView(
        transaction_id=transaction_id.hex(),
        outcome=fate.outcome.value,
        height=fate.height,
        result=ResultView(position=result.position, output=result.output.hex()) if result else None,
        code=fate.code,
        message=fate.message,
        cure=CURES.get(fate.code or "") if is_refused else None,
    )


def health_view(health: Health, ok: bool) -> HealthView:
    """One of the three probes."""
    return HealthView(ok=ok, reasons=[] if ok else list(health.reasons), notices=list(health.notices))


def event_view(event: FinalEvent) -> EventView:
    """A block that became final."""
    return EventView(
        height=event.height,
        digest=event.digest.hex(),
        time_ms=event.time_ms,
        transaction_ids=[i.hex() for i in event.transaction_ids],
    )


def event_of(block: FinalBlock) -> FinalEvent:
    """The event that told of a block when it became final."""
    header = block.header
    return FinalEvent(header.height, header.digest, header.time_ms, block.transaction_ids)
