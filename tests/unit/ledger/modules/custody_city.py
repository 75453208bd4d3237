"""A small city with a collector, a carrier and a plant, whose scales have records to rest on."""

from itertools import count

from p2pledger.chain.payloads import (
    Action,
    DeviceEnroll,
    GatewayJoin,
    LotCreate,
    RecordAppend,
    ShipAccept,
    ShipOffer,
    ShipReceive,
)
from p2pledger.chain.payloads.bodies import SensorReading
from p2pledger.codec import encode
from p2pledger.types import Hash, PeerId
from tests.ledgers import START_MS, Ledger, signer
from tests.unit.ledger.modules.test_registry import invite

COLLECTOR, CARRIER, PLANT = "city", "authority-0", "utility"
ADMINS = {COLLECTOR: "city 1", CARRIER: "admin 0", PLANT: "utility 1"}
SCALES = {COLLECTOR: "scale", PLANT: "weighbridge"}
MIXED, PAPER, GLASS, BOOK = "200301", "191201", "191205", "09783161484100"
CONTAINER, FACILITY = "container:4711", "facility:sorting-1"


class CustodyCity(Ledger):
    """`weigh` gives a new weighing record; the other methods make a payload and have it done."""

    def __init__(self) -> None:
        super().__init__()
        terms = invite(self, 9, "utility 1", organisation="utility")
        join = GatewayJoin(signer("plant gateway").public_key, PeerId("plant"), terms)
        self.does(join, PLANT, "plant gateway")
        gateways = {COLLECTOR: ("city gateway", "city-gateway-peer"), PLANT: ("plant gateway", "plant")}
        for organisation, scale in SCALES.items():
            name, peer = gateways[organisation]
            key = signer(scale).public_key
            payload = DeviceEnroll(scale.encode().ljust(16), key, PeerId(peer), scale, bytes(32))
            self.does(payload, organisation, name, scale)
        self._numbers = count()

    def weighing(self, scale: str) -> RecordAppend:
        return RecordAppend(
            "sensor.reading/1", START_MS, scale.encode().ljust(16), next(self._numbers), Action.OBSERVE, (),
            None, None, None, (), encode(SensorReading("mass", "KGM", 1_000, (1,))), None,
        )  # fmt: skip

    def weigh(self, organisation: str = COLLECTOR) -> Hash:
        return self.does(self.weighing(SCALES[organisation]), organisation, SCALES[organisation]).id

    def creation(self, name: str, mass_g: int = 100_000, **changes) -> LotCreate:
        fields = {"material": MIXED, "place": CONTAINER, "time_ms": START_MS, **changes}
        if "weighing" not in fields:
            fields["weighing"] = self.weigh()
        return LotCreate(lot=lot_id(name), mass_g=mass_g, **fields)

    def create(self, name: str, mass_g: int = 100_000, **changes) -> bytes:
        self.does(self.creation(name, mass_g, **changes), COLLECTOR, "city 1", "scale")
        return lot_id(name)

    def ship(self, name: str, *lots: bytes) -> bytes:
        """Offered by the collector and accepted by the carrier."""
        self.does(ShipOffer(lot_id(name), lots, CARRIER, PLANT), COLLECTOR, "city 1")
        self.does(ShipAccept(lot_id(name)), CARRIER, "admin 0")
        return lot_id(name)

    def receive(self, manifest: bytes, mass_g: int) -> None:
        payload = ShipReceive(manifest, mass_g, FACILITY, self.weigh(PLANT))
        self.does(payload, PLANT, "utility 1")


def lot_id(name: str) -> bytes:
    """A lot's or a manifest's id."""
    return name.encode().ljust(16, b".")
