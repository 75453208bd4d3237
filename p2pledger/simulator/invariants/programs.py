"""The promises of programs: of budgets, balances, claims, nullifiers and settlements. Floor 8.

Shares no code with the module: calendar, score and shares are worked out here once more, in the plainest way.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from p2pledger.chain.payloads import (
    PAYLOADS,
    AccountEnroll,
    ClaimAudit,
    Drive,
    EnergyParameters,
    EnergySettle,
    MobilityClaim,
    MobilityParameters,
    PointsRedeem,
    ProgramChange,
    ProgramCreate,
    Terms,
)
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.types import PublicKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY = datetime(1969, 12, 29, tzinfo=UTC)


@dataclass
class Points:
    """What became of points. What is neither redeemed, revoked nor expired is the balance."""

    minted: int = 0
    redeemed: int = 0
    revoked: int = 0


@dataclass
class _Program:
    versions: list[tuple[Terms, int]]
    """Terms and the height that they work from, by the order of decision; what was replaced is gone."""
    seen: dict[int, Terms] = field(default_factory=dict)
    """The terms that judged the first claim of each period."""
    points: dict[int, Points] = field(default_factory=dict)
    nullifiers: set[bytes] = field(default_factory=set)
    feeders: set[tuple[str, int]] = field(default_factory=set)


@dataclass
class _Account:
    program: str
    points: dict[int, Points] = field(default_factory=dict)
    claimed: dict[int, int] = field(default_factory=dict)
    audited: set[int] = field(default_factory=set)


class ProgramsInvariants:
    """Books of what was accepted. Raises ValueError at the first that should not have been."""

    def __init__(self) -> None:
        self.programs: dict[str, _Program] = {}
        self.accounts: dict[PublicKey, _Account] = {}
        self._time_ms = 0

    def check(self, payload: ProgramCreate | ProgramChange, from_height: int) -> None:
        """Whether terms can begin to hold after what was accepted last. Raises: ValueError."""
        terms = payload.terms
        if isinstance(payload, ProgramCreate):
            _demand(payload.program not in self.programs, "a program was created twice")
        else:
            _demand(payload.program in self.programs, "what was never created was changed")
            engine = type(self.programs[payload.program].versions[0][0].parameters)
            _demand(engine is type(terms.parameters), "a program changed its engine")
        now = _period(terms, self._time_ms)
        _demand(terms.from_period > now, "a period was to be judged that had begun")

    def enact(self, payload: ProgramCreate | ProgramChange, from_height: int) -> None:
        """Terms were decided. Raises ValueError as `check` does, and then books nothing."""
        self.check(payload, from_height)
        terms = payload.terms
        if isinstance(payload, ProgramCreate):
            self.programs[payload.program] = _Program([(terms, from_height)])
            return
        program = self.programs[payload.program]
        kept = [one for one in program.versions if one[0].from_period < terms.from_period]
        program.versions = [*kept, (terms, from_height)]

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """A transaction of any kind was accepted in the block of this height and time."""
        body, self._time_ms = transaction.body, time_ms
        kind = PAYLOADS[body.kind]
        if kind not in (AccountEnroll, MobilityClaim, EnergySettle, PointsRedeem, ClaimAudit):
            return
        payload = decode(kind, body.payload)
        if isinstance(payload, AccountEnroll):
            self._enroll(payload)
        elif isinstance(payload, MobilityClaim):
            self._claim(payload, height, time_ms)
        elif isinstance(payload, EnergySettle):
            self._settle(payload, height, time_ms)
        elif isinstance(payload, PointsRedeem):
            self._redeem(payload, time_ms)
        elif isinstance(payload, ClaimAudit):
            self._audit(payload, time_ms)

    def balance(self, account: PublicKey, time_ms: int) -> int:
        """What an account may redeem."""
        row = self.accounts[account]
        now = self._now(row.program, time_ms)
        return sum(_left(one) for period, one in row.points.items() if now <= self._last(row.program, period))

    def sums(self, program: str, time_ms: int) -> tuple[int, int, int, int]:
        """Minted, redeemed, revoked and expired points of a program."""
        now, books = self._now(program, time_ms), self.programs[program].points
        expired = sum(_left(one) for period, one in books.items() if now > self._last(program, period))
        each = books.values()
        return (
            sum(o.minted for o in each),
            sum(o.redeemed for o in each),
            sum(o.revoked for o in each),
            expired,
        )

    def _enroll(self, payload: AccountEnroll) -> None:
        program = self.programs[payload.program]
        _demand(payload.account not in self.accounts, "an account was enrolled twice")
        _demand(payload.nullifier not in program.nullifiers, "a nullifier was used twice")
        program.nullifiers.add(payload.nullifier)
        self.accounts[payload.account] = _Account(payload.program)

    def _claim(self, payload: MobilityClaim, height: int, time_ms: int) -> None:
        row = self.accounts[payload.account]
        terms = self._terms(row.program, payload.period, height, time_ms)
        _demand(payload.drive.samples > payload.drive.driven_s, "a trace below 1 Hz was rewarded")
        if not isinstance(terms.parameters, MobilityParameters):
            raise ValueError("driving was rewarded by another engine")
        self._mint(payload.account, row.program, payload.period, _points(payload.drive, terms.parameters))

    def _settle(self, payload: EnergySettle, height: int, time_ms: int) -> None:
        terms = self._terms(payload.program, payload.period, height, time_ms)
        feeder = payload.feeder, payload.period
        feeders = self.programs[payload.program].feeders
        _demand(feeder not in feeders, "a feeder's period was settled twice")
        feeders.add(feeder)
        if not isinstance(terms.parameters, EnergyParameters):
            raise ValueError("energy was shared by another engine")
        _demand(len(payload.rows) >= terms.parameters.accounts_min, "a settlement tells of too few accounts")
        rows = {one.account: one.energy_wh for one in payload.rows}
        total = sum(rows.values())
        _demand(len(rows) == len(payload.rows) and total == payload.produced_wh, "the rows do not add up")
        surplus = max(payload.produced_wh - payload.consumed_wh, 0)
        shares = _shares(surplus, rows)
        _demand(sum(shares.values()) == surplus, "credits are not the surplus")
        for account, points in shares.items():
            _demand(self.accounts[account].program == payload.program, "another program's account has points")
            self._mint(account, payload.program, payload.period, points)

    def _redeem(self, payload: PointsRedeem, time_ms: int) -> None:
        _demand(payload.points <= self.balance(payload.account, time_ms), "more was redeemed than was there")
        row = self.accounts[payload.account]
        for period in self._living(row, time_ms):
            part = min(payload.points, _left(row.points[period]))
            payload = PointsRedeem(payload.account, payload.points - part, payload.organisation)
            row.points[period].redeemed += part
            self.programs[row.program].points[period].redeemed += part

    def _audit(self, payload: ClaimAudit, time_ms: int) -> None:
        row = self.accounts[payload.account]
        _demand(payload.period in row.claimed, "what was never claimed was audited")
        _demand(payload.period not in row.audited, "a claim was audited twice")
        row.audited.add(payload.period)
        living = self._living(row, time_ms)
        _demand(payload.period in living, "what has expired was audited")
        owed = 0 if payload.is_match else row.claimed[payload.period]
        for period in [payload.period, *(one for one in living if one != payload.period)]:
            part = min(owed, _left(row.points[period]))
            owed -= part
            row.points[period].revoked += part
            self.programs[row.program].points[period].revoked += part

    def _mint(self, account: PublicKey, name: str, period: int, points: int) -> None:
        row, program = self.accounts[account], self.programs[name]
        _demand(period not in row.claimed, "an account had its points of a period twice")
        row.claimed[period] = points
        row.points[period] = Points(minted=points)
        books = program.points.setdefault(period, Points())
        books.minted += points
        budget = program.seen[period].budget_points
        _demand(books.minted <= budget, f"{books.minted} points were minted of a budget of {budget}")

    def _terms(self, name: str, period: int, height: int, time_ms: int) -> Terms:
        program, now = self.programs[name], self._now(name, time_ms)
        judging = [one for one in program.versions if one[0].from_period <= period]
        _demand(bool(judging), "a period without rules was rewarded")
        terms, from_height = max(judging, key=lambda one: one[0].from_period)
        _demand(height >= from_height, "rules worked before their height")
        _demand(period < now <= period + terms.claim_periods, "a period was rewarded that was not open")
        _demand(program.seen.setdefault(period, terms) == terms, "a period was judged by two rules")
        return terms

    def _living(self, row: _Account, time_ms: int) -> list[int]:
        now = self._now(row.program, time_ms)
        last = {period: self._last(row.program, period) for period in row.points}
        return sorted((one for one in last if now <= last[one]), key=lambda one: (last[one], one))

    def _last(self, name: str, period: int) -> int:
        return period + self.programs[name].seen[period].expiry_periods

    def _now(self, name: str, time_ms: int) -> int:
        return _period(self.programs[name].versions[0][0], time_ms)


def _period(terms: Terms, time_ms: int) -> int:
    """The number of the period under way, of the length that these terms judge."""
    at = _EPOCH + timedelta(milliseconds=time_ms)
    if isinstance(terms.parameters, MobilityParameters):
        return (at - _MONDAY) // timedelta(weeks=1)
    return (at.year - 1970) * 12 + at.month - 1


def _left(points: Points) -> int:
    return points.minted - points.redeemed - points.revoked


def _points(drive: Drive, rules: MobilityParameters) -> int:
    harsh = rules.brake_weight * drive.harsh_brakes + rules.acceleration_weight * drive.harsh_accelerations
    score = 1_000 - harsh * 100_000 // max(drive.distance_m, 1_000)
    score -= rules.over_weight * drive.over_s * 1_000 // max(drive.driven_s, 1)
    if max(score, 0) < rules.score_min:
        return 0
    paid_km = Fraction(min(drive.distance_m, rules.distance_max_m), 1_000)
    return int(paid_km * Fraction(max(score, 0), 1_000) * rules.points_per_km)


def _shares(surplus: int, rows: dict[PublicKey, int]) -> dict[PublicKey, int]:
    if not surplus:
        return dict.fromkeys(rows, 0)
    total = sum(rows.values())
    exact = {account: Fraction(surplus * energy, total) for account, energy in rows.items()}
    shares = {account: int(part) for account, part in exact.items()}
    while sum(shares.values()) < surplus:
        # The one that is furthest below its exact share; of several, the first account.
        behind = min(exact, key=lambda account: (shares[account] - exact[account], account))
        shares[behind] += 1
    return shares


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
