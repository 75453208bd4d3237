"""How authorities come and go: readiness, other keys, evidence, and the lists to come. Floor 4, pure.

The boundary block of epoch e decides on the list of e + 2: that of e + 1 with at most max(1, f) changes, and
never fewer than four members through a removal (PROTOCOL, "epochs"). What finds no room waits.
"""

from collections.abc import Callable, Collection, Iterable

from p2pledger.chain.authority import AUTHORITIES_MAX, Authority, AuthoritySet
from p2pledger.chain.genesis import Genesis, KeyRole
from p2pledger.chain.payloads.governance import (
    AuthorityAdd,
    AuthorityReady,
    AuthorityRemove,
    AuthorityRotate,
)
from p2pledger.chain.vote import Offence
from p2pledger.crypto import is_public_key
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.governance.rows import (
    CHANGES_MAX,
    OFFENDERS,
    READINESS,
    SITTINGS,
    WAITING,
    Change,
    ChangeKind,
    Offender,
    Readiness,
    Sitting,
    Waiting,
    authorities_of,
    check_authority,
    epoch_key,
    sitting,
    waiting,
)
from p2pledger.ledger.modules.registry.keys import read_unowned_ahead
from p2pledger.ledger.modules.registry.rows import (
    CONSENSUS_KEYS,
    KEYS,
    Office,
    check_organisation,
    peer_is_free,
    read_peers_ahead,
    signed_in_role,
    take_office,
)
from p2pledger.ledger.rules import Context, Measure, Rule
from p2pledger.ledger.state import Changes, with_fields
from p2pledger.types import Height, PeerId, PublicKey

AUTHORITIES_MIN = 4
"""No removal leaves fewer: with three, the failure of any one stops the ledger."""

IsReady = Callable[[PublicKey], bool]


def next_set(
    current: AuthoritySet, waiting: Waiting, is_ready: IsReady, height: Height
) -> tuple[AuthoritySet, Waiting]:
    """The list that follows `current` by the boundary block of this height, and what waits further.

    Offenders leave first, then decided changes are made, each in order; what cannot be done now waits, and
    what has become pointless is dropped. Who is removed leaves a gap that closes, who comes stands last.
    """
    members, room = list(current.members), max(1, current.faulty)
    offenders: list[PublicKey] = []
    for key in waiting.offenders:
        at = next((i for i, member in enumerate(members) if member.key == key), None)
        if at is None:
            continue
        if room and len(members) > AUTHORITIES_MIN:
            del members[at]
            room -= 1
        else:
            offenders.append(key)
    changes: list[Change] = []
    for change in waiting.changes:
        at = next((i for i, m in enumerate(members) if m.organisation == change.organisation), None)
        if (at is None) is not (change.kind is ChangeKind.ADD):
            continue
        if room and change.from_height <= height and _may_be_made(change, len(members), is_ready):
            _make(change, members, at)
            room -= 1
        else:
            changes.append(change)
    return AuthoritySet(tuple(members)), Waiting(tuple(offenders), tuple(changes))


def _may_be_made(change: Change, n: int, is_ready: IsReady) -> bool:
    if change.key is None:
        return n > AUTHORITIES_MIN
    return is_ready(change.key) and (change.kind is ChangeKind.ROTATE or n < AUTHORITIES_MAX)


def _make(change: Change, members: list[Authority], at: int | None) -> None:
    if change.key is None or change.peer is None:
        assert at is not None, "only a member is removed"
        del members[at]
        return
    member = Authority(change.organisation, change.key, change.peer)
    if at is None:
        members.append(member)
    else:
        members[at] = member


def apply_genesis(changes: Changes, genesis: Genesis) -> None:
    """Write the lists of the first two epochs."""
    for epoch, authorities in enumerate((genesis.authorities, genesis.next_authorities)):
        SITTINGS.put(changes, epoch_key(epoch), Sitting(authorities))


def convict(changes: Changes, context: Context, offences: Iterable[Offence]) -> None:
    """Write down whom a block's evidence names, to be left out of the next list that has room for it."""
    for epoch, _, signer in offences:
        authorities = authorities_of(changes, epoch)
        assert authorities is not None, "evidence was checked against the list of its epoch"
        key = authorities.members[signer].key
        if OFFENDERS.get(changes, key) is None:
            OFFENDERS.put(changes, key, Offender(context.round.height))
            before = waiting(changes)
            WAITING.put(changes, b"", with_fields(before, offenders=(*before.offenders, key)))


def close_epoch(changes: Changes, context: Context) -> AuthoritySet:
    """Decide on the list that sits two epochs after this block's, which is its epoch's last."""
    height, oldest = context.round.height, context.round.height - context.genesis.parameters.epoch_blocks

    def is_ready(key: PublicKey) -> bool:
        row = READINESS.get(changes, key)
        return row is not None and row.height > oldest and OFFENDERS.get(changes, key) is None

    before = waiting(changes)
    decided, left = next_set(sitting(changes, context, 1), before, is_ready, height)
    SITTINGS.put(changes, epoch_key(context.round.epoch + 2), Sitting(decided))
    if left != before:
        WAITING.put(changes, b"", left)
    return decided


