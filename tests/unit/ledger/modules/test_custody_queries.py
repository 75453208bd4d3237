"""What can be asked of custody: page by page of any size the same, and what the ledger holds."""

import pytest
from p2pledger.chain.payloads import (
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotTransform,
    NewLot,
)
from p2pledger.codec import to_json
from p2pledger.ledger.modules import custody
from p2pledger.ledger.modules.custody import Event, LotStatus, queries
from p2pledger.ledger.queries import Unanswered
from tests.asking import LedgerChain, code, every, page
from tests.unit.ledger.modules.custody_city import (
    COLLECTOR,
    CONTAINER,
    FACILITY,
    GLASS,
    MIXED,
    PAPER,
    PLANT,
    CustodyCity,
    lot_id,
)

LIMITS = pytest.mark.parametrize("limit", [1, 2, 100])
MONTH = "2023-11"


@pytest.fixture
def city() -> CustodyCity:
    """A lot that went to the plant, became paper and glass there, and of which the paper was recycled."""
    city = CustodyCity()
    city.receive(city.ship("m", city.create("a", 100_000)), 100_000)
    outputs = (NewLot(lot_id("p"), PAPER, 80_000), NewLot(lot_id("g"), GLASS, 15_000))
    city.does(LotTransform((lot_id("a"),), outputs, 5_000, "sorting", FACILITY), PLANT, "utility 1")
    city.does(LotClose(lot_id("p"), Fate.RECYCLED), PLANT, "utility 1")
    return city


@LIMITS
def test_the_chain_of_custody_of_a_lot(city, limit):
    found = every(city, "custody.chain", limit, lot=lot_id("a"))
    assert [one.event for one in found] == [
        Event.CREATED, Event.OFFERED, Event.ACCEPTED, Event.RECEIVED, Event.SPENT,
    ]  # fmt: skip
    assert [one.holder for one in found][0::4] == [COLLECTOR, PLANT]
    assert (found[3].place, found[3].manifest) == (FACILITY, lot_id("m"))
    assert to_json(found[0])["event"] == "created"


@LIMITS
def test_lots_are_traced_both_ways(city, limit):
    ahead = every(city, "custody.trace-forward", limit, lot=lot_id("a"))
    assert [(one.lot, one.steps, one.material) for one in ahead] == [
        (lot_id("g"), 1, GLASS),
        (lot_id("p"), 1, PAPER),
    ]
    assert (ahead[1].status, ahead[1].fate, ahead[1].mass_g) == (LotStatus.CLOSED, Fate.RECYCLED, 80_000)
    [back] = every(city, "custody.trace-back", limit, lot=lot_id("p"))
    assert (back.lot, back.steps, back.holder, back.status) == (lot_id("a"), 1, PLANT, LotStatus.SPENT)
    assert every(city, "custody.trace-back", limit, lot=lot_id("a")) == []


@LIMITS
@pytest.mark.parametrize(("name", "start"), [("trace-forward", "l0"), ("trace-back", "l6")])
def test_a_trace_visits_so_many_lots_at_most_and_says_when_there_are_more(monkeypatch, name, start, limit):
    city = CustodyCity()
    city.create("l0", 100)
    for number in range(6):
        output = NewLot(lot_id(f"l{number + 1}"), PAPER, 100)
        payload = LotTransform((lot_id(f"l{number}"),), (output,), 0, "sorting", FACILITY)
        city.does(payload, COLLECTOR, "city 1")
    query, asked = f"custody.{name}", {"lot": lot_id(start)}
    monkeypatch.setattr(queries, "TRACE_LOTS_MAX", 6)
    whole = every(city, query, limit, **asked)
    assert [one.steps for one in whole] == [1, 2, 3, 4, 5, 6]
    monkeypatch.setattr(queries, "TRACE_LOTS_MAX", 4)
    told, after = [], b""
    while len(told) < 4:
        found = page(LedgerChain(city), query, after, limit, **asked)
        told, after = told + list(found.items), found.next
    assert told == whole[:4] and after == told[-1].lot
    chain = LedgerChain(city)
    with pytest.raises(Unanswered) as refused:
        page(chain, query, after, limit, **asked)
    assert refused.value.code == "too_many_rows" and chain.looked_at <= 2 * 5
    assert [one.lot for one in every(city, query, limit, lot=after)] == [one.lot for one in whole[4:]]


@pytest.mark.parametrize("name", ["chain", "trace-back", "trace-forward"])
def test_a_lot_that_is_not_there(city, name):
    assert code(city, f"custody.{name}", lot=lot_id("?")) == "unknown_lot"


@LIMITS
def test_the_recycling_rate(city, limit):
    for name, mass_g, fate in (("b", 100, Fate.LANDFILL), ("c", 50, Fate.COMPOSTED), ("d", 7, Fate.SOLD)):
        city.does(LotClose(city.create(name, mass_g), fate), COLLECTOR, "city 1")
    [mixed] = every(city, "custody.recycling-of-material", limit, material=MIXED)
    assert (mixed.material, mixed.month, mixed.place) == (MIXED, MONTH, CONTAINER)
    assert (mixed.composted_g, mixed.landfill_g, mixed.sold_g, mixed.treated_g) == (50, 100, 7, 150)
    assert mixed.rate_per_mille == 333
    [paper] = every(city, "custody.recycling-at-place", limit, place=FACILITY)
    assert (paper.material, paper.recycled_g, paper.rate_per_mille) == (PAPER, 80_000, 1_000)
    for month, expected in ((MONTH, [mixed]), ("2023-12", [])):
        assert every(city, "custody.recycling-of-material", limit, material=MIXED, month=month) == expected
        assert every(city, "custody.recycling-at-place", limit, place=CONTAINER, month=month) == expected


@LIMITS
def test_open_discrepancies(city, limit):
    for name in ("x", "y"):
        city.receive(city.ship(f"m{name}", city.create(name, 100_000)), 50_000)
    settle = DiscrepancyResolve(lot_id("mx"), DiscrepancyReason.SPILLAGE, 50_000)
    city.does(settle, COLLECTOR, "city 1", "utility 1")
    for organisation in ("", COLLECTOR, PLANT):
        [one] = every(city, "custody.open-discrepancies", limit, organisation=organisation)
        assert (one.manifest, one.sent_mass_g, one.received_mass_g) == (lot_id("my"), 100_000, 50_000)
    assert every(city, "custody.open-discrepancies", limit, organisation="authority-1") == []


@LIMITS
def test_the_mass_balance_of_a_facility(city, limit):
    found = every(city, "custody.mass-balance", limit, organisation=PLANT)
    assert [one.material for one in found] == [PAPER, GLASS, MIXED]
    assert [(one.into_g, one.out_of_g) for one in found] == [
        (80_000, 80_000), (15_000, 15_000), (100_000, 100_000),
    ]  # fmt: skip
    assert found[2].balance == custody.balance(city.reader, MIXED, PLANT)
    everywhere = every(city, "custody.mass-balance", limit)
    assert [one.balance for one in everywhere] == [
        custody.balance(city.reader, one.material) for one in everywhere
    ]
    assert len(everywhere) == 3
