"""Who may create, ship, transform and close lots, what is booked, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from p2pledger.chain.payloads import (
    CorrectionReason,
    DeviceEnroll,
    DeviceRetire,
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotCreate,
    LotTransform,
    NewLot,
    RecordCorrect,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.chain.schema import day_of
from p2pledger.codec import decode, encode
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.modules import custody
from p2pledger.ledger.modules.custody import Balance, Closings, Event, LotStatus, ManifestStatus
from p2pledger.ledger.modules.custody.masses import is_within_tolerance, month_of, split
from p2pledger.ledger.modules.custody.rows import OFFER_LAPSES_MS
from p2pledger.ledger.queries import Found
from p2pledger.types import PeerId
from tests.asking import LedgerChain, every, page
from tests.ledgers import START_MS, signer, transaction
from tests.unit.ledger.modules.custody_city import (
    BOOK,
    CARRIER,
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

MONTH = "2023-11"


@pytest.fixture
def city() -> CustodyCity:
    return CustodyCity()


def both(mass_g: int, manifest: bytes = lot_id("m")) -> DiscrepancyResolve:
    return DiscrepancyResolve(manifest, DiscrepancyReason.SPILLAGE, mass_g)


# lot.create


def test_a_lot_is_created_by_its_collector_and_its_scale(city):
    one = city.create("a", 70_000)
    row = custody.lot(city.reader, one)
    assert (row.material, row.mass_g, row.holder, row.status) == (MIXED, 70_000, COLLECTOR, LotStatus.HELD)
    assert (row.place, row.parents, row.manifest, row.fate) == (CONTAINER, (), None, None)
    assert custody.balance(city.reader, MIXED, COLLECTOR) == Balance(created_g=70_000, held_g=70_000)
    assert custody.balance(city.reader, MIXED) == Balance(created_g=70_000, held_g=70_000)
    assert custody.balance(city.reader, MIXED, PLANT) == Balance()


def test_scale_and_organisation_both_sign(city):
    one = city.creation("a")
    assert city.refuses(one, COLLECTOR, "city 1") == "missing_signature"
    assert city.refuses(one, COLLECTOR, "scale") == "not_entitled"
    assert city.refuses(one, COLLECTOR, "city 1", "weighbridge") == "missing_signature"
    assert city.refuses(one, PLANT, "utility 1", "scale") == "not_a_weighing"
    city.does(one, COLLECTOR, "city gateway", "scale")


def test_a_weighing_is_a_scales_own_record_that_stands(city):
    assert city.refuses(city.creation("a", weighing=bytes(32)), COLLECTOR, "city 1", "scale") == (
        "unknown_record"
    )
    unnumbered = city.does(replace(city.weighing("scale"), device=None, seq=None), COLLECTOR, "city 1").id
    theirs = city.weigh(PLANT)
    day, _ = day_of(START_MS)
    personal = replace(city.weighing("scale"), schema="personal.reading/1", body=None, time_ms=day)
    personal = city.does(personal, COLLECTOR, "scale").id
    wrong = city.weigh()
    city.does(RecordCorrect(wrong, CorrectionReason.INCORRECT_DATA, ()), COLLECTOR, "scale")
    for record in (unnumbered, theirs, personal, wrong):
        refused = city.refuses(city.creation("a", weighing=record), COLLECTOR, "city 1", "scale")
        assert refused == "not_a_weighing"


def test_only_a_scale_weighs(city):
    key = signer("meter").public_key
    enroll = DeviceEnroll(b"meter".ljust(16), key, PeerId("city-gateway-peer"), "meter", bytes(32))
    city.does(enroll, COLLECTOR, "city gateway", "meter")
    record = city.does(city.weighing("meter"), COLLECTOR, "meter").id
    one = city.creation("a", weighing=record)
    assert city.refuses(one, COLLECTOR, "city 1", "meter", "scale") == "not_a_weighing"


def test_a_record_stands_for_one_weighing(city):
    record = city.weigh()
    city.create("a", weighing=record)
    assert city.refuses(city.creation("b", weighing=record), COLLECTOR, "city 1", "scale") == "weighing_used"


def test_a_retired_scale_weighs_no_more(city):
    record = city.weigh()
    city.does(DeviceRetire(b"scale".ljust(16), bytes(32)), COLLECTOR, "city gateway", "scale")
    refused = city.refuses(city.creation("a", weighing=record), COLLECTOR, "city 1", "scale")
    assert refused == "missing_signature"


def test_a_lots_id_is_never_used_twice(city):
    one = city.create("a")
    assert city.refuses(city.creation("a"), COLLECTOR, "city 1", "scale") == "lot_taken"
    city.does(LotClose(one, Fate.ENERGY), COLLECTOR, "city 1")
    assert city.refuses(city.creation("a"), COLLECTOR, "city 1", "scale") == "lot_taken"


def test_a_lot_is_not_of_tomorrow(city):
    limit_ms = city.time_ms + 2 + 120_000  # its weighing takes a block
    late = city.creation("a", time_ms=limit_ms + 1)
    assert city.refuses(late, COLLECTOR, "city 1", "scale") == "in_future"
    city.create("b", time_ms=limit_ms + 1)


@pytest.mark.parametrize("material", ["20030", "2003011", "200301*", "210301", "20 03 01", "978316148410"])
def test_a_material_has_one_name(material):
    good = LotCreate(lot_id("a"), MIXED, 1, CONTAINER, START_MS, bytes(32))
    with pytest.raises(ValueError, match="cannot be encoded"):
        encode(replace(good, material=material))


def test_a_gtin_has_its_check_digit():
    assert NewLot(lot_id("a"), BOOK, 1).material == BOOK
    with pytest.raises(ValueError, match="check digit"):
        NewLot(lot_id("a"), BOOK[:-1] + "1", 1)
    good = encode(LotCreate(lot_id("a"), BOOK, 1, CONTAINER, START_MS, bytes(32)))
    with pytest.raises(InvalidMessage):
        decode(LotCreate, good.replace(BOOK.encode(), BOOK[:-1].encode() + b"1"))


@pytest.mark.parametrize("place", ["dwelling:7", "container:", "Main Street 7", "route:a b", "x" * 65])
def test_a_place_is_a_container_a_route_or_a_facility(place):
    good = LotCreate(lot_id("a"), MIXED, 1, "route:7", START_MS, bytes(32))
    encode(good)
    with pytest.raises(ValueError, match="cannot be encoded"):
        encode(replace(good, place=place))


def test_masses_have_limits():
    good = LotCreate(lot_id("a"), MIXED, 10**10, CONTAINER, START_MS, bytes(32))
    encode(good)
    for mass_g in (0, 10**10 + 1):
        with pytest.raises(ValueError, match="cannot be encoded"):
            encode(replace(good, mass_g=mass_g))


# shipments


def test_a_shipment_step_by_step(city):
    one, two = city.create("a", 60_000), city.create("b", 40_000, material=GLASS)
    city.does(ShipOffer(lot_id("m"), (one, two), CARRIER, PLANT), COLLECTOR, "city 1")
    assert custody.lot(city.reader, one).status is LotStatus.OFFERED
    assert custody.balance(city.reader, MIXED, COLLECTOR).held_g == 60_000
    city.does(ShipAccept(lot_id("m")), CARRIER, "admin 0")
    assert custody.lot(city.reader, two).status is LotStatus.IN_TRANSIT
    assert custody.lot(city.reader, two).holder == COLLECTOR
    assert custody.balance(city.reader, GLASS, COLLECTOR) == Balance(created_g=40_000, in_transit_g=40_000)
    city.receive(lot_id("m"), 99_001)
    row = custody.manifest(city.reader, lot_id("m"))
    assert (row.status, row.mass_g, row.received_mass_g) == (ManifestStatus.RECEIVED, 100_000, 99_001)
    come = custody.lot(city.reader, one)
    assert (come.mass_g, come.holder, come.place) == (59_401, PLANT, FACILITY)  # 59,400.6 and 39,600.4
    assert custody.lot(city.reader, two).mass_g == 39_600
    sent = Balance(created_g=60_000, losses_g=599, delivered_g=59_401)
    assert custody.balance(city.reader, MIXED, COLLECTOR) == sent
    assert custody.balance(city.reader, MIXED, PLANT) == Balance(received_g=59_401, held_g=59_401)
    assert custody.balance(city.reader, MIXED, CARRIER) == Balance()


def test_more_than_was_sent_is_a_gain(city):
    manifest = city.ship("m", city.create("a", 100_000))
    city.receive(manifest, 101_000)
    row = custody.balance(city.reader, MIXED, COLLECTOR)
    assert row == Balance(created_g=100_000, gains_g=1_000, delivered_g=101_000)
    assert custody.lot(city.reader, lot_id("a")).mass_g == 101_000


def test_who_offers_accepts_and_receives(city):
    one = city.create("a")
    offer = ShipOffer(lot_id("m"), (one,), CARRIER, PLANT)
    assert city.refuses(offer, PLANT, "utility 1") == "not_holder"
    assert city.refuses(offer, COLLECTOR, "scale") == "not_entitled"
    city.does(offer, COLLECTOR, "city gateway")
    assert city.refuses(ShipAccept(lot_id("m")), COLLECTOR, "city 1") == "not_a_party"
    assert city.refuses(ShipAccept(lot_id("m")), PLANT, "utility 1") == "not_a_party"
    city.does(ShipAccept(lot_id("m")), CARRIER, "admin 0")
    receipt = ShipReceive(lot_id("m"), 100_000, FACILITY, city.weigh(PLANT))
    assert city.refuses(receipt, COLLECTOR, "city 1") == "not_a_party"
    assert city.refuses(receipt, PLANT, "weighbridge") == "not_entitled"
    city.does(receipt, PLANT, "utility 1")


def test_an_offer_names_what_is_there(city):
    one = city.create("a")
    offer = ShipOffer(lot_id("m"), (one,), CARRIER, PLANT)
    for change in ({"carrier": "nobody"}, {"consignee": "nobody"}, {"consignee": "residents"}):
        assert city.refuses(replace(offer, **change), COLLECTOR, "city 1") == "unknown_organisation"
    assert city.refuses(replace(offer, lots=(lot_id("?"),)), COLLECTOR, "city 1") == "unknown_lot"
    city.does(offer, COLLECTOR, "city 1")
    two = city.create("b")
    assert city.refuses(replace(offer, lots=(two,)), COLLECTOR, "city 1") == "manifest_taken"
    with pytest.raises(ValueError, match="once"):
        ShipOffer(lot_id("n"), (one, one), CARRIER, PLANT)


def test_a_manifest_holds_at_most_a_trainload(city):
    half = 5 * 10**9
    one, two, gram = city.create("a", half), city.create("b", half), city.create("c", 1)
    offer = ShipOffer(lot_id("m"), (one, two, gram), CARRIER, PLANT)
    assert city.refuses(offer, COLLECTOR, "city 1") == "too_much_mass"
    city.does(replace(offer, lots=(one, two)), COLLECTOR, "city 1")


def test_steps_come_in_their_order_and_once(city):
    one = city.create("a")
    assert city.refuses(ShipAccept(lot_id("m")), CARRIER, "admin 0") == "unknown_manifest"
    city.does(ShipOffer(lot_id("m"), (one,), CARRIER, PLANT), COLLECTOR, "city 1")
    receipt = ShipReceive(lot_id("m"), 100_000, FACILITY, city.weigh(PLANT))
    assert city.refuses(receipt, PLANT, "utility 1") == "out_of_step"
    assert city.refuses(both(100_000), PLANT, "utility 1", "city 1") == "out_of_step"
    city.does(ShipAccept(lot_id("m")), CARRIER, "admin 0")
    assert city.refuses(ShipAccept(lot_id("m")), CARRIER, "admin 0") == "out_of_step"
    city.does(receipt, PLANT, "utility 1")
    again = replace(receipt, weighing=city.weigh(PLANT))
    assert city.refuses(again, PLANT, "utility 1") == "out_of_step"
    assert city.refuses(both(100_000), PLANT, "utility 1", "city 1") == "out_of_step"
    assert city.refuses(replace(again, manifest=lot_id("?")), PLANT, "utility 1") == "unknown_manifest"


def test_a_receipt_rests_on_a_weighing_of_the_consignee(city):
    manifest = city.ship("m", city.create("a"))
    receipt = ShipReceive(manifest, 100_000, FACILITY, city.weigh(COLLECTOR))
    assert city.refuses(receipt, PLANT, "utility 1") == "not_a_weighing"
    assert city.refuses(replace(receipt, weighing=bytes(32)), PLANT, "utility 1") == "unknown_record"
    used = city.weigh(PLANT)
    city.does(replace(receipt, weighing=used), PLANT, "utility 1")
    other = city.ship("n", city.create("b"))
    again = ShipReceive(other, 100_000, FACILITY, used)
    assert city.refuses(again, PLANT, "utility 1") == "weighing_used"


@pytest.mark.parametrize("manifest", [None, "m"])
def test_a_lot_that_is_bound_is_not_used_otherwise(city, manifest):
    one = city.create("a")
    city.does(ShipOffer(lot_id("m"), (one,), CARRIER, PLANT), COLLECTOR, "city 1")
    if manifest:
        city.does(ShipAccept(lot_id("m")), CARRIER, "admin 0")
    for payload in (
        LotClose(one, Fate.LANDFILL),
        ShipOffer(lot_id("n"), (one,), CARRIER, PLANT),
        LotTransform((one,), (NewLot(lot_id("b"), PAPER, 100_000),), 0, "sorting", FACILITY),
    ):
        assert city.refuses(payload, COLLECTOR, "city 1") == "lot_unavailable"


def test_an_offer_lapses_by_itself(city):
    one = city.create("a")
    city.does(ShipOffer(lot_id("m"), (one,), CARRIER, PLANT), COLLECTOR, "city 1")
    offered_ms = city.time_ms
    again = ShipOffer(lot_id("n"), (one,), CARRIER, PLANT)
    city.time_ms = offered_ms + OFFER_LAPSES_MS - 1
    assert city.refuses(again, COLLECTOR, "city 1") == "lot_unavailable"
    city.machine.check(city.reader, city.next_round, accepts(city))
    city.time_ms += 1
    assert city.refuses(ShipAccept(lot_id("m")), CARRIER, "admin 0") == "offer_lapsed"
    city.does(again, COLLECTOR, "city 1")
    assert city.refuses(ShipAccept(lot_id("m")), CARRIER, "admin 0") == "offer_lapsed"
    city.does(ShipAccept(lot_id("n")), CARRIER, "admin 0")


def accepts(city):
    return transaction(
        city.genesis, ShipAccept(lot_id("m")), CARRIER, "admin 0", expires_ms=city.time_ms + 60_000
    )


# discrepancies


def test_what_differs_beyond_the_tolerance_is_frozen_until_both_sign(city):
    manifest = city.ship("m", city.create("a", 600_000), city.create("b", 400_000))
    city.receive(manifest, 900_000)
    assert custody.manifest(city.reader, manifest).status is ManifestStatus.DISPUTED
    assert custody.lot(city.reader, lot_id("a")).status is LotStatus.FROZEN
    assert custody.balance(city.reader, MIXED, COLLECTOR).frozen_g == 1_000_000
    assert city.refuses(LotClose(lot_id("a"), Fate.SOLD), COLLECTOR, "city 1") == "lot_unavailable"
    assert city.refuses(LotClose(lot_id("a"), Fate.SOLD), PLANT, "utility 1") == "not_holder"
    assert city.refuses(both(950_000), PLANT, "utility 1") == "missing_signature"
    assert city.refuses(both(950_000), COLLECTOR, "city 1") == "missing_signature"
    assert city.refuses(both(950_000), COLLECTOR, "city 1", "weighbridge") == "missing_signature"
    assert city.refuses(both(950_000), CARRIER, "admin 0", "city 1", "utility 1") == "not_a_party"
    assert city.refuses(both(950_000, lot_id("?")), PLANT, "utility 1", "city 1") == "unknown_manifest"
    for mass_g in (899_999, 1_000_001):
        assert city.refuses(both(mass_g), PLANT, "utility 1", "city 1") == "not_between"
    city.does(both(950_000), PLANT, "utility 1", "city 1")
    row = custody.manifest(city.reader, manifest)
    assert (row.status, row.accepted_mass_g, row.reason) == (
        ManifestStatus.SETTLED, 950_000, DiscrepancyReason.SPILLAGE,
    )  # fmt: skip
    assert custody.lot(city.reader, lot_id("a")).mass_g == 570_000
    total = custody.balance(city.reader, MIXED)
    assert (total.created_g, total.held_g, total.losses_g) == (1_000_000, 950_000, 50_000)
    assert city.refuses(both(950_000), PLANT, "utility 1", "city 1") == "out_of_step"


def test_what_never_arrived_can_be_settled_as_lost(city):
    manifest = city.ship("m", city.create("a", 500))
    city.receive(manifest, 0)
    assert custody.manifest(city.reader, manifest).status is ManifestStatus.DISPUTED
    city.does(both(0), COLLECTOR, "utility 1", "city 1")
    assert custody.lot(city.reader, lot_id("a")).status is LotStatus.LOST
    assert city.refuses(LotClose(lot_id("a"), Fate.SOLD), PLANT, "utility 1") == "lot_unavailable"
    assert custody.balance(city.reader, MIXED) == Balance(created_g=500, losses_g=500)


def test_open_discrepancies_of_all_and_of_one(city):
    for name in "mno":
        city.receive(city.ship(name, city.create(f"lot {name}", 500_000)), 100_000)
    found = [one.manifest for one in every(city, "custody.open-discrepancies", 2)]
    assert found == [lot_id(name) for name in "mno"]
    city.does(both(100_000, lot_id("n")), PLANT, "utility 1", "city 1")
    for name in ("", COLLECTOR, PLANT):
        found = [one.manifest for one in every(city, "custody.open-discrepancies", organisation=name)]
        assert found == [lot_id("m"), lot_id("o")]
    assert every(city, "custody.open-discrepancies", organisation=CARRIER) == []
    one = every(city, "custody.open-discrepancies")[0]
    assert (one.shipper, one.carrier, one.consignee) == (COLLECTOR, CARRIER, PLANT)
    assert (one.sent_mass_g, one.received_mass_g) == (500_000, 100_000)


# transformations and ends


def sort_out(city, *outputs, inputs, loss_g=0, by=COLLECTOR, names=("city 1",), is_refused=False):
    made = tuple(NewLot(lot_id(name), material, mass_g) for name, material, mass_g in outputs)
    payload = LotTransform(inputs, made, loss_g, "sorting", FACILITY)
    return city.refuses(payload, by, *names) if is_refused else city.does(payload, by, *names)


def test_inputs_are_spent_and_weigh_what_outputs_and_loss_weigh(city):
    one, two = city.create("a", 60), city.create("b", 40, material=GLASS)
    sort_out(city, ("p", PAPER, 50), ("g", GLASS, 43), inputs=(one, two), loss_g=7)
    made = custody.lot(city.reader, lot_id("p"))
    assert (made.parents, made.place, made.holder, made.mass_g) == ((one, two), FACILITY, COLLECTOR, 50)
    assert custody.lot(city.reader, one).status is LotStatus.SPENT
    mixed = custody.balance(city.reader, MIXED)  # 4.2 and 2.8 of the loss: the gram left over goes to glass
    assert mixed == Balance(created_g=60, spent_g=56, losses_g=4)
    assert custody.balance(city.reader, GLASS) == Balance(
        created_g=40, made_g=43, held_g=43, spent_g=37, losses_g=3
    )
    for payload in (LotClose(one, Fate.SOLD), ShipOffer(lot_id("m"), (one,), CARRIER, PLANT)):
        assert city.refuses(payload, COLLECTOR, "city 1") == "lot_unavailable"
    refused = sort_out(city, ("x", PAPER, 60), inputs=(one,), is_refused=True)
    assert refused == "lot_unavailable"


def test_a_transformation_that_does_not_balance(city):
    one = city.create("a", 100)
    for mass_g, loss_g in ((99, 0), (101, 0), (100, 1), (50, 49)):
        refused = sort_out(city, ("p", PAPER, mass_g), inputs=(one,), loss_g=loss_g, is_refused=True)
        assert refused == "mass_unbalanced"


def test_a_transformation_uses_own_lots_and_new_ids(city):
    one, two = city.create("a", 100), city.create("b", 100)
    refused = sort_out(
        city, ("p", PAPER, 100), inputs=(one,), by=PLANT, names=("utility 1",), is_refused=True
    )
    assert refused == "not_holder"
    assert sort_out(city, ("b", PAPER, 100), inputs=(one,), is_refused=True) == "lot_taken"
    assert sort_out(city, ("p", PAPER, 100), inputs=(lot_id("?"),), is_refused=True) == "unknown_lot"
    for inputs, outputs in (((one, one), ()), ((one,), (NewLot(one, PAPER, 1),)),
                            ((one,), (NewLot(two, PAPER, 1), NewLot(two, PAPER, 1)))):  # fmt: skip
        with pytest.raises(ValueError, match="once"):
            LotTransform(inputs, outputs, 0, "sorting", FACILITY)


def test_a_lot_is_closed_once_by_its_holder(city):
    one = city.create("a", 100)
    assert city.refuses(LotClose(one, Fate.SOLD), PLANT, "utility 1") == "not_holder"
    assert city.refuses(LotClose(lot_id("?"), Fate.SOLD), PLANT, "utility 1") == "unknown_lot"
    city.does(LotClose(one, Fate.COMPOSTED), COLLECTOR, "city 1")
    row = custody.lot(city.reader, one)
    assert (row.status, row.fate) == (LotStatus.CLOSED, Fate.COMPOSTED)
    assert custody.balance(city.reader, MIXED) == Balance(created_g=100, closed_g=100)
    assert city.refuses(LotClose(one, Fate.SOLD), COLLECTOR, "city 1") == "lot_unavailable"


def test_a_refused_transaction_leaves_no_rows(city):
    one = city.create("a", 100)
    rows = len(city.rows)
    bad = transaction(city.genesis, LotTransform((one,), (NewLot(one[::-1], PAPER, 99),), 0, "x", FACILITY),
        COLLECTOR, "city 1", expires_ms=city.time_ms + 60_000)  # fmt: skip
    built = city.machine.build(city.reader, city.execution.frontier, city.next_round, [bad])
    assert built.transactions == () and not built.execution.index_rows and len(city.rows) == rows


# queries


def test_the_chain_of_custody_in_order_and_by_pages(city):
    manifest = city.ship("m", city.create("a", 100_000))
    city.receive(manifest, 50_000)
    city.does(both(60_000), PLANT, "utility 1", "city 1")
    city.does(LotClose(lot_id("a"), Fate.RECYCLED), PLANT, "utility 1")
    chain = every(city, "custody.chain", lot=lot_id("a"))
    events = (Event.CREATED, Event.OFFERED, Event.ACCEPTED, Event.FROZEN, Event.SETTLED, Event.CLOSED)
    assert tuple(one.event for one in chain) == events
    assert [one.by for one in chain] == [COLLECTOR, COLLECTOR, CARRIER, PLANT, PLANT, PLANT]
    assert [one.holder for one in chain] == [COLLECTOR] * 4 + [PLANT] * 2
    assert [one.mass_g for one in chain] == [100_000] * 4 + [60_000] * 2
    assert {one.manifest for one in chain[1:]} == {manifest} and chain[0].manifest is None
    assert every(city, "custody.chain", 4, lot=lot_id("a")) == chain


def test_two_events_of_one_block_stand_in_their_order(city):
    one = city.create("a")
    steps = [(ShipOffer(lot_id("m"), (one,), CARRIER, PLANT), COLLECTOR, "city 1"),
             (ShipAccept(lot_id("m")), CARRIER, "admin 0")]  # fmt: skip
    city.block(*[transaction(city.genesis, *step, expires_ms=city.time_ms + 60_000) for step in steps])
    chain = every(city, "custody.chain", lot=one)
    assert [one.event for one in chain] == [Event.CREATED, Event.OFFERED, Event.ACCEPTED]


def test_traces_go_back_and_forward_nearest_first(city):
    a, b = city.create("a", 10), city.create("b", 20)
    sort_out(city, ("c", PAPER, 15), ("d", GLASS, 15), inputs=(b, a))
    c, d = lot_id("c"), lot_id("d")
    sort_out(city, ("e", PAPER, 30), inputs=(c, d))
    e = lot_id("e")
    back = every(city, "custody.trace-back", lot=e)
    assert [(one.lot, one.steps) for one in back] == [(c, 1), (d, 1), (b, 2), (a, 2)]
    ahead = every(city, "custody.trace-forward", lot=a)
    assert [(one.lot, one.steps) for one in ahead] == [(c, 1), (d, 1), (e, 2)]
    first = page(LedgerChain(city), "custody.trace-back", limit=3, lot=e)
    assert first == Found(tuple(back[:3]), b)
    assert page(LedgerChain(city), "custody.trace-back", b, 3, lot=e) == Found(tuple(back[3:]))
    assert every(city, "custody.trace-back", lot=a) == []


def test_the_recycling_rate_by_material_month_and_place(city):
    def close(name, mass_g, fate, **changes):
        city.does(LotClose(city.create(name, mass_g, **changes), fate), COLLECTOR, "city 1")

    close("a", 460, Fate.RECYCLED)
    close("a2", 40, Fate.RECYCLED)
    close("b", 100, Fate.COMPOSTED)
    close("c", 300, Fate.LANDFILL)
    close("d", 77, Fate.SOLD)
    close("e", 900, Fate.ENERGY, place="route:7")
    close("f", 900, Fate.RECYCLED, material=GLASS)
    rows = every(city, "custody.recycling-of-material", material=MIXED)
    assert [(one.month, one.place) for one in rows] == [(MONTH, CONTAINER), (MONTH, "route:7")]
    one = rows[0]
    assert (one.recycled_g, one.composted_g, one.landfill_g, one.sold_g) == (500, 100, 300, 77)
    assert (one.energy_g, one.treated_g) == (0, 900)
    assert custody.closings(city.reader, MIXED, MONTH, CONTAINER) == Closings(500, 100, 0, 300, 77)
    assert [one.rate_per_mille for one in rows] == [666, 0]
    city.time_ms += 30 * 86_400_000
    close("g", 10, Fate.SOLD)
    rows = every(city, "custody.recycling-at-place", place=CONTAINER)
    assert [(one.month, one.material) for one in rows] == [
        (MONTH, GLASS), (MONTH, MIXED), ("2023-12", MIXED),
    ]  # fmt: skip
    assert rows[2].rate_per_mille is None, "what was sold is no waste"
    later = {"month": "2023-12"}
    assert every(city, "custody.recycling-of-material", material=MIXED, **later) == rows[2:]
    assert every(city, "custody.recycling-at-place", place=CONTAINER, **later) == rows[2:]
    of_all = every(city, "custody.recycling-of-material", material=MIXED)
    assert of_all[2:] == rows[2:]
    assert every(city, "custody.recycling-of-material", 2, material=MIXED) == of_all


def test_the_mass_balance_of_a_facility(city):
    manifest = city.ship("m", city.create("a", 100_000))
    city.receive(manifest, 100_000)
    names = ("utility 1",)
    sort_out(city, ("p", PAPER, 80_000), ("g", GLASS, 15_000), inputs=(lot_id("a"),), loss_g=5_000,
             by=PLANT, names=names)  # fmt: skip
    found = every(city, "custody.mass-balance", organisation=PLANT)
    assert [one.material for one in found] == [PAPER, GLASS, MIXED]
    assert found[2].balance == Balance(received_g=100_000, spent_g=95_000, losses_g=5_000)
    assert all(one.balance.into_g == one.balance.out_of_g for one in found)
    assert every(city, "custody.mass-balance", 2, organisation=PLANT) == found
    assert {one.material for one in every(city, "custody.mass-balance")} == {MIXED, PAPER, GLASS}
    assert every(city, "custody.mass-balance", organisation=CARRIER) == []


# arithmetic


@pytest.mark.parametrize(("sent_g", "least_g"), [(1, 1), (1_000, 1), (1_001, 1), (100_000, 99_000),
    (100_099, 99_099), (100_100, 99_099), (10**10, 99 * 10**8)])  # fmt: skip
def test_the_tolerance_is_a_hundredth_and_at_least_a_kilogram(sent_g, least_g):
    limit_g = max(sent_g // 100, 1_000)
    assert is_within_tolerance(sent_g, least_g) and is_within_tolerance(sent_g, sent_g + limit_g)
    assert not is_within_tolerance(sent_g, least_g - 1) and not is_within_tolerance(
        sent_g, sent_g + limit_g + 1
    )


def test_shares_are_exact_with_ties_by_id():
    assert split(10, {b"b": 1, b"a": 1, b"c": 1}) == {b"a": 4, b"b": 3, b"c": 3}
    assert split(0, {b"a": 5}) == {b"a": 0}
    assert split(7, {b"a": 60, b"b": 40}) == {b"a": 4, b"b": 3}


DAYS = {
    0: "1970-01", 58: "1970-02", 59: "1970-03", 364: "1970-12", 365: "1971-01", 789: "1972-02",
    790: "1972-03", 11_016: "2000-02", 11_017: "2000-03", 47_540: "2100-02", 47_541: "2100-03",
}  # fmt: skip


@pytest.mark.parametrize(("day", "month"), DAYS.items())
def test_the_month_of_a_day(day, month):
    assert month_of(day * 86_400_000) == month_of(day * 86_400_000 + 86_399_999) == month


def test_every_month_is_that_of_the_calendar():
    start = datetime(1970, 1, 1, tzinfo=UTC)
    for day in range(0, 100_000, 7):
        assert month_of(day * 86_400_000) == (start + timedelta(days=day)).strftime("%Y-%m")
