"""A stolen sensor floods the ledger as far as its owner's quota goes, and is cut off. Floor 8.

SYNTHETIC: all of it.
"""

from p2pledger.chain.payloads import KeyRevoke, RecordAppend, RevocationReason
from p2pledger.crypto import Signer
from p2pledger.testnet.city.cast import COLLECTOR, COLLECTOR_QUOTA
from p2pledger.testnet.city.sensor import Sensor
from p2pledger.testnet.city.stage import Stage
from p2pledger.types import Height

BUSY = {"over_quota", "too_many_pending"}


async def play(stage: Stage) -> None:
    """The chapter; after the collector's own work, whose quota the thief uses up."""
    sensor = Sensor(stage, COLLECTOR, "fill_sensor")
    await sensor.enrol()

    window_ms = stage.genesis.parameters.quota_window_ms
    first = stage.now_ms() // window_ms
    readings = [_fill(sensor, number) for number in range(2 * COLLECTOR_QUOTA.transactions)]
    written = await stage.flood(readings, COLLECTOR, sensor.signer)
    windows = stage.now_ms() // window_ms - first + 1
    stage.expect(
        "the owner's quota caps the flood of a stolen device",
        (written.final <= windows * COLLECTOR_QUOTA.transactions, set(written.refused) <= BUSY),
        (True, True),
    )
    revoked_height = await _revoke(stage, sensor.signer)
    code = await stage.is_refused(_fill(sensor, 0), COLLECTOR, sensor.signer)
    stage.expect("from the height on it writes nothing", code, "not_entitled")
    (key,) = await stage.ask("registry.key", key=sensor.signer.public_key, height=revoked_height)
    (before,) = await stage.ask("registry.key", key=sensor.signer.public_key, height=revoked_height - 1)
    stage.expect(
        "the key is invalid from that height on, and not before it",
        (before["is_valid"], key["is_valid"]),
        (True, False),
    )


async def _revoke(stage: Stage, sensor: Signer) -> Height:
    """The owner ends the key, though its quota is used up; the height that it ends at."""
    await stage.say(KeyRevoke(sensor.public_key, RevocationReason.COMPROMISED, Height(0)), COLLECTOR)
    (key,) = await stage.ask("registry.key", key=sensor.public_key)
    return Height(key["revoked_height"])


def _fill(sensor: Sensor, percent: int) -> RecordAppend:
    return sensor.reading("fill_level", "P1", percent % 101)


async def look(stage: Stage) -> None:
    """What can be seen at the day's end."""
    (owner,) = await stage.ask("registry.organisation", organisation=COLLECTOR)
    devices = await stage.ask("registry.devices", organisation=COLLECTOR)
    stage.sees(COLLECTOR, "transactions of its quota", owner["quota_transactions"])
    stage.sees(
        COLLECTOR, "devices whose key is revoked", sum(d["revoked_height"] is not None for d in devices)
    )
