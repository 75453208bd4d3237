"""The ride becomes a claim and points; one resident's trace was altered, and the audit says so. Floor 8.

The ride is real. Its week is last week: it names no date of its own.
"""

from p2pledger.chain.payloads import AuditGrant, ClaimAudit, MobilityClaim, PointsRedeem
from p2pledger.chain.period import Period, period_at, period_bounds
from p2pledger.crypto import KeySigner
from p2pledger.testnet.city.cast import MAKER, TRANSPORT, UTILITY
from p2pledger.testnet.city.chapters.programs import DRIVING, MOBILITY, enrolment
from p2pledger.testnet.city.stage import RESIDENT, Stage, new_key
from p2pledger.testnet.city.trace import Trace, ride

REDEEMED_POINTS = 100


async def play(stage: Stage) -> KeySigner:
    """The chapter. Returns the honest driver's account."""
    week = period_at(Period.WEEK, stage.now_ms()) - 1
    ann, bob = new_key(), new_key()
    traces = [ride(period_bounds(Period.WEEK, week)[0]) for _ in (ann, bob)]
    for driver, trace, name in zip((ann, bob), traces, ("ann", "bob"), strict=True):
        await stage.say_for_resident(enrolment(stage, DRIVING, driver, name), TRANSPORT, driver)
        await stage.say_for_resident(_claim(driver, week, trace), TRANSPORT, driver)
    again = _claim(ann, week, ride(period_bounds(Period.WEEK, week)[0]))
    code = await stage.is_refused_to_resident(again, TRANSPORT, ann)
    stage.expect("a second claim for the same week is refused", code, "already_claimed")

    points = points_by_hand(traces[0])
    await _expect_balance(stage, "the ride's points are what pencil and paper give", ann, points)
    spent = PointsRedeem(ann.public_key, REDEEMED_POINTS, TRANSPORT)
    await stage.say_for_resident(spent, TRANSPORT, ann)

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


def _claim(driver: KeySigner, week: int, trace: Trace) -> MobilityClaim:
    return MobilityClaim(driver.public_key, week, trace.drive(MOBILITY), trace.root)


async def _expect_balance(stage: Stage, name: str, driver: KeySigner, points: int) -> None:
    (balance,) = await stage.ask("programs.balance", account=driver.public_key)
    stage.expect(name, balance["points"], points)


async def _audit(stage: Stage, driver: KeySigner, week: int, claimed: Trace, shown: Trace) -> None:
    """The resident lets the auditor see the trace; the auditor works its root out again."""
    terms = AuditGrant(stage.genesis.hash, driver.public_key, week, UTILITY)
    grant, found = driver.sign(terms.sign_digest()), shown.root
    await stage.say(ClaimAudit(driver.public_key, week, found == claimed.root, found, grant), UTILITY)


async def look(stage: Stage, driver: KeySigner) -> None:
    """What can be seen at the day's end."""
    (balance,) = await stage.ask("programs.balance", account=driver.public_key)
    entries = await stage.ask("programs.entries", account=driver.public_key)
    (totals,) = await stage.ask("programs.totals", program=DRIVING)
    stage.sees(RESIDENT, "points now", balance["points"])
    stage.sees(RESIDENT, "how they came about", [entry["entry"]["what"] for entry in entries])
    stage.sees(TRANSPORT, f"{DRIVING}: points minted", totals["minted"])
    stage.sees(TRANSPORT, f"{DRIVING}: points taken back", totals["revoked"])
    stage.sees(MAKER, f"{DRIVING}: points minted", totals["minted"])
