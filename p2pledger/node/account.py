"""Which tasks the event loop spends its processor time on. Floor 6.

Stages such as `decode` are counted where they are spent (`Metrics.spending`). What is left of the loop's own
thread, libp2p's and HTTP's above all, lies all over their code; here it is told apart by the task that ran,
and by the task that started that one. A step of the loop takes some 5 us longer for it, so it is off unless
the configuration asks for it.
"""

import time
from threading import get_ident

import trio
from prometheus_client import Counter
from trio.lowlevel import Task

from p2pledger.metrics import LOOP, Metrics


class LoopAccount(trio.abc.Instrument):
    """Counts towards a stage what each task takes, less what was counted while it ran.

    Give it to `trio.run`. One of `metrics.stage_cpu_seconds_total` is charged after each step of a task; a
    task that nobody charged counts as the task that its nursery belongs to, and at last towards LOOP, with
    what the loop takes between its tasks' steps.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._stages = metrics.stage_cpu_seconds_total
        self._loop = self._stages.at(LOOP)
        self._totals: dict[Task, Counter] = {}
        self._ended: Task | None = None
        self._thread = 0
        self._until_s = self._counted_s = 0.0
        metrics.account = self

    def charge(self, stage: str) -> None:
        """See `Account.charge`."""
        self._totals[trio.lowlevel.current_task()] = self._stages.at(stage)

    def leave_out(self, spent_s: float) -> None:
        """See `Account.leave_out`."""
        if get_ident() == self._thread:
            self._counted_s += spent_s

    # --- what trio tells -------------------------------------------------------------------------------

    def before_run(self) -> None:
        """See `trio.abc.Instrument`."""
        self._thread, self._until_s = get_ident(), time.thread_time()

    def task_spawned(self, task: Task) -> None:
        """See `trio.abc.Instrument`."""
        nursery = task.parent_nursery
        total = self._totals.get(nursery.parent_task) if nursery is not None else None
        if total is not None:
            self._totals[task] = total

    def task_exited(self, task: Task) -> None:
        """See `trio.abc.Instrument`. The task's last step is still to be counted."""
        self._ended = task

    def after_task_step(self, task: Task) -> None:
        """See `trio.abc.Instrument`."""
        self._count(self._totals.get(task, self._loop))
        if self._ended is task:
            self._totals.pop(task, None)
            self._ended = None

    def after_io_wait(self, timeout: float) -> None:
        """See `trio.abc.Instrument`."""
        self._count(self._loop)

    def _count(self, total: Counter) -> None:
        now_s = time.thread_time()
        total.inc(max(0.0, now_s - self._until_s - self._counted_s))
        self._until_s, self._counted_s = now_s, 0.0
