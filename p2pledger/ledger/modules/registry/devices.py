"""Rules for gateways and devices: join, enroll, transfer, retire. Floor 4, pure."""

from collections.abc import Collection
from dataclasses import replace

from p2pledger.chain.genesis import Genesis, KeyRole
from p2pledger.chain.invite import Invite
from p2pledger.chain.payloads import DeviceEnroll, DeviceRetire, DeviceTransfer, GatewayJoin
from p2pledger.codec import encode
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.registry.keys import check_unowned, read_unowned_ahead
from p2pledger.ledger.modules.registry.rows import (
    DEVICES,
    INVITES,
    KEYS,
    PEERS_INDEX,
    Device,
    Gateway,
    InviteUse,
    Key,
    apply_gateway,
    gateway,
    live_key,
    live_keys,
    peer_is_free,
    read_peers_ahead,
    signed_in_role,
)
from p2pledger.ledger.rules import Context, Round, Rule
from p2pledger.ledger.state import Changes, Readable
from p2pledger.types import Height, PeerId

DEVICES_INDEX = "registry.devices"
"""A row per device and organisation: organisation | 0 | device id -> its encoded `Device`.

One that was transferred names another organisation in the row of the first.
"""


def check_invite(reader: Readable, genesis: Genesis, at: Round, invite: Invite) -> None:
    """Refuse an invite that lets nobody in, in a block at this place. Raises: InvalidTransaction.

    Whether its signature holds is the caller's to verify.
    """
    terms = invite.terms
    issuer = live_key(reader, terms.issuer, at.height)
    if issuer is None or issuer.role is not KeyRole.ADMIN or issuer.organisation != terms.organisation:
        raise InvalidTransaction(Code.INVITE_INVALID, "the invite is not signed by an admin of that time")
    if terms.role is not KeyRole.GATEWAY or terms.genesis_hash != genesis.hash:
        raise InvalidTransaction(Code.INVITE_INVALID, "the invite is for another role or another ledger")
    if at.time_ms > terms.expires_ms:
        raise InvalidTransaction(Code.INVITE_EXPIRED, f"the invite ended at {terms.expires_ms} ms")
    if INVITES.get(reader, terms.id) is not None:
        raise InvalidTransaction(Code.INVITE_USED, "another gateway came in on this invite")


def gateway_on_invite(reader: Readable, invite: Invite, height: Height) -> PeerId | None:
    """The gateway that came in on an invite, unless its key has ended by a height; None when nobody did."""
    use = INVITES.get(reader, invite.terms.id)
    first = KEYS.get(reader, use.key) if use is not None else None
    row = gateway(reader, first.peer) if first is not None and first.peer is not None else None
    key = KEYS.get(reader, row.key) if row is not None else None
    if row is None or key is None or (key.revoked_height is not None and key.revoked_height <= height):
        return None
    return row.peer


def _check_invite(changes: Changes, context: Context, payload: GatewayJoin) -> None:
    """The signers' check of `gateway.join`: its key is nobody's yet, the invite speaks for the sponsor."""
    terms = payload.invite.terms
    if terms.organisation != context.sponsor:
        raise InvalidTransaction(Code.INVITE_INVALID, f"the invite is of {terms.organisation!r}")
    if not context.holds_inside(payload):
        raise InvalidTransaction(Code.INVITE_INVALID, "the invite's signature does not hold")
    check_invite(changes, context.genesis, context.round, payload.invite)
    context.check_signed_by(payload.key, "the gateway's key")


def apply_gateway_join(changes: Changes, context: Context, payload: GatewayJoin) -> bytes:
    """A gateway enters with the invite that `_check_invite` found good; the invite is used up."""
    check_unowned(changes, context, payload.key)
    if not peer_is_free(changes, payload.peer):
        raise InvalidTransaction(
            Code.PEER_TAKEN, "the peer id is registered already; make a new identity key"
        )
    height = Height(context.round.height + 1)
    KEYS.put(
        changes,
        payload.key,
        Key(context.sponsor, KeyRole.GATEWAY, height, None, None, None, payload.peer),
    )
    row = Gateway(payload.peer, payload.key, context.sponsor)
    apply_gateway(changes, row)
    INVITES.put(changes, payload.invite.terms.id, InviteUse(payload.key))
    context.emit(PEERS_INDEX, payload.peer.encode(), encode(row))
    return b""


def _check_gateway(changes: Changes, context: Context, peer: PeerId) -> Gateway:
    """The gateway of this peer id, which has signed and belongs to the sponsor."""
    row = gateway(changes, peer)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_GATEWAY, f"no gateway connects as {peer}")
    for key in live_keys(changes, context):
        if key.peer == peer and key.organisation == context.sponsor:
            return row
    raise InvalidTransaction(Code.MISSING_SIGNATURE, "the gateway has to sign this with a live key")


