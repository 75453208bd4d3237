"""Processor time of the event loop goes to the task that took it, and nothing is counted twice."""

import time
from collections import Counter
from threading import get_ident

import pytest
import trio
from p2pledger.metrics import LOOP, STAGES, Metrics
from p2pledger.node.account import LoopAccount

_worked_s: Counter[int] = Counter()


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    """Beside a clock of each thread's processor time by which nothing takes any but `work`."""
    _worked_s.clear()
    monkeypatch.setattr(time, "thread_time", lambda: float(_worked_s[get_ident()]))
    return Metrics(version="0.1.0", chain_id="test", node="a")


def work() -> None:
    """Take a second of this thread's processor time."""
    _worked_s[get_ident()] += 1


def run(metrics: Metrics, main) -> dict[str, float]:
    """What each stage that got anything was charged while `main` ran."""
    trio.run(main, instruments=[LoopAccount(metrics)])
    totals = {stage: metrics.stage_cpu_seconds_total.at(stage) for stage in STAGES}
    spent = {stage: next(iter(total.collect())).samples[0].value for stage, total in totals.items()}
    return {stage: seconds for stage, seconds in spent.items() if seconds}


def test_a_task_counts_towards_its_stage_with_those_that_it_starts(metrics):
    async def child() -> None:
        work()
        await trio.sleep(0)
        work()

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        work()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metrics.charged("network", parent))

    spent = run(metrics, main)
    assert spent == {"network": 3}


def test_a_task_counts_as_its_nursery_does_whoever_starts_it(metrics):
    async def api(nursery: trio.Nursery) -> None:
        work()
        nursery.start_soon(worker)

    async def network(*, task_status=trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep(0.01)

    async def worker() -> None:
        work()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            theirs = await nursery.start(metrics.charged("network", network))
            nursery.start_soon(metrics.charged("api", api), theirs)

    spent = run(metrics, main)
    assert spent == {"network": 1, "api": 1}


def test_what_a_stage_has_counted_is_left_out_of_its_tasks_share(metrics):
    async def task() -> None:
        work()
        with metrics.spending("decode"):
            work()
        await trio.to_thread.run_sync(beside)

    def beside() -> None:
        with metrics.spending("verify"):  # on another thread: no part of the loop's time
            work()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metrics.charged("network", task))

    spent = run(metrics, main)
    assert spent == {"decode": 1, "verify": 1, "network": 1}


def test_whom_nobody_charges_counts_as_the_loop(metrics):
    async def main() -> None:
        work()

    assert run(metrics, main) == {LOOP: 1}


def test_an_ended_task_is_let_go(metrics):
    account = LoopAccount(metrics)

    async def child() -> None:
        await trio.sleep(0)

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(child)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metrics.charged("api", parent))

    trio.run(main, instruments=[account])
    assert account._totals == {}


def test_without_an_account_a_task_runs_as_it_is(metrics):
    async def task() -> None:
        """Nothing."""

    assert metrics.charged("api", task) is task
