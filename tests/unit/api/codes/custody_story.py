"""Refusals of custody: lots, shipments, transformations."""

from collections.abc import Iterator

from p2pledger.chain.payloads import (
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    LotClose,
    LotTransform,
    NewLot,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.errors import Code
from p2pledger.ledger.modules.custody.rows import OFFER_LAPSES_MS
from tests.unit.api.codes.node_alone import Case, City
from tests.unit.ledger.modules.custody_city import (
    CARRIER,
    COLLECTOR,
    FACILITY,
    PAPER,
    PLANT,
    lot_id,
)

COLLECTED, CARRIED, WEIGHED = (COLLECTOR, "city 1"), (CARRIER, "admin 0"), (COLLECTOR, "city 1", "scale")


def lots(city: City) -> Iterator[Case]:
    """What is no lot, or cannot become one."""
    one = city.create("a", 100)
    yield Code.LOT_TAKEN, city.one(city.creation("a"), *WEIGHED)
    yield Code.NOT_A_WEIGHING, city.one(city.creation("b", weighing=city.weigh(PLANT)), *WEIGHED)
    used = city.weigh()
    city.create("b", weighing=used)
    yield Code.WEIGHING_USED, city.one(city.creation("c", weighing=used), *WEIGHED)
    yield Code.UNKNOWN_LOT, city.one(LotClose(lot_id("?"), Fate.SOLD), *COLLECTED)
    yield Code.NOT_HOLDER, city.one(LotClose(one, Fate.SOLD), PLANT, "utility 1")
    made = NewLot(lot_id("p"), PAPER, 99)
    yield Code.MASS_UNBALANCED, city.one(LotTransform((one,), (made,), 0, "sorting", FACILITY), *COLLECTED)
    city.does(LotClose(one, Fate.SOLD), *COLLECTED)
    yield Code.LOT_UNAVAILABLE, city.one(LotClose(one, Fate.SOLD), *COLLECTED)


def shipments(city: City) -> Iterator[Case]:
    """Steps of a shipment by the wrong party, out of their order, or too late."""
    half = 5 * 10**9
    heavy = tuple(city.create(name, half + 1) for name in "xy")
    yield Code.TOO_MUCH_MASS, city.one(ShipOffer(lot_id("n"), heavy, CARRIER, PLANT), *COLLECTED)
    yield Code.UNKNOWN_MANIFEST, city.one(ShipAccept(lot_id("m")), *CARRIED)
    offer = ShipOffer(lot_id("m"), (city.create("a", 1_000_000),), CARRIER, PLANT)
    city.does(offer, *COLLECTED)
    yield Code.MANIFEST_TAKEN, city.one(offer, *COLLECTED)
    yield Code.NOT_A_PARTY, city.one(ShipAccept(lot_id("m")), *COLLECTED)
    receipt = ShipReceive(lot_id("m"), 900_000, FACILITY, city.weigh(PLANT))
    yield Code.OUT_OF_STEP, city.one(receipt, PLANT, "utility 1")
    city.does(ShipAccept(lot_id("m")), *CARRIED)
    city.does(receipt, PLANT, "utility 1")
    resolve = DiscrepancyResolve(lot_id("m"), DiscrepancyReason.SPILLAGE, 899_999)
    yield Code.NOT_BETWEEN, city.one(resolve, PLANT, "utility 1", "city 1")
    city.does(ShipOffer(lot_id("late"), (city.create("b"),), CARRIER, PLANT), *COLLECTED)
    city.time_ms += OFFER_LAPSES_MS
    yield Code.OFFER_LAPSED, city.one(ShipAccept(lot_id("late")), *CARRIED)


STORIES = (lots, shipments)
