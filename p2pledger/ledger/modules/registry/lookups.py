"""What can be asked of the registry. Floor 4, pure.

Each is a function over a state that is read (`Readable`), the rows of an index (`Scan`, as `Store.scan`
reads them) or the transactions of the chain. Lists come in pages: `Page.after` is where the next begins,
and None at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import DeviceId
from p2pledger.chain.payloads.registry import StatusPublish
from p2pledger.chain.schema import SchemaId
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.ledger.modules.records.rows import sequence
from p2pledger.ledger.modules.registry.devices import DEVICES_INDEX
from p2pledger.ledger.modules.registry.rows import (
    DEVICES,
    Device,
    Gateway,
    Key,
    gateway_by_number,
    gateway_count,
    live_key,
)
from p2pledger.ledger.modules.registry.schemas import SCHEMAS_INDEX, PublishedSchema
from p2pledger.ledger.modules.registry.status import bits_of, status_list
from p2pledger.ledger.rules import Page, Scan, after_rows
from p2pledger.ledger.state import Readable
from p2pledger.types import Hash, Height, Millis, PublicKey

Find = Callable[[Hash], Transaction | None]
"""A transaction of the chain by its id; None when it is not there, or its body was dropped."""


@dataclass(frozen=True)
class ListedGateway:
    """A gateway, and whether its key may sign at the height that was asked for."""

    gateway: Gateway
    is_live: bool


@dataclass(frozen=True)
class ListedDevice:
    """A device, and the time of the last block that has something of it; 0 when none has."""

    id: DeviceId
    device: Device
    heard_ms: Millis


def key_at(reader: Readable, key: PublicKey, height: Height) -> Key | None:
    """Whose key it is and in what role, if it may sign at a height, past or to come; None when it may not.

    The answer for the next block, or one before it, never changes.
    """
    return live_key(reader, key, height)


def gateways(reader: Readable, height: Height, after: bytes, limit: int) -> Page[ListedGateway]:
    """All gateways that ever joined, in the order in which they did."""
    first = int.from_bytes(after, "big")
    last = min(first + limit, gateway_count(reader))
    found = [gateway_by_number(reader, number) for number in range(first, last)]
    items = tuple(ListedGateway(row, live_key(reader, row.key, height) is not None) for row in found)
    return Page(items, last.to_bytes(4, "big") if last < gateway_count(reader) else None)


def devices(
    reader: Readable, scan: Scan, organisation: OrganisationId, after: bytes, limit: int
) -> Page[ListedDevice]:
    """The devices of an organisation by their ids, the retired ones included.

    A page looks at `limit` devices and may have fewer, since those that moved elsewhere are left out.
    """
    prefix = organisation.encode() + b"\0"
    rows = scan(DEVICES_INDEX, prefix, after, limit)
    items = []
    for key, _ in rows:
        device = key[len(prefix) :]
        row = DEVICES.get(reader, device)
        if row is not None and row.organisation == organisation:
            items.append(ListedDevice(device, row, sequence(reader, device).heard_ms))
    return Page(tuple(items), after_rows(rows, limit))


def silent_devices(
    reader: Readable,
    scan: Scan,
    organisation: OrganisationId,
    now_ms: Millis,
    silent_ms: int,
    after: bytes,
    limit: int,
) -> Page[ListedDevice]:
    """Devices in service that nothing was heard of for longer than `silent_ms`, or ever.

    By the time of blocks and not of events: a device whose clock is wrong is not silent. A page looks at
    `limit` devices of the organisation and names those among them.
    """
    page = devices(reader, scan, organisation, after, limit)
    silent = [one for one in page.items if not one.device.is_retired and now_ms - one.heard_ms > silent_ms]
    return Page(tuple(silent), page.after)


def status_bit(
    reader: Readable, find: Find, organisation: OrganisationId, list_id: str, index: int
) -> bool | None:
    """A credential's bit in the newest version of a list (`status.status_list` tells how old it is).

    None when there is no such list or no such place in it, or where the list's transaction is not at hand.
    """
    row = status_list(reader, organisation, list_id)
    if row is None or not 0 <= index < row.bits:
        return None
    transaction = find(row.by)
    if transaction is None:
        return None
    published: StatusPublish = decode(StatusPublish, transaction.body.payload)
    return bool(bits_of(published.compressed)[index // 8] >> 7 - index % 8 & 1)


def schemas(scan: Scan, after: bytes, limit: int) -> Page[tuple[SchemaId, PublishedSchema]]:
    """The schemas that organisations published, by their ids."""
    rows = scan(SCHEMAS_INDEX, b"", after, limit)
    items = tuple((key.decode(), decode(PublishedSchema, value)) for key, value in rows)
    return Page(items, after_rows(rows, limit))
