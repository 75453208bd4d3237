"""The routes of /v1 and the probes: from a request to a question to the node, and back. Floor 7."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import Annotated, Any

import trio
from fastapi import APIRouter, Header, Path, Query, Request, Response

from p2pledger.api.diagnosis_view import ConsensusView, EvidenceView, consensus_view, evidence_view
from p2pledger.api.events import EventStream
from p2pledger.api.query_routes import QueryRoutes
from p2pledger.api.refusals import Refusal, refusal_of
from p2pledger.api.submission import CBOR, JSON, Submission, id_of, read_submission
from p2pledger.api.views import (
    AcceptedView,
    Answers,
    FateView,
    HealthView,
    ItemsView,
    StatusView,
    View,
    errors,
    fate_view,
    health_view,
    status_view,
)
from p2pledger.chain.transaction import Outcome
from p2pledger.codec import encode, to_json
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.modules.queries import QUERIES
from p2pledger.metrics import Metrics
from p2pledger.node.service import MEMPOOL_FULL, Busy, Health, Service
from p2pledger.types import Epoch, Hash, Height

WAIT_MS_MAX = 60_000
WAIT_STEP_MS = 1_000
"""A waiting request looks up this often, so that it does not hold up a stop."""

WAITS_MAX = 2_048
SUBSCRIBERS_MAX = 256
RETRY_AFTER_MS = 1_000
OFF_LOOP_BYTES = 16 * 1024
"""A JSON body above this is read in a thread: reading it must not hold up consensus.

CBOR is read by one call into C, which nothing else runs beside, wherever it is made.
"""

HEIGHT_MAX = 2**63 - 1
EPOCH_MAX = 2**32

TransactionId = Annotated[
    str, Path(pattern="^[0-9a-f]{64}$", description="The transaction's id, 64 hexadecimal digits.")
]
AtHeight = Annotated[int, Path(ge=1, le=HEIGHT_MAX, description="The height of a final block.")]
WaitMs = Annotated[
    int, Query(ge=0, le=WAIT_MS_MAX, description="How long to wait while the outcome is not known.")
]
FromEpoch = Annotated[int, Query(ge=0, le=EPOCH_MAX, description="The first epoch to tell of.")]
After = Annotated[
    int | None, Query(ge=0, le=HEIGHT_MAX, description="Start with the block above this height.")
]
LastEventId = Annotated[
    str | None,
    Header(pattern="^[0-9]{1,18}$", description="The id of the last event that came; wins over `after`."),
]

_SUBMISSION = {"type": "object", "description": "A transaction, or a batch of them; see docs/api.md."}
_BODY = {"requestBody": {"required": True, "content": {JSON: {"schema": _SUBMISSION}, CBOR: {}}}}

SUBMIT_PATH = "/v1/transactions"

ROUTES = (
    SUBMIT_PATH,
    "/v1/transactions/{transaction_id}",
    "/v1/transactions/{transaction_id}/receipt",
    "/v1/blocks/{height}",
    "/v1/genesis",
    "/v1/status",
    "/v1/consensus",
    "/v1/evidence",
    "/v1/events",
    *(query.path for query in QUERIES.values()),
    "/healthz/live",
    "/healthz/ready",
    "/healthz/startup",
)
"""The templates of all routes: the closed list of a metric's label."""


