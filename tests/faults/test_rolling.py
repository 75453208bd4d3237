"""Every node of a ledger is restarted under load, one after the other, as a StatefulSet does it.

Stopped by SIGTERM, started again, waited for until its own probe says that it is ready; then the next one.
Who writes must not notice: neither through gateways nor through the authorities themselves is a submission
lost, doubled or failed for good, and the slowest in a hundred is final within three seconds.

`make faults` runs this; FAULTS_PATIENCE as in `test_faults`.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import trio
from p2pledger.client import AsyncClient, LedgerError
from p2pledger.testnet.tally import Tally
from tests.faults.fleet import Fleet, running, with_parameters
from tests.faults.history import History
from tests.faults.oracle import check_no_contradiction, votes_of
from tests.faults.test_faults import PATIENCE
from tests.faults.wishes import good

CLEAN_STOP_S = 20 * PATIENCE
FINALITY_P99_S = 3 * PATIENCE
RATE = 10
"""Transactions a second of each group of writers."""

AROUND_S = 2
"""How long it is written to before the first restart and after the last one."""

EXPIRES_MS = 15_000
"""Longer than any restart takes, so that none need expire; and soon, so that the end of all is known soon."""

POLL_S = 0.1
READY_S = 60

pytestmark = pytest.mark.campaign


@dataclass
class Writers:
    """Some who write to the same nodes, each with another one of them first, and what they met."""

    nodes: Sequence[str]
    tally: Tally = field(default_factory=Tally)
    failed: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0, "")

    async def write(self, fleet: Fleet, history: History, is_over: trio.Event) -> None:
        """Hand in at a steady rate until it is over; returns when each has its end."""
        async with trio.open_nursery() as nursery:
            for first in range(len(self.nodes)):
                nodes = [*self.nodes[first:], *self.nodes[:first]]
                nursery.start_soon(self._write_first_to, nodes, fleet, history, is_over)

    async def _write_first_to(
        self, nodes: Sequence[str], fleet: Fleet, history: History, is_over: trio.Event
    ) -> None:
        async with fleet.client(*nodes) as client, trio.open_nursery() as sending:
            due = trio.current_time()
            while not is_over.is_set():
                sending.start_soon(self._send, client, fleet, history)
                due += len(self.nodes) / RATE
                await trio.sleep_until(due)

    async def _send(self, client: AsyncClient, fleet: Fleet, history: History) -> None:
        entry = history.add(good(fleet, EXPIRES_MS))
        began = trio.current_time()
        try:
            fate = await client.send(entry.transaction)
        except LedgerError as error:
            self.failed.append(repr(error))
            return
        entry.is_accepted = True
        entry.told.append(fate.outcome.value)
        took_s = trio.current_time() - began
        self.tally.final(0, took_s * 1_000)
        self.slowest = max(self.slowest, (took_s, f"{entry.transaction.id.hex()[:16]} at {fate.height}"))


@dataclass(frozen=True)
class Restart:
    """How long a node took to stop, and from its start until it was ready."""

    name: str
    how: str
    stopped_s: float
    ready_s: float


async def restart(fleet: Fleet, http: httpx.AsyncClient, name: str) -> Restart:
    """Restart one node, as a StatefulSet does it."""
    began = trio.current_time()
    how = await fleet.end(name)
    stopped = trio.current_time()
    await fleet.processes.launch(name)
    with trio.fail_after(READY_S):
        while not await is_ready(fleet, http, name):
            await trio.sleep(POLL_S)
    return Restart(name, how, stopped - began, trio.current_time() - stopped)


async def is_ready(fleet: Fleet, http: httpx.AsyncClient, name: str) -> bool:
    """What a kubelet finds out."""
    try:
        answer = await http.get(f"{fleet.nodes[name].http_url}/healthz/ready")
    except httpx.TransportError:
        return False
    return answer.status_code == 200


@asynccontextmanager
async def written_to(fleet: Fleet, history: History, groups: Sequence[Writers]) -> AsyncIterator[None]:
    """All groups write, for a while before and after too; afterwards all that they wrote has its end."""
    is_over = trio.Event()
    async with trio.open_nursery() as nursery:
        for group in groups:
            nursery.start_soon(group.write, fleet, history, is_over)
        await trio.sleep(AROUND_S)
        yield
        await trio.sleep(AROUND_S)
        is_over.set()


def test_all_nodes_are_restarted_one_by_one_and_nobody_notices(tmp_path: Path) -> None:
    with running(tmp_path / "net", with_parameters(idle_interval_ms=1_000), gateways=2) as fleet:
        trio.run(roll, fleet)


async def roll(fleet: Fleet) -> None:
    gateways = [name for name in fleet.nodes if name not in fleet.authorities]
    groups = {"gateways": Writers(gateways), "authorities": Writers(fleet.authorities)}
    history = History()
    # From the last to the first, as a StatefulSet does it.
    async with (
        written_to(fleet, history, list(groups.values())),
        httpx.AsyncClient(trust_env=False) as http,
    ):
        restarts = [await restart(fleet, http, name) for name in reversed([*gateways, *fleet.authorities])]
    for one in restarts:
        print(f"{one.name} {one.how}, after {one.stopped_s:.1f} s; ready {one.ready_s:.1f} s after its start")
    for nodes, group in groups.items():
        latency_s = {key: value / 1_000 for key, value in group.tally.latency_ms().items() if value}
        figures = ", ".join(f"{key} {value:.2f} s" for key, value in latency_s.items())
        took_s, which = group.slowest
        print(f"through {nodes}: {group.tally.transactions_final} final, {figures}")
        print(f"  the slowest {took_s:.2f} s ({which}); failed: {group.failed}")
    ends = await history.check(fleet)
    print(f"history of {sum(ends.values())} transactions holds: {dict(ends)}")
    await fleet.check_agreement()
    check_no_contradiction(set().union(*(votes_of(fleet, name) for name in fleet.nodes)))
    assert [one.how for one in restarts] == ["ended with code 0"] * len(fleet.nodes)
    assert max(one.stopped_s for one in restarts) < CLEAN_STOP_S
    assert ends == Counter(final=len(history.entries))
    for group in groups.values():
        assert group.failed == []
        p99_ms = group.tally.latency_ms()["p99"]
        assert p99_ms is not None and p99_ms < FINALITY_P99_S * 1_000
