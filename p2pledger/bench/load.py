"""The load generator: submits what was signed before at a given rate, in a process of its own. Floor 9.

Open load: every request has its time, whatever became of those before it, and nothing that a node refuses
is sent again while it lasts. Afterwards it is, as a device would do: devices count their records, and what is
missing is a gap in the state, for which the load that comes next would pay. Latency counts from when a
request was due, not from when it was sent, so that a generator that falls behind does not flatter the nodes.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import trio

from p2pledger.bench.posting import BadAnswer, Poster
from p2pledger.bench.presigned import Parcel
from p2pledger.chain.genesis import Genesis
from p2pledger.client import AsyncClient
from p2pledger.client.answers import Full, read_items
from p2pledger.client.exchange import Answer
from p2pledger.client.outcomes import Accepted, FinalEvent, LedgerError, Refused
from p2pledger.types import Hash, Height

if TYPE_CHECKING:
    from trio_typing import TaskStatus

IN_FLIGHT_MAX = 256
"""Requests without an answer; a generator that has so many waits, and says how late it is."""
REQUEST_S = 30.0
DRAIN_S = 30.0
"""How long what was taken may become final after the last request."""
AGAIN_S = 30.0
"""How long what was refused for want of room is sent again."""
LEAD_S = 0.5
"""From the generator's being ready to the first request."""
POLL_S = 0.05
UNAVAILABLE, UNAVAILABLE_MS = "unavailable", 500

Verdict = Accepted | Refused | Full


@dataclass(frozen=True)
class Load:
    """What to submit: parcels that go round the nodes, so many transactions a second.

    `followed` of the nodes, the first ones, tell what became final: the latency of what was submitted to
    them is measured as a client of the same node sees it.
    """

    genesis: Genesis
    urls: tuple[str, ...]
    followed: int
    parcels: Sequence[Parcel]
    per_second: float


@dataclass
class Loaded:
    """What came of a load. Of what followed nodes took, there are the latencies, `drained_s` is when the
    last became final, and so many are `awaited` still. `finals_ms` has, for each block with transactions and
    each node that is followed, the time from the block's own, which its leader's clock told as it began to
    build it, until a client of the node saw it final. What was `refused` for want of room, and taken when it
    was sent again, is `taken_again`: it counts in nothing else, and may not be final yet."""

    taken: list[Hash] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    taken_again: list[Hash] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    finals_ms: list[float] = field(default_factory=list)
    drained_s: float = 0.0
    awaited: int = 0
    late_ms_max: float = 0.0
    cpu_s: float = 0.0


def run(load: Load, on_start: Callable[[float], None]) -> Loaded:
    """Carry a load out in a process of its own, and return once what was taken is final, or DRAIN_S is over.

    Blocks. `on_start` is told, a moment before, when the first request is due by the monotonic clock.
    """
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    with receiving, sending, ProcessPoolExecutor(1, context, _prepare, (sending,)) as pool:
        loaded = pool.submit(_carry_out, load)
        while not receiving.poll(POLL_S) and not loaded.done():
            pass
        if not loaded.done():
            on_start(receiving.recv())
        return loaded.result()


_worker: Connection


def _prepare(sending: Connection) -> None:
    global _worker
    _worker = sending


def _carry_out(load: Load) -> Loaded:
    began_s = time.process_time()
    loaded = trio.run(Generator(load, _worker.send).run)
    loaded.cpu_s = time.process_time() - began_s
    return loaded