class Routes:
    """The handlers, over one node. `closing` ends what would otherwise wait."""

    def __init__(self, service: Service, metrics: Metrics, closing: trio.Event) -> None:
        self._service = service
        self._metrics = metrics
        self._closing = closing
        self._held = {"events": 0, "waits": 0}

    def router(self, *, is_documented: bool) -> APIRouter:
        """The table of routes, and where it is documented what each of them answers.

        The models of all answers take 5 MiB: what only serves has none.
        """
        router = APIRouter()

        def add(path: str, handler: Callable[..., Any], answers: Answers, **said: Any) -> None:
            router.add_api_route(path, handler, responses=answers if is_documented else None, **said)

        add(
            SUBMIT_PATH,
            self.submit,
            {202: {"model": AcceptedView | ItemsView}, **errors(400, 408, 409, 413, 415, 422, 429)},
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            openapi_extra=_BODY,
        )
        for path, handler, view, refused in (
            ("/v1/transactions/{transaction_id}", self.fate, FateView, (400, 404, 503)),
            ("/v1/transactions/{transaction_id}/receipt", self.receipt, None, (400, 404, 406, 409, 410, 503)),
            ("/v1/blocks/{height}", self.block, None, (400, 404, 406)),
            ("/v1/genesis", self.genesis, None, (406,)),
            ("/v1/status", self.status, StatusView, ()),
            ("/v1/consensus", self.consensus, ConsensusView, ()),
            ("/v1/evidence", self.evidence, EvidenceView, (400,)),
            ("/v1/events", self.events, None, (400, 503)),
        ):
            good: Answers = {200: {"model": view}} if view is not None else {}
            add(path, handler, {**good, **errors(*refused)})
        QueryRoutes(self._service).add_to(router, is_documented=is_documented)
        for probe in (self.live, self.ready, self.startup):
            add(f"/healthz/{probe.__name__}", probe, {200: {"model": HealthView}, 503: {"model": HealthView}})
        return router

    async def submit(self, request: Request) -> Response:
        """Submit a transaction, or many; each is judged on its own.

        202 means that it is in the mempool and will end as final, refused with a code, or expired.
        Sending the same bytes again is always safe.
        """
        try:
            submission = await _submission(request)
        except Refusal as refusal:
            self._count_unreadable(refusal.code)
            raise
        readable = [item for item in submission.items if isinstance(item, bytes)]
        judged = iter(await self._service.submit(readable) if readable else ())
        answers: list[Hash | Refusal] = []
        busy: dict[tuple[str, int], Refusal] = {}  # a node that has much to do says the same to many
        for item in submission.items:
            if isinstance(item, InvalidMessage):
                self._count_unreadable(item.code)
            verdict = next(judged) if isinstance(item, bytes) else item
            if not isinstance(verdict, Exception):
                answers.append(verdict)
            elif isinstance(verdict, Busy) and verdict.code != MEMPOOL_FULL:
                said = verdict.code, verdict.retry_after_ms
                if said not in busy:  # and says so without looking for ids
                    busy[said] = refusal_of(verdict)
                answers.append(busy[said])
            else:
                answers.append(refusal_of(verdict, id_of(item)))
        return _answer_many(answers) if submission.many else _answer_one(answers[0])

    def _count_unreadable(self, code: str) -> None:
        # The node counts what it judges; this never got there.
        self._metrics.mempool_txs_received_total.at("api", code).inc()

    async def fate(self, transaction_id: TransactionId, wait_ms: WaitMs = 0) -> Response:
        """What became of a transaction; with `wait_ms`, as soon as that is known or the time is over."""
        wanted = Hash(bytes.fromhex(transaction_id))
        fate, left_ms = self._service.fate(wanted), wait_ms
        if left_ms > 0 and fate.outcome in (Outcome.PENDING, Outcome.UNKNOWN):
            with self._hold("waits", WAITS_MAX, "overloaded"):
                while left_ms > 0 and fate.outcome in (Outcome.PENDING, Outcome.UNKNOWN):
                    if self._closing.is_set():
                        break
                    step_ms = min(left_ms, WAIT_STEP_MS)
                    fate, left_ms = await self._service.wait(wanted, step_ms), left_ms - step_ms
        if fate.outcome is Outcome.UNKNOWN:
            raise _unknown(wanted)
        return _answer(fate_view(wanted, fate, self._service.result(wanted)))

    async def receipt(self, request: Request, transaction_id: TransactionId) -> Response:
        """The proof that a transaction is final, which holds offline with the genesis file alone."""
        wanted = Hash(bytes.fromhex(transaction_id))
        receipt = self._service.receipt(wanted)
        if receipt is not None:
            return _chain_answer(request, receipt)
        fate = self._service.fate(wanted)
        if fate.outcome is Outcome.UNKNOWN:
            raise _unknown(wanted)
        if fate.outcome is not Outcome.FINAL:
            raise Refusal(
                HTTPStatus.CONFLICT,
                "not_final",
                f"the transaction is {fate.outcome.value}; only a final one has a receipt",
                transaction_id=wanted,
            )
        if self._service.transaction(wanted) is None:
            raise Refusal(
                HTTPStatus.GONE,
                "pruned",
                "the transaction is final, but this node has dropped the bodies of old blocks",
                transaction_id=wanted,
            )
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "receipt_not_ready",
            "the transaction is final, but no certificate covers its block by itself yet",
            transaction_id=wanted,
            retry_after_ms=RETRY_AFTER_MS,
        )

    async def block(self, request: Request, height: AtHeight) -> Response:
        """A final block: header, transaction ids, evidence and certificate."""
        block = self._service.block(Height(height))
        if block is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "unknown_block", f"no final block of height {height} here")
        return _chain_answer(request, block, digest=block.header.digest.hex())

    async def genesis(self, request: Request) -> Response:
        """The genesis file that this ledger grew from. Compare its hash with one that you trust."""
        genesis = self._service.genesis
        return _chain_answer(request, genesis, hash=genesis.hash.hex())

    async def status(self) -> Response:
        """Where this node stands."""
        return _answer(status_view(self._service.status()))

    async def consensus(self) -> Response:
        """Where this node's agreement stands, who is missing, and what it waits for, in plain words."""
        return _answer(consensus_view(self._service.consensus()))

    async def evidence(self, from_epoch: FromEpoch = 0) -> Response:
        """What final blocks have recorded against authorities: by epoch, view and signer, each once."""
        return _answer(evidence_view(*self._service.offences(Epoch(from_epoch))))

    async def events(self, after: After = None, last_event_id: LastEventId = None) -> Response:
        """Final blocks as server-sent events, from now on or from a height on, none left out."""
        if last_event_id is not None:
            after = int(last_event_id)
        due = Height((self._service.status().height if after is None else after) + 1)
        held = ExitStack()
        held.enter_context(self._hold("events", SUBSCRIBERS_MAX, "too_many_subscribers"))
        return EventStream(self._service, due, self._closing, on_end=held.close)

    async def live(self) -> Response:
        """Whether every long-lived task of the node gives signs of life."""
        return _probe(self._service.health(), lambda health: health.live)

    async def ready(self) -> Response:
        """Whether the node is in sync and takes transactions."""
        return _probe(self._service.health(), lambda health: health.ready)

    async def startup(self) -> Response:
        """Whether the node has opened its store and begun its work."""
        return _probe(self._service.health(), lambda health: health.started)

    @contextmanager
    def _hold(self, kind: str, most: int, code: str) -> Iterator[None]:
        if self._held[kind] >= most:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                code,
                f"{most} requests of this kind are held open already",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._held[kind] += 1
        self._metrics.api_subscribers.at(kind).set(self._held[kind])
        try:
            yield
        finally:
            self._held[kind] -= 1
            self._metrics.api_subscribers.at(kind).set(self._held[kind])


