"""One stretch of load on a fleet, and the account of it. Floor 9."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import trio

from p2pledger.bench import load, presigned
from p2pledger.bench.figures import account, growth, percentiles, share
from p2pledger.bench.fleet import DEVICES, CannotMeasure, Fleet
from p2pledger.bench.load import DRAIN_S, Load, Loaded
from p2pledger.bench.presigned import Order, Parcel
from p2pledger.bench.usage import Memory, Reading
from p2pledger.types import Height, Millis

TRANSACTIONS_MAX = 2_000_000
"""In one stretch: they are all signed before it and held in memory."""
PARCELS_PER_S = 20
"""Requests a second, unless they became too large: what has come up in 50 ms shares one."""
PER_PARCEL_MAX = 512
WARM_UP_S_MAX = 3.0
WARM_UP_PART = 0.25
"""What is counted begins when the load has gone on for so much of its time, WARM_UP_S_MAX at most: until
what waits has come up, to 2 s of it where a node refuses more, less becomes final than is done. Of ten
seconds of too much that would be a fifth."""
SUSTAINED_MS = 1_000.0
"""A rate is sustained when the last that was submitted is final so soon after the end."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how far it is, and how far it goes."""


@dataclass(frozen=True)
class Use:
    """What one node used during a stretch. `stages_s` is the node's own account of its `cpu_s`.

    What no stage accounts for, `rest_s`, went to libp2p, HTTP and the event loop. With
    P2PLEDGER_METRICS_BY_TASK the nodes tell these too, and it is what threads take beside their stages.
    """

    cpu_s: float
    stages_s: dict[str, float]
    rest_s: float
    memory_peak_bytes: int
    sent_bytes: int
    allocator: str


@dataclass(frozen=True)
class Stretch:
    """What one stretch of load came to.

    A load goes on for `warm_up_s` and then for `seconds`. `window_s` is from the end of the first until
    every node had told its height at the end of the second; `final` counts what all nodes had final within
    it, `early` what they had before, `late` what came after, `missing` what was taken and did not come.
    What nodes used is what they used within it, but for their peak of memory, which is that of their lives;
    all else is of all that was submitted. Latencies are from when a request was due until a client of the
    same node saw it final; `proposal_to_final_ms` is, for each block and each node that is followed, from
    when its leader began to build it until a client of the node saw it final. What a transaction cost is
    that of all nodes together.
    """

    per_second: float
    seconds: float
    warm_up_s: float
    submitted: int
    taken: int
    refused: dict[str, int]
    window_s: float
    early: int
    final: int
    final_per_s: float
    late: int
    missing: int
    drain_ms: float | None
    latency_ms: dict[str, float | None]
    latency_samples: int
    proposal_to_final_ms: dict[str, float | None]
    proposal_to_final_samples: int
    cpu_ms_per_transaction: dict[str, float | None]
    """By stage, and `all` of it."""
    sent_bytes_per_transaction: float | None
    nodes: dict[str, Use]
    generator_cpu_s: float
    generator_late_ms_max: float

    @property
    def is_sustained(self) -> bool:
        """Whether the nodes kept up: nothing refused or missing, and hardly behind at the end."""
        is_whole = self.taken == self.submitted and not self.missing
        return is_whole and self.drain_ms is not None and self.drain_ms <= SUSTAINED_MS


def warm_up_s(seconds: float) -> float:
    """How long a load goes on before so many seconds of it are counted."""
    return min(WARM_UP_S_MAX, WARM_UP_PART * seconds)


def count_of(per_second: float, seconds: float) -> int:
    """How many transactions a stretch takes. Raises: CannotMeasure when that is none, or too many."""
    count = round(per_second * seconds)
    if not 1 <= count <= TRANSACTIONS_MAX:
        raise CannotMeasure(f"{count:,} transactions are not between 1 and {TRANSACTIONS_MAX:,}")
    return count


@dataclass
class _Window:
    """What was read when it began and when it was over; the last request was due by `due_s`."""

    begin_s: float
    first: Height
    before: dict[str, Reading]
    due_s: float
    end_s: float
    last: Height
    after: dict[str, Reading]


