"""Replays sources through gateways at a steady rate; each transaction is followed to its end. Floor 8.

Upon taking a parcel: the gateway makes the readings durable, then the transaction is submitted.
Upon an event that names it: it is final; its latency counts from the first submission.
Upon silence: its fate is asked for. Unknown there (a node lost its mempool): the same bytes are sent again,
so nothing is doubled. Expired: the parcel goes back into the schedule and is signed anew, so nothing is lost.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Outcome, Transaction
from p2pledger.client.readings import ReadingsFile
from p2pledger.testnet import fleet
from p2pledger.testnet.fleet import Device, Gateway
from p2pledger.testnet.parcels import Parcel, Schedule, parcels
from p2pledger.testnet.sources import Source, data_directory
from p2pledger.testnet.tally import Tally
from p2pledger.types import Hash, Height, Millis

if TYPE_CHECKING:
    from trio_typing import TaskStatus

TICK_S = 0.05
BURST_S = 0.5
"""After a hold-up, at most this much of the rate is caught up at once."""

UNDER_WAY_S = 5.0
"""How much of the rate may be under way; beyond that the replay waits for the ledger."""

SILENCE_S = 3.0
"""After so long without an event a transaction's fate is asked for."""

SWEEP_MAX = 64
DRAIN_S = 20.0


@dataclass(frozen=True)
class Ending:
    """What a gateway says of a transaction. `code`: of a refusal."""

    outcome: Outcome
    code: str | None = None


class Link(Protocol):
    """The way to one gateway's node."""

    @property
    def gateway(self) -> Gateway:
        """Whose node it is."""

    async def submit(self, transactions: Sequence[Transaction]) -> Sequence[Ending]:
        """Submit many; each is PENDING (taken), REFUSED, or UNKNOWN (it may not have got there)."""

    async def fate(self, transaction_id: Hash) -> Ending:
        """What is known of one; UNKNOWN also while the node cannot be asked."""

    async def height(self) -> Height:
        """How high its chain is."""

    def finals(self, after: Height) -> AsyncIterator[Sequence[Hash]]:
        """The ids in each final block above a height, none left out, for ever."""


class EnrolmentRefused(Exception):
    """A gateway's ledger does not take its devices: nothing can be replayed."""


@dataclass
class _UnderWay:
    """A transaction from its first submission to its end; `parcel` is None for an enrolment."""

    transaction: Transaction
    device: Device
    parcel: Parcel | None
    stream: int
    link: Link
    sent_s: float
    ask_s: float
    ended: trio.Event = field(default_factory=trio.Event)
    ending: Ending = Ending(Outcome.PENDING)


