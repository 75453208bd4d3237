"""A gateway that makes readings as fast as it can, in a process of its own. Floor 9.

Each batch goes the whole way: readings from its devices, their encoding, their tree, the signed transaction,
the gateway's disk, the ledger; it counts when the node that took it says that it is final. Some batches
are made, kept and submitted together, because waiting for the disk takes longer than a batch does.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate, cycle, islice
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio.lowlevel

from p2pledger.bench.devices import SCHEMA, Device, devices
from p2pledger.chain.payloads import BATCH_READINGS_MAX, DeviceId
from p2pledger.chain.reading import SALT_BYTES, EncodedReadings
from p2pledger.chain.transaction import Transaction
from p2pledger.client import AsyncClient
from p2pledger.client.outcomes import LedgerError, Refused
from p2pledger.client.readings import ReadingsFile
from p2pledger.client.signing import transaction
from p2pledger.testnet.directory import Directory
from p2pledger.types import Hash, Millis

if TYPE_CHECKING:
    from trio_typing import TaskStatus

DEVICES = 100
"""Behind each gateway; each takes a reading every millisecond, of two values."""
TOGETHER = 16
"""So many batches are kept by one write to the disk, and submitted in one request."""
IN_FLIGHT_MAX = 64
"""Batches that are not final yet; a gateway that has so many waits for the ledger."""
DRAIN_S = 30.0
MEET_S = 60.0
SAMPLE = 20_000


@dataclass(frozen=True)
class Duty:
    """What one gateway does: fill the file `kept`, and have it all final through the node at `url`."""

    number: int
    directory: Directory
    url: str
    kept: Path
    seconds: float


@dataclass
class Done:
    """What came of it. `began_s` and `ended_s`, when the last batch was final, are of the monotonic clock.

    `final` has the device and the first number of each batch; `awaited` ones are neither final nor refused.
    """

    final: dict[Hash, tuple[DeviceId, int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    began_s: float = 0.0
    ended_s: float = 0.0
    awaited: int = 0
    cpu_s: float = 0.0
    hashing_us: float = 0.0


def devices_of(number: int) -> list[Device]:
    """The devices behind one gateway; no others have the same ids."""
    return devices(DEVICES, b"readings" + number.to_bytes(8, "big"))


def run(duties: Sequence[Duty]) -> list[Done]:
    """Have all gateways work at the same time, and return when what they sent is final. Blocks."""
    context = get_context("spawn")
    with ProcessPoolExecutor(len(duties), context, _prepare, (context.Barrier(len(duties)),)) as pool:
        return list(pool.map(_carry_out, duties))


_barrier: Barrier


def _prepare(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _carry_out(duty: Duty) -> Done:
    gateway = Gateway(duty)
    hashing_us = _hashing_us()
    _barrier.wait(MEET_S)
    began_s = time.process_time()
    done = trio.run(gateway.run)
    done.cpu_s, done.hashing_us = time.process_time() - began_s, hashing_us
    return done


def _hashing_us() -> float:
    """Processor time of what no reading is without: a hash of its leaf, and one of a node above."""
    leaf, node = bytes(40), bytes(65)
    began_s = time.process_time()
    for _ in range(SAMPLE):
        sha256(leaf).digest()
        sha256(node).digest()
    return (time.process_time() - began_s) * 1e6 / SAMPLE


class _Meter:
    """A device that counts something, such as watt hours: what was added, and the sum, are its values."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._seq = self._sum = 0

    def batch(self) -> tuple[range, EncodedReadings]:
        """Its next readings, up to now, and when they were taken."""
        count, now_ms = BATCH_READINGS_MAX, time.time_ns() // 1_000_000
        times_ms = range(now_ms - count + 1, now_ms + 1)
        steps = os.urandom(count)
        sums = list(accumulate(steps, initial=self._sum))[1:]
        readings = EncodedReadings.of_columns(
            self._seq, times_ms, (steps, sums), os.urandom(count * SALT_BYTES)
        )
        self._seq, self._sum = self._seq + count, sums[-1]
        return times_ms, readings


class Gateway:
    """One gateway at work, under trio. See `run`, which gives each a process of its own."""

    def __init__(self, duty: Duty) -> None:
        self._duty, self._genesis = duty, duty.directory.genesis
        (self._owner, *_) = duty.directory.gateways()
        self._meters = cycle([_Meter(device) for device in devices_of(duty.number)])
        self._done = Done()
        self._sent: dict[Hash, tuple[DeviceId, int, float]] = {}
        """Device, first number and time of what is on its way."""
        self._less = trio.Event()

    async def run(self) -> Done:
        """Work for the time given, then wait until all is final, DRAIN_S at most."""
        done = self._done
        async with AsyncClient([self._duty.url], self._genesis) as client, trio.open_nursery() as nursery:
            await nursery.start(self._follow, client)
            done.began_s = done.ended_s = time.monotonic()
            with closing(ReadingsFile(self._duty.kept)) as file:
                while (left_s := done.began_s + self._duty.seconds - time.monotonic()) > 0:
                    with trio.move_on_after(left_s):
                        await self._fewer_than(IN_FLIGHT_MAX)
                    nursery.start_soon(self._submit, client, await self._make(file))
            with trio.move_on_after(DRAIN_S):
                await self._fewer_than(1)
            nursery.cancel_scope.cancel()
        done.awaited = len(self._sent)
        return done

    async def _fewer_than(self, count: int) -> None:
        while len(self._sent) >= count:
            self._less = trio.Event()
            await self._less.wait()

    async def _make(self, file: ReadingsFile) -> list[Transaction]:
        """The next batches; their readings are on disk when this returns."""
        made, kept = [], []
        for meter in islice(self._meters, TOGETHER):
            at_s = time.monotonic()
            times_ms, readings = meter.batch()
            signed = self._sign(meter.device, times_ms, readings)
            made.append(signed)
            kept.append((signed.id, meter.device.id, readings))
            self._sent[signed.id] = meter.device.id, readings.from_seq, at_s
            await trio.lowlevel.checkpoint()  # a batch takes milliseconds: let requests and events go on
        file.keep(kept)
        return made

    def _sign(self, device: Device, times_ms: range, readings: EncodedReadings) -> Transaction:
        payload = readings.batch(SCHEMA, device.id, Millis(times_ms[0]), Millis(times_ms[-1]))
        owner = self._owner
        return transaction(self._genesis, payload.KIND, payload, owner.organisation, [owner.signer])

    async def _submit(self, client: AsyncClient, made: list[Transaction]) -> None:
        with suppress(LedgerError):  # what is not answered stays awaited, and is told so
            for one, answer in zip(made, await client.submit_many(made), strict=True):
                if isinstance(answer, Refused) and self._take(one.id) is not None:
                    self._done.refused[answer.code] += 1

    async def _follow(
        self, client: AsyncClient, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        after = (await client.status()).height
        task_status.started()
        async with aclosing(client.events(after)) as events:
            async for event in events:
                now_s = time.monotonic()
                for transaction_id in event.transaction_ids:
                    self._note(transaction_id, now_s)

    def _note(self, transaction_id: Hash, now_s: float) -> None:
        sent = self._take(transaction_id)
        if sent is not None:
            device, from_seq, at_s = sent
            self._done.final[transaction_id] = device, from_seq
            self._done.latencies_ms.append((now_s - at_s) * 1_000)
            self._done.ended_s = now_s

    def _take(self, transaction_id: Hash) -> tuple[DeviceId, int, float] | None:
        """Take what has ended off what is on its way."""
        self._less.set()
        return self._sent.pop(transaction_id, None)
