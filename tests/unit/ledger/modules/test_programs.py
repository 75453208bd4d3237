"""Accounts, claims, settlements, points: each rule, each refusal, each limit."""

from dataclasses import replace
from typing import Any

import pytest
from p2pledger.chain.genesis import RESIDENTS, KeyRole
from p2pledger.chain.payloads import (
    CLAIM_PERIODS_MAX,
    SETTLEMENT_ROWS_MAX,
    ClaimAudit,
    Drive,
    Earned,
    EnergyParameters,
    EnergySettle,
    KeyAdd,
    PointsRedeem,
    ProgramChange,
    Revoked,
)
from p2pledger.chain.payloads.programs import Terms
from p2pledger.chain.period import Period, period_at
from p2pledger.chain.transaction import PAYLOAD_BYTES_MAX, Transaction
from p2pledger.codec import decode, encode
from p2pledger.ledger.modules.programs.replay import period_root, replay
from p2pledger.ledger.modules.programs.rows import (
    ACCOUNTS,
    CLAIMS,
    PERIODS,
    PROGRAMS,
    VERSIONS_MAX,
    Audited,
    Driven,
    Redeemed,
    Supplied,
    claim_key,
    period_key,
    version,
)
from p2pledger.types import Height, Signature
from tests.asking import LedgerChain, every
from tests.programs import (
    CAREFUL,
    DRIVING,
    MONTH,
    SUN,
    WEEK,
    Programs,
    claim,
    create,
    digest,
    grant,
    key,
    settle,
    terms,
)

RESIDENT = (RESIDENTS, "city gateway")


@pytest.fixture
def ledger() -> Programs:
    """Both programs, with two accounts in each; it is the second period of either."""
    one = Programs()
    one.enacts(create())
    one.enacts(SUN)
    one.block()
    one.enrolls("ann", "ben")
    one.enrolls("sol", "sky", program="sun")
    one.week(2)
    return one


def points(ledger: Programs, account: str) -> int:
    """What may be redeemed in the next block."""
    then = LedgerChain(ledger, time_ms=ledger.next_round.time_ms)
    [found] = every(then, "programs.balance", account=key(account))
    return found.points


def entries(ledger: Programs, account: str) -> list[Any]:
    return [one.entry.what for one in every(ledger, "programs.entries", account=key(account))]


def redeem(amount: int, account: str = "ann", organisation: str = "utility") -> PointsRedeem:
    return PointsRedeem(key(account), amount, organisation)


def audit(period: int = WEEK + 1, is_match: bool = False, root: str = "other", account: str = "ann"):
    return ClaimAudit(key(account), period, is_match, digest(root), grant(account, period))


def output(ledger: Programs, transaction: Transaction) -> bytes:
    (found,) = [r.output for r in ledger.execution.results if r.transaction_id == transaction.id]
    return found


# Measures


def test_a_program_names_organisations_that_are_there(ledger):
    for part in ("operator", "issuer", "auditor"):
        for name in ("nobody", RESIDENTS):
            assert ledger.rejects(replace(create("new"), **{part: name})) == "unknown_organisation"
    assert ledger.rejects(create()) == "program_taken"
    assert ledger.rejects(create("new", terms(from_period=WEEK + 2))) == "backdated"
    ledger.enacts(create("new", terms(from_period=WEEK + 3)))


def test_a_period_that_began_under_old_rules_is_judged_by_them(ledger):
    double = terms(replace(DRIVING, points_per_km=200), WEEK + 3)
    ledger.enacts(ProgramChange("drive", double))
    ledger.week(4)
    ledger.earns("ann", WEEK + 3)
    ledger.earns("ann", WEEK + 2)
    ledger.earns("ben", WEEK + 2)
    assert points(ledger, "ann") == 3 * 9_550 and points(ledger, "ben") == 9_550
    assert version(ledger.reader, "drive", 1).terms == double


def test_rules_do_not_work_before_their_height(ledger):
    ledger.enacts(ProgramChange("drive", terms(from_period=WEEK + 3)), from_height=ledger.height + 20)
    ledger.week(4)
    assert ledger.refuses(claim(period=WEEK + 3), *RESIDENT, "ann") == "period_not_open"
    ledger.earns("ann", WEEK + 2)
    while ledger.height < 40:
        ledger.block()
    ledger.earns("ann", WEEK + 3)


