"""Faults that only a power loss shows, each to be switched on in a workload: every one must be caught."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pledger.chain.vote import Vote
from p2pledger.node.finals import Finals
from p2pledger.signer import guardfile
from p2pledger.signer.guardfile import GuardFile
from p2pledger.storage.database import Database

Show = Callable[[Any], None]


def _guard_synchronous(level: str) -> Callable[[Show], None]:
    def apply(show: Show) -> None:
        set_durable = guardfile.set_durable

        def set_less(connection: sqlite3.Connection, file: Path) -> None:
            set_durable(connection, file)
            connection.execute(f"PRAGMA synchronous = {level}")

        guardfile.set_durable = set_less

    return apply


def _chain_synchronous(level: str) -> Callable[[Show], None]:
    def apply(show: Show) -> None:
        open_one = Database._open

        def open_less(self: Database, cache_kb: int) -> sqlite3.Connection:
            connection = open_one(self, cache_kb)
            connection.execute(f"PRAGMA synchronous = {level}")
            return connection

        Database._open = open_less

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


def _guard_unsettled(show: Show) -> None:
    set_durable = guardfile.set_durable

    def set_later_ones_durable(connection: sqlite3.Connection, file: Path) -> None:
        if file.stat().st_size == 0:
            set_durable(connection, file)
        connection.execute("PRAGMA synchronous = FULL")

    guardfile.set_durable = set_later_ones_durable


def _chain_unsettled(show: Show) -> None:
    Database._settle = lambda self: None


MUTANTS: dict[str, Callable[[Show], None]] = {
    "guard-off": _guard_synchronous("OFF"),
    "guard-normal": _guard_synchronous("NORMAL"),
    "send-before-sync": _send_before_sync,
    "prune-before-stored": _prune_before_stored,
    "chain-off": _chain_synchronous("OFF"),
    "chain-normal": _chain_synchronous("NORMAL"),
    "guard-unsettled": _guard_unsettled,
    "chain-unsettled": _chain_unsettled,
}


def apply(name: str, show: Show) -> None:
    """Switch a fault on in this process."""
    MUTANTS[name](show)