async def _submission(request: Request) -> Submission:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "a body is sent as it is, not compressed",
        )
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if len(body) <= OFF_LOOP_BYTES or media_type == CBOR:
        return read_submission(media_type, body)
    return await trio.to_thread.run_sync(read_submission, media_type, body)


def _answer_one(answer: Hash | Refusal) -> Response:
    if isinstance(answer, Refusal):
        raise answer
    return _answer(AcceptedView(transaction_id=answer.hex()), HTTPStatus.ACCEPTED)


def _answer_many(answers: Sequence[Hash | Refusal]) -> Response:
    """202 when one at least was accepted, else the status that all refusals share, or 422."""
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    status = HTTPStatus.ACCEPTED
    if len(refusals) == len(answers):
        shared = {refusal.status for refusal in refusals}
        status = shared.pop() if len(shared) == 1 else HTTPStatus.UNPROCESSABLE_ENTITY
    slowest = max(refusals, key=lambda refusal: refusal.retry_after_ms or 0, default=None)
    body = _items_json(answers, set(refusals)).encode()
    headers = slowest.headers() if slowest else None
    return Response(body, status_code=status, headers=headers, media_type=JSON)


def _items_json(answers: Sequence[Hash | Refusal], refusals: Collection[Refusal]) -> str:
    """An `ItemsView`, written without the models that document it: they cost as much as the judging."""
    refused = {
        refusal: json.dumps(refusal.view(), ensure_ascii=False, separators=(",", ":")) for refusal in refusals
    }
    items = [
        refused[answer] if isinstance(answer, Refusal) else f'{{"transaction_id":"{answer.hex()}"}}'
        for answer in answers
    ]
    return f'{{"items":[{",".join(items)}]}}'


def _chain_answer(request: Request, value: Any, **beside: str) -> Response:
    """A value of the chain: its canonical encoding, or its JSON form with `beside` as further fields."""
    accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept", "*/*").split(",")}
    if CBOR in accepted:
        return Response(encode(value), media_type=CBOR)
    if accepted & {JSON, "application/*", "*/*"}:
        return Response(json.dumps({**beside, **to_json(value)}), media_type=JSON)
    raise Refusal(HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", f"this route answers {JSON} or {CBOR}")


def _unknown(transaction_id: Hash) -> Refusal:
    return Refusal(
        HTTPStatus.NOT_FOUND,
        "unknown_transaction",
        "this node knows no transaction of this id",
        transaction_id=transaction_id,
    )


def _answer(view: View, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(view.json_bytes(), status_code=status, headers=headers, media_type=JSON)


def _probe(health: Health, is_ok: Callable[[Health], bool]) -> Response:
    ok = is_ok(health)
    return _answer(health_view(health, ok), HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)
