"""`bench store`: whether committing a block stays as cheap as it was while the chain grows. Floor 9.

One process, no network, a real disk. Transactions are made and executed between the commits, outside of
what is timed, and carry zeros for signatures (see `solo`). Nothing here grows with the chain but the chain:
ten million transactions need the memory of one block. Machines change their speed within minutes, so a
fixed piece of work, the yardstick, is timed beside every commit, and the fall of the rate is told with the
machine's own part in it taken out.
"""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from p2pledger.bench.devices import Device, record
from p2pledger.bench.solo import SPONSOR, Solo, solo
from p2pledger.chain.genesis import LAN
from p2pledger.chain.transaction import Transaction
from p2pledger.storage.ids import unexpired_max

PARTS = 10
WARM_UP_PARTS = 1
"""The first part fills caches and an empty file: the fall is counted from the part after it."""
YARDSTICK_HASHES = 1_000


@dataclass
class Part:
    """One tenth of a run: what its commits took, in seconds, beside what the same work took elsewhere."""

    transactions: int = 0
    commit_s: float = 0.0
    commit_cpu_s: float = 0.0
    execute_cpu_s: float = 0.0
    yardstick_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Transactions a second of commit time, the disk's waiting included."""
        return self.transactions / self.commit_s

    @property
    def per_cpu_second(self) -> float:
        """Transactions a second of the processor's time in commits."""
        return self.transactions / self.commit_cpu_s

    @property
    def per_yardstick(self) -> float:
        """Transactions per yardstick of commit time: the rate on a machine whose speed does not change."""
        return self.transactions / self.commit_s * self.yardstick_s


@dataclass(frozen=True)
class Report:
    """What a run came to. Falls are in percent from the part after the warm-up to the last."""

    transactions: int
    block_transactions: int
    devices: int
    parts: tuple[Part, ...]
    disk_bytes_per_transaction: float
    open_s: float
    memory_peak_bytes: int

    def fall(self, rate: Callable[[Part], float]) -> float:
        """By how many percent a rate fell; negative when it rose."""
        return 100 * (1 - rate(self.parts[-1]) / rate(self.parts[WARM_UP_PARTS]))

    def as_json(self) -> dict[str, Any]:
        """The report for scripts."""
        return {
            "transactions": self.transactions,
            "block_transactions": self.block_transactions,
            "devices": self.devices,
            "per_second": [round(part.per_second) for part in self.parts],
            "per_cpu_second": [round(part.per_cpu_second) for part in self.parts],
            "execute_us": [round(part.execute_cpu_s / part.transactions * 1e6, 1) for part in self.parts],
            "machine": [round(self._speed(part), 3) for part in self.parts],
            "fall_percent": round(self.fall(lambda part: part.per_second), 1),
            "cpu_fall_percent": round(self.fall(lambda part: part.per_cpu_second), 1),
            "fall_by_yardstick_percent": round(self.fall(lambda part: part.per_yardstick), 1),
            "disk_bytes_per_transaction": round(self.disk_bytes_per_transaction, 1),
            "open_s": round(self.open_s, 3),
            "memory_peak_bytes": self.memory_peak_bytes,
        }

    def as_table(self) -> RenderableType:
        """The report for people."""
        table = Table(title=f"{self.transactions:,} transactions, {self.block_transactions:,} a block")
        for column in ("tenth", "per s", "per CPU s", "commit us", "execute us", "machine"):
            table.add_column(column, justify="right")
        for number, part in enumerate(self.parts, 1):
            table.add_row(
                str(number),
                f"{part.per_second:,.0f}",
                f"{part.per_cpu_second:,.0f}",
                f"{part.commit_cpu_s / part.transactions * 1e6:.1f}",
                f"{part.execute_cpu_s / part.transactions * 1e6:.1f}",
                f"{self._speed(part):.2f}",
            )
        table.caption = (
            f"from tenth {WARM_UP_PARTS + 1} to {PARTS} the rate fell by"
            f" {self.fall(lambda part: part.per_second):.1f} %, by processor time"
            f" {self.fall(lambda part: part.per_cpu_second):.1f} %, by the yardstick"
            f" {self.fall(lambda part: part.per_yardstick):.1f} %\n"
            f"{self.disk_bytes_per_transaction:,.0f} bytes of disk a transaction; opened again in"
            f" {self.open_s:.2f} s; {self.memory_peak_bytes / 2**20:,.0f} MiB of memory at most"
        )
        return table

    def _speed(self, part: Part) -> float:
        """How fast the machine was, beside the part after the warm-up."""
        first = self.parts[WARM_UP_PARTS]
        return first.yardstick_s / first.transactions * part.transactions / part.yardstick_s


def yardstick_s() -> float:
    """How long a fixed piece of the processor's work takes now."""
    started, digest = time.thread_time(), b""
    for _ in range(YARDSTICK_HASHES):
        digest = sha256(digest).digest()
    return time.thread_time() - started


def interval_ms(block_transactions: int, devices: int) -> int:
    """How far apart blocks stand by their own clock: as close as ids that have not expired fit into memory.

    Closer ones no ledger on such a machine could agree on, and executing, which is not what is measured,
    would ask the disk for each id (`storage.ids`) and leave commits with other things in every cache.
    """
    # The devices are enrolled right before, and the block at the edge of the window counts as a whole.
    within_window = unexpired_max() - block_transactions - devices
    return -(-LAN.expiry_window_ms * block_transactions // within_window)


def measure(
    transactions: int, block_transactions: int, devices: int, directory: Path, done: Callable[[int], None]
) -> Report:
    """Grow a chain in an empty directory; `done` is told how many transactions were stored since.

    `transactions` is rounded up to PARTS times whole blocks. Raises: Fatal when the disk fails.
    """
    blocks = -(-transactions // (PARTS * block_transactions))
    with solo(directory, interval_ms(block_transactions, devices)) as ledger:
        source = _records(ledger, ledger.enrol(devices))
        ledger.reopen()
        before_bytes = sum(ledger.store.sizes().values())
        parts = []
        for _ in range(PARTS):
            part = Part()
            for _ in range(blocks):
                _grow(ledger, list(islice(source, block_transactions)), part)
                done(block_transactions)
            parts.append(part)
        open_s = ledger.reopen()
        added_bytes = sum(ledger.store.sizes().values()) - before_bytes
    stored = PARTS * blocks * block_transactions
    return Report(
        transactions=stored,
        block_transactions=block_transactions,
        devices=devices,
        parts=tuple(parts),
        disk_bytes_per_transaction=added_bytes / stored,
        open_s=open_s,
        memory_peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _records(ledger: Solo, writers: Sequence[Device]) -> Iterator[Transaction]:
    """Records without end, made when they are asked for: at the time of the block that is coming."""
    for seq in count():
        for device in writers:
            at_ms, expires_ms = ledger.next_round.time_ms, ledger.expires_ms
            yield record(ledger.genesis, device, SPONSOR, seq, at_ms, expires_ms)


def _grow(ledger: Solo, transactions: Sequence[Transaction], part: Part) -> None:
    began_cpu = time.thread_time()
    block = ledger.execute(transactions)
    executed_cpu, executed = time.thread_time(), time.perf_counter()
    ledger.commit(block)
    part.commit_s += time.perf_counter() - executed
    part.commit_cpu_s += time.thread_time() - executed_cpu
    part.execute_cpu_s += executed_cpu - began_cpu
    part.yardstick_s += yardstick_s()
    part.transactions += len(transactions)
