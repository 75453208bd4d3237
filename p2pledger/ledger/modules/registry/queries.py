"""What can be asked about organisations: keys, gateways, devices, schemas, status lists. Floor 4, pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import DeviceId, Name, Word
from p2pledger.chain.payloads.registry import (
    ADMINS_MAX,
    SCHEMA_FIELDS_MAX,
    SchemaField,
    StatusPublish,
    StatusPurpose,
)
from p2pledger.chain.schema import SchemaClass, SchemaId
from p2pledger.codec import U32, U64, Length, Pattern, Range, decode
from p2pledger.errors import Code, Fatal
from p2pledger.ledger.modules.records.rows import sequence
from p2pledger.ledger.modules.registry.devices import DEVICES_INDEX
from p2pledger.ledger.modules.registry.rows import (
    DEVICES,
    KEYS,
    PEERS_INDEX,
    gateway,
    organisation,
)
from p2pledger.ledger.modules.registry.schemas import SCHEMAS_INDEX, PublishedSchema
from p2pledger.ledger.modules.registry.status import STATUS_BITS_MAX, bits_of, status_list
from p2pledger.ledger.queries import (
    INVALID_PARAMETER,
    PRUNED,
    UNKNOWN_BLOCK,
    UNKNOWN_STATUS_LIST,
    ChainReader,
    Found,
    Page,
    Query,
    Unanswered,
    one,
    rows_of,
)
from p2pledger.ledger.quota import usage
from p2pledger.types import Hash, Height, Millis, PeerId, PublicKey

OfOrganisation = Annotated[OrganisationId, "The organisation's name."]


@dataclass(frozen=True)
class AskOrganisation:
    """An organisation: its admins, its quota, and what it has used of that in the last block's window."""

    organisation: OfOrganisation


@dataclass(frozen=True)
class AskDevice:
    """A device, its gateway, and its key: the next one while a rotation is to come."""

    device: Annotated[DeviceId, "The device, by its id."]


@dataclass(frozen=True)
class AskDevices:
    """Devices of an organisation, retired ones too, by their ids.

    Not those that were transferred to another one: a page may have fewer items than its limit.
    """

    organisation: OfOrganisation


@dataclass(frozen=True)
class AskSilentDevices:
    """Devices of an organisation in service that nothing was heard of for longer than a time, or ever.

    By the time of blocks and not of events: a device whose clock is wrong is not silent. A page may have
    fewer items than its limit.
    """

    organisation: OfOrganisation
    silent_ms: Annotated[U64, "For how long at least, in milliseconds before the last block."]


@dataclass(frozen=True)
class AskSchemas:
    """Schemas that organisations published, by their ids; those that are shipped are not among them."""


@dataclass(frozen=True)
class AskStatusBit:
    """A credential's bit in the newest version of its issuer's status list, and whether that is stale.

    A list is stale when a whole slot of an hour has gone by without a version.
    """

    organisation: Annotated[OrganisationId, "The issuer."]
    list_id: Annotated[Name, "The list."]
    index: Annotated[int, Range(0, STATUS_BITS_MAX - 1), "The credential's place in the list, from 0 on."]


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
    """A device. Its key signs from `from_height` on, and no longer from `revoked_height` on.

    `heard_ms` is the time of the last block that has something of it, 0 when none has.
    """

    device: DeviceId
    organisation: OrganisationId
    gateway: PeerId
    kind: Word
    is_retired: bool
    key: PublicKey
    from_height: Height
    revoked_height: Height | None
    heard_ms: Millis


@dataclass(frozen=True)
class SchemaFound:
    """A schema as it was published, for good."""

    schema: SchemaId
    owner: OrganisationId
    subject: SchemaClass
    schema_hash: Hash
    fields: Annotated[tuple[SchemaField, ...], Length(1, SCHEMA_FIELDS_MAX)]


