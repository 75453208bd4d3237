"""Spans of transactions and blocks, sent by OpenTelemetry's own exporter over HTTP. Floor 6.

    transaction           from a client's request until final, refused or expired, at the node that took it in
      transaction.admit   judged: decoded, verified, tried
    block                 at every node, from the first that was done with it until it is stored
      block.propose       built, at its leader
      block.execute       executed, at the others
      block.agree         from then until it is final
      block.commit        made durable

One transaction in `one_in` is followed, chosen by its id, so that all nodes follow the same ones; its trace
id is the first half of its id. One block in `one_in` is, and every block that holds a followed transaction
of this node's; its trace id is the first half of its digest. Everything is bounded: what is followed at
once, and what waits to be sent; what has no room is left out. Spans are made here when they are over, and
sent by the exporter's thread.

Imported only by a node that was told where to send them: it needs `pip install p2pledger[traces]`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from p2pledger.chain.block import Header
from p2pledger.chain.transaction import Transaction
from p2pledger.types import Hash, Height

TRANSACTIONS_MAX = 4_096
"""Transactions that are followed at once."""
BLOCKS_MAX = 256
"""Blocks that something was done with and that are not stored yet; those that lose leave in turn."""
QUEUE_SPANS_MAX = 2_048
EXPORT_MS = 1_000
EXPORT_TIMEOUT_S = 3.0
CLOSE_S = 3.0
TRACE_ID_BYTES = 16


class _Ids(IdGenerator):
    """Gives the next trace the id that was chosen for it."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id or self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()


@dataclass
class _Followed:
    """A transaction under way."""

    kind: str
    began_ns: int
    accepted_ns: int


@dataclass
class _Steps:
    """What was done with a block, in order: name, beginning, end."""

    header: Header
    done: list[tuple[str, int, int]] = field(default_factory=list)


class SpanTracer:
    """A `trail.Tracer` that sends spans to `endpoint`, an OTLP/HTTP collector's URL (`…/v1/traces`)."""

    def __init__(self, endpoint: str, one_in: int, *, version: str, chain_id: str, node: str) -> None:
        self._limit = 2**64 // one_in
        self._ids = _Ids()
        resource = Resource.create(
            {
                "service.name": "p2pledger",
                "service.version": version,
                "service.instance.id": node,
                "p2pledger.chain_id": chain_id,
            }
        )
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS_MAX, schedule_delay_millis=EXPORT_MS)
        )
        self._tracer = self._provider.get_tracer("p2pledger", version)
        self._followed: OrderedDict[Hash, _Followed] = OrderedDict()
        self._steps: OrderedDict[Hash, _Steps] = OrderedDict()
        self._held: set[Height] = set()
        """Heights of blocks that hold a followed transaction, until they are told of."""

    def close(self) -> None:
        """Send what waits, for CLOSE_S at most, and stop."""
        # It would wait for each of several batches, if a collector does not answer: longer than a node may
        # take to stop. Both threads are daemons, and what was not sent by then is lost.
        closing = Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def accepted(self, transactions: Sequence[Transaction], began_ns: int, now_ns: int) -> None:
        """See `Tracer.accepted`."""
        for transaction in transactions:
            if self._is_chosen(transaction.id) and len(self._followed) < TRANSACTIONS_MAX:
                self._followed[transaction.id] = _Followed(transaction.body.kind, began_ns, now_ns)

    def final(self, ids: Sequence[Hash], height: Height, now_ns: int) -> None:
        """See `Tracer.final`."""
        for id_ in self._followed.keys() & set(ids):
            self._held.add(height)
            self._tell_transaction(id_, "final", now_ns, height)

    def ended(self, id_: Hash, code: str, now_ns: int) -> None:
        """See `Tracer.ended`."""
        if id_ in self._followed:
            self._tell_transaction(id_, code, now_ns, None)

    def worked(self, header: Header, step: str, began_ns: int, now_ns: int) -> None:
        """See `Tracer.worked`."""
        steps = self._steps.setdefault(header.digest, _Steps(header))
        if all(name != step for name, _, _ in steps.done):  # the same proposal may be executed again
            steps.done.append((step, began_ns, now_ns))
        if len(self._steps) > BLOCKS_MAX:
            self._steps.popitem(last=False)
        if step == "commit":
            del self._steps[header.digest]
            if self._is_chosen(header.digest) or header.height in self._held:
                self._tell_block(steps, now_ns)
            self._held.discard(header.height)

    def _is_chosen(self, id_: Hash) -> bool:
        return int.from_bytes(id_[-8:], "big") < self._limit

    def _tell_transaction(self, id_: Hash, result: str, now_ns: int, height: Height | None) -> None:
        followed = self._followed.pop(id_)
        attributes: dict[str, str | int] = {
            "p2pledger.transaction.id": id_.hex(),
            "p2pledger.transaction.kind": followed.kind,
            "p2pledger.transaction.result": result,
        }
        if height is not None:
            attributes["p2pledger.block.height"] = height
        span = self._begin("transaction", id_, followed.began_ns, attributes)
        if height is None:
            span.set_status(Status(StatusCode.ERROR, result))
        self._tell_step(span, "transaction.admit", followed.began_ns, followed.accepted_ns)
        span.end(now_ns)

    def _tell_block(self, steps: _Steps, now_ns: int) -> None:
        header, done = steps.header, steps.done
        attributes: dict[str, str | int] = {
            "p2pledger.block.height": header.height,
            "p2pledger.block.view": header.view,
            "p2pledger.block.epoch": header.epoch,
            "p2pledger.block.digest": header.digest.hex(),
            "p2pledger.block.proposer": header.proposer,
        }
        span = self._begin("block", header.digest, done[0][1], attributes)
        for name, began_ns, ended_ns in done:
            if name == "commit" and len(done) > 1:
                self._tell_step(span, "block.agree", done[-2][2], max(done[-2][2], began_ns))
            self._tell_step(span, f"block.{name}", began_ns, ended_ns)
        span.end(now_ns)

    def _begin(self, name: str, id_: Hash, began_ns: int, attributes: dict[str, str | int]) -> Span:
        self._ids.trace_id = int.from_bytes(id_[:TRACE_ID_BYTES], "big")
        return self._tracer.start_span(name, start_time=began_ns, attributes=attributes)

    def _tell_step(self, parent: Span, name: str, began_ns: int, ended_ns: int) -> None:
        within = set_span_in_context(parent)
        self._tracer.start_span(name, context=within, start_time=began_ns).end(ended_ns)
