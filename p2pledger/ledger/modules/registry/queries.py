"""What can be asked about organisations, their keys, gateways and devices. Floor 4, pure."""

from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import DeviceId, Word
from p2pledger.chain.payloads.registry import ADMINS_MAX
from p2pledger.codec import U32, U64, Length, Pattern
from p2pledger.errors import Code, Fatal
from p2pledger.ledger.modules.registry.devices import DEVICES_INDEX
from p2pledger.ledger.modules.registry.rows import (
    DEVICES,
    KEYS,
    PEERS_INDEX,
    gateway,
    organisation,
)
from p2pledger.ledger.queries import (
    UNKNOWN_BLOCK,
    UNKNOWN_ORGANISATION,
    ChainReader,
    Found,
    Page,
    Query,
    Unanswered,
    one,
    rows_of,
)
from p2pledger.ledger.quota import usage
from p2pledger.types import Height, Millis, PeerId, PublicKey

OfOrganisation = Annotated[OrganisationId, "The organisation's name."]


@dataclass(frozen=True)
class AskOrganisation:
    """An organisation: its admins, its quota, and what it has used of that in the last block's window."""

    organisation: OfOrganisation


@dataclass(frozen=True)
class AskDevice:
    """A device, its gateway, and the key that it signs with now."""

    device: Annotated[DeviceId, "The device, by its id."]


@dataclass(frozen=True)
class AskDevices:
    """Devices of an organisation, retired ones too, by their ids.

    Not those that were transferred to another one: a page may have fewer items than its limit.
    """

    organisation: OfOrganisation


@dataclass(frozen=True)
class AskGateways:
    """Gateways of the ledger, those whose key has ended too, by their peer ids."""


@dataclass(frozen=True)
class AskKey:
    """Whether a key might sign in the block of a height. A key that was never registered might not."""

    key: Annotated[PublicKey, "The public key, in compressed form."]
    height: Annotated[
        Height, "The block's height; 0 is the one that comes next, the highest that can be told."
    ] = Height(0)


@dataclass(frozen=True)
class OrganisationFound:
    """An organisation. What it used is of the quota window that ends before `window_end_ms`.

    `suspended_until_ms` is 0 when it is not.
    """

    organisation: OrganisationId
    kind: Annotated[str, Length(1, 32), Pattern("[a-z]+(-[a-z]+)*")]
    admins: Annotated[tuple[PublicKey, ...], Length(0, ADMINS_MAX)]
    threshold: U32
    suspended_until_ms: Millis
    quota_transactions: U32
    quota_size_bytes: U64
    used_transactions: U32
    used_size_bytes: U64
    window_end_ms: Millis


@dataclass(frozen=True)
class DeviceFound:
    """A device. Its key signs from `from_height` on, and no longer from `revoked_height` on."""

    device: DeviceId
    organisation: OrganisationId
    gateway: PeerId
    kind: Word
    is_retired: bool
    key: PublicKey
    from_height: Height
    revoked_height: Height | None


@dataclass(frozen=True)
class GatewayFound:
    """A gateway. Its key signs from `from_height` on, and no longer from `revoked_height` on."""

    peer: PeerId
    organisation: OrganisationId
    key: PublicKey
    from_height: Height
    revoked_height: Height | None


@dataclass(frozen=True)
class KeyFound:
    """Whether a key is valid at a height, and whose it is now; null where it was never registered."""

    key: PublicKey
    height: Height
    is_valid: bool
    organisation: OrganisationId | None
    role: KeyRole | None
    from_height: Height | None
    revoked_height: Height | None
    device: DeviceId | None
    peer: PeerId | None