@dataclass(frozen=True)
class StatusBitFound:
    """A credential's bit. `missed`: in how many slots since the first version nothing was published."""

    organisation: OrganisationId
    list_id: Name
    index: U32
    is_set: bool
    purpose: StatusPurpose
    version: U32
    is_stale: bool
    missed: U32
    transaction_id: Hash


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
        raise Unanswered(Code.UNKNOWN_ORGANISATION, f"there is no organisation {asked.organisation!r}")
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
        sequence(reader, device).heard_ms,
    )


def ask_device(reader: ChainReader, asked: AskDevice, page: Page) -> Found[DeviceFound]:
    """See `AskDevice`. Raises: Unanswered."""
    found = found_device(reader, asked.device)
    if found is None:
        raise Unanswered(Code.UNKNOWN_DEVICE, f"there is no device {asked.device.hex()}")
    return one(found)


def ask_devices(reader: ChainReader, asked: AskDevices, page: Page) -> Found[DeviceFound]:
    """See `AskDevices`. Raises: Unanswered."""
    return _devices(reader, asked.organisation, page, lambda found: True)


def ask_silent_devices(reader: ChainReader, asked: AskSilentDevices, page: Page) -> Found[DeviceFound]:
    """See `AskSilentDevices`. Raises: Unanswered."""

    def is_silent(found: DeviceFound) -> bool:
        return not found.is_retired and reader.time_ms - found.heard_ms > asked.silent_ms

    return _devices(reader, asked.organisation, page, is_silent)


def _devices(
    reader: ChainReader, name: OrganisationId, page: Page, is_meant: Callable[[DeviceFound], bool]
) -> Found[DeviceFound]:
    if organisation(reader, name) is None:
        raise Unanswered(Code.UNKNOWN_ORGANISATION, f"there is no organisation {name!r}")
    prefix = name.encode() + b"\0"

    def item(key: bytes, _: bytes) -> DeviceFound | None:
        # The state's row, not the index's: a key that was rotated stands only there.
        found = found_device(reader, key[len(prefix) :])
        return found if found is not None and found.organisation == name and is_meant(found) else None

    return rows_of(reader, DEVICES_INDEX, prefix, page, item)


def ask_schemas(reader: ChainReader, asked: AskSchemas, page: Page) -> Found[SchemaFound]:
    """See `AskSchemas`."""

    def item(key: bytes, value: bytes) -> SchemaFound:
        row: PublishedSchema = decode(PublishedSchema, value)
        return SchemaFound(key.decode(), row.owner, row.subject, row.schema_hash, row.fields)

    return rows_of(reader, SCHEMAS_INDEX, b"", page, item)


def ask_status_bit(reader: ChainReader, asked: AskStatusBit, page: Page) -> Found[StatusBitFound]:
    """See `AskStatusBit`. Raises: Unanswered when there is no such list, or its bits are not kept here."""
    name, list_id, index = asked.organisation, asked.list_id, asked.index
    row = status_list(reader, name, list_id)
    if row is None:
        raise Unanswered(UNKNOWN_STATUS_LIST, f"{name!r} has published no list {list_id!r}")
    if index >= row.bits:
        raise Unanswered(INVALID_PARAMETER, f"index: the list has {row.bits} bits")
    kept = reader.kept(row.by)
    if kept is None:
        raise Fatal(f"the transaction {row.by.hex()} is named, and is not in the chain")
    if kept.transaction is None:
        raise Unanswered(PRUNED, "this node has dropped the transaction that holds the bits")
    published: StatusPublish = decode(StatusPublish, kept.transaction.body.payload)
    is_set = bool(bits_of(published.compressed)[index // 8] >> 7 - index % 8 & 1)
    is_stale = row.is_stale(reader.time_ms)
    return one(
        StatusBitFound(name, list_id, index, is_set, row.purpose, row.version, is_stale, row.missed, row.by)
    )


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
    Query("registry.silent-devices", AskSilentDevices, DeviceFound, ask_silent_devices),
    Query("registry.schemas", AskSchemas, SchemaFound, ask_schemas),
    Query("registry.status-bit", AskStatusBit, StatusBitFound, ask_status_bit),
)