class Stretches:
    """Puts load on a fleet whose devices are enrolled, one stretch after the other."""

    def __init__(self, fleet: Fleet, progress: Progress) -> None:
        self._fleet, self._progress = fleet, progress
        self._next_number = 0

    async def run(
        self,
        per_second: float,
        seconds: float,
        *,
        per_parcel: int | None = None,
        followed: int = 1,
        is_steady: bool = False,
    ) -> Stretch:
        """Submit at a rate for so many seconds, then wait until all that was taken is final everywhere.

        Also what was refused for want of room and taken afterwards, so that no stretch leaves gaps in the
        numbers of devices to the next.

        `per_parcel`: so many in a request, else what PARCELS_PER_S makes of it. `followed`: the latency of
        what goes to so many of the authorities is measured. `is_steady`: let the load go on for
        `warm_up_s(seconds)` before the seconds that are counted.
        Raises: CannotMeasure, NodeDied, Disagreement.
        """
        before_s = warm_up_s(seconds) if is_steady else 0.0
        count = count_of(per_second, before_s + seconds)
        parcels = await self._sign(count, per_second, per_parcel or _per_parcel(per_second))
        fleet = self._fleet
        fleet.chains.forget()
        urls = tuple(map(fleet.url, fleet.authorities))
        windows: list[_Window] = []
        async with trio.open_nursery() as nursery:

            def begin(start_s: float) -> None:
                nursery.start_soon(self._measure, start_s + before_s, seconds, windows)

            loaded = await trio.to_thread.run_sync(
                load.run,
                Load(fleet.genesis, urls, followed, parcels, per_second),
                lambda start_s: trio.from_thread.run_sync(begin, start_s),
            )
        fleet.check_alive()
        self._progress("compare", 0, count)
        await fleet.chains.await_final({*loaded.taken, *loaded.taken_again}, DRAIN_S)
        self._progress("compare", count, count)
        return self._stretch(per_second, seconds, before_s, count, loaded, windows[0])

    async def _sign(self, count: int, per_second: float, per_parcel: int) -> list[Parcel]:
        """Sign off the loop: links that delay bytes live on it."""
        fleet, first = self._fleet, self._next_number
        self._next_number += count

        def sign() -> list[Parcel]:
            ready_ms = time.time_ns() // 1_000_000 + round(presigned.signing_ms(fleet.genesis, count))
            order = Order(
                fleet.genesis, DEVICES, fleet.sponsor, first, count, per_second, per_parcel, Millis(ready_ms)
            )
            parcels: list[Parcel] = []
            for some in presigned.sign(order):
                parcels += some
                self._progress("sign", min(count, len(parcels) * per_parcel), count)
            return parcels

        return await trio.to_thread.run_sync(sign)

    async def _measure(self, begin_s: float, seconds: float, windows: list[_Window]) -> None:
        await trio.sleep(max(0.0, begin_s - time.monotonic()))
        fleet, due_s = self._fleet, begin_s + seconds
        begin_s, first = time.monotonic(), await fleet.chains.common_height()
        before = await fleet.readings()
        while (left_s := due_s - time.monotonic()) > 0:
            self._progress("load", max(0, int(seconds - left_s)), round(seconds))
            await trio.sleep(min(1.0, left_s))
        last = await fleet.chains.common_height()
        end_s = time.monotonic()
        windows.append(_Window(begin_s, first, before, due_s, end_s, last, await fleet.readings()))
        self._progress("load", round(seconds), round(seconds))

    def _stretch(
        self,
        per_second: float,
        seconds: float,
        before_s: float,
        count: int,
        loaded: Loaded,
        window: _Window,
    ) -> Stretch:
        fleet = self._fleet
        accounted = account(loaded.taken, fleet.chains.held, window.first, window.last)
        window_s = window.end_s - window.begin_s
        used = {
            name: _use(window.before[name], window.after[name], fleet.memory(name)) for name in fleet.names
        }
        is_drained = loaded.drained_s > 0 and not loaded.awaited
        return Stretch(
            per_second=round(per_second, 1),
            seconds=seconds,
            warm_up_s=before_s,
            submitted=count,
            taken=len(loaded.taken),
            refused=dict(sorted(loaded.refused.items())),
            window_s=round(window_s, 3),
            early=accounted.early,
            final=accounted.final,
            final_per_s=round(accounted.final / window_s, 1),
            late=accounted.late,
            missing=accounted.missing,
            drain_ms=round((loaded.drained_s - window.due_s) * 1_000) if is_drained else None,
            latency_ms=percentiles(loaded.latencies_ms),
            latency_samples=len(loaded.latencies_ms),
            proposal_to_final_ms=percentiles(loaded.finals_ms),
            proposal_to_final_samples=len(loaded.finals_ms),
            cpu_ms_per_transaction={
                stage: share(1_000 * spent_s, accounted.final) for stage, spent_s in _spent_s(used).items()
            },
            sent_bytes_per_transaction=share(sum(use.sent_bytes for use in used.values()), accounted.final),
            nodes=used,
            generator_cpu_s=round(loaded.cpu_s, 2),
            generator_late_ms_max=round(loaded.late_ms_max, 1),
        )


def _spent_s(used: dict[str, Use]) -> Counter[str]:
    """The processor time of all nodes by stage; `all` is what the kernel counted."""
    spent_s: Counter[str] = Counter()
    for use in used.values():
        spent_s.update({"all": use.cpu_s, **use.stages_s, "rest": use.rest_s})
    return spent_s


def _per_parcel(per_second: float) -> int:
    return min(PER_PARCEL_MAX, max(1, round(per_second / PARCELS_PER_S)))


def _use(before: Reading, after: Reading, memory: Memory) -> Use:
    cpu_s, stages_s = after.cpu_s - before.cpu_s, growth(before.stages_s, after.stages_s)
    return Use(
        cpu_s=round(cpu_s, 2),
        stages_s={stage: round(spent_s, 3) for stage, spent_s in stages_s.items() if spent_s},
        rest_s=round(cpu_s - sum(stages_s.values()), 3),
        memory_peak_bytes=memory.peak_bytes,
        sent_bytes=round(after.sent_bytes - before.sent_bytes),
        allocator=after.allocator,
    )