def test_what_has_not_begun_is_replaced(ledger):
    for rate, period in ((200, WEEK + 4), (300, WEEK + 5), (400, WEEK + 4)):
        ledger.enacts(ProgramChange("drive", terms(replace(DRIVING, points_per_km=rate), period)))
    row = PROGRAMS.get(ledger.reader, b"drive")
    assert [(mark.number, mark.from_period) for mark in row.marks] == [(0, WEEK + 1), (3, WEEK + 4)]
    ledger.week(6)
    ledger.earns("ann", WEEK + 5)
    assert points(ledger, "ann") == 4 * 9_550


def test_a_change_is_of_a_program_that_is_there_of_its_engine_and_ahead(ledger):
    assert ledger.rejects(ProgramChange("new", terms(from_period=WEEK + 3))) == "unknown_program"
    assert ledger.rejects(ProgramChange("sun", terms(from_period=WEEK + 3))) == "wrong_engine"
    assert ledger.rejects(ProgramChange("drive", terms(from_period=WEEK + 2))) == "backdated"


def test_a_program_keeps_the_versions_that_judge_open_periods_and_no_more(ledger):
    for i in range(3, VERSIONS_MAX + 2):
        ledger.enacts(ProgramChange("drive", terms(from_period=WEEK + i)))
    late = ProgramChange("drive", terms(from_period=WEEK + VERSIONS_MAX + 2))
    assert ledger.rejects(late) == "too_many_versions"
    ledger.week(CLAIM_PERIODS_MAX + 3)
    ledger.enacts(late)
    row = PROGRAMS.get(ledger.reader, b"drive")
    assert row.marks[0].from_period == WEEK + 3 and len(row.marks) == VERSIONS_MAX


def test_points_do_not_expire_while_they_can_be_claimed():
    with pytest.raises(ValueError, match="expire"):
        Terms(1, digest("rules"), DRIVING, 1, 3, 2)


# Accounts


def test_an_account_is_enrolled_by_the_issuer_and_itself(ledger):
    new = ledger.enrolment("new")
    assert ledger.refuses(new, *RESIDENT) == "missing_signature"
    assert ledger.refuses(new, RESIDENTS, "new") == "not_entitled"
    assert ledger.refuses(new, "utility", "city gateway", "new") == "not_entitled"
    ledger.does(new, "city", "city gateway", "new")
    assert points(ledger, "new") == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": bytes(64)},
        {"nullifier": digest("another")},
        {"program": "sun"},
        {"issuer_key": key("city 2")},
    ],
)
def test_an_enrolment_that_was_not_signed_so_is_refused(ledger, changes):
    one = replace(ledger.enrolment("new"), **changes)
    assert ledger.refuses(one, *RESIDENT, "new") == "enrolment_invalid"


def test_an_enrolment_is_for_this_account_and_this_ledger(ledger):
    other = replace(ledger.enrolment("other"), account=key("new"))
    assert ledger.refuses(other, *RESIDENT, "new") == "enrolment_invalid"
    elsewhere = Programs()
    elsewhere.genesis = replace(elsewhere.genesis, chain_id="elsewhere")
    assert ledger.refuses(elsewhere.enrolment("new"), *RESIDENT, "new") == "enrolment_invalid"


def test_only_a_live_admin_or_service_key_of_the_issuer_enrolls(ledger):
    for issuer in ("utility 1", "city gateway", "nobody"):
        one = ledger.enrolment("new", issuer=issuer)
        assert ledger.refuses(one, *RESIDENT, "new") == "enrolment_invalid"
    ledger.does(KeyAdd(key("desk"), KeyRole.SERVICE, None, Height(0)), "city", "city 1", "desk")
    ledger.does(ledger.enrolment("new", issuer="desk"), *RESIDENT, "new")


def test_a_nullifier_is_used_once_in_a_program(ledger):
    assert ledger.refuses(ledger.enrolment("new", nullifier="ann"), *RESIDENT, "new") == "nullifier_used"
    ledger.does(ledger.enrolment("new", "sun", nullifier="ann"), *RESIDENT, "new")


