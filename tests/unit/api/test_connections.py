"""What is mended of hypercorn's connections: one write for an answer, one task for all idle times."""

from collections import Counter
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from hypercorn.events import RawData
from hypercorn.trio.worker_context import TrioSingleTask
from p2pledger import api
from p2pledger.api import connections, server
from p2pledger.metrics import Metrics
from tests.unit.api.small_ledger import SmallLedger

PATIENCE_S = 60
ASK = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"


class Watch(trio.abc.Instrument):
    """Counts the tasks that begin, by name."""

    def __init__(self):
        self.begun = Counter()

    def task_spawned(self, task):
        self.begun[task.name.rpartition(".")[2]] += 1


@asynccontextmanager
async def connected(nursery):
    """A connection to a small ledger's server, which ends with it."""
    shutdown = trio.Event()
    metrics = Metrics(version="0.1.0", chain_id="small", node="a", routes=["/v1/status"])
    addresses = await nursery.start(
        lambda task_status: api.serve(
            SmallLedger(), "127.0.0.1:0", "127.0.0.1:0", metrics, shutdown=shutdown, task_status=task_status
        )
    )
    host, _, port = addresses.api.rpartition(":")
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream(host, int(port)) as opened:
            yield opened
    shutdown.set()


@pytest.fixture
async def stream(nursery):
    async with connected(nursery) as opened:
        yield opened


async def answer(stream):
    await stream.send_all(ASK)
    return bytes(await stream.receive_some(65_536))


async def test_an_answer_leaves_in_one_piece(stream):
    for _ in range(3):
        said = await answer(stream)
        assert said.startswith(b"HTTP/1.1 200") and said.endswith(b"}")


async def test_requests_on_one_connection_share_one_idle_task(stream):
    await answer(stream)
    watch = Watch()
    trio.lowlevel.add_instrument(watch)
    for _ in range(3):
        await answer(stream)
    trio.lowlevel.remove_instrument(watch)
    assert watch.begun["_handle"] == 3
    assert not watch.begun["_watch"] and not watch.begun["_idle_timeout"]


@pytest.mark.parametrize("is_used", [False, True])
async def test_an_idle_connection_is_closed(monkeypatch, nursery, is_used):
    monkeypatch.setattr(server, "IDLE_S", 0.2)
    async with connected(nursery) as stream:
        if is_used:
            assert await answer(stream)
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass


async def test_a_request_under_way_is_not_cut_off_for_idleness(autojump_clock):
    closed, terminated = [], trio.Event()

    async def close():
        closed.append(trio.current_time())

    class Group:
        def __init__(self, nursery):
            self.spawn = nursery.start_soon

    idle = connections.IdleTime(15, terminated.wait)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await idle.restart(Group(nursery), close)
        await idle.stop()
        await trio.sleep(100)
        assert closed == []
        await idle.restart(Group(nursery), close)
    assert closed == [began + 115]


def test_it_stands_for_what_hypercorn_has():
    methods = {name for name in vars(TrioSingleTask) if not name.startswith("_")}
    assert methods <= set(vars(connections.IdleTime))
    assert connections.hypercorn_run.TCPServer is connections.Connection


async def test_a_body_that_reads_like_a_head_is_a_body():
    connection, written = connections.Connection.__new__(connections.Connection), []
    connection._head = b""

    async def write(data):
        written.append(data)

    connection._write = write
    head = b"HTTP/1.1 200 \r\ncontent-length: 40\r\n\r\n"
    for piece in (head, b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n    ", b""):
        await connection.protocol_send(RawData(piece))
    assert written == [head + b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n    "]