class Replay:
    """One replay over any number of passes. `tally` is brought up to date as it goes."""

    def __init__(
        self,
        genesis: Genesis,
        links: Sequence[tuple[Link, ReadingsFile]],
        sources: Sequence[Source],
        rate: float,
        tally: Tally,
    ) -> None:
        self.tally = tally
        self.passes = 0
        """How many passes were begun."""
        self.last_final: Hash | None = None
        self._genesis = genesis
        self._links = links
        self._sources = sources
        self._rate = rate
        self._parcels = [list(parcels(s.rows(data_directory()), s.readings_per_batch)) for s in sources]
        self._under_way: dict[Hash, _UnderWay] = {}
        self._schedule = Schedule([])
        self._devices: list[Device] = []

    @property
    def size(self) -> int:
        """How many parcels a pass has."""
        return sum(map(len, self._parcels))

    def progress(self) -> int:
        """How many parcels of this pass have ended."""
        return self._schedule.settled

    @property
    def devices(self) -> Sequence[Device]:
        """The devices of this pass, in the sources' order."""
        return self._devices

    async def run(self, stop: trio.Event, *, passes: int | None) -> None:
        """Replay so many passes, or for ever (None), until `stop`; then wait for what is under way.

        Raises: EnrolmentRefused.
        """
        async with trio.open_nursery() as nursery:
            for link, _ in self._links:
                await nursery.start(self._listen, link)
            nursery.start_soon(self._sweep)
            while self._sources and not stop.is_set() and (passes is None or self.passes < passes):
                self.passes += 1
                await self._enrol(stop)
                if stop.is_set():
                    break
                self._schedule = Schedule(self._parcels)
                await self._send_all(stop, nursery)
            with trio.move_on_after(DRAIN_S):
                for item in list(self._under_way.values()):
                    await item.ended.wait()
            nursery.cancel_scope.cancel()

    async def _enrol(self, stop: trio.Event) -> None:
        """New devices for a pass, each final before the next; given up at `stop`."""
        links = [link for link, _ in self._links]
        self._devices = [
            fleet.new_device(source, links[index % len(links)].gateway)
            for index, source in enumerate(self._sources)
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at, stop, nursery.cancel_scope)
            for index, device in enumerate(self._devices):
                item = self._track(fleet.enrolment(self._genesis, device), device, None, index)
                await self._submit(item.link, [item])
                await item.ended.wait()
                if item.ending.outcome is not Outcome.FINAL:
                    why = item.ending.code or item.ending.outcome.value
                    raise EnrolmentRefused(f"{device.gateway.name} cannot enrol a device: {why}")
            nursery.cancel_scope.cancel()

    async def _send_all(self, stop: trio.Event, nursery: trio.Nursery) -> None:
        allowance, last_s = 0.0, trio.current_time()
        while not stop.is_set() and not self._schedule.is_done():
            now_s = trio.current_time()
            allowance = min(allowance + (now_s - last_s) * self._rate, max(1.0, self._rate * BURST_S))
            last_s = now_s
            taken = self._take(int(allowance))
            allowance -= len(taken)
            by_gateway = defaultdict(list)
            for index, parcel in taken:
                by_gateway[index % len(self._links)].append((index, parcel))
            for position, items in by_gateway.items():
                link, readings = self._links[position]
                nursery.start_soon(self._submit, link, self._signed(items, readings))
            await trio.sleep(TICK_S)

    def _take(self, most: int) -> list[tuple[int, Parcel]]:
        room = int(self._rate * UNDER_WAY_S) + 1 - len(self._under_way)
        taken: list[tuple[int, Parcel]] = []
        while len(taken) < min(most, room) and (found := self._schedule.take()) is not None:
            taken.append(found)
        return taken

    def _signed(self, items: Sequence[tuple[int, Parcel]], file: ReadingsFile) -> list[_UnderWay]:
        """Transactions for these parcels. Returns once the gateway has their readings on disk."""
        signed, kept = [], []
        for index, parcel in items:
            device = self._devices[index]
            if device.source.readings_per_batch == 1:
                transaction = fleet.record(self._genesis, device, parcel.rows[0])
            else:
                readings = fleet.readings_of(parcel)
                first, last = parcel.rows[0].time_ms, parcel.rows[-1].time_ms
                transaction = fleet.batch(self._genesis, device, readings, first, last)
                if not parcel.is_repeat:
                    kept.append((transaction.id, device.id, readings))
            signed.append(self._track(transaction, device, parcel, index))
        file.keep(kept)
        return signed

    def _track(
        self, transaction: Transaction, device: Device, parcel: Parcel | None, stream: int
    ) -> _UnderWay:
        now_s = trio.current_time()
        link, _ = self._links[stream % len(self._links)]
        one = _UnderWay(transaction, device, parcel, stream, link, now_s, now_s + SILENCE_S)
        self._under_way[transaction.id] = one
        return one

    async def _submit(self, link: Link, items: Sequence[_UnderWay]) -> None:
        endings = await link.submit([item.transaction for item in items])
        for item, ending in zip(items, endings, strict=True):
            if ending.outcome is Outcome.REFUSED:
                self._end(item, ending)

    async def _listen(
        self, link: Link, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        after = await link.height()
        task_status.started()
        async for ids in link.finals(after):
            for transaction_id in ids:
                item = self._under_way.get(transaction_id)
                if item is not None and item.link is link:
                    self._end(item, Ending(Outcome.FINAL))

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SILENCE_S / 4)
            now_s = trio.current_time()
            silent = [item for item in self._under_way.values() if item.ask_s <= now_s]
            for item in silent[:SWEEP_MAX]:
                item.ask_s = now_s + SILENCE_S
                ending = await item.link.fate(item.transaction.id)
                if ending.outcome is not Outcome.UNKNOWN:
                    self._end(item, ending)
                elif item.transaction.body.expires_ms < _now_ms():
                    self._end(item, Ending(Outcome.EXPIRED))
                else:
                    await self._submit(item.link, [item])

    def _end(self, item: _UnderWay, ending: Ending) -> None:
        """Carry out what a transaction's end means; nothing while it is pending, or the second time."""
        if ending.outcome is Outcome.PENDING or self._under_way.pop(item.transaction.id, None) is None:
            return
        item.ending = ending
        item.ended.set()
        if ending.outcome is Outcome.FINAL:
            readings = len(item.parcel.rows) if item.parcel is not None else 0
            self.tally.final(readings, (trio.current_time() - item.sent_s) * 1_000)
            self.last_final = item.transaction.id
        elif ending.outcome is Outcome.REFUSED:
            self.tally.refused[ending.code or "unknown"] += 1
        if item.parcel is None:
            return
        if ending.outcome is Outcome.EXPIRED:
            self._schedule.put_back(item.stream, item.parcel)
        else:
            self._schedule.settle(item.stream)


async def _cancel_at(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _now_ms() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