def test_an_account_is_of_one_program_and_nobody_elses_key(ledger):
    again = ledger.enrolment("ann", "sun", nullifier="again")
    assert ledger.refuses(again, *RESIDENT, "ann") == "key_taken"
    assert ledger.refuses(ledger.enrolment("utility 1"), *RESIDENT, "utility 1") == "key_taken"
    assert ledger.refuses(ledger.enrolment("new", program="new"), *RESIDENT, "new") == "unknown_program"


def test_enrolment_waits_for_the_programs_height():
    ledger = Programs()
    ledger.enacts(create(), from_height=4)
    assert ledger.height + 1 < 4
    assert ledger.refuses(ledger.enrolment("new"), *RESIDENT, "new") == "period_not_open"
    ledger.block()
    ledger.block()
    ledger.enrolls("new")


# Claims


def test_a_claim_is_rewarded_by_the_published_rule(ledger):
    done = ledger.earns("ann", WEEK + 1)
    assert decode(Earned, output(ledger, done)) == Earned(955, 9_550)
    assert points(ledger, "ann") == 9_550


def test_a_claim_is_signed_by_account_and_gateway(ledger):
    assert ledger.refuses(claim(), *RESIDENT) == "missing_signature"
    assert ledger.refuses(claim(), RESIDENTS, "ann") == "not_entitled"
    assert ledger.refuses(claim("new"), *RESIDENT, "new") == "unknown_account"
    assert ledger.refuses(claim("sol"), *RESIDENT, "sol") == "period_not_open"


def test_a_period_is_claimed_once_when_it_is_over_and_not_for_ever(ledger):
    assert ledger.refuses(claim(period=WEEK), *RESIDENT, "ann") == "period_not_open"
    assert ledger.refuses(claim(period=WEEK + 2), *RESIDENT, "ann") == "period_not_open"
    ledger.earns("ann", WEEK + 1)
    assert ledger.refuses(claim(), *RESIDENT, "ann") == "already_claimed"
    ledger.week(3)
    assert ledger.refuses(claim(), *RESIDENT, "ann") == "already_claimed"
    ledger.earns("ben", WEEK + 1)
    ledger.week(4)
    assert ledger.refuses(claim(), *RESIDENT, "ann") == "period_not_open"


def test_a_claim_without_points_is_a_claim(ledger):
    harsh = replace(CAREFUL, harsh_brakes=60)
    done = ledger.earns("ann", WEEK + 1, harsh)
    assert decode(Earned, output(ledger, done)) == Earned(375, 0)
    assert ledger.refuses(claim(), *RESIDENT, "ann") == "already_claimed"


def test_a_trace_below_one_hertz_is_refused(ledger):
    coarse = claim(drive=replace(CAREFUL, samples=7_000))
    assert ledger.refuses(coarse, *RESIDENT, "ann") == "trace_too_coarse"
    ledger.earns("ann", WEEK + 1, replace(CAREFUL, samples=7_001))


@pytest.mark.parametrize(
    "changes", [{"over_s": 7_001}, {"distance_m": 700_001}, {"harsh_brakes": 7_002}, {"driven_s": 604_801}]
)
def test_a_drive_that_nobody_drives_is_malformed(ledger, changes):
    with pytest.raises(ValueError, match=r".+"):
        encode(replace(CAREFUL, **changes))


def test_a_claim_fits_the_budget_or_is_refused(ledger):
    ledger.enacts(ProgramChange("drive", terms(from_period=WEEK + 3, budget_points=9_550 * 2 - 1)))
    ledger.week(4)
    ledger.earns("ann", WEEK + 3)
    assert ledger.refuses(claim("ben", WEEK + 3), *RESIDENT, "ben") == "over_budget"
    shorter = replace(CAREFUL, distance_m=50_000, harsh_brakes=1, harsh_accelerations=1)
    ledger.earns("ben", WEEK + 3, shorter)
    assert PERIODS.get(ledger.reader, period_key("drive", WEEK + 3)).minted == 9_550 + points(ledger, "ben")


def test_the_budget_may_be_used_to_the_last_point(ledger):
    ledger.enacts(ProgramChange("drive", terms(from_period=WEEK + 3, budget_points=9_550)))
    ledger.week(4)
    ledger.earns("ann", WEEK + 3)


# Settlements


