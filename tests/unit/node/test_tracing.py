"""Spans of a real ledger's transactions and blocks arrive at a collector that speaks OTLP over HTTP."""

import sys
from hashlib import sha256
from subprocess import run

import trio
from p2pledger.node.tracing import BLOCKS_MAX, TRANSACTIONS_MAX, SpanTracer
from p2pledger.node.trail import Trail
from p2pledger.types import Hash
from tests.collecting import collecting, said
from tests.unit.node.solo import Solo, fact

UNREACHABLE = "http://127.0.0.1:9/v1/traces"


def tracer_to(url: str, one_in: int = 1) -> SpanTracer:
    return SpanTracer(url, one_in, version="0.1.0", chain_id="test", node="solo")


def follow(solo: Solo, tracer: SpanTracer) -> None:
    solo.pool.trail = solo.loop.trail = solo.finals.trail = Trail(tracer=tracer)


async def submitted(solo: Solo, *transactions) -> None:
    """Run the ledger until these have ended."""
    async with solo.running():
        await solo.pool.submit([one.encoded for one in transactions])
        with trio.fail_after(20):
            for one in transactions:
                await solo.pool.wait(one.id, 20_000)


async def test_the_way_of_a_transaction_and_of_its_block_arrives(tmp_path):
    with collecting() as collector:
        solo, tracer = Solo(tmp_path), tracer_to(collector.url)
        follow(solo, tracer)
        facts = [fact(solo.genesis, time_ms=solo.clock.now() - n) for n in range(3)]
        await submitted(solo, *facts)
        await trio.to_thread.run_sync(tracer.close)
    spans = {said(span)["p2pledger.transaction.id"]: span for span in collector.named("transaction")}
    assert spans.keys() == {one.id.hex() for one in facts}
    heights = set()
    for one in facts:
        span, of = spans[one.id.hex()], said(spans[one.id.hex()])
        located = solo.store.locate(one.id)
        assert span.trace_id == one.id[:16] and not span.parent_span_id
        assert of["p2pledger.transaction.kind"] == one.body.kind
        assert of["p2pledger.transaction.result"] == "final"
        assert of["p2pledger.block.height"] == located.result.height
        admitted = collector.parts_of(span)["transaction.admit"]
        assert span.start_time_unix_nano == admitted.start_time_unix_nano
        assert admitted.end_time_unix_nano <= span.end_time_unix_nano
        heights.add(located.result.height)
    blocks = {said(span)["p2pledger.block.height"]: span for span in collector.named("block")}
    for height in heights:
        span, header = blocks[height], solo.store.block(height).header
        assert (span.trace_id, said(span)["p2pledger.block.digest"]) == (
            header.digest[:16],
            header.digest.hex(),
        )
        parts = collector.parts_of(span)
        assert parts.keys() == {"block.propose", "block.agree", "block.commit"}
        ends = [parts[f"block.{step}"].end_time_unix_nano for step in ("propose", "agree", "commit")]
        assert span.start_time_unix_nano <= ends[0] <= ends[1] <= ends[2] <= span.end_time_unix_nano
    assert collector.senders[0]["service.name"] == "p2pledger"
    assert collector.senders[0]["service.instance.id"] == "solo"


async def test_one_that_is_not_to_become_final_ends_with_its_code(tmp_path):
    with collecting() as collector:
        solo, tracer = Solo(tmp_path), tracer_to(collector.url)
        one = fact(solo.genesis)
        follow(solo, tracer)
        trail = solo.pool.trail
        trail.accepted("api", [one], trail.now_ns())
        trail.refused(one.id, "revoked", "its key ended")
        tracer.close()
    (span,) = collector.named("transaction")
    assert (said(span)["p2pledger.transaction.result"], span.status.message) == ("revoked", "revoked")


def test_what_comes_by_gossip_is_not_this_nodes_to_follow(tmp_path):
    with collecting() as collector:
        tracer, one = tracer_to(collector.url), fact(Solo(tmp_path).genesis)
        trail = Trail(tracer=tracer)
        trail.accepted("gossip", [one], 0)
        trail.final([one.id], 7)
        tracer.close()
    assert collector.spans == []


def test_about_one_in_so_many_is_followed_and_by_all_nodes_the_same(tmp_path):
    one, other = tracer_to(UNREACHABLE, 10), tracer_to(UNREACHABLE, 10)
    ids = [Hash(sha256(n.to_bytes(4, "big")).digest()) for n in range(10_000)]
    chosen = [id_ for id_ in ids if one._is_chosen(id_)]
    assert 0.08 < len(chosen) / len(ids) < 0.12
    assert chosen == [id_ for id_ in ids if other._is_chosen(id_)]
    for tracer in (one, other):
        tracer.close()


def test_what_is_followed_at_once_is_bounded(tmp_path):
    tracer, of = tracer_to(UNREACHABLE), Solo(tmp_path).genesis
    first = fact(of)

    class Another:
        def __init__(self, number: int) -> None:
            self.id, self.body = Hash(number.to_bytes(32, "big")), first.body

    tracer.accepted([Another(n) for n in range(TRANSACTIONS_MAX + 9)], 0, 1)
    assert len(tracer._followed) == TRANSACTIONS_MAX
    for number in range(BLOCKS_MAX + 9):
        tracer.worked(Header(Hash(number.to_bytes(32, "big"))), "execute", 0, 1)
    assert len(tracer._steps) == BLOCKS_MAX
    tracer.close()


class Header:
    height = 1

    def __init__(self, digest: Hash) -> None:
        self.digest = digest


def test_a_node_that_traces_nothing_imports_nothing_of_it():
    script = (
        "import sys, p2pledger.daemon, p2pledger.node.node\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk') or 'otlp' in name])"
    )
    assert run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_the_packages_the_node_says_what_to_install():
    script = (
        "import sys\n"
        "sys.modules['opentelemetry.sdk.trace'] = None\n"
        "from contextlib import ExitStack\n"
        "from types import SimpleNamespace as Some\n"
        "from p2pledger import daemon\n"
        "traces = Some(endpoint='http://127.0.0.1:9/v1/traces', one_in=1)\n"
        "try:\n"
        "    daemon._open_tracer(Some(traces=traces), None, ExitStack())\n"
        "except daemon.TracingMissing as error:\n"
        "    print(error)\n"
    )
    said = run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "pip install p2pledger[traces]" in said and "traces.endpoint" in said
    assert "--build-arg EXTRAS=traces" in said
