"""The programs' invariants under any run of transactions, measures and passing periods."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger.chain.payloads import (
    ClaimAudit,
    Drive,
    EnergyParameters,
    PointsRedeem,
    ProgramChange,
)
from p2pledger.chain.period import Period, period_at, period_bounds
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.programs.replay import period_root
from p2pledger.ledger.modules.programs.rows import Audited, Driven, Redeemed, Supplied
from p2pledger.simulator.invariants.programs import ProgramsInvariants
from tests.asking import LedgerChain, every
from tests.ledgers import genesis, transaction
from tests.programs import DRIVING, SUN, Programs, claim, create, digest, grant, key, settle, terms
from tests.properties.effort import effort

GENESIS = genesis()
DRIVERS, SOLAR = ("ann", "ben", "cat"), ("sol", "sky", "sea")
ACCOUNTS = (*DRIVERS, *SOLAR)
accounts = st.sampled_from(ACCOUNTS)
programs = st.sampled_from(["drive", "sun"])
back = st.sampled_from([1, 1, 1, 1, 1, 2, 2, 2, 0, -1, 3, 4])
BUDGET = 25_000
DRIVES = [
    Drive(metres, 7_000, brakes, 1, over, samples)
    for metres in (0, 999, 60_000, 100_000, 130_000, 200_000, 300_000)
    for brakes in (0, 1, 2, 3, 40)
    for over in (0, 50, 4_000)
    for samples in (7_001, 7_001, 7_000)
]
# One choice each: drawing every number would take longer than judging them.
drives = st.integers(0, len(DRIVES) - 1).map(lambda i: DRIVES[i])


class ProgramsMachine(RuleBasedStateMachine):
    """Submits anything; what was accepted is held against books that share no code with the module."""

    def __init__(self):
        super().__init__()
        self.ledger = Programs(GENESIS)
        self.books = ProgramsInvariants()
        self.enact(create(rules=terms(budget_points=BUDGET)))
        self.enact(
            replace(SUN, terms=replace(SUN.terms, budget_points=BUDGET, parameters=EnergyParameters(1)))
        )
        self.enrolled: dict[str, str] = {}
        self.periods: dict[str, set[int]] = {"drive": set(), "sun": set()}
        self.ledger.month(2)
        for account in (*DRIVERS[:2], *SOLAR[:2]):
            self.enroll_one_where_it_belongs(account)

    def enact(self, payload, from_height=None):
        height = from_height or self.ledger.height + 2
        try:
            self.ledger.enacts(payload, height)
        except InvalidTransaction:
            return
        assert payload.terms.from_period > self.now(payload.program), "a period was judged that had begun"
        self.books.enact(payload, height)

    def submit(self, payload, sponsor, *signers) -> bool:
        one = transaction(GENESIS, payload, sponsor, *signers, expires_ms=self.ledger.time_ms + 60_000)
        try:
            self.ledger.block(one)
        except InvalidTransaction:
            return False
        self.books.apply(one, self.ledger.height, self.ledger.time_ms)
        return True

    def now(self, program: str) -> int:
        return period_at(self.kind(program), self.ledger.time_ms)

    def kind(self, program: str) -> Period:
        return Period.WEEK if program == "drive" else Period.MONTH

    @rule(account=accounts, program=programs, nullifier=st.sampled_from("123456"))
    def enroll(self, account, program, nullifier):
        payload = self.ledger.enrolment(account, program, nullifier=nullifier)
        if self.submit(payload, "residents", "city gateway", account):
            self.enrolled[account] = program

    @rule(account=accounts)
    def enroll_one_where_it_belongs(self, account):
        program = "drive" if account in DRIVERS else "sun"
        payload = self.ledger.enrolment(account, program)
        if self.submit(payload, "residents", "city gateway", account):
            self.enrolled[account] = program

    @rule(of=accounts)
    def enroll_twice_under_one_nullifier(self, of):
        program = "drive" if of in DRIVERS else "sun"
        for account in (of, f"another {of}"):
            payload = self.ledger.enrolment(account, program, nullifier=of)
            if self.submit(payload, "residents", "city gateway", account):
                self.enrolled[account] = program

    @rule(account=st.sampled_from([*DRIVERS, *DRIVERS, *DRIVERS, "sol"]), ago=back, drive=drives)
    def claim(self, account, ago, drive):
        period = self.now("drive") - ago
        payload = claim(account, period, drive)
        if self.submit(payload, "residents", "city gateway", account):
            self.periods["drive"].add(period)

    @rule(
        rows=st.dictionaries(
            st.sampled_from(SOLAR * 3 + ("ann",)), st.integers(0, 9_000), min_size=2, max_size=2
        ),
        consumed=st.integers(0, 9_000),
        ago=back,
        feeder=st.sampled_from("fg"),
        off=st.sampled_from([0] * 9 + [1]),
    )
    def settle(self, rows, consumed, ago, feeder, off):
        payload = settle(rows, consumed, max(0, self.now("sun") - ago), feeder)
        payload = replace(payload, produced_wh=payload.produced_wh + off)
        if self.submit(payload, "utility", "utility 1"):
            self.periods["sun"].add(payload.period)

    @rule(weeks=st.lists(st.tuples(drives, drives, drives), min_size=1, max_size=3))
    def weeks_of_driving(self, weeks):
        for of_week in weeks:
            self.a_period_passes("drive")
            for account, drive in zip(DRIVERS, of_week, strict=True):
                self.claim(account, 1, drive)

    @rule(
        energies=st.lists(st.integers(0, 9_000), min_size=3, max_size=3),
        consumed=st.sampled_from([0, 1, 777, 5_000]),
    )
    def a_month_of_sun(self, energies, consumed):
        self.a_period_passes("sun")
        enrolled = [name for name in SOLAR if self.enrolled.get(name) == "sun"]
        self.settle(dict(zip(enrolled, energies, strict=False)), consumed, 1, "f", 0)

    @rule(account=accounts, points=st.integers(1, 12_000))
    def redeem(self, account, points):
        self.submit(PointsRedeem(key(account), points, "city"), "residents", "city gateway", account)

    @rule(account=accounts)
    def redeem_all(self, account):
        # The balance is asked for at the next block's time: a period may end in between.
        then = LedgerChain(self.ledger, time_ms=self.ledger.next_round.time_ms)
        if account not in self.enrolled:
            return
        [found] = every(then, "programs.balance", account=key(account))
        if found.points:
            payload = PointsRedeem(key(account), found.points + 1, "city")
            assert not self.submit(payload, "residents", "city gateway", account)
            payload = PointsRedeem(key(account), found.points, "city")
            assert self.submit(payload, "residents", "city gateway", account), "a balance can be redeemed"

    @rule(account=st.sampled_from(DRIVERS), ago=back, is_match=st.booleans(), of=st.sampled_from(DRIVERS))
    def audit(self, account, ago, is_match, of):
        period = self.now("drive") - ago
        signed = grant(account, period, of=of)
        payload = ClaimAudit(key(account), period, is_match, digest("trace"), signed)
        is_done = self.submit(payload, "authority-0", "admin 0")
        assert not is_done or of == account, "another account let it be audited"

    @rule(choice=st.integers(0, 100), is_match=st.booleans(), share=st.sampled_from([0, 1, 2, 4]))
    def spend_and_be_audited(self, choice, is_match, share):
        claims = [
            (account, period)
            for account in DRIVERS
            if self.enrolled.get(account) == "drive"
            for period in self.books.accounts[key(account)].claimed
        ]
        if claims:
            account, period = claims[choice % len(claims)]
            if share and (points := self.books.balance(key(account), self.ledger.time_ms) // share):
                self.redeem(account, points)
            payload = ClaimAudit(key(account), period, is_match, digest("trace"), grant(account, period))
            self.submit(payload, "authority-0", "admin 0")

    @rule(
        program=programs,
        ahead=st.integers(0, 2),
        rate=st.integers(1, 300),
        budget=st.sampled_from([BUDGET, BUDGET, 9_000]),
        expiry=st.integers(1, 3),
        later=st.sampled_from([2, 2, 2, 9]),
    )
    def change(self, program, ahead, rate, budget, expiry, later):
        parameters = replace(DRIVING, points_per_km=rate) if program == "drive" else EnergyParameters(1)
        rules = terms(
            parameters,
            self.now(program) + ahead,
            budget_points=budget,
            claim_periods=1,
            expiry_periods=expiry,
        )
        self.enact(ProgramChange(program, rules), self.ledger.height + later)

    @rule(program=st.sampled_from(["drive", "drive", "sun"]))
    def a_period_passes(self, program):
        kind = self.kind(program)
        self.ledger.time_ms = period_bounds(kind, self.now(program) + 1)[0] - 1

    @invariant()
    def balances_are_what_the_books_say(self):
        time_ms = self.ledger.time_ms
        chain, sums = LedgerChain(self.ledger), {"drive": 0, "sun": 0}
        for account, program in self.enrolled.items():
            [found] = every(chain, "programs.balance", account=key(account))
            assert (found.program, found.points) == (program, self.books.balance(key(account), time_ms))
            sums[program] += found.points
            assert found.minted - found.redeemed - found.revoked - found.expired == found.points
            booked = [one.entry.what for one in every(chain, "programs.entries", 3, account=key(account))]
            taken = {
                kind: sum(part.points for what in booked if isinstance(what, kind) for part in what.taken)
                for kind in (Redeemed, Audited)
            }
            earned = sum(what.points for what in booked if isinstance(what, Driven | Supplied))
            assert (found.minted, found.redeemed, found.revoked) == (earned, *taken.values())
        for program, balances in sums.items():
            [found] = every(chain, "programs.totals", program=program)
            books = self.books.sums(program, time_ms)
            assert (found.minted, found.redeemed, found.revoked, found.expired) == books
            assert balances == books[0] - sum(books[1:]) == found.balance

    @invariant()
    def a_period_replays_to_the_same_root(self):
        chain = LedgerChain(self.ledger)
        for program, periods in self.periods.items():
            for period in periods:
                [found] = every(chain, "programs.replay", program=program, period=period)
                minted = {
                    account: row.claimed[period]
                    for account, row in self.books.accounts.items()
                    if row.program == program and period in row.claimed
                }
                assert found.root == found.booked_root == period_root(minted)
                assert found.points <= self.books.programs[program].seen[period].budget_points


TestPrograms = ProgramsMachine.TestCase
TestPrograms.settings = effort(30, steps=40)
