"""Counting processor time towards a stage of the work. Floor 4."""

import time
from typing import Protocol

from prometheus_client import Counter


class Spending:
    """What `Metrics.spending` gives: to be entered once. A class, because a generator takes twice as long."""

    __slots__ = ("_account", "_started_s", "_total")

    def __init__(self, total: Counter, account: "Account | None") -> None:
        self._total, self._account = total, account

    def __enter__(self) -> None:
        self._started_s = time.thread_time()

    def __exit__(self, *_: object) -> None:
        spent_s = time.thread_time() - self._started_s
        self._total.inc(spent_s)
        if self._account is not None:
            self._account.leave_out(spent_s)


class Account(Protocol):
    """Counts the processor time of the event loop by task (`node.account`)."""

    def charge(self, stage: str) -> None:
        """Count the running task, and those that it starts, towards one of STAGES from here on."""

    def leave_out(self, spent_s: float) -> None:
        """So much of what the running task takes is counted already; nothing to a thread beside the loop."""
