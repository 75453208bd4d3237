"""`p2pledger bench latency`: how long it takes until clients see final what they submit. Floor 9."""

from dataclasses import dataclass

from p2pledger.bench.fleet import Shape, prepared
from p2pledger.bench.phase import Progress, Stretch, Stretches, count_of


@dataclass(frozen=True)
class Latency:
    """What it came to: every transaction in a request of its own, each seen final at its own node.

    `submission_to_final_ms` is what a client waits: until a leader has the transaction and proposes, and
    then what agreement takes. `proposal_to_final_ms` is the latter alone, block by block and at every
    authority: three delays and the work. `delay_ms` was put on every link between nodes, each way; clients
    are not delayed.
    """

    authorities: int
    gateways: int
    delay_ms: float
    submission_to_final_ms: dict[str, float | None]
    proposal_to_final_ms: dict[str, float | None]
    load: Stretch


async def measure(shape: Shape, per_second: float, seconds: float, progress: Progress) -> Latency:
    """Make a ledger and load it gently.

    Raises: CannotMeasure, NodeDied, NoPorts, Disagreement, LedgerError.
    """
    count_of(per_second, seconds)
    async with prepared(shape) as fleet:
        await fleet.start()
        await fleet.enrol()
        stretches = Stretches(fleet, progress)
        loaded = await stretches.run(per_second, seconds, per_parcel=1, followed=shape.authorities)
    return Latency(
        authorities=shape.authorities,
        gateways=shape.gateways,
        delay_ms=shape.delay_ms,
        submission_to_final_ms=loaded.latency_ms,
        proposal_to_final_ms=loaded.proposal_to_final_ms,
        load=loaded,
    )
