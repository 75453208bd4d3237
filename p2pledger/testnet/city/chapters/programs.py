"""The two programs of the city, as the council decides on them before last month. Floor 8."""

import hashlib

from p2pledger.chain.payloads import (
    AccountEnroll,
    EnergyParameters,
    Enrolment,
    MobilityParameters,
    ProgramCreate,
    Terms,
    sign_enrolment,
)
from p2pledger.chain.period import Period, period_at
from p2pledger.crypto import Signer
from p2pledger.testnet.city.cast import REGISTRY, TRANSPORT, UTILITY
from p2pledger.testnet.city.stage import Stage, hash_of
from p2pledger.types import Hash, Millis

DRIVING, SUN = "careful-driving", "shared-sun"

MOBILITY = MobilityParameters(
    brake_mm_s2=2_500,
    acceleration_mm_s2=2_500,
    speed_limit_mm_s=13_889,
    brake_weight=10,
    acceleration_weight=5,
    over_weight=1,
    score_min=300,
    distance_max_m=300_000,
    points_per_km=100,
)
ENERGY = EnergyParameters(accounts_min=2)


def driving(now_ms: Millis) -> ProgramCreate:
    """Rewards careful driving from last week on. Its auditor is another department."""
    terms = Terms(
        from_period=period_at(Period.WEEK, now_ms) - 1,
        rule_hash=hash_of("the rules of careful driving"),
        parameters=MOBILITY,
        budget_points=1_000_000,
        claim_periods=4,
        expiry_periods=26,
    )
    return ProgramCreate(DRIVING, terms, operator=TRANSPORT, issuer=REGISTRY, auditor=UTILITY)


def sun(now_ms: Millis) -> ProgramCreate:
    """Shares what roofs feed in beyond what the feeder uses, from last month on."""
    terms = Terms(
        from_period=period_at(Period.MONTH, now_ms) - 1,
        rule_hash=hash_of("the rules of shared sun"),
        parameters=ENERGY,
        budget_points=100_000_000,
        claim_periods=2,
        expiry_periods=12,
    )
    return ProgramCreate(SUN, terms, operator=UTILITY, issuer=REGISTRY, auditor=TRANSPORT)


def enrolment(stage: Stage, program: str, account: Signer, resident: str) -> AccountEnroll:
    """What the registry office hands to a resident, whose name stays in the office with its secret."""
    secret = hash_of(f"a secret of the registry office {stage.genesis.hash.hex()}")
    nullifier = Hash(hashlib.sha256(secret + program.encode() + resident.encode()).digest())
    of = Enrolment(stage.genesis.hash, program, account.public_key, nullifier)
    return sign_enrolment(of, stage.admin(REGISTRY))