def ask_organisation(reader: ChainReader, asked: AskOrganisation, page: Page) -> Found[OrganisationFound]:
    """See `AskOrganisation`. Raises: Unanswered."""
    row = organisation(reader, asked.organisation)
    if row is None:
        raise Unanswered(UNKNOWN_ORGANISATION, f"there is no organisation {asked.organisation!r}")
    window_ms = reader.genesis.parameters.quota_window_ms
    used = usage(reader, asked.organisation, reader.time_ms, window_ms)
    return one(
        OrganisationFound(
            asked.organisation,
            row.kind,
            row.admins,
            row.threshold,
            row.suspended_until_ms,
            row.quota.transactions,
            row.quota.size_bytes,
            used.transactions,
            used.size_bytes,
            Millis((used.window + 1) * window_ms),
        )
    )


def found_device(reader: ChainReader, device: bytes) -> DeviceFound | None:
    """A device by its id. Raises: Fatal when its key has no row."""
    row = DEVICES.get(reader, device)
    if row is None:
        return None
    key = KEYS.get(reader, row.key)
    if key is None:
        raise Fatal(f"the key of device {device.hex()} is nowhere registered")
    return DeviceFound(
        device,
        row.organisation,
        row.gateway,
        row.kind,
        row.is_retired,
        row.key,
        key.from_height,
        key.revoked_height,
    )


def ask_device(reader: ChainReader, asked: AskDevice, page: Page) -> Found[DeviceFound]:
    """See `AskDevice`. Raises: Unanswered."""
    found = found_device(reader, asked.device)
    if found is None:
        raise Unanswered(Code.UNKNOWN_DEVICE, f"there is no device {asked.device.hex()}")
    return one(found)


def ask_devices(reader: ChainReader, asked: AskDevices, page: Page) -> Found[DeviceFound]:
    """See `AskDevices`. Raises: Unanswered."""
    if organisation(reader, asked.organisation) is None:
        raise Unanswered(UNKNOWN_ORGANISATION, f"there is no organisation {asked.organisation!r}")
    prefix = asked.organisation.encode() + b"\0"

    def item(key: bytes, _: bytes) -> DeviceFound | None:
        # The state's row, not the index's: a key that was rotated stands only there.
        found = found_device(reader, key[len(prefix) :])
        return found if found is not None and found.organisation == asked.organisation else None

    return rows_of(reader, DEVICES_INDEX, prefix, page, item)


def ask_gateways(reader: ChainReader, asked: AskGateways, page: Page) -> Found[GatewayFound]:
    """See `AskGateways`."""

    def item(key: bytes, _: bytes) -> GatewayFound:
        row = gateway(reader, PeerId(key.decode()))
        owner = KEYS.get(reader, row.key) if row is not None else None
        if row is None or owner is None:
            raise Fatal(f"the gateway {key.decode()} is in the index, and not in the state")
        return GatewayFound(row.peer, row.organisation, row.key, owner.from_height, owner.revoked_height)

    return rows_of(reader, PEERS_INDEX, b"", page, item)


def ask_key(reader: ChainReader, asked: AskKey, page: Page) -> Found[KeyFound]:
    """See `AskKey`. Raises: Unanswered for a height whose block may still see the key end."""
    coming = Height(reader.height + 1)
    height = asked.height or coming
    if height > coming:
        raise Unanswered(UNKNOWN_BLOCK, f"what may sign in block {height} is not known before {height - 1}")
    row = KEYS.get(reader, asked.key)
    if row is None:
        return one(KeyFound(asked.key, height, False, None, None, None, None, None, None))
    return one(
        KeyFound(
            asked.key,
            height,
            row.is_live(height),
            row.organisation,
            row.role,
            row.from_height,
            row.revoked_height,
            row.device,
            row.peer,
        )
    )


QUERIES = (
    Query("registry.organisation", AskOrganisation, OrganisationFound, ask_organisation),
    Query("registry.key", AskKey, KeyFound, ask_key),
    Query("registry.gateways", AskGateways, GatewayFound, ask_gateways),
    Query("registry.device", AskDevice, DeviceFound, ask_device),
    Query("registry.devices", AskDevices, DeviceFound, ask_devices),
)
