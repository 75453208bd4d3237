"""Devices that write numbered records of a given size, each signed by the device itself. Floor 9."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import Action, DeviceEnroll, DeviceId, RecordAppend
from p2pledger.chain.payloads.bodies import SensorReading
from p2pledger.chain.transaction import Transaction
from p2pledger.client.signing import transaction
from p2pledger.codec import encode
from p2pledger.crypto import KeySigner, Signer
from p2pledger.types import ZERO_HASH, Millis, PeerId

RECORD_BYTES = 250
"""How long an encoded record is, or a byte less: what the project's figures are for."""
VALUES = 64
"""More than fit into a record, so that it is cut to length."""
SCHEMA = "sensor.reading/1"


@dataclass(frozen=True)
class Device:
    """A device behind a gateway. Its id and its key follow from its number: runs can be compared."""

    number: int
    id: DeviceId
    signer: Signer


def devices(count: int, seed: bytes = b"bench") -> list[Device]:
    """So many devices, the same ones for the same seed."""
    return [_device(number, seed) for number in range(count)]


def _device(number: int, seed: bytes) -> Device:
    secret = sha256(seed + number.to_bytes(8, "big")).digest()
    return Device(number, DeviceId(sha256(secret).digest()[:16]), KeySigner(secret))


def enrolment(
    genesis: Genesis,
    device: Device,
    sponsor: str,
    gateway: PeerId,
    gateway_signer: Signer,
    expires_ms: int | None = None,
) -> Transaction:
    """A device begins behind a gateway of the sponsor; both sign."""
    payload = DeviceEnroll(device.id, device.signer.public_key, gateway, "scale", ZERO_HASH)
    return transaction(genesis, payload.KIND, payload, sponsor, [gateway_signer, device.signer], expires_ms)


def record(
    genesis: Genesis, device: Device, sponsor: str, seq: int, time_ms: Millis, expires_ms: int | None = None
) -> Transaction:
    """The device's record with this number: RECORD_BYTES when encoded, signed by the device alone."""
    values = VALUES
    while True:
        made = _record(genesis, device, sponsor, seq, time_ms, values, expires_ms)
        if len(made.encoded) <= RECORD_BYTES or not values:
            return made
        # What is left when the heads of body and values get shorter, too, is cut value by value.
        values = max(0, values - max(1, len(made.encoded) - RECORD_BYTES - 2))


def _record(
    genesis: Genesis,
    device: Device,
    sponsor: str,
    seq: int,
    time_ms: Millis,
    values: int,
    expires_ms: int | None,
) -> Transaction:
    # Each body is another one, as they are: the device's number and its record's, values of a byte each.
    body = SensorReading("flow", "MTQ", 0, (device.number % 24, *(seq % 24 for _ in range(values))))
    payload = RecordAppend(
        schema=SCHEMA,
        time_ms=time_ms,
        device=device.id,
        seq=seq,
        action=Action.OBSERVE,
        what=(),
        where=None,
        business_step=None,
        disposition=None,
        references=(),
        body=encode(body),
        commitment=None,
    )
    return transaction(genesis, payload.KIND, payload, sponsor, [device.signer], expires_ms)


def records(
    genesis: Genesis, from_devices: Sequence[Device], sponsor: str, time_ms: Millis, first_seq: int = 0
) -> Iterator[Transaction]:
    """Records without end, the devices taking turns, each counting from `first_seq` on."""
    seq = first_seq
    while True:
        for device in from_devices:
            yield record(genesis, device, sponsor, seq, time_ms)
        seq += 1
