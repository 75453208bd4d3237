"""Programs by the table of queries: a balance with its arithmetic, totals, and a period worked out again."""

import pytest
from p2pledger.chain.payloads import PointsRedeem
from p2pledger.codec import to_json
from p2pledger.ledger.modules.programs.replay import period_root
from p2pledger.ledger.modules.programs.rows import PROGRAMS, Driven, Enrolled, Redeemed
from p2pledger.types import PublicKey
from tests.asking import code, every
from tests.programs import SUN, WEEK, Programs, create, key
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


def test_what_is_not_there_is_said_to_be(ledger):
    stranger: PublicKey = key("new")
    assert code(ledger, "programs.balance", account=stranger) == "unknown_account"
    assert code(ledger, "programs.entries", account=stranger) == "unknown_account"
    assert code(ledger, "programs.totals", program="new") == "unknown_program"
    assert code(ledger, "programs.replay", program="new", period=1) == "unknown_program"
