"""What is open in the ledger's modules: counted as blocks come, and the same after a restart."""

import math
from types import SimpleNamespace

import trio
from p2pledger.chain.payloads import (
    AccessRefused,
    AccessServed,
    DiscrepancyReason,
    DiscrepancyResolve,
    PointsRedeem,
    RefusalReason,
)
from p2pledger.metrics import Metrics
from p2pledger.node import census
from p2pledger.node.census import Census
from tests.asking import LedgerChain
from tests.consents import ADMINS, ConsentLedger, ask, done, erase
from tests.ledgers import Ledger
from tests.programs import WEEK, Programs, create, key
from tests.unit.ledger.modules.custody_city import COLLECTOR, CustodyCity
from tests.unit.ledger.modules.test_governance import CITY, propose, vote


class Chain(LedgerChain):
    """A ledger as the census asks a store."""

    def tip(self):
        return SimpleNamespace(height=self.height)


class Watched:
    """A node's census over a ledger of tests, told of every block from now on."""

    def __init__(self, ledger: Ledger) -> None:
        self.metrics = Metrics(version="0", chain_id="test", node="one", schemas=["sensor.reading/1"])
        self.census = Census(Chain(ledger), self.metrics)
        block = ledger.block

        def told(*transactions, **how):
            execution = block(*transactions, **how)
            self.census.take(execution)
            return execution

        ledger.block = told

    def __getitem__(self, series: str) -> float:
        self.census.measure()
        name, _, label = series.partition(" ")
        label_name = {
            "records_total": "schema",
            "access_total": "result",
            "programs_points_total": "movement",
        }
        labels = {label_name[name]: label} if label else {}
        value = self.metrics.registry.get_sample_value(f"p2pledger_{name}", labels)
        assert value is not None
        return value


async def begun(ledger: Ledger) -> Watched:
    watched = Watched(ledger)
    await watched.census.begin()
    return watched


async def test_nothing_is_claimed_before_the_chain_was_read():
    watched = Watched(Ledger())
    assert math.isnan(watched["custody_discrepancies_open"])
    await watched.census.begin()
    assert watched["custody_discrepancies_open"] == 0


async def test_a_discrepancy_is_open_until_both_sides_settle_it_also_across_a_restart():
    city = CustodyCity()
    watched = await begun(city)
    for name in ("one", "two"):
        city.receive(city.ship(f"ship {name}", city.create(f"lot {name}", 100_000)), 50_000)
    city.receive(city.ship("ship whole", city.create("lot whole", 100_000)), 100_000)
    assert watched["custody_discrepancies_open"] == 2
    assert watched["records_total sensor.reading/1"] == 6
    after = await begun(city)
    assert after["custody_discrepancies_open"] == 2
    settled = DiscrepancyResolve(b"ship one".ljust(16, b"."), DiscrepancyReason.SPILLAGE, 60_000)
    city.does(settled, COLLECTOR, "city 1", "utility 1")
    assert watched["custody_discrepancies_open"] == after["custody_discrepancies_open"] == 1
    assert (await begun(city))["custody_discrepancies_open"] == 1


async def test_what_a_block_says_stands_over_what_was_read_of_the_chain_before_it(monkeypatch):
    """One page is read while one discrepancy is settled and another one comes."""
    city = CustodyCity()
    first = city.ship("one", city.create("lot one", 100_000))
    second = city.ship("two", city.create("lot two", 100_000))
    city.receive(first, 50_000)
    watched = Watched(city)
    scan = Chain(city).scan
    monkeypatch.setattr(watched.census._store, "scan", lambda *asked: interrupted(scan(*asked), asked[0]))
    blocks = iter((DiscrepancyResolve(first, DiscrepancyReason.SPILLAGE, 60_000), None))

    def interrupted(rows, index):
        if index == census.DISCREPANCIES and (settled := next(blocks)) is not None:
            city.does(settled, COLLECTOR, "city 1", "utility 1")
            city.receive(second, 20_000)
        return rows

    await watched.census.begin()
    assert list(watched.census._discrepancies.ends) == [second]


async def test_an_index_is_read_page_by_page(monkeypatch):
    monkeypatch.setattr(census, "PAGE_ROWS", 2)
    city = CustodyCity()
    for name in "abcde":
        city.receive(city.ship(f"ship {name}", city.create(f"lot {name}", 100_000)), 50_000)
    with trio.fail_after(10):
        assert (await begun(city))["custody_discrepancies_open"] == 5


async def test_accesses_are_counted_and_an_erasure_is_open_until_the_last_custodian_has_made_it():
    ledger = ConsentLedger()
    watched = await begun(ledger)
    data, kept = ledger.registers(), ledger.registers("other")
    grant = ledger.gives()
    intent = ledger.does(ask(data, grant, "once"), "utility", ADMINS["utility"]).id
    ledger.does(AccessServed(intent), "authority-0", "admin 0")
    ledger.does(AccessRefused(intent, RefusalReason.NO_BASIS), "authority-1", "admin 1")
    assert [watched[f"access_total {result}"] for result in ("requested", "served", "refused")] == [1, 1, 1]
    assert watched["consent_erasures_open"] == 0
    ledger.does(erase(data), "residents", "handle", "city gateway")
    assert watched["consent_erasures_open"] == 1 == (await begun(ledger))["consent_erasures_open"]
    for custodian in ("authority-0", "authority-1", "authority-2"):
        assert watched["consent_erasures_open"] == 1
        ledger.does(done(data), custodian, ADMINS[custodian])
    assert watched["consent_erasures_open"] == 0 == (await begun(ledger))["consent_erasures_open"]
    assert kept != data


async def test_a_proposal_is_open_until_it_is_decided_or_too_late():
    ledger = Ledger()
    watched = await begun(ledger)
    late, decided = propose(ledger, CITY, 8), propose(ledger, CITY, 30, by=1)
    assert late != decided
    assert watched["governance_proposals_open"] == 2 == (await begun(ledger))["governance_proposals_open"]
    vote(ledger, decided, 0, 1, 2)
    assert watched["governance_proposals_open"] == 1 == (await begun(ledger))["governance_proposals_open"]
    while ledger.height < 6:
        ledger.block()
    assert watched["governance_proposals_open"] == 1 == (await begun(ledger))["governance_proposals_open"]
    ledger.block()  # block 8 cannot hold a vote on what works from block 8 on
    assert watched["governance_proposals_open"] == 0 == (await begun(ledger))["governance_proposals_open"]


async def test_points_are_counted_as_they_are_minted_and_redeemed():
    ledger = Programs()
    watched = await begun(ledger)
    ledger.week(0)
    ledger.enacts(create())
    ledger.enrolls("ann")
    ledger.week(2)
    ledger.earns("ann", WEEK + 1)
    minted = watched["programs_points_total minted"]
    assert minted > 2
    ledger.does(PointsRedeem(key("ann"), 2, "city"), "residents", "city gateway", "ann")
    assert watched["programs_points_total redeemed"] == 2
    assert watched["programs_points_total minted"] == minted
