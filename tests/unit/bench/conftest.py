"""A small ledger behind a real server: what generates load is tried against it."""

import pytest
import trio
from p2pledger import api
from p2pledger.metrics import Metrics


@pytest.fixture
async def serve(nursery):
    """Puts a small ledger behind a server, and says where; all are stopped at the end."""
    shutdown = trio.Event()

    async def started(ledger) -> str:
        metrics = Metrics(version="0.1.0", chain_id="small", node="a")
        addresses = await nursery.start(
            lambda task_status: api.serve(
                ledger, "127.0.0.1:0", "127.0.0.1:0", metrics, shutdown=shutdown, task_status=task_status
            )
        )
        return f"http://{addresses.api}"

    yield started
    shutdown.set()
