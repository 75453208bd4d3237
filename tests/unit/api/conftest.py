from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import trio
from p2pledger import api
from p2pledger.metrics import Metrics
from tests.unit.api.small_ledger import SmallLedger


@dataclass
class Served:
    """A small ledger behind a real server on loopback, and a client that speaks to it."""

    ledger: SmallLedger
    addresses: api.Addresses
    http: httpx.AsyncClient
    shutdown: trio.Event

    async def metric(self, series: str) -> float:
        """The value of one series as Prometheus would scrape it."""
        text = (await self.http.get(f"http://{self.addresses.metrics}/metrics")).text
        (line,) = (line for line in text.splitlines() if line.startswith(f"{series} "))
        return float(line.rpartition(" ")[2])


@pytest.fixture
async def served(nursery) -> AsyncIterator[Served]:
    ledger, shutdown = SmallLedger(), trio.Event()
    metrics = Metrics(version="0.1.0", chain_id="small", node="a", routes=["/v1/status", "/v1/transactions"])
    addresses = await nursery.start(
        lambda task_status: api.serve(
            ledger, "127.0.0.1:0", "127.0.0.1:0", metrics, shutdown=shutdown, task_status=task_status
        )
    )
    async with httpx.AsyncClient(base_url=f"http://{addresses.api}", timeout=10) as http:
        yield Served(ledger, addresses, http, shutdown)
    shutdown.set()
