"""`p2pledger bench readings`: how many readings gateways get under roots, and see final. Floor 9."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, cycle

import trio

from p2pledger.bench import gateway
from p2pledger.bench.chains import Chains
from p2pledger.bench.figures import percentiles, share
from p2pledger.bench.fleet import CannotMeasure, Fleet, Shape, prepared
from p2pledger.bench.gateway import DRAIN_S, Done, Duty
from p2pledger.bench.phase import Progress
from p2pledger.chain.payloads import BATCH_READINGS_MAX, DeviceId, RecordBatch
from p2pledger.chain.reading import check_reading
from p2pledger.client import AsyncClient
from p2pledger.client.outcomes import LedgerError
from p2pledger.client.readings import ReadingsFile
from p2pledger.codec import decode
from p2pledger.errors import InvalidMessage
from p2pledger.types import Hash

GATEWAYS = 2
"""Unless one says how many."""
PROVED = 1_000
"""So many readings are drawn by lot from all of them, and proved."""


@dataclass(frozen=True)
class Readings:
    """What it came to.

    `window_s` is from the first reading until the last batch was final; `readings` are those whose batch
    every node holds final, and are kept on the gateways' disks. Latencies are from when a batch's readings
    were taken until its gateway saw it final. `hashing_us_per_reading` is what a bare loop of the two
    hashes that each reading needs took in the same run: what is left of a processor if nothing else were
    done. `proved`: readings checked against batches whose receipts came from another node than the one that
    they were submitted to.
    """

    gateways: int
    window_s: float
    readings: int
    readings_per_s: float
    batches: int
    refused: dict[str, int]
    missing: int
    latency_ms: dict[str, float | None]
    kept_bytes: int
    kept_bytes_per_reading: float | None
    gateways_cpu_s: float
    cpu_us_per_reading: float | None
    hashing_us_per_reading: float
    nodes_cpu_s: float
    proved: int


async def measure(authorities: int, gateways: int, seconds: float, progress: Progress) -> Readings:
    """Make a ledger and have gateways fill it. Raises: CannotMeasure, NodeDied, NoPorts, Disagreement."""
    async with prepared(Shape(authorities)) as fleet:
        await fleet.start()
        return await measure_on(fleet, gateways, seconds, progress)


def check_authorities(count: int) -> None:
    """Raises: CannotMeasure when there is no other node to prove readings from."""
    if count < 2:
        raise CannotMeasure("readings are proved from another node than they went to: two nodes at least")


async def measure_on(fleet: Fleet, gateways: int, seconds: float, progress: Progress) -> Readings:
    """Have gateways fill the ledger of a fleet that runs. Raises: CannotMeasure, NodeDied, Disagreement."""
    nodes = fleet.authorities
    check_authorities(len(nodes))
    for number in range(gateways):
        await fleet.enrol(gateway.devices_of(number))
    fleet.chains.forget()
    path = fleet.directory.path
    duties = [
        Duty(number, fleet.directory, fleet.url(node), path / f"readings-{number}.db", seconds)
        for number, node in zip(range(gateways), cycle(nodes), strict=False)
    ]
    before = await fleet.readings()
    done = await _carry_out(duties, seconds, progress)
    after = await fleet.readings()
    fleet.check_alive()
    final = await _final_everywhere(fleet.chains, done)
    lots = _draw([len(batches) * BATCH_READINGS_MAX for batches in final])
    for number, duty in enumerate(duties):
        progress("prove", sum(map(len, lots[:number])), sum(map(len, lots)))
        other = fleet.url(nodes[(number + 1) % len(nodes)])
        async with AsyncClient([other], fleet.genesis) as witness:
            await _prove(duty, final[number], lots[number], witness)
    progress("prove", sum(map(len, lots)), sum(map(len, lots)))
    nodes_cpu_s = sum(after[name].cpu_s - before[name].cpu_s for name in after)
    return _found(duties, done, sum(map(len, final)), nodes_cpu_s, sum(map(len, lots)))


async def _carry_out(duties: Sequence[Duty], seconds: float, progress: Progress) -> list[Done]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tick, round(seconds), progress)
        done = await trio.to_thread.run_sync(gateway.run, duties)
        nursery.cancel_scope.cancel()
    progress("readings", round(seconds), round(seconds))
    return done


async def _tick(seconds: int, progress: Progress) -> None:
    for second in range(seconds):
        progress("readings", second, seconds)
        await trio.sleep(1)


async def _final_everywhere(chains: Chains, done: Sequence[Done]) -> list[list[tuple[DeviceId, int]]]:
    """Device and first number of each gateway's batches that every node holds final."""
    await chains.await_final({batch for one in done for batch in one.final}, DRAIN_S)
    return [
        [place for batch, place in one.final.items() if all(batch in ids for ids in chains.held)]
        for one in done
    ]


def _draw(sizes: Sequence[int]) -> list[list[int]]:
    """PROVED lots over the readings of all gateways: for each gateway, which of its own are to be proved."""
    lots = random.sample(range(sum(sizes)), min(PROVED, sum(sizes)))
    starts = accumulate(sizes, initial=0)
    return [
        sorted(lot - start for lot in lots if start <= lot < start + size)
        for size, start in zip(sizes, starts, strict=False)
    ]


async def _prove(
    duty: Duty, batches: Sequence[tuple[DeviceId, int]], lots: Sequence[int], witness: AsyncClient
) -> None:
    """Check readings from a gateway's file against the receipts that another node gives of their batches.

    Raises: CannotMeasure when one does not hold.
    """
    witnessed: dict[Hash, RecordBatch] = {}
    with closing(ReadingsFile(duty.kept)) as file:
        for lot in lots:
            at, offset = divmod(lot, BATCH_READINGS_MAX)
            device, from_seq = batches[at]
            try:
                transaction_id, reading, path = file.prove(device, from_seq + offset)
                if transaction_id not in witnessed:
                    receipt = await witness.receipt(transaction_id)
                    witnessed[transaction_id] = decode(RecordBatch, receipt.transaction.body.payload)
                check_reading(reading, path, witnessed[transaction_id])
            except (KeyError, InvalidMessage, LedgerError) as error:
                raise CannotMeasure(f"a reading that is final cannot be proved: {error}") from error


def _found(
    duties: Sequence[Duty], done: Sequence[Done], batches: int, nodes_cpu_s: float, proved: int
) -> Readings:
    readings = batches * BATCH_READINGS_MAX
    window_s = max(one.ended_s for one in done) - min(one.began_s for one in done)
    kept_bytes = sum(duty.kept.stat().st_size for duty in duties)
    cpu_s = sum(one.cpu_s for one in done)
    return Readings(
        gateways=len(duties),
        window_s=round(window_s, 3),
        readings=readings,
        readings_per_s=share(readings, window_s) or 0.0,
        batches=batches,
        refused=dict(sorted(sum((one.refused for one in done), Counter()).items())),
        missing=sum(one.awaited + len(one.final) for one in done) - batches,
        latency_ms=percentiles(ms for one in done for ms in one.latencies_ms),
        kept_bytes=kept_bytes,
        kept_bytes_per_reading=share(kept_bytes, readings),
        gateways_cpu_s=round(cpu_s, 2),
        cpu_us_per_reading=share(1e6 * cpu_s, readings),
        hashing_us_per_reading=round(sum(one.hashing_us for one in done) / len(done), 4),
        nodes_cpu_s=round(nodes_cpu_s, 2),
        proved=proved,
    )
