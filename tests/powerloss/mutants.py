"""Faults that only a power loss shows, each to be switched on in a workload: every one must be caught."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pledger import wal
from p2pledger.chain.vote import Vote
from p2pledger.node.finals import Finals
from p2pledger.signer.guardfile import GUARD_FILE, GuardFile
from p2pledger.storage.sqlite import CHAIN_FILE

Show = Callable[[Any], None]


def _synchronous(name: str, level: str) -> Callable[[Show], None]:
    def apply(show: Show) -> None:
        def set_less(connection: sqlite3.Connection, file: Path) -> None:
            settle(connection, file)
            if file.name == name:
                connection.execute(f"PRAGMA synchronous = {level}")

        settle, wal.settle = wal.settle, set_less

    return apply


def _send_before_sync(show: Show) -> None:
    record = GuardFile.record

    def record_late(self: GuardFile, guard: Any, vote: Vote | None, *rest: Any) -> None:
        if vote is not None:
            show(vote)
        record(self, guard, vote, *rest)

    GuardFile.record = record_late


def _prune_before_stored(show: Show) -> None:
    persist = Finals._persist

    def persist_late(self: Finals, block: Any, layer: Any) -> None:
        self._signer.prune(block.header.epoch, block.header.view)
        time.sleep(0.02)  # the next vote goes first
        persist(self, block, layer)

    Finals._persist = persist_late


def _unsettled(name: str) -> Callable[[Show], None]:
    """A file whose log is taken for durable as it is found."""

    def apply(show: Show) -> None:
        def settle_less(connection: sqlite3.Connection, file: Path) -> None:
            if file.name != name or file.stat().st_size == 0:
                settle(connection, file)
            connection.execute("PRAGMA synchronous = FULL")

        settle, wal.settle = wal.settle, settle_less
        _not_rewritten(show)

    return apply


def _not_rewritten(show: Show) -> None:
    wal.rewrite_log = lambda connection, file: None


MUTANTS: dict[str, Callable[[Show], None]] = {
    "guard-off": _synchronous(GUARD_FILE, "OFF"),
    "guard-normal": _synchronous(GUARD_FILE, "NORMAL"),
    "send-before-sync": _send_before_sync,
    "prune-before-stored": _prune_before_stored,
    "chain-off": _synchronous(CHAIN_FILE, "OFF"),
    "chain-normal": _synchronous(CHAIN_FILE, "NORMAL"),
    "guard-unsettled": _unsettled(GUARD_FILE),
    "chain-unsettled": _unsettled(CHAIN_FILE),
    "not-rewritten": _not_rewritten,
}


def apply(name: str, show: Show) -> None:
    """Switch a fault on in this process."""
    MUTANTS[name](show)