def _check_office(changes: Changes, organisation_: str, key: PublicKey, peer: PeerId) -> None:
    """Refuse a consensus key or a peer that is or was another's, or in another role."""
    if not is_public_key(key):
        raise InvalidTransaction(Code.INVALID_KEY, "the key is not a point of the curve")
    if KEYS.get(changes, key) is not None or CONSENSUS_KEYS.get(changes, key) is not None:
        raise InvalidTransaction(Code.KEY_TAKEN, "the key is registered already; make a new one")
    if not peer_is_free(changes, peer, organisation_):
        raise InvalidTransaction(
            Code.PEER_TAKEN, "the peer id is registered already; make a new identity key"
        )


def _wait(changes: Changes, change: Change) -> None:
    """Put a change behind those that wait; one of the same kind for the same organisation gives way."""
    before = waiting(changes)
    same = change.kind, change.organisation
    others = tuple(one for one in before.changes if (one.kind, one.organisation) != same)
    if len(others) == CHANGES_MAX:
        raise InvalidTransaction(Code.TOO_MANY_CANDIDATES, f"{CHANGES_MAX} changes of the list wait already")
    WAITING.put(changes, b"", with_fields(before, changes=(*others, change)))


def _is_coming(changes: Changes, context: Context, organisation_: str) -> bool:
    return any(m.organisation == organisation_ for m in sitting(changes, context, 1).members)


def enact_add(changes: Changes, context: Context, payload: AuthorityAdd, from_height: Height) -> None:
    """An organisation is to sit, from the first boundary on that finds it ready and has room."""
    name = payload.organisation
    check_organisation(changes, name)
    if _is_coming(changes, context, name):
        raise InvalidTransaction(
            Code.IS_AUTHORITY, f"{name!r} sits in the next epoch; rotate its key instead"
        )
    _check_office(changes, name, payload.key, payload.peer)
    take_office(changes, payload.key, payload.peer, Office(name))
    _wait(changes, Change(ChangeKind.ADD, name, payload.key, payload.peer, from_height))


def enact_remove(changes: Changes, context: Context, payload: AuthorityRemove, from_height: Height) -> None:
    """An organisation is to sit no more; one that waits to sit waits no more."""
    name, before = payload.organisation, waiting(changes)
    kept = tuple(one for one in before.changes if one.organisation != name or one.kind is not ChangeKind.ADD)
    if _is_coming(changes, context, name):
        _wait(changes, Change(ChangeKind.REMOVE, name, None, None, from_height))
    elif kept != before.changes:
        WAITING.put(changes, b"", with_fields(before, changes=kept))
    else:
        raise InvalidTransaction(Code.NOT_AN_AUTHORITY, f"{name!r} does not sit, and is not to")


def apply_rotate(changes: Changes, context: Context, payload: AuthorityRotate) -> bytes:
    """An authority gets another key, from the first boundary on that finds it ready and has room."""
    name = check_authority(changes, context)
    _check_office(changes, name, payload.key, payload.peer)
    take_office(changes, payload.key, payload.peer, Office(name))
    height = Height(context.round.height + 1)
    _wait(changes, Change(ChangeKind.ROTATE, name, payload.key, payload.peer, height))
    return b""


def apply_ready(changes: Changes, context: Context, payload: AuthorityReady) -> bytes:
    """A consensus key's node follows the chain: said for the length of an epoch."""
    office = CONSENSUS_KEYS.get(changes, payload.key)
    if office is None or office.organisation != context.sponsor:
        raise InvalidTransaction(Code.UNKNOWN_KEY, f"{context.sponsor!r} has no such consensus key")
    height, epoch_blocks = context.round.height, context.genesis.parameters.epoch_blocks
    if not height - epoch_blocks <= payload.height < height:
        raise InvalidTransaction(
            Code.NOT_RECENT, f"block {payload.height} is not one of the {epoch_blocks} before this one"
        )
    if not context.holds_inside(payload):
        raise InvalidTransaction(Code.PROOF_INVALID, "the consensus key has not signed that it is ready")
    READINESS.put(changes, payload.key, Readiness(height))
    return b""


def _read_offices_ahead(changes: Changes, payloads: Collection[AuthorityRotate]) -> None:
    read_unowned_ahead(changes, {payload.key for payload in payloads})
    read_peers_ahead(changes, {payload.peer for payload in payloads})


RULES = (
    Rule(AuthorityRotate, signed_in_role(KeyRole.ADMIN), apply_rotate, read_ahead=_read_offices_ahead),
    Rule(AuthorityReady, signed_in_role(KeyRole.ADMIN, KeyRole.SERVICE, KeyRole.GATEWAY), apply_ready),
)
MEASURES = (Measure(AuthorityAdd, enact_add), Measure(AuthorityRemove, enact_remove))
