"""The real data, as it came in through two gateways beside all else. Floor 8."""

from collections.abc import Sequence
from itertools import pairwise

from p2pledger.testnet.city.stage import Stage
from p2pledger.testnet.fleet import Device
from p2pledger.testnet.sources import data_directory


async def look(stage: Stage, devices: Sequence[Device]) -> None:
    """What files lack is missing on the ledger, and nothing else. `devices`: those of one whole pass."""
    for device in devices:
        numbers = sorted({row.seq for row in device.source.rows(data_directory())})
        lacking = [
            {"first": before + 1, "last": after - 1}
            for before, after in pairwise(numbers)
            if after > before + 1
        ]
        (found,) = await stage.ask("records.gaps", device=device.id)
        stage.expect(
            f"{device.source.name}: the numbers that the file lacks are gaps on the ledger",
            (found["highest"], found["gaps"]),
            (numbers[-1], lacking),
        )
        stage.sees(device.gateway.organisation, f"readings of {device.source.name}", len(numbers))
