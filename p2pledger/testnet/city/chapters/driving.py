"""The ride becomes a claim and points; one resident's trace was altered, and the audit says so. Floor 8.

The ride is real. Its week is last week: it names no date of its own.
"""

import hashlib
from dataclasses import dataclass

from p2pledger.chain.payloads import (
    ClaimAudit,
    DataRegister,
    GrantGive,
    MobilityClaim,
    Operation,
    PointsRedeem,
    Purpose,
    SizeClass,
)
from p2pledger.chain.period import Period, period_at, period_bounds
from p2pledger.crypto import KeySigner
from p2pledger.testnet.city.cast import DAY_MS, MAKER, REGISTRY, TRANSPORT, UTILITY
from p2pledger.testnet.city.chapters.programs import DRIVING, MOBILITY, enrolment
from p2pledger.testnet.city.stage import RESIDENT, Stage, new_key
from p2pledger.testnet.city.trace import Trace, ride
from p2pledger.types import Hash, Millis

REDEEMED_POINTS = 100
RETENTION_DAYS = 30
GRANT_DAYS = 7


@dataclass(frozen=True)
class Driver:
    """A resident as a department knows one: a key for the program, and another one for its data."""

    account: KeySigner
    handle: KeySigner


async def play(stage: Stage) -> Driver:
    """The chapter. Returns the honest driver."""
    week = period_at(Period.WEEK, stage.now_ms()) - 1
    ann, bob = Driver(new_key(), new_key()), Driver(new_key(), new_key())
    traces = [ride(period_bounds(Period.WEEK, week)[0]) for _ in (ann, bob)]
    for driver, trace, name in zip((ann, bob), traces, ("ann", "bob"), strict=True):
        await stage.say_for_resident(
            enrolment(stage, DRIVING, driver.account, name), TRANSPORT, driver.account
        )
        await stage.say_for_resident(_claim(driver, week, trace), TRANSPORT, driver.account)
    again = _claim(ann, week, ride(period_bounds(Period.WEEK, week)[0]))
    code = await stage.is_refused_to_resident(again, TRANSPORT, ann.account)
    stage.expect("a second claim for the same week is refused", code, "already_claimed")

    points = points_by_hand(traces[0])
    await _expect_balance(stage, "the ride's points are what pencil and paper give", ann, points)
    spent = PointsRedeem(ann.account.public_key, REDEEMED_POINTS, TRANSPORT)
    await stage.say_for_resident(spent, TRANSPORT, ann.account)

    await _audit(stage, ann, week, traces[0], shown=traces[0])
    await _audit(stage, bob, week, traces[1], shown=traces[1].altered())
    await _expect_balance(stage, "an audit that matches takes nothing", ann, points - REDEEMED_POINTS)
    await _expect_balance(stage, "one altered second of a trace is found, and its points are gone", bob, 0)
    (replayed,) = await stage.ask("programs.replay", program=DRIVING, period=week)
    stage.expect("the week worked out again gives the same root", replayed["is_same"], True)
    return ann


def points_by_hand(trace: Trace) -> int:
    """The published rule, spelled out here once more so that the ledger's own code is not its own judge."""
    brakes = accelerations = driven = over = metres = 0
    for before, after in zip(trace.readings, trace.readings[1:], strict=False):
        if after.time_ms - before.time_ms != 1_000:
            continue
        change = after.values[0] - before.values[0]
        brakes += change <= -MOBILITY.brake_mm_s2
        accelerations += change >= MOBILITY.acceleration_mm_s2
        metres += after.values[1] - before.values[1]
        if before.values[0] or after.values[0]:
            driven += 1
            over += after.values[0] > MOBILITY.speed_limit_mm_s
    events = MOBILITY.brake_weight * brakes + MOBILITY.acceleration_weight * accelerations
    score = max(
        0,
        1_000
        - events * 100_000 // max(metres, 1_000)
        - MOBILITY.over_weight * over * 1_000 // max(driven, 1),
    )
    return min(metres, MOBILITY.distance_max_m) * score * MOBILITY.points_per_km // 1_000_000


def _claim(driver: Driver, week: int, trace: Trace) -> MobilityClaim:
    return MobilityClaim(driver.account.public_key, week, trace.drive(MOBILITY), trace.root)


async def _expect_balance(stage: Stage, name: str, driver: Driver, points: int) -> None:
    (balance,) = await stage.ask("programs.balance", account=driver.account.public_key)
    stage.expect(name, balance["points"], points)


async def _audit(stage: Stage, driver: Driver, week: int, claimed: Trace, shown: Trace) -> None:
    """The resident lets the auditor see the trace; the auditor works its root out again."""
    now_ms = stage.now_ms()
    register = DataRegister(
        commitment=Hash(hashlib.sha256(claimed.root).digest()),
        schema="personal.reading/1",
        handle=driver.handle.public_key,
        custodians=tuple(sorted((REGISTRY, TRANSPORT))),
        threshold=2,
        size_class=SizeClass.KIB_64,
        retain_until_ms=Millis((now_ms // DAY_MS + RETENTION_DAYS) * DAY_MS),
    )
    await stage.say(register, TRANSPORT)
    grant = GrantGive(
        handle=driver.handle.public_key,
        grantee=UTILITY,
        purpose=Purpose.FRAUD_PREVENTION_AND_DETECTION,
        operations=(Operation.CONSULT,),
        notice_hash=Hash(hashlib.sha256(b"the auditor's notice").digest()),
        until_ms=Millis(now_ms + GRANT_DAYS * DAY_MS),
        max_uses=1,
        price=None,
    )
    given = await stage.say_for_resident(grant, TRANSPORT, driver.handle)
    found = shown.root
    audit = ClaimAudit(driver.account.public_key, week, found == claimed.root, found, given.transaction_id)
    await stage.say(audit, UTILITY)


async def look(stage: Stage, driver: Driver) -> None:
    """What can be seen at the day's end."""
    (balance,) = await stage.ask("programs.balance", account=driver.account.public_key)
    entries = await stage.ask("programs.entries", account=driver.account.public_key)
    (totals,) = await stage.ask("programs.totals", program=DRIVING)
    stage.sees(RESIDENT, "points now", balance["points"])
    stage.sees(RESIDENT, "how they came about", [entry["entry"]["what"] for entry in entries])
    stage.sees(TRANSPORT, f"{DRIVING}: points minted", totals["minted"])
    stage.sees(TRANSPORT, f"{DRIVING}: points taken back", totals["revoked"])
    stage.sees(MAKER, f"{DRIVING}: points minted", totals["minted"])
