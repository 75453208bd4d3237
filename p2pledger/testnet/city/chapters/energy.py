"""A month of two meters is settled. What meters show is real; what roofs feed in is synthetic. Floor 8."""

from collections.abc import Mapping
from itertools import pairwise

from p2pledger.chain.payloads import EnergyRow, EnergySettle
from p2pledger.chain.period import Period, period_at, period_bounds
from p2pledger.testnet.city.cast import UTILITY
from p2pledger.testnet.city.chapters.programs import SUN, enrolment
from p2pledger.testnet.city.stage import Stage, new_key
from p2pledger.testnet.sources import data_directory, source_of
from p2pledger.types import Millis, PublicKey

FEEDER = "synthetic-feeder-7"
FED_IN_PERCENT = (90, 75)
"""SYNTHETIC: what each roof fed in, in per cent of what both meters used."""


def used_wh(source_name: str) -> int:
    """By how much a meter's register grew in the first whole month of its file."""
    rows = [row for row in source_of(source_name).rows(data_directory()) if not row.is_repeat]
    first_ms, last_ms = period_bounds(Period.MONTH, period_at(Period.MONTH, rows[0].time_ms) + 1)
    return sum(
        after.values[0] - before.values[0]
        for before, after in pairwise(rows)
        if first_ms <= after.time_ms <= last_ms
    )


async def play(stage: Stage) -> None:
    """The chapter."""
    consumed = used_wh("meter-a") + used_wh("meter-b")
    roofs = [new_key() for _ in FED_IN_PERCENT]
    for number, roof in enumerate(roofs):
        await stage.say_for_resident(enrolment(stage, SUN, roof, f"roof {number}"), UTILITY, roof)
    fed_in = {
        roof.public_key: consumed * percent // 100
        for roof, percent in zip(roofs, FED_IN_PERCENT, strict=True)
    }
    produced = sum(fed_in.values())
    month = period_at(Period.MONTH, Millis(stage.now_ms())) - 1
    rows = tuple(EnergyRow(account, fed_in[account]) for account in sorted(fed_in))
    settlement = EnergySettle(SUN, FEEDER, month, produced, consumed, rows)
    await stage.say(settlement, UTILITY)

    surplus = produced - consumed
    found = {}
    for account in fed_in:
        (balance,) = await stage.ask("programs.balance", account=account)
        found[account] = balance["points"]
    stage.expect("what roofs are credited is the surplus, to the Wh", sum(found.values()), surplus)
    stage.expect(
        "each roof's part is what it fed in, by largest remainder",
        [found[account] for account in fed_in],
        [part_of(fed_in, account, surplus) for account in fed_in],
    )
    code = await stage.is_refused(settlement, UTILITY)
    stage.expect("a month is settled once for an account", code, "already_claimed")


def part_of(fed_in: Mapping[PublicKey, int], account: PublicKey, surplus: int) -> int:
    total = sum(fed_in.values())
    floors = {each: surplus * energy // total for each, energy in fed_in.items()}
    left = surplus - sum(floors.values())
    by_remainder = sorted(fed_in, key=lambda each: (-(surplus * fed_in[each] % total), each))
    return floors[account] + (account in by_remainder[:left])


async def look(stage: Stage) -> None:
    """What can be seen at the day's end."""
    (totals,) = await stage.ask("programs.totals", program=SUN)
    devices = await stage.ask("registry.devices", organisation=UTILITY)
    gaps = 0
    for device in devices:
        (numbers,) = await stage.ask("records.gaps", device=bytes.fromhex(device["device"]))
        gaps += len(numbers["gaps"])
    stage.sees(UTILITY, f"{SUN}: Wh credited", totals["minted"])
    stage.sees(UTILITY, "devices", len(devices))
    stage.sees(UTILITY, "gaps in their readings", gaps)
