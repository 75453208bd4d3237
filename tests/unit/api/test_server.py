"""What the server owes to clients that misbehave, to its operator, and to the rest of the process."""

import socket
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
import trio
from p2pledger import api
from p2pledger.api import edge, server
from p2pledger.api.submission import REQUEST_BYTES_MAX
from p2pledger.errors import Fatal
from p2pledger.metrics import Metrics
from p2pledger.types import ZERO_HASH
from tests.unit.api.small_ledger import SmallLedger, make_transaction

CBOR = {"Content-Type": "application/cbor"}
PATIENCE_S = 9  # a stop takes less than 10 s, whatever clients do


async def connect(address: str) -> trio.SocketStream:
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def read_all(stream: trio.SocketStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


@pytest.fixture
def patient(monkeypatch):
    """A server that gives requests for ever to end: what ends, ends by itself."""
    monkeypatch.setattr(server, "GRACE_S", 1_000.0)


async def serving(nursery, ledger, shutdown):
    metrics = Metrics(version="0.1.0", chain_id="small", node="a")
    return await nursery.start(
        lambda task_status: api.serve(
            ledger, "127.0.0.1:0", "127.0.0.1:0", metrics, shutdown=shutdown, task_status=task_status
        )
    )


async def test_a_body_that_is_declared_too_long_is_refused(served):
    answer = await served.http.post("/v1/transactions", content=bytes(REQUEST_BYTES_MAX + 1), headers=CBOR)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_body_that_grows_too_long_is_refused_and_drained(served):
    async def endless():
        for _ in range(3 * REQUEST_BYTES_MAX // 65_536):
            yield bytes(65_536)

    answer = await served.http.post("/v1/transactions", content=endless(), headers=CBOR)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert not served.ledger.submissions
    assert (await served.http.get("/v1/status")).status_code == 200


async def test_a_client_that_never_ends_its_body_is_answered_and_let_go(served, monkeypatch):
    monkeypatch.setattr(edge, "BODY_MS_MAX", 20)
    monkeypatch.setattr(edge, "DRAIN_MS_MAX", 20)
    async with await connect(served.addresses.api) as stream:
        await stream.send_all(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert b"408" in (answer := await read_all(stream))
        assert b"body_too_slow" in answer


async def test_a_client_that_pours_on_after_its_refusal_holds_nothing(patient, monkeypatch):
    # Nobody reads hypercorn's queue of ten once a request is answered: the connection would never end.
    monkeypatch.setattr(edge, "DRAIN_MS_MAX", 100)
    shutdown = trio.Event()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            addresses = await serving(nursery, SmallLedger(), shutdown)
            async with await connect(addresses.api) as stream:
                head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
                await stream.send_all(head)
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await stream.send_all(bytes(65_536))
                shutdown.set()


async def test_bodies_in_flight_are_bounded_together(served, monkeypatch):
    monkeypatch.setattr(edge, "BUFFERED_BYTES_MAX", 1_000)
    async with await connect(served.addresses.api) as holding:
        head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
        await holding.send_all(head + bytes(800))
        answer = await served.http.post("/v1/transactions", content=bytes(900), headers=CBOR)
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"
    while answer.json()["code"] == "overloaded":
        answer = await served.http.post("/v1/transactions", content=bytes(900), headers=CBOR)
    assert answer.json()["code"] == "malformed"


async def test_a_fault_of_ours_is_500_and_logged_and_the_node_goes_on(served, caplog):
    served.ledger.fault = True
    encoded = make_transaction(served.ledger.genesis).encoded
    answer = await served.http.post("/v1/transactions", content=encoded, headers=CBOR)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert (await served.http.get("/v1/status")).status_code == 200
    with trio.fail_after(PATIENCE_S):
        while "ZeroDivisionError" not in caplog.text:
            await trio.sleep(0.01)


async def test_a_fatal_error_stops_the_server_not_just_the_request():
    ledger, shutdown = SmallLedger(fatal=True), trio.Event()
    with trio.fail_after(PATIENCE_S), pytest.raises(ExceptionGroup) as raised:
        async with trio.open_nursery() as nursery:
            addresses = await serving(nursery, ledger, shutdown)
            async with httpx.AsyncClient() as http:
                await http.post(
                    f"http://{addresses.api}/v1/transactions",
                    content=make_transaction(ledger.genesis).encoded,
                    headers=CBOR,
                )
    assert raised.group_contains(Fatal, match="on fire")


async def test_an_address_in_use_is_said_plainly():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        metrics = Metrics(version="0.1.0", chain_id="small", node="a")
        with pytest.raises(OSError, match="in use"):
            await api.serve(SmallLedger(), bind, "127.0.0.1:0", metrics, shutdown=trio.Event())


async def test_events_are_told_from_a_height_on_and_then_as_they_come(served):
    for _ in range(3):
        served.ledger.finalise()
    ids = []
    async with served.http.stream("GET", "/v1/events", headers={"Last-Event-ID": "1"}) as answer:
        lines = answer.aiter_lines()
        async for line in lines:
            if line.startswith("id: "):
                ids.append(int(line.removeprefix("id: ")))
                if ids[-1] == 3:
                    served.ledger.finalise()
                    served.ledger.finalise()
            if ids[-1:] == [5]:
                served.shutdown.set()
    assert ids == [2, 3, 4, 5]


async def test_a_subscriber_ahead_of_the_node_is_told_when_the_node_gets_there(served):
    served.ledger.finalise()
    async with served.http.stream("GET", "/v1/events", params={"after": "2"}) as answer:
        served.ledger.finalise()
        served.ledger.finalise()
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                assert line == "id: 3"
                served.shutdown.set()


async def test_subscribers_are_bounded_and_counted(served, monkeypatch):
    monkeypatch.setattr("p2pledger.api.routes.SUBSCRIBERS_MAX", 1)
    async with served.http.stream("GET", "/v1/events"):
        assert await served.metric('p2pledger_api_subscribers{kind="events"}') == 1
        answer = await served.http.get("/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_subscribers")
    while await served.metric('p2pledger_api_subscribers{kind="events"}'):
        pass


async def test_a_client_that_does_not_read_its_events_cannot_hold_up_the_stop(monkeypatch):
    monkeypatch.setattr(server, "UNREAD_MS_MAX", 1_000)
    # A block of 15,000 transactions, a thousand times: far more than the sockets' buffers take.
    ledger, shutdown = SmallLedger(), trio.Event()
    ledger.mempool[ZERO_HASH] = make_transaction(ledger.genesis)
    block = ledger.finalise()
    many = replace(block, transaction_ids=block.transaction_ids * 15_000)
    ledger.block = lambda height: many
    ledger.blocks.extend([many] * 1_000)
    let_go = False

    async def let_go_in_the_end(stream):
        # Hypercorn shields what it sends: if the server cannot end it, only we can.
        nonlocal let_go
        await trio.sleep(PATIENCE_S)
        let_go = True
        await stream.aclose()

    async with trio.open_nursery() as watching:
        async with trio.open_nursery() as nursery:
            addresses = await serving(nursery, ledger, shutdown)
            stream = await connect(addresses.api)
            watching.start_soon(let_go_in_the_end, stream)
            await stream.send_all(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
            await stream.receive_some(1)
            await trio.sleep(0.5)  # until the server waits for us
            shutdown.set()
        watching.cancel_scope.cancel()
    await stream.aclose()
    assert not let_go


async def test_what_is_cut_off_at_a_stop_is_this_servers_and_nobody_elses(monkeypatch):
    monkeypatch.setattr(server, "GRACE_S", 0.1)
    monkeypatch.setattr(edge, "BODY_MS_MAX", 1_000_000)
    first, second = trio.Event(), trio.Event()
    head = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as others:
            other = await serving(others, SmallLedger(), second)
            async with await connect(other.api) as theirs, trio.open_nursery() as nursery:
                await theirs.send_all(head)
                addresses = await serving(nursery, SmallLedger(), first)
                async with await connect(addresses.api) as ours:
                    await ours.send_all(head)
                    first.set()
                    with suppress(trio.BrokenResourceError):
                        await read_all(ours)
                await theirs.send_all(bytes(97))
                assert (await theirs.receive_some()).startswith(b"HTTP/1.1 415 ")
            second.set()


async def test_a_stream_that_ends_leaves_no_connection_behind(patient):
    ledger, shutdown = SmallLedger(), trio.Event()
    ledger.finalise()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            addresses = await serving(nursery, ledger, shutdown)
            async with await connect(addresses.api) as stream:
                await stream.send_all(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
                while b"id: 1" not in await stream.receive_some():
                    pass
                shutdown.set()
                await read_all(stream)


async def test_an_idle_connection_does_not_hold_up_the_stop(patient):
    shutdown = trio.Event()
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            addresses = await serving(nursery, SmallLedger(), shutdown)
            async with await connect(addresses.api) as stream, await connect(addresses.metrics):
                await stream.send_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
                await stream.receive_some(1)
                shutdown.set()


@pytest.mark.parametrize(
    "garbage",
    [b"\x00" * 100, b"GET " + b"a" * 100_000, b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n"],
    ids=["zeros", "a long line", "tls", "no such version"],
)
async def test_garbage_harms_nobody_else(served, garbage):
    async with await connect(served.addresses.api) as stream:
        await stream.send_all(garbage)
        await stream.send_eof()
        with suppress(trio.BrokenResourceError):
            await read_all(stream)
    assert (await served.http.get("/v1/status")).status_code == 200


async def test_metrics_stand_on_a_port_of_their_own(served):
    assert (await served.http.get("/metrics")).status_code == 404
    exporter = f"http://{served.addresses.metrics}"
    assert (await served.http.get(f"{exporter}/v1/status")).status_code == 404
    answer = await served.http.get(f"{exporter}/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "p2pledger_build_info" in answer.text