class Generator:
    """One load under way, under trio. See `run`, which gives it a process of its own."""

    def __init__(self, load: Load, on_start: Callable[[float], None]) -> None:
        self._load, self._on_start = load, on_start
        self._loaded = Loaded()
        self._due_s: dict[Hash, float] = {}
        """When what is awaited from followed nodes was due to be submitted."""
        self._without_room: list[tuple[Poster, Parcel]] = []
        self._in_flight = trio.Semaphore(IN_FLIGHT_MAX)
        self._drained = trio.Event()
        self._is_submitted = False

    async def run(self) -> Loaded:
        """Submit everything in its time, and wait for what followed nodes took, DRAIN_S at most."""
        posters = [Poster(url + "/v1/transactions") for url in self._load.urls]
        async with trio.open_nursery() as following:
            for at in range(self._load.followed):
                await following.start(self._follow, at)
            async with trio.open_nursery() as submitting:
                await self._submit(posters, submitting)
            self._is_submitted = True
            self._check_drained()
            with trio.move_on_after(DRAIN_S):
                await self._drained.wait()
            following.cancel_scope.cancel()
        with trio.move_on_after(AGAIN_S):
            await self._send_again()
        for poster in posters:
            await poster.aclose()
        self._loaded.awaited = len(self._due_s)
        return self._loaded

    async def _submit(self, posters: Sequence[Poster], submitting: trio.Nursery) -> None:
        load, due_s = self._load, time.monotonic() + LEAD_S
        self._on_start(due_s)
        for number, parcel in enumerate(load.parcels):
            await trio.sleep(max(0.0, due_s - time.monotonic()))
            await self._in_flight.acquire()
            late_ms = (time.monotonic() - due_s) * 1_000
            self._loaded.late_ms_max = max(self._loaded.late_ms_max, late_ms)
            at = number % len(load.urls)
            if at < load.followed:
                self._due_s.update(dict.fromkeys(parcel.ids, due_s))
            submitting.start_soon(self._post, posters[at], parcel)
            due_s += len(parcel.ids) / load.per_second

    async def _post(self, poster: Poster, parcel: Parcel) -> None:
        try:
            verdicts = await _ask(poster, parcel)
        finally:
            self._in_flight.release()
        if any(isinstance(verdict, Full) for verdict in verdicts):
            self._without_room.append((poster, parcel))
        for transaction_id, verdict in zip(parcel.ids, verdicts, strict=True):
            if isinstance(verdict, Accepted):
                self._loaded.taken.append(transaction_id)
            else:
                self._loaded.refused[verdict.code] += 1
                self._due_s.pop(transaction_id, None)

    async def _send_again(self) -> None:
        """Submit what there was no room for, in its order, until there is; the rest of a parcel is there."""
        known = set(self._loaded.taken)
        for poster, parcel in self._without_room:
            wait_ms: int | None = 0
            while wait_ms is not None:
                await trio.sleep(wait_ms / 1_000)
                verdicts = await _ask(poster, parcel)
                wait_ms = max((one.retry_after_ms for one in verdicts if isinstance(one, Full)), default=None)
            self._loaded.taken_again += [
                transaction_id
                for transaction_id, verdict in zip(parcel.ids, verdicts, strict=True)
                if isinstance(verdict, Accepted) and transaction_id not in known
            ]

    async def _follow(self, at: int, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Take the time of everything that this node says is final."""
        async with AsyncClient([self._load.urls[at]], self._load.genesis) as client:
            after: Height = (await client.status()).height
            task_status.started()
            async with aclosing(client.events(after)) as events:
                async for event in events:
                    self._note(event, time.monotonic())

    def _note(self, event: FinalEvent, now_s: float) -> None:
        if event.transaction_ids:
            self._loaded.finals_ms.append(time.time() * 1_000 - event.time_ms)
        for transaction_id in event.transaction_ids:
            due_s = self._due_s.pop(transaction_id, None)
            if due_s is not None:
                self._loaded.latencies_ms.append((now_s - due_s) * 1_000)
                self._loaded.drained_s = now_s
        self._check_drained()

    def _check_drained(self) -> None:
        if self._is_submitted and not self._due_s:
            self._drained.set()


async def _ask(poster: Poster, parcel: Parcel) -> list[Verdict]:
    """What the node says of each transaction: that there is no room, where it says nothing."""
    with trio.move_on_after(REQUEST_S), suppress(OSError, BadAnswer, LedgerError):
        return _verdicts(await poster.post(parcel.body), parcel)
    return [Full(UNAVAILABLE, UNAVAILABLE_MS)] * len(parcel.ids)


def _verdicts(answer: Answer, parcel: Parcel) -> list[Verdict]:
    """What became of each transaction. Raises: LedgerError for an answer that does not say so."""
    try:
        return read_items(answer, list(parcel.ids))
    except Refused as refused:
        return [refused] * len(parcel.ids)
