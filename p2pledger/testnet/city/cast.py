"""Who there is in the city, and which nodes are whose. Floor 8.

organisation      is an authority      has a gateway
transport         from the beginning   gateway-1
energy-utility    from the beginning   gateway-2
registry-office   from the beginning
hospital          until it leaves
waste-collector                        gateway-3, joins
recycling-plant   comes                gateway-4, joins
carrier
vehicle-maker     registered by the council
"""

from dataclasses import replace

from p2pledger.chain.genesis import LAN, Quota
from p2pledger.chain.period import Period, period_at, period_bounds
from p2pledger.testnet.directory import Charter
from p2pledger.types import Millis

TRANSPORT = "transport"
UTILITY = "energy-utility"
REGISTRY = "registry-office"
HOSPITAL = "hospital"
COLLECTOR = "waste-collector"
PLANT = "recycling-plant"
CARRIER = "carrier"
MAKER = "vehicle-maker"

KINDS = {
    TRANSPORT: "transport",
    UTILITY: "energy",
    REGISTRY: "administration",
    HOSPITAL: "health",
    COLLECTOR: "waste",
    PLANT: "waste",
    CARRIER: "haulage",
    MAKER: "industry",
}
ORGANISATIONS = tuple(KINDS)

OWNERS = {
    "authority-1": TRANSPORT,
    "authority-2": UTILITY,
    "authority-3": REGISTRY,
    "authority-4": HOSPITAL,
    "gateway-1": TRANSPORT,
    "gateway-2": UTILITY,
}
AUTHORITIES, GATEWAYS = 4, 2
NEWCOMERS_MAX = 3

COMING, LEAVING = PLANT, HOSPITAL
"""Who becomes an authority, and who is one no longer."""

EPOCH_BLOCKS = 40
"""So few that several lists of authorities decide within some minutes."""

COLLECTOR_QUOTA = Quota(transactions=120, size_bytes=256 * 1024)
"""What bounds the thief of one of its devices, until its key is revoked."""

DAY_MS = 86_400_000


def eve_of(now_ms: Millis) -> Millis:
    """When the city's ledger begins: the day before last month, so that last month can be rewarded.

    Programs judge whole weeks and months that begin after they were decided on.
    """
    last_month = period_at(Period.MONTH, now_ms) - 1
    return Millis(period_bounds(Period.MONTH, last_month)[0] - DAY_MS)


def charter(now_ms: Millis) -> Charter:
    """The city's genesis, but for keys."""
    return Charter(
        parameters=replace(LAN, epoch_blocks=EPOCH_BLOCKS),
        owners=OWNERS,
        others=(COLLECTOR, PLANT, CARRIER),
        kinds={name: kind for name, kind in KINDS.items() if name != MAKER},
        quotas={COLLECTOR: COLLECTOR_QUOTA},
        time_ms=eve_of(now_ms),
    )
