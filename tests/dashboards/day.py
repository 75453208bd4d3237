"""A city that is watched: a ledger on which all modules are at work, that goes on until it is stopped.

    python -m tests.dashboards.day DIR

It begins as `p2pledger testnet up --replay city --faults` does, and plays what writes something of each
module; nobody joins, and the authorities stay who they are. What would be over soon is left open: a load
that arrived short, data that custodians still have, a proposal. When all is said it says TOLD; faults come
from outside.
"""

import secrets
import sys
import time
from functools import partial
from pathlib import Path

import httpx
import trio
from p2pledger.chain.payloads import (
    AuthorityRemove,
    DataRegister,
    DiscrepancyReason,
    DiscrepancyResolve,
    EraseRequest,
    GovPropose,
    LotCreate,
    ShipAccept,
    ShipOffer,
    ShipReceive,
    SizeClass,
)
from p2pledger.codec import encode
from p2pledger.testnet import up
from p2pledger.testnet.city import cast, council
from p2pledger.testnet.city.cast import CARRIER, HOSPITAL, LEAVING, REGISTRY, TRANSPORT, UTILITY
from p2pledger.testnet.city.chapters import waste
from p2pledger.testnet.city.run import Day
from p2pledger.testnet.city.sensor import Sensor
from p2pledger.testnet.city.stage import Stage, commitment, hash_of, new_key
from p2pledger.testnet.nodes import Nodes
from p2pledger.types import Height, Millis
from rich.console import Console

TOLD = "All is said."
RATE = 10.0
MASS_G = 5_000_000
FAR_AHEAD_BLOCKS = 100_000


class WatchedDay(Day):
    """Beside the data that comes in for ever, something of each module."""

    async def _day(self, stage: Stage, nodes: Nodes, http: httpx.AsyncClient, begins: Height) -> None:
        async with self._replays(stage) as replays, trio.open_nursery() as day:
            day.start_soon(self._cancel_when_stopped, day.cancel_scope)
            for replay in replays:
                day.start_soon(partial(replay.run, trio.Event(), passes=None))
            await council.reached(stage, begins)
            async with trio.open_nursery() as chapters:
                chapters.start_soon(self._residents, stage, [])
                chapters.start_soon(send_loads, stage)
                chapters.start_soon(leave_data, stage)
                chapters.start_soon(leave_proposal, stage)
                chapters.start_soon(repeat_itself, stage)
            self._say(TOLD)
            await trio.sleep_forever()


async def send_loads(stage: Stage) -> None:
    """One load that was short is settled, and another one is not."""
    loads = Loads(stage)
    await loads.enrol()
    await loads.settle(await loads.lose_half())
    await loads.lose_half()


class Loads:
    """Loads that one organisation with a gateway sends to the other; their scales are enrolled once."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._scale = Sensor(stage, TRANSPORT, "scale")
        self._weighbridge = Sensor(stage, UTILITY, "weighbridge")

    async def enrol(self) -> None:
        await self._scale.enrol()
        await self._weighbridge.enrol()

    async def lose_half(self) -> bytes:
        """A load arrives at half its weight: it is frozen. Returns its manifest."""
        stage, lot, manifest = self._stage, secrets.token_bytes(16), secrets.token_bytes(16)
        weighing = await waste.weigh(stage, self._scale, MASS_G)
        create = LotCreate(lot, waste.MIXED, MASS_G, waste.CONTAINER, stage.now_ms(), weighing)
        await stage.say(create, TRANSPORT, stage.admin(TRANSPORT), self._scale.signer)
        await stage.say(ShipOffer(manifest, (lot,), CARRIER, UTILITY), TRANSPORT)
        await stage.say(ShipAccept(manifest), CARRIER)
        weighing = await waste.weigh(stage, self._weighbridge, MASS_G // 2)
        await stage.say(ShipReceive(manifest, MASS_G // 2, waste.FACILITY, weighing), UTILITY)
        return manifest

    async def settle(self, manifest: bytes) -> None:
        """Both sides say what became of the other half."""
        resolve = DiscrepancyResolve(manifest, DiscrepancyReason.SPILLAGE, MASS_G // 2)
        await self._stage.say(resolve, UTILITY, self._stage.admin(UTILITY), self._stage.admin(TRANSPORT))


async def leave_data(stage: Stage) -> None:
    """A resident wants data erased, and no custodian says that it was."""
    handle = new_key()
    register = DataRegister(
        commitment=commitment(),
        schema="personal.reading/1",
        handle=handle.public_key,
        custodians=tuple(sorted((HOSPITAL, REGISTRY, TRANSPORT))),
        threshold=2,
        size_class=SizeClass.KIB_64,
        retain_until_ms=Millis((stage.now_ms() // cast.DAY_MS + 90) * cast.DAY_MS),
    )
    data = (await stage.say(register, TRANSPORT)).transaction_id
    await stage.say_for_resident(EraseRequest(None, data), TRANSPORT, handle)


async def repeat_itself(stage: Stage) -> None:
    """A device hands one number in twice at once: each is accepted for itself, and one becomes final."""
    sensor = Sensor(stage, TRANSPORT, "counter")
    await sensor.enrol()
    reading = sensor.reading("passengers", "C62", 1)
    flood = await stage.flood([reading, reading], TRANSPORT, sensor.signer)
    assert flood.final == 1, flood


async def leave_proposal(stage: Stage) -> None:
    """Somebody proposes, and nobody votes."""
    measure, basis = AuthorityRemove(LEAVING), "decision-21"
    from_height = Height(await stage.height() + FAR_AHEAD_BLOCKS)
    proposal = GovPropose(measure.KIND, encode(measure), from_height, basis, hash_of(basis))
    await stage.say(proposal, REGISTRY)


def main(directory: Path) -> None:
    options = up.Options(
        authorities=cast.AUTHORITIES,
        gateways=cast.GATEWAYS,
        directory=directory,
        replay="city",
        rate=RATE,
        duration_s=None,
        is_json=True,
        has_faults=True,
    )
    console = Console(stderr=True)
    charter = cast.charter(Millis(time.time_ns() // 1_000_000))
    with up.opened(options, console, charter) as made:
        trio.run(WatchedDay(made, options, console).run)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
