"""Rules for organisations' keys: add, rotate, revoke. Floor 4, pure.

All are signed by as many admins as the organisation's threshold asks. They work from a height on that
is not yet reached when they are carried out, so nothing that was valid becomes invalid.
"""

from collections.abc import Collection
from dataclasses import replace

from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import KeyAdd, KeyRevoke, KeyRotate
from p2pledger.chain.payloads.registry import ADMINS_MAX
from p2pledger.codec import encode
from p2pledger.crypto import is_public_key
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.registry.rows import (
    CONSENSUS_KEYS,
    DEVICES,
    KEYS,
    ORGANISATIONS,
    PEERS_INDEX,
    Key,
    Organisation,
    apply_gateway,
    gateway,
    live_keys,
    organisation,
    signed_in_role,
)
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes
from p2pledger.types import Height, PublicKey


def check_unowned(changes: Changes, context: Context, key: PublicKey) -> None:
    """Refuse a key that is or was somebody's, here or among the authorities. Raises: InvalidTransaction.

    A key keeps its one owner for ever, and is never shared between roles.
    """
    if not is_public_key(key):
        raise InvalidTransaction(Code.INVALID_KEY, "the key is not a point of the curve")
    if KEYS.get(changes, key) is not None or CONSENSUS_KEYS.get(changes, key) is not None:
        raise InvalidTransaction(Code.KEY_TAKEN, "the key is registered already; make a new one")


def read_unowned_ahead(changes: Changes, keys: Collection[PublicKey]) -> None:
    """What `check_unowned` is going to ask for, read together."""
    KEYS.read_ahead(changes, keys)
    CONSENSUS_KEYS.read_ahead(changes, keys)


def _height(context: Context, asked: Height) -> Height:
    """The height that a change works from: the next block's, or a later one that was asked for."""
    coming = Height(context.round.height + 1)
    if asked and asked < coming:
        raise InvalidTransaction(Code.BACKDATED, f"height {asked} has passed; the next is {coming}")
    return max(asked, coming)


def check_admins(changes: Changes, context: Context) -> Organisation:
    """The sponsor, as many of whose admins have signed as have to. Raises: InvalidTransaction."""
    row = organisation(changes, context.sponsor)
    assert row is not None, "the machine has checked the sponsor"
    own = [key for key in live_keys(changes, context) if key.organisation == context.sponsor]
    signed = sum(1 for key in own if key.role is KeyRole.ADMIN)
    if signed < row.threshold:
        raise InvalidTransaction(Code.TOO_FEW_ADMINS, f"{signed} admins signed, {row.threshold} have to")
    return row


def _own_key(changes: Changes, context: Context, key: PublicKey) -> Key:
    row = KEYS.get(changes, key)
    if row is None or row.organisation != context.sponsor:
        raise InvalidTransaction(Code.UNKNOWN_KEY, f"{context.sponsor!r} has no such key")
    return row


def _put_admins(changes: Changes, context: Context, row: Organisation, admins: set[PublicKey]) -> None:
    ORGANISATIONS.put(changes, context.sponsor.encode(), replace(row, admins=tuple(sorted(admins))))


def apply_key_add(changes: Changes, context: Context, payload: KeyAdd) -> bytes:
    """An admin or service key more. The new key signs too: nobody registers a key that is another's."""
    row = check_admins(changes, context)
    check_unowned(changes, context, payload.key)
    context.check_signed_by(payload.key, "the new key")
    height = _height(context, payload.from_height)
    KEYS.put(
        changes,
        payload.key,
        Key(context.sponsor, payload.role, height, None, payload.encryption_key, None, None),
    )
    if payload.role is KeyRole.ADMIN:
        if len(row.admins) == ADMINS_MAX:
            raise InvalidTransaction(Code.TOO_MANY_ADMINS, f"at most {ADMINS_MAX} admin keys at once")
        _put_admins(changes, context, row, {*row.admins, payload.key})
    return b""


def apply_key_rotate(changes: Changes, context: Context, payload: KeyRotate) -> bytes:
    """One key for another, at one height: there is no block in which both or neither may sign."""
    row = check_admins(changes, context)
    old = _own_key(changes, context, payload.old_key)
    check_unowned(changes, context, payload.new_key)
    context.check_signed_by(payload.new_key, "the new key")
    height = _height(context, payload.from_height)
    if old.revoked_height is not None:
        raise InvalidTransaction(Code.KEY_REVOKED, f"the key ends at height {old.revoked_height} already")
    if height <= old.from_height:
        raise InvalidTransaction(Code.BACKDATED, f"the old key begins at height {old.from_height} only")
    KEYS.put(changes, payload.old_key, replace(old, revoked_height=height))
    new = replace(old, from_height=height, encryption_key=payload.encryption_key)
    KEYS.put(changes, payload.new_key, new)
    if old.role is KeyRole.ADMIN:
        _put_admins(changes, context, row, {*row.admins, payload.new_key} - {payload.old_key})
    if old.device is not None and (device := DEVICES.get(changes, old.device)) is not None:
        DEVICES.put(changes, old.device, replace(device, key=payload.new_key))
    if old.peer is not None and (known := gateway(changes, old.peer)) is not None:
        apply_gateway(changes, replace(known, key=payload.new_key))
    return b""


def apply_key_revoke(changes: Changes, context: Context, payload: KeyRevoke) -> bytes:
    """The end of a key, or an earlier end than was planned. An organisation keeps enough admins to act."""
    row = check_admins(changes, context)
    key = _own_key(changes, context, payload.key)
    height = _height(context, payload.from_height)
    if key.revoked_height is not None and key.revoked_height <= height:
        raise InvalidTransaction(Code.KEY_REVOKED, f"the key ends at height {key.revoked_height} already")
    KEYS.put(changes, payload.key, replace(key, revoked_height=height))
    if payload.key in row.admins:
        if len(row.admins) - 1 < row.threshold:
            raise InvalidTransaction(
                Code.ADMINS_LOCKED_OUT, f"the {row.threshold} admins that have to sign would not be left"
            )
        _put_admins(changes, context, row, set(row.admins) - {payload.key})
    if key.peer is not None and (known := gateway(changes, key.peer)) is not None:
        context.emit(PEERS_INDEX, key.peer.encode(), encode(known))
    return b""


def _ends_at_once(payload: KeyRevoke) -> bool:
    """A key ends at once only once; its end could be brought forward height by height for ever."""
    return payload.from_height == 0


def _read_added_ahead(changes: Changes, payloads: Collection[KeyAdd]) -> None:
    read_unowned_ahead(changes, {payload.key for payload in payloads})


def _read_rotated_ahead(changes: Changes, payloads: Collection[KeyRotate]) -> None:
    read_unowned_ahead(changes, {payload.new_key for payload in payloads})
    KEYS.read_ahead(changes, {payload.old_key for payload in payloads})


def _read_revoked_ahead(changes: Changes, payloads: Collection[KeyRevoke]) -> None:
    KEYS.read_ahead(changes, {payload.key for payload in payloads})


_by_admins = signed_in_role(KeyRole.ADMIN)

RULES = (
    Rule(KeyAdd, _by_admins, apply_key_add, read_ahead=_read_added_ahead),
    Rule(KeyRotate, _by_admins, apply_key_rotate, read_ahead=_read_rotated_ahead),
    Rule(KeyRevoke, _by_admins, apply_key_revoke, read_ahead=_read_revoked_ahead, is_urgent=_ends_at_once),
)
