"""Two programs on a small ledger, for tests: one rewards driving, one shares energy.

The city issues accounts, the utility operates, `authority-0` audits. Accounts are named like keys.
"""

from dataclasses import replace
from hashlib import sha256

from p2pledger.chain.payloads import (
    AccountEnroll,
    AuditGrant,
    Drive,
    EnergyParameters,
    EnergyRow,
    EnergySettle,
    Enrolment,
    MobilityClaim,
    MobilityParameters,
    ProgramCreate,
    Terms,
    sign_enrolment,
)
from p2pledger.chain.period import Period, PeriodNumber, period_at, period_bounds
from p2pledger.crypto import is_signed
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.programs import MEASURES
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.rules import Context
from p2pledger.ledger.state import Changes
from p2pledger.types import Hash, Height, Signature
from tests.ledgers import START_MS, Effects, Ledger, genesis, signer

WEEK = period_at(Period.WEEK, START_MS)
MONTH = period_at(Period.MONTH, START_MS)
DRIVING = MobilityParameters(
    brake_mm_s2=2_500,
    acceleration_mm_s2=2_000,
    speed_limit_mm_s=13_889,
    brake_weight=10,
    acceleration_weight=5,
    over_weight=1,
    score_min=500,
    distance_max_m=200_000,
    points_per_km=100,
)
CAREFUL = Drive(100_000, 7_000, 2, 3, 70, 7_004)
"""Scores 1000 - (10*2 + 5*3) * 100000 // 100000 - 1*70*1000 // 7000 = 955: 100 km earn 9,550 points."""


def digest(name: str) -> Hash:
    return Hash(sha256(name.encode()).digest())


def key(name: str):
    return signer(name).public_key


def terms(parameters=DRIVING, from_period: int = WEEK + 1, **changes) -> Terms:
    rules = Terms(
        from_period=from_period,
        rule_hash=digest("rules"),
        parameters=parameters,
        budget_points=1_000_000,
        claim_periods=2,
        expiry_periods=3,
    )
    return replace(rules, **changes)


def create(program: str = "drive", rules: Terms | None = None) -> ProgramCreate:
    return ProgramCreate(program, rules or terms(), "utility", "city", "authority-0")


SUN = create("sun", terms(EnergyParameters(2), MONTH + 1))


def claim(account: str = "ann", period: int = WEEK + 1, drive: Drive = CAREFUL) -> MobilityClaim:
    return MobilityClaim(key(account), period, drive, digest("trace"))


def grant(account: str, period: int, auditor: str = "authority-0", of: str = "") -> Signature:
    """What an account signs so that it is audited; `of`: another one signs it instead."""
    terms = AuditGrant(genesis().hash, key(account), PeriodNumber(period), auditor)
    return signer(of or account).sign(terms.sign_digest())


def settle(
    rows: dict[str, int], consumed: int = 0, period: int = MONTH + 1, feeder: str = "f", program: str = "sun"
) -> EnergySettle:
    ordered = sorted((EnergyRow(key(name), energy) for name, energy in rows.items()), key=lambda r: r.account)
    return EnergySettle(program, feeder, period, sum(rows.values()), consumed, tuple(ordered))


class Programs(Ledger):
    """A ledger on which measures are carried out at will, and time is set to a period."""

    def enacts(self, payload, from_height: int | None = None) -> None:
        """What governance decides in a block of its own, to work from the next one."""
        at = self.next_round
        context = Context(self.genesis, at, is_signed)
        changes = Changes(self.reader, at.height)
        measure = next(one for one in MEASURES if isinstance(payload, one.payload))
        measure.enact(changes, context, payload, Height(from_height or at.height + 1))
        self.block()
        buckets = self.genesis.parameters.state_buckets
        self.reader = Overlay(self.reader, Effects(self.reader, changes.writes(), buckets=buckets))
        self.rows += context.rows

    def rejects(self, payload) -> str:
        """The code that a measure is refused with."""
        try:
            self.enacts(payload)
        except InvalidTransaction as error:
            return error.code
        raise AssertionError(f"{payload} was not refused")

    def turns(self, kind: Period, number: int) -> None:
        """The next block is one of this period."""
        self.time_ms = max(self.time_ms, period_bounds(kind, number)[0])

    def week(self, ahead: int) -> None:
        self.turns(Period.WEEK, WEEK + ahead)

    def month(self, ahead: int) -> None:
        self.turns(Period.MONTH, MONTH + ahead)

    def enrolment(
        self, account: str, program: str = "drive", issuer: str = "city 1", nullifier: str = ""
    ) -> AccountEnroll:
        one = Enrolment(self.genesis.hash, program, key(account), digest(nullifier or account))
        return sign_enrolment(one, signer(issuer))

    def enrolls(self, *accounts: str, program: str = "drive") -> None:
        for account in accounts:
            self.does(self.enrolment(account, program), "residents", "city gateway", account)

    def earns(self, account: str, period: int, drive: Drive = CAREFUL):
        return self.does(claim(account, period, drive), "residents", "city gateway", account)
