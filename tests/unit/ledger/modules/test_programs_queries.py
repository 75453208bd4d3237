"""Programs by the table of queries: a balance with its arithmetic, totals, and a period worked out again."""

import pytest
from p2pledger.chain.payloads import ClaimAudit, PointsRedeem
from p2pledger.chain.period import period_at
from p2pledger.codec import to_json
from p2pledger.ledger.modules.programs import queries
from p2pledger.ledger.modules.programs.replay import period_root, replay
from p2pledger.ledger.modules.programs.rows import PROGRAMS, Audited, Driven, Enrolled, Redeemed, number_bytes
from p2pledger.ledger.queries import Unanswered
from p2pledger.types import PublicKey
from tests.asking import LedgerChain, code, every, page
from tests.programs import SUN, WEEK, Programs, create, digest, grant, key
from tests.unit.ledger.modules.test_programs import RESIDENT

LIMITS = pytest.mark.parametrize("limit", [1, 2, 100])


@pytest.fixture
def ledger() -> Programs:
    one = Programs()
    one.enacts(create())
    one.enacts(SUN)
    one.block()
    one.enrolls("ann", "ben")
    one.week(2)
    one.earns("ann", WEEK + 1)
    one.does(PointsRedeem(key("ann"), 1_000, "utility"), *RESIDENT, "ann")
    return one


@LIMITS
def test_programs_are_listed(ledger, limit):
    found = every(ledger, "programs.programs", limit)
    assert [one.id for one in found] == ["drive", "sun"]
    assert found[0].program == PROGRAMS.get(ledger.reader, b"drive")


@LIMITS
def test_a_balance_and_what_it_is_the_sum_of(ledger, limit):
    [found] = every(ledger, "programs.balance", limit, account=key("ann"))
    assert (found.program, found.points, found.minted, found.redeemed) == ("drive", 8_550, 9_550, 1_000)
    assert (found.revoked, found.expired) == (0, 0)
    assert sum(bucket.points for bucket in found.buckets) == 8_550
    entries = every(ledger, "programs.entries", limit, account=key("ann"))
    assert [one.number for one in entries] == [0, 1, 2]
    assert [type(one.entry.what) for one in entries] == [Enrolled, Driven, Redeemed]
    assert to_json(entries[1])["entry"]["what"]
    ledger.week(20)
    ledger.block()
    [later] = every(ledger, "programs.balance", limit, account=key("ann"))
    assert (later.points, later.expired) == (0, 8_550)


def test_totals_and_replay(ledger):
    [sums] = every(ledger, "programs.totals", program="drive")
    assert (sums.balance, sums.minted, sums.redeemed, sums.expired) == (8_550, 9_550, 1_000, 0)
    [done] = every(ledger, "programs.replay", program="drive", period=WEEK + 1)
    assert done.is_same and done.root == period_root({key("ann"): 9_550})
    assert (done.accounts, done.points, done.differing) == (1, 9_550, ())


def test_a_balance_is_the_sum_of_its_entries_and_reads_none_of_them(ledger):
    for points in range(1, 9):
        ledger.does(PointsRedeem(key("ann"), points, "utility"), *RESIDENT, "ann")
    ledger.week(3)
    ledger.earns("ann", WEEK + 2)
    ledger.does(
        ClaimAudit(key("ann"), WEEK + 2, False, digest("x"), grant("ann", WEEK + 2)), "authority-0", "admin 0"
    )
    booked = [one.entry.what for one in every(ledger, "programs.entries", 3, account=key("ann"))]
    chain = LedgerChain(ledger)
    [found] = every(chain, "programs.balance", account=key("ann"))
    assert chain.looked_at == 2, "the account and its program"
    assert found.minted == sum(what.points for what in booked if isinstance(what, Driven)) == 2 * 9_550
    for sum_of, kind in ((found.redeemed, Redeemed), (found.revoked, Audited)):
        assert sum_of == sum(part.points for what in booked if isinstance(what, kind) for part in what.taken)
    assert (found.redeemed, found.revoked, found.expired) == (1_036, 9_550, 0)
    assert found.points == 2 * 9_550 - 1_036 - 9_550


@LIMITS
def test_totals_are_the_sum_of_the_periods(ledger, limit):
    ledger.week(4)
    ledger.earns("ben", WEEK + 3)
    periods = every(ledger, "programs.periods", limit, program="drive")
    assert [one.period for one in periods] == [WEEK + 1, WEEK + 3]
    assert (periods[0].minted, periods[0].redeemed, periods[0].accounts) == (9_550, 1_000, 1)
    assert [one.expired for one in periods] == [0, 0]
    ledger.week(6)
    ledger.block()
    periods = every(ledger, "programs.periods", limit, program="drive")
    assert [one.expired for one in periods] == [8_550, 0]
    [sums] = every(ledger, "programs.totals", program="drive")
    for name in ("minted", "redeemed", "revoked", "expired"):
        assert getattr(sums, name) == sum(getattr(one, name) for one in periods)
    assert every(ledger, "programs.periods", limit, program="sun") == []
    assert page(LedgerChain(ledger), "programs.periods", number_bytes(WEEK + 99), program="drive").items == ()
    with pytest.raises(Unanswered, match="cursor"):
        page(LedgerChain(ledger), "programs.periods", b"\1", program="drive")


def test_totals_are_of_so_many_periods_at_most(ledger, monkeypatch):
    program = PROGRAMS.get(ledger.reader, b"drive")
    now = period_at(program.period, ledger.time_ms)
    monkeypatch.setattr(queries, "TOTALS_PERIODS_MAX", now - program.first_period)
    assert len(every(ledger, "programs.totals", program="drive")) == 1
    ledger.week(3)
    ledger.block()
    assert code(ledger, "programs.totals", program="drive") == "too_many_rows"


def test_a_period_is_replayed_of_so_many_accounts_at_most(ledger, monkeypatch):
    monkeypatch.setattr(queries, "REPLAY_ACCOUNTS_MAX", 1)
    assert len(every(ledger, "programs.replay", program="drive", period=WEEK + 1)) == 1
    ledger.earns("ben", WEEK + 1)
    assert code(ledger, "programs.replay", program="drive", period=WEEK + 1) == "too_many_rows"
    rewards = every(ledger, "programs.rewards", 1, program="drive", period=WEEK + 1)
    at_home = replay(ledger.reader, "drive", [(one.account, one.entry) for one in rewards])
    monkeypatch.undo()
    [here] = every(ledger, "programs.replay", program="drive", period=WEEK + 1)
    assert (at_home.root, at_home.points) == (here.root, here.points)


def test_what_is_not_there_is_said_to_be(ledger):
    stranger: PublicKey = key("new")
    assert code(ledger, "programs.balance", account=stranger) == "unknown_account"
    assert code(ledger, "programs.entries", account=stranger) == "unknown_account"
    assert code(ledger, "programs.totals", program="new") == "unknown_program"
    assert code(ledger, "programs.replay", program="new", period=1) == "unknown_program"