def _check_device(changes: Changes, context: Context, device: bytes) -> Device:
    """A device that is still in service and has signed with its live key.

    With the one that its row names: while a rotation is still to come, that is the next key, and the one that
    is live would outlast what is done here to the other.
    """
    row = DEVICES.get(changes, device)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_DEVICE, "there is no such device")
    if row.is_retired:
        raise InvalidTransaction(Code.DEVICE_RETIRED, "the device is retired; enrol another one")
    if row.key in context.signers and live_key(changes, row.key, context.round.height) is not None:
        return row
    raise InvalidTransaction(
        Code.MISSING_SIGNATURE, f"the device has to sign this with {row.key.hex()}, while that is live"
    )


def _emit(context: Context, organisation: str, device: bytes, row: Device) -> None:
    context.emit(DEVICES_INDEX, organisation.encode() + b"\0" + device, encode(row))


def apply_device_enroll(changes: Changes, context: Context, payload: DeviceEnroll) -> bytes:
    """A device begins; its key may sign from the next block on."""
    row = _check_gateway(changes, context, payload.gateway)
    if DEVICES.get(changes, payload.device) is not None:
        raise InvalidTransaction(Code.DEVICE_TAKEN, "the device id is in use; draw another one")
    check_unowned(changes, context, payload.key)
    context.check_signed_by(payload.key, "the device's key")
    device = Device(payload.key, row.organisation, payload.gateway, payload.kind, payload.voucher_hash, False)
    DEVICES.put(changes, payload.device, device)
    height = Height(context.round.height + 1)
    KEYS.put(
        changes,
        payload.key,
        Key(row.organisation, KeyRole.DEVICE, height, None, None, payload.device, None),
    )
    _emit(context, device.organisation, payload.device, device)
    return b""


def apply_device_transfer(changes: Changes, context: Context, payload: DeviceTransfer) -> bytes:
    """A device stands behind another gateway from now on, and its key is of that organisation."""
    row = _check_gateway(changes, context, payload.gateway)
    before = _check_device(changes, context, payload.device)
    device = replace(
        before,
        organisation=row.organisation,
        gateway=payload.gateway,
        voucher_hash=payload.voucher_hash,
    )
    DEVICES.put(changes, payload.device, device)
    key = KEYS.get(changes, before.key)
    assert key is not None, "a device's key is registered"
    KEYS.put(changes, before.key, replace(key, organisation=row.organisation))
    for organisation in sorted({before.organisation, row.organisation}):
        _emit(context, organisation, payload.device, device)
    return b""


def apply_device_retire(changes: Changes, context: Context, payload: DeviceRetire) -> bytes:
    """A device ends: its key signs nothing from the next block on, also where a later end was planned."""
    before = _check_device(changes, context, payload.device)
    _check_gateway(changes, context, before.gateway)
    device = replace(before, voucher_hash=payload.voucher_hash, is_retired=True)
    DEVICES.put(changes, payload.device, device)
    key = KEYS.get(changes, before.key)
    assert key is not None, "a device's key is registered"
    KEYS.put(changes, before.key, replace(key, revoked_height=Height(context.round.height + 1)))
    _emit(context, device.organisation, payload.device, device)
    return b""


def _read_joins_ahead(changes: Changes, payloads: Collection[GatewayJoin]) -> None:
    INVITES.read_ahead(changes, {payload.invite.terms.id for payload in payloads})
    read_unowned_ahead(changes, {payload.key for payload in payloads})
    read_peers_ahead(changes, {payload.peer for payload in payloads})


def _read_enrolments_ahead(changes: Changes, payloads: Collection[DeviceEnroll]) -> None:
    DEVICES.read_ahead(changes, {payload.device for payload in payloads})
    read_unowned_ahead(changes, {payload.key for payload in payloads})


def _read_devices_ahead(changes: Changes, payloads: Collection[DeviceTransfer | DeviceRetire]) -> None:
    DEVICES.read_ahead(changes, {payload.device for payload in payloads})


_by_gateways = signed_in_role(KeyRole.GATEWAY)

RULES = (
    Rule(GatewayJoin, _check_invite, apply_gateway_join, read_ahead=_read_joins_ahead),
    Rule(DeviceEnroll, _by_gateways, apply_device_enroll, read_ahead=_read_enrolments_ahead),
    Rule(DeviceTransfer, _by_gateways, apply_device_transfer, read_ahead=_read_devices_ahead),
    Rule(DeviceRetire, _by_gateways, apply_device_retire, read_ahead=_read_devices_ahead),
)