def test_a_surplus_is_shared_exactly(ledger):
    ledger.month(2)
    ledger.does(settle({"sol": 1_000, "sky": 2_000}, consumed=2_000), "utility", "utility 1")
    assert (points(ledger, "sol"), points(ledger, "sky")) == (333, 667)
    assert PERIODS.get(ledger.reader, period_key("sun", MONTH + 1)).minted == 1_000


def test_without_a_surplus_nobody_gets_anything_and_the_period_is_settled(ledger):
    ledger.month(2)
    ledger.does(settle({"sol": 1_000, "sky": 2_000}, consumed=3_001), "utility", "utility 1")
    assert (points(ledger, "sol"), points(ledger, "sky")) == (0, 0)
    again = settle({"sol": 1_000, "sky": 2_000}, feeder="g")
    assert ledger.refuses(again, "utility", "utility 1") == "already_claimed"


def test_the_operator_settles(ledger):
    ledger.month(2)
    one = settle({"sol": 1, "sky": 2})
    assert ledger.refuses(one, "city", "city 1") == "not_entitled"
    assert ledger.refuses(one, "utility", "city 1") == "not_entitled"
    ledger.does(one, "utility", "utility 1")


def test_a_feeder_is_settled_once_for_a_period(ledger):
    ledger.month(2)
    ledger.enrolls("ray", "sea", program="sun")
    ledger.does(settle({"sol": 1, "sky": 2}), "utility", "utility 1")
    again = settle({"ray": 1, "sea": 2})
    assert ledger.refuses(again, "utility", "utility 1") == "already_claimed"
    ledger.does(replace(again, feeder="g"), "utility", "utility 1")
    ledger.month(3)
    ledger.does(settle({"sol": 1, "sky": 2}, period=MONTH + 2), "utility", "utility 1")


def test_a_settlement_balances_and_is_of_enough_accounts_of_the_program(ledger):
    ledger.month(2)
    good = settle({"sol": 1, "sky": 2})
    by = "utility", "utility 1"
    assert ledger.refuses(replace(good, produced_wh=4), *by) == "not_balanced"
    assert ledger.refuses(settle({"sol": 3}), *by) == "too_few_accounts"
    assert ledger.refuses(settle({"sol": 1, "new": 2}), *by) == "unknown_account"
    assert ledger.refuses(settle({"sol": 1, "ann": 2}), *by) == "unknown_account"
    assert ledger.refuses(replace(good, period=MONTH + 2), *by) == "period_not_open"
    assert ledger.refuses(replace(good, program="new"), *by) == "unknown_program"
    rich = settle({"sol": 1_000_000, "sky": 1})
    assert ledger.refuses(rich, *by) == "over_budget"
    ledger.does(settle({"sol": 1_000_000, "sky": 1}, consumed=1), *by)


def test_engines_are_not_mixed_up(ledger):
    ledger.month(2)
    assert ledger.refuses(claim("sol", MONTH + 1), *RESIDENT, "sol") == "wrong_engine"
    ledger.enacts(ProgramChange("drive", terms(from_period=WEEK + 20)))
    now = period_at(Period.WEEK, ledger.time_ms)
    one = settle({"ann": 1, "ben": 2}, period=now - 1, program="drive")
    assert ledger.refuses(one, "utility", "utility 1") == "wrong_engine"


def test_a_settlement_of_all_its_rows_fits_a_transaction(ledger):
    rows = {str(i): 2**40 for i in range(SETTLEMENT_ROWS_MAX)}
    full = settle(rows)
    assert len(encode(full)) < PAYLOAD_BYTES_MAX
    with pytest.raises(ValueError, match="ascending"):
        EnergySettle("sun", "f", 1, 2, 0, (full.rows[0], full.rows[0]))


# Points


