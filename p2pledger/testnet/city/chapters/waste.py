"""Containers are collected, carried, weighed and sorted; a load arrives lighter than it left. Floor 8.

SYNTHETIC: the collections, and their places say so. What is in a load follows the composition of a real
region, as published.
"""

import csv
import secrets
from fractions import Fraction

from p2pledger.chain.payloads import (
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotCreate,
    LotTransform,
    NewLot,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.testnet.city.cast import CARRIER, COLLECTOR, PLANT
from p2pledger.testnet.city.sensor import Sensor
from p2pledger.testnet.city.stage import NotAsWritten, Stage
from p2pledger.testnet.sources import data_directory
from p2pledger.types import Hash

MIXED = "200301"
FRACTIONS = {
    "food": ("200108", Fate.COMPOSTED),
    "glass": ("191205", Fate.RECYCLED),
    "metal": ("191202", Fate.RECYCLED),
    "paper": ("191201", Fate.RECYCLED),
    "plastic": ("191204", Fate.RECYCLED),
    "wood": ("191207", Fate.ENERGY),
    "other": ("191212", Fate.LANDFILL),
}
"""What sorting makes of mixed waste (European List of Waste), and what becomes of it."""

LOADS_G = (8_400_000, 7_900_000, 9_100_000)
SHORT_BY_G = 730_000
"""The planted discrepancy: what the last load lost on its way."""

CONTAINER, FACILITY = "container:synthetic-4711", "facility:synthetic-1"


async def weigh(stage: Stage, scale: Sensor, mass_g: int) -> Hash:
    """The record of a weighing, by its id."""
    reading = scale.reading("mass", "GRM", mass_g)
    return (await stage.say(reading, scale.organisation, scale.signer)).transaction_id


def composition() -> dict[str, Fraction]:
    """Shares of the first region of the table whose published figures add up, of what is sorted here."""
    with (data_directory() / "waste_composition.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cells = [row[column] for column in row if column.endswith("(%)") and row[column]]
            if sum(map(Fraction, cells)) == 100:
                shares = {name: Fraction(row[f"{name} (%)"] or 0) for name in FRACTIONS if name != "other"}
                return {name: share / 100 for name, share in shares.items() if share}
    raise NotAsWritten("no region's figures add up")


async def play(stage: Stage) -> bytes:
    """The chapter. Returns the short load's lot."""
    scale, weighbridge = Sensor(stage, COLLECTOR, "scale"), Sensor(stage, PLANT, "weighbridge")
    await scale.enrol()
    await weighbridge.enrol()
    lots = [await _collect(stage, scale, mass_g) for mass_g in LOADS_G]
    *whole, short = [await _carry(stage, lot) for lot in lots]
    for manifest, mass_g in zip(whole, LOADS_G, strict=False):
        await _receive(stage, weighbridge, manifest, mass_g)
    await _receive(stage, weighbridge, short, LOADS_G[-1] - SHORT_BY_G)

    found = await stage.ask("custody.open-discrepancies", organisation=PLANT)
    stage.expect("the load that arrived lighter is frozen, and nothing else is", len(found), 1)
    code = await stage.is_refused(LotClose(lots[-1], Fate.LANDFILL), COLLECTOR)
    stage.expect("what is frozen cannot be disposed of", code, "lot_unavailable")
    resolve = DiscrepancyResolve(short, DiscrepancyReason.SPILLAGE, LOADS_G[-1] - SHORT_BY_G)
    code = await stage.is_refused(resolve, COLLECTOR)
    stage.expect("one side alone cannot settle it", code, "missing_signature")
    await stage.say(resolve, PLANT, stage.admin(PLANT), stage.admin(COLLECTOR))
    stage.expect("both sides have settled it", await stage.ask("custody.open-discrepancies"), [])

    sorted_g = await _sort(stage, lots)
    await _expect_balance(stage, sorted_g)
    return lots[-1]


async def _collect(stage: Stage, scale: Sensor, mass_g: int) -> bytes:
    lot = secrets.token_bytes(16)
    weighing = await weigh(stage, scale, mass_g)
    create = LotCreate(lot, MIXED, mass_g, CONTAINER, stage.now_ms(), weighing)
    await stage.say(create, COLLECTOR, stage.admin(COLLECTOR), scale.signer)
    return lot


async def _carry(stage: Stage, lot: bytes) -> bytes:
    manifest = secrets.token_bytes(16)
    await stage.say(ShipOffer(manifest, (lot,), CARRIER, PLANT), COLLECTOR)
    await stage.say(ShipAccept(manifest), CARRIER)
    return manifest


async def _receive(stage: Stage, weighbridge: Sensor, manifest: bytes, mass_g: int) -> None:
    weighing = await weigh(stage, weighbridge, mass_g)
    await stage.say(ShipReceive(manifest, mass_g, FACILITY, weighing), PLANT)


async def _sort(stage: Stage, lots: list[bytes]) -> dict[str, int]:
    """One lot of each fraction out of all loads, closed by its fate; grams by fraction."""
    total = sum(LOADS_G) - SHORT_BY_G
    masses = {name: int(total * share) for name, share in composition().items()}
    masses["other"] = (total - sum(masses.values())) * 9 // 10
    outputs = {
        name: NewLot(secrets.token_bytes(16), FRACTIONS[name][0], mass) for name, mass in masses.items()
    }
    loss = total - sum(masses.values())
    await stage.say(LotTransform(tuple(lots), tuple(outputs.values()), loss, "sorting", FACILITY), PLANT)
    for name, output in outputs.items():
        await stage.say(LotClose(output.lot, FRACTIONS[name][1]), PLANT)
    return masses


async def _expect_balance(stage: Stage, sorted_g: dict[str, int]) -> None:
    balances = await stage.ask("custody.mass-balance")
    stage.expect(
        "for each material, what came in is what went out",
        [each["into_g"] - each["out_of_g"] for each in balances],
        [0] * len(balances),
    )
    mixed = next(each["balance"] for each in balances if each["material"] == MIXED)
    lost_in_sorting = sum(LOADS_G) - SHORT_BY_G - sum(sorted_g.values())
    stage.expect(
        "what the short load lacked, and what sorting lost, is booked as loss",
        mixed["losses_g"],
        SHORT_BY_G + lost_in_sorting,
    )
    found = []
    for name in sorted_g:
        found += await stage.ask("custody.recycling-of-material", material=FRACTIONS[name][0])
    recycled = sum(each["recycled_g"] + each["composted_g"] for each in found)
    wanted = sum(g for name, g in sorted_g.items() if FRACTIONS[name][1] in (Fate.RECYCLED, Fate.COMPOSTED))
    stage.expect("grams recycled and composted are those that were sorted out", recycled, wanted)


async def look(stage: Stage, lot: bytes) -> None:
    """What can be seen at the day's end."""
    chain = await stage.ask("custody.chain", lot=lot)
    stage.sees(CARRIER, "the short load's way", [event["event"] for event in chain])
    for organisation in (COLLECTOR, PLANT):
        balances = await stage.ask("custody.mass-balance", organisation=organisation)
        stage.sees(organisation, "mass balance", {each["material"]: each["into_g"] for each in balances})
    rates = await stage.ask("custody.recycling-at-place", place=FACILITY)
    recycled = sum(each["recycled_g"] + each["composted_g"] for each in rates)
    treated = sum(each["treated_g"] for each in rates)
    stage.sees(PLANT, "recycled, per mille", recycled * 1_000 // max(treated, 1))
