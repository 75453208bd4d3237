"""Blocks of the programs' kinds: a week's drive and a month's energy, from enrolment to audit. Floor 9.

A resident has an account in each of two programs. A feeder has FEEDER_ACCOUNTS of them, and is settled for as
many months, each for itself.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from p2pledger.bench.modules.turn import Turn
from p2pledger.bench.solo import ORGANISATIONS, SPONSOR, START_MS, Unsigned, admin, gateway
from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import (
    AuditGrant,
    ClaimAudit,
    Drive,
    EnergyParameters,
    EnergyRow,
    EnergySettle,
    Enrolment,
    MobilityClaim,
    MobilityParameters,
    PointsRedeem,
    ProgramCreate,
    Terms,
    sign_enrolment,
)
from p2pledger.chain.period import Period, period_at
from p2pledger.chain.schema import DAY_MS
from p2pledger.chain.transaction import Transaction
from p2pledger.types import ZERO_HASH, Hash, Millis, PublicKey

FEEDER_ACCOUNTS = 4
DRIVING, ENERGY = "driving", "energy"
ISSUER = ORGANISATIONS[1]
FIRST_MONTH = period_at(Period.MONTH, Millis(START_MS)) + 1
PASSES_MS = 31 * DAY_MS * (FEEDER_ACCOUNTS + 1)
"""How long after the programs' beginning all the months are over that are settled."""
_DRIVE = Drive(
    distance_m=100_000, driven_s=6_000, harsh_brakes=3, harsh_accelerations=2, over_s=60, samples=6_100
)
_MOBILITY = MobilityParameters(
    brake_mm_s2=3_000,
    acceleration_mm_s2=3_000,
    speed_limit_mm_s=36_000,
    brake_weight=10,
    acceleration_weight=10,
    over_weight=1,
    score_min=0,
    distance_max_m=1_000_000,
    points_per_km=10,
)


def _program(name: str, from_period: int, parameters: MobilityParameters | EnergyParameters) -> ProgramCreate:
    terms = Terms(
        from_period, ZERO_HASH, parameters, budget_points=2**48, claim_periods=12, expiry_periods=60
    )
    return ProgramCreate(name, terms, operator=SPONSOR, issuer=ISSUER, auditor=SPONSOR)


MEASURES = (
    _program(DRIVING, period_at(Period.WEEK, Millis(START_MS)) + 1, _MOBILITY),
    _program(ENERGY, FIRST_MONTH, EnergyParameters(accounts_min=1)),
)
"""What has to be decided PASSES_MS before these blocks."""


def kinds(turn: Turn) -> Iterator[list[Transaction]]:
    """A block of each kind, and one more of enrolments, each to be stored before the next is asked for."""
    drivers, producers = turn.keys("driver"), turn.keys("producer")
    yield [_enrolment(turn, DRIVING, account) for account in drivers]
    yield [_enrolment(turn, ENERGY, account) for account in producers]
    week = period_at(Period.WEEK, turn.ledger.next_round.time_ms) - 1
    yield _by_accounts(turn, drivers, [MobilityClaim(k.public_key, week, _DRIVE, ZERO_HASH) for k in drivers])
    accounts = sorted(key.public_key for key in producers)
    yield [turn.by_admin(_settlement(turn, accounts, i)) for i in range(turn.count)]
    yield _by_accounts(turn, drivers, [PointsRedeem(k.public_key, 1, ISSUER) for k in drivers])
    yield [turn.by_admin(_audit(turn, i, week)) for i in range(turn.count)]


def _audit(turn: Turn, number: int, week: int) -> ClaimAudit:
    """The account's grant is looked at, so it signs that in earnest."""
    account = turn.key("driver", number)
    terms = AuditGrant(turn.ledger.genesis.hash, account.public_key, week, SPONSOR)
    grant = account.sign(terms.sign_digest())
    return ClaimAudit(account.public_key, week, bool(number % 2), ZERO_HASH, grant)


def _by_accounts(turn: Turn, accounts: Sequence[Unsigned], payloads: Sequence[object]) -> list[Transaction]:
    signers = zip(payloads, accounts, strict=True)
    return [turn.of(payload, RESIDENTS, account, gateway(SPONSOR)) for payload, account in signers]


def _enrolment(turn: Turn, program: str, account: Unsigned) -> Transaction:
    nullifier = Hash(sha256(account.public_key).digest())
    terms = Enrolment(turn.ledger.genesis.hash, program, account.public_key, nullifier)
    return turn.of(sign_enrolment(terms, admin(ISSUER)), RESIDENTS, account, gateway(SPONSOR))


def _settlement(turn: Turn, accounts: Sequence[PublicKey], number: int) -> EnergySettle:
    feeder, month = divmod(number, FEEDER_ACCOUNTS)
    some = accounts[feeder * FEEDER_ACCOUNTS : (feeder + 1) * FEEDER_ACCOUNTS]
    rows = tuple(EnergyRow(account, 100_000) for account in some)
    return EnergySettle(
        program=ENERGY,
        feeder=turn.id("feeder", feeder),
        period=FIRST_MONTH + month,
        produced_wh=100_000 * len(rows),
        consumed_wh=99_999,
        rows=rows,
    )