def test_points_go_to_an_organisation(ledger):
    ledger.earns("ann", WEEK + 1)
    assert ledger.refuses(redeem(9_551), *RESIDENT, "ann") == "too_few_points"
    assert ledger.refuses(redeem(1), *RESIDENT) == "missing_signature"
    assert ledger.refuses(redeem(1), RESIDENTS, "ann") == "not_entitled"
    assert ledger.refuses(redeem(1, organisation="nobody"), *RESIDENT, "ann") == "unknown_organisation"
    assert ledger.refuses(redeem(1, organisation=RESIDENTS), *RESIDENT, "ann") == "unknown_organisation"
    assert ledger.refuses(redeem(1, "new"), *RESIDENT, "new") == "unknown_account"
    ledger.does(redeem(9_000), *RESIDENT, "ann")
    assert points(ledger, "ann") == 550
    assert ledger.refuses(redeem(551), *RESIDENT, "ann") == "too_few_points"
    done = ledger.does(redeem(550), *RESIDENT, "ann")
    assert points(ledger, "ann") == 0
    first, second = every(ledger, "programs.redemptions", 1, organisation="utility")
    assert (first.program, first.points, first.height) == ("drive", 9_000, ledger.height - 1)
    assert (second.points, second.height, second.transaction_id) == (550, ledger.height, done.id)
    assert every(ledger, "programs.redemptions", organisation="city") == []


def test_what_expires_first_is_redeemed_first(ledger):
    ledger.enacts(ProgramChange("drive", terms(from_period=WEEK + 3, expiry_periods=2)))
    ledger.enacts(ProgramChange("drive", terms(from_period=WEEK + 4, claim_periods=1, expiry_periods=1)))
    ledger.week(5)
    for period in (WEEK + 3, WEEK + 4):
        ledger.earns("ann", period)
    ledger.does(redeem(10), *RESIDENT, "ann")
    what = entries(ledger, "ann")[-1]
    assert isinstance(what, Redeemed) and [part.period for part in what.taken] == [WEEK + 3]


def test_points_expire_without_a_block(ledger):
    ledger.earns("ann", WEEK + 1)
    ledger.week(3)
    ledger.earns("ann", WEEK + 2)
    ledger.week(4)
    assert points(ledger, "ann") == 2 * 9_550
    ledger.week(5)
    assert points(ledger, "ann") == 9_550
    assert ledger.refuses(redeem(9_551), *RESIDENT, "ann") == "too_few_points"
    ledger.does(redeem(9_549), *RESIDENT, "ann")
    assert len(ACCOUNTS.get(ledger.reader, key("ann")).buckets) == 1
    ledger.week(6)
    assert points(ledger, "ann") == 0
    [sums] = every(ledger, "programs.totals", program="drive")
    assert (sums.minted, sums.redeemed, sums.expired, sums.balance) == (19_100, 9_549, 9_551, 0)


# Audits


def test_a_claim_that_matches_keeps_its_points(ledger):
    ledger.earns("ann", WEEK + 1)
    matching = audit(is_match=True, root="trace")
    assert ledger.refuses(audit(is_match=True), "authority-0", "admin 0") == "audit_contradictory"
    done = ledger.does(matching, "authority-0", "admin 0")
    assert decode(Revoked, output(ledger, done)) == Revoked(0, 0)
    assert points(ledger, "ann") == 9_550
    assert ledger.refuses(audit(), "authority-0", "admin 0") == "already_audited"
    assert CLAIMS.get(ledger.reader, claim_key(key("ann"), WEEK + 1)).audit == done.id


def test_a_claim_that_does_not_match_loses_its_points(ledger):
    ledger.earns("ann", WEEK + 1)
    ledger.does(redeem(50), *RESIDENT, "ann")
    ledger.week(3)
    ledger.earns("ann", WEEK + 2)
    done = ledger.does(audit(), "authority-0", "admin 0")
    assert decode(Revoked, output(ledger, done)) == Revoked(9_550, 0)
    assert points(ledger, "ann") == 9_550 - 50
    row = PERIODS.get(ledger.reader, period_key("drive", WEEK + 1))
    assert (row.minted, row.redeemed, row.revoked) == (9_550, 50, 9_500)
    assert PERIODS.get(ledger.reader, period_key("drive", WEEK + 2)).revoked == 50


def test_what_was_spent_stays_disputed(ledger):
    ledger.earns("ann", WEEK + 1)
    ledger.does(redeem(9_000), *RESIDENT, "ann")
    done = ledger.does(audit(root="trace"), "authority-0", "admin 0")
    assert decode(Revoked, output(ledger, done)) == Revoked(550, 9_000)
    assert points(ledger, "ann") == 0
    assert CLAIMS.get(ledger.reader, claim_key(key("ann"), WEEK + 1)).disputed_points == 9_000
    [found] = every(ledger, "programs.audits", program="drive", period=WEEK + 1)
    what = found.entry.what
    assert found.account == key("ann") and isinstance(what, Audited)
    assert what.disputed_points == 9_000


