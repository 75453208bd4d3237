"""Records signed before the clock starts, on all cores, packed into the requests that carry them. Floor 9."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

from p2pledger.bench.ceiling import cores
from p2pledger.bench.devices import Device, devices, record, records
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Batch
from p2pledger.codec import encode
from p2pledger.types import Hash, Millis

PARCELS_PER_TASK = 16
SAMPLE = 200
"""So many records are signed to see how long the others will take."""

_worker: tuple["Order", list[Device]]


@dataclass(frozen=True)
class Order:
    """Records to be signed: `count` of them from number `first` on, the devices taking turns.

    `per_second` is how fast they will be submitted, from `start_ms` on, `per_parcel` in one request.
    """

    genesis: Genesis
    devices: int
    sponsor: str
    first: int
    count: int
    per_second: float
    per_parcel: int
    start_ms: Millis


@dataclass(frozen=True)
class Parcel:
    """The body of one request, and the ids of the transactions in it."""

    body: bytes
    ids: tuple[Hash, ...]


def signing_ms(genesis: Genesis, count: int) -> float:
    """How long signing so many records will take on all cores: measured on a few."""
    began_s = time.perf_counter()
    for _ in islice(records(genesis, devices(1), "sample", Millis(0)), SAMPLE):
        pass
    return count * (time.perf_counter() - began_s) * 1_000 / SAMPLE / cores()


def sign(order: Order) -> Iterator[list[Parcel]]:
    """The parcels in their order, some at a time; worker processes sign them."""
    step = PARCELS_PER_TASK * order.per_parcel
    starts = range(order.first, order.first + order.count, step)
    with ProcessPoolExecutor(cores(), get_context("spawn"), _prepare, (order,)) as pool:
        yield from pool.map(_sign, starts)


def _prepare(order: Order) -> None:
    global _worker
    _worker = order, devices(order.devices)


def _sign(start: int) -> list[Parcel]:
    order, _ = _worker
    stop = min(start + PARCELS_PER_TASK * order.per_parcel, order.first + order.count)
    return [
        _parcel(number, min(number + order.per_parcel, stop))
        for number in range(start, stop, order.per_parcel)
    ]


def _parcel(start: int, stop: int) -> Parcel:
    order, from_devices = _worker
    made = []
    for number in range(start, stop):
        due_ms = order.start_ms + round((number - order.first) * 1_000 / order.per_second)
        seq, at = divmod(number, order.devices)
        # Half the window, as clients do: they may come so much sooner or later than is planned.
        expires_ms = due_ms + order.genesis.parameters.expiry_window_ms // 2
        made.append(
            record(order.genesis, from_devices[at], order.sponsor, seq, Millis(order.start_ms), expires_ms)
        )
    return Parcel(encode(Batch(tuple(t.encoded for t in made))), tuple(t.id for t in made))
