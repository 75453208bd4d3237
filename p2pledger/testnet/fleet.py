"""Devices, the gateways they stand behind, and the transactions that the two sign. Floor 8.

What reaches the ledger of a reading is its number and the root of its batch; only the water's flow, a
public utility's figure, stands in a record in clear. Readings and their salts stay with the gateway.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import Action, DeviceEnroll, Item, RecordAppend, RecordBatch
from p2pledger.chain.reading import SALT_BYTES, EncodedReadings
from p2pledger.chain.schema import SCHEMAS, SchemaClass, day_of
from p2pledger.chain.transaction import Transaction
from p2pledger.client.signing import transaction
from p2pledger.crypto import Domain, KeySigner, Signer
from p2pledger.testnet.parcels import Parcel
from p2pledger.testnet.sources import Row, Source
from p2pledger.types import Millis, PeerId

FLOW_UNIT = "40"
"""Millilitre per second, in UNECE Recommendation 20."""

_VOUCHER_DOMAIN = Domain("p2pledger/testnet-voucher/1")


@dataclass(frozen=True)
class Gateway:
    """A gateway as its devices know it: its organisation, which pays, its key, and where it answers."""

    name: str
    organisation: str
    peer: PeerId
    signer: Signer
    http_url: str


@dataclass(frozen=True)
class Device:
    """A device of one pass over the data. Its id is random: it says nothing of place or person."""

    id: bytes
    signer: Signer
    source: Source
    gateway: Gateway


def new_device(source: Source, gateway: Gateway) -> Device:
    """A device with an identity of its own."""
    return Device(secrets.token_bytes(16), KeySigner(secrets.token_bytes(32)), source, gateway)


def enrolment(genesis: Genesis, device: Device) -> Transaction:
    """A device begins behind its gateway; both sign. The voucher is the testnet's own stand-in."""
    payload = DeviceEnroll(
        device=device.id,
        key=device.signer.public_key,
        gateway=device.gateway.peer,
        kind=device.source.device_kind,
        voucher_hash=_VOUCHER_DOMAIN.hash(device.id),
    )
    return _signed(genesis, device, payload, [device.gateway.signer, device.signer])


def readings_of(parcel: Parcel) -> EncodedReadings:
    """A parcel's rows as readings, each with a fresh salt."""
    rows = parcel.rows
    return EncodedReadings.of_columns(
        rows[0].seq,
        [row.time_ms for row in rows],
        list(zip(*(row.values for row in rows), strict=True)),
        secrets.token_bytes(SALT_BYTES * len(rows)),
    )


def batch(
    genesis: Genesis, device: Device, readings: EncodedReadings, first_ms: Millis, last_ms: Millis
) -> Transaction:
    """Readings under one root, signed by the gateway. A person's tell the day, no finer time."""
    if SCHEMAS[device.source.schema] is SchemaClass.PERSONAL:
        first_ms, last_ms = day_of(first_ms)
    payload = readings.batch(device.source.schema, device.id, first_ms, last_ms)
    return _signed(genesis, device, payload, [device.gateway.signer])


def record(genesis: Genesis, device: Device, row: Row) -> Transaction:
    """One reading as a record in clear, signed by the device."""
    payload = RecordAppend(
        schema=device.source.schema,
        time_ms=row.time_ms,
        device=device.id,
        seq=row.seq,
        action=Action.OBSERVE,
        what=tuple(Item(id="flow", quantity=value, unit=FLOW_UNIT) for value in row.values),
        where=None,
        business_step="sensor_reporting",
        disposition=None,
        references=(),
        body=None,
        commitment=None,
    )
    return _signed(genesis, device, payload, [device.signer])


def _signed(
    genesis: Genesis,
    device: Device,
    payload: DeviceEnroll | RecordBatch | RecordAppend,
    signers: Sequence[Signer],
) -> Transaction:
    return transaction(genesis, payload.KIND, payload, device.gateway.organisation, signers)