def test_only_the_auditor_audits_what_was_claimed_and_lives(ledger):
    ledger.earns("ann", WEEK + 1)
    assert ledger.refuses(audit(), "city", "city 1") == "not_entitled"
    assert ledger.refuses(audit(), "authority-0", "city 1") == "not_entitled"
    assert ledger.refuses(audit(account="new"), "authority-0", "admin 0") == "unknown_account"
    for no_grant in (
        grant("ann", WEEK + 1, of="ben"),
        grant("ann", WEEK + 1, "city"),
        grant("ann", WEEK + 2),
        grant("ben", WEEK + 1),
        Signature(bytes(64)),
    ):
        refused = ledger.refuses(replace(audit(), grant=no_grant), "authority-0", "admin 0")
        assert refused == "audit_not_granted"
    assert ledger.refuses(audit(WEEK + 2), "authority-0", "admin 0") == "unknown_claim"
    ledger.week(5)
    assert ledger.refuses(audit(), "authority-0", "admin 0") == "period_not_open"


# Queries


def test_a_balance_comes_with_its_arithmetic(ledger):
    ledger.earns("ann", WEEK + 1)
    ledger.does(redeem(1_000), *RESIDENT, "ann")
    ledger.week(3)
    ledger.earns("ann", WEEK + 2)
    ledger.does(audit(WEEK + 2), "authority-0", "admin 0")
    [found] = every(ledger, "programs.balance", account=key("ann"))
    assert (found.minted, found.redeemed, found.revoked, found.expired) == (19_100, 1_000, 9_550, 0)
    assert found.points == points(ledger, "ann") == 8_550
    driven = entries(ledger, "ann")[1]
    assert isinstance(driven, Driven) and (driven.drive, driven.score) == (CAREFUL, 955)
    assert version(ledger.reader, "drive", driven.version).terms == terms()
    ledger.week(5)
    then = LedgerChain(ledger, time_ms=ledger.next_round.time_ms)
    [later] = every(then, "programs.balance", account=key("ann"))
    assert (later.expired, later.points) == (8_550, points(ledger, "ann"))


def test_a_period_replays_to_the_same_root(ledger):
    ledger.earns("ann", WEEK + 1)
    ledger.earns("ben", WEEK + 1, replace(CAREFUL, harsh_brakes=9))
    [found] = every(ledger, "programs.replay", program="drive", period=WEEK + 1)
    expected = {key("ann"): 9_550, key("ben"): 8_850}
    assert found.root == found.booked_root == period_root(expected)
    assert (found.accounts, found.points, found.differing) == (2, 18_400, ())
    ledger.month(2)
    ledger.does(settle({"sol": 1_000, "sky": 2_000}, consumed=2_000), "utility", "utility 1")
    [found] = every(ledger, "programs.replay", program="sun", period=MONTH + 1)
    assert found.root == found.booked_root == period_root({key("sol"): 333, key("sky"): 667})
    rewards = every(ledger, "programs.rewards", 1, program="sun", period=MONTH + 1)
    assert [one.account for one in rewards] == sorted([key("sol"), key("sky")])
    assert all(isinstance(one.entry.what, Supplied) for one in rewards)


def test_a_row_that_was_altered_is_found(ledger):
    ledger.earns("ann", WEEK + 1)
    ledger.earns("ben", WEEK + 1)
    rewards = {
        one.account: one.entry for one in every(ledger, "programs.rewards", program="drive", period=WEEK + 1)
    }
    what = rewards[key("ann")].what
    altered = replace(rewards[key("ann")], what=replace(what, points=what.points + 1))
    found = replay(ledger.reader, "drive", (rewards | {key("ann"): altered}).items())
    assert found.differing == (key("ann"),) and found.root != found.booked_root


def test_an_energy_terms_minimum_is_within_a_settlement():
    with pytest.raises(ValueError, match=r".+"):
        encode(EnergyParameters(SETTLEMENT_ROWS_MAX + 1))
    assert encode(Drive(0, 0, 0, 0, 0, 0))
