"""The registry's rows, and who may sign what. Floor 4, pure.

Validity is an interval of heights, never a flag: a key is live from one height and until another, and
both are known at least one block ahead. Residents have no row.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.genesis import GATEWAYS_MAX, RESIDENTS, KeyRole, Quota
from p2pledger.chain.payloads import DeviceId, Word
from p2pledger.chain.payloads.registry import ADMINS_MAX
from p2pledger.codec import U32, Length, Pattern
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.rules import CheckSigners, Context, Round
from p2pledger.ledger.state import Changes, Readable, Table, with_fields
from p2pledger.types import Hash, Height, Millis, PeerId, PublicKey

COMING_QUOTAS_MAX = 8


@dataclass(frozen=True)
class ComingQuota:
    """What takes the place of an organisation's quota from a height on."""

    quota: Quota
    from_height: Height


@dataclass(frozen=True)
class Organisation:
    """Who may sponsor transactions. `admins` are the keys that are not revoked as of any height yet.

    The residents' quota stands as an organisation without admins, and so without keys.
    """

    kind: Annotated[str, Length(1, 32), Pattern("[a-z]+(-[a-z]+)*")]
    admins: Annotated[tuple[PublicKey, ...], Length(0, ADMINS_MAX)]
    threshold: U32
    quota: Quota
    suspended_until_ms: Millis
    """0 when it is not; a suspension ends by itself."""
    from_height: Height = Height(0)
    """The first block that it may sponsor a transaction in."""
    coming_quotas: Annotated[tuple[ComingQuota, ...], Length(0, COMING_QUOTAS_MAX)] = ()
    """Changes of its quota that were decided, by height. Nothing is written when one comes into force."""

    def quota_at(self, height: Height) -> Quota:
        """What it may write in a window, in the block of this height or a later one."""
        reached = [coming.quota for coming in self.coming_quotas if coming.from_height <= height]
        return reached[-1] if reached else self.quota


@dataclass(frozen=True, slots=True)
class Key:
    """The one owner of a transaction key, and the heights at which it may sign.

    Registered once and for all: a key that was revoked never comes back. `device` or `peer` is what a
    key of that role speaks for.
    """

    organisation: OrganisationId
    role: KeyRole
    from_height: Height
    revoked_height: Height | None
    encryption_key: PublicKey | None
    device: DeviceId | None
    peer: PeerId | None

    def is_live(self, height: Height) -> bool:
        """Whether it may sign in the block of this height."""
        return self.from_height <= height and (self.revoked_height is None or height < self.revoked_height)


@dataclass(frozen=True, slots=True)
class Device:
    """A device and the gateway that it stands behind. Its life is its key's."""

    key: PublicKey
    organisation: OrganisationId
    gateway: PeerId
    kind: Word
    voucher_hash: Hash
    is_retired: bool


@dataclass(frozen=True)
class Gateway:
    """A gateway: the peer that it connects as, and its transaction key."""

    peer: PeerId
    key: PublicKey
    organisation: OrganisationId


@dataclass(frozen=True)
class GatewayCount:
    """How many gateways ever joined: they are numbered from 0, so that they can be listed."""

    count: U32


@dataclass(frozen=True)
class GatewayNumber:
    """A gateway's number, by its peer id."""

    number: U32


@dataclass(frozen=True)
class Office:
    """The organisation that a consensus key or an authority's peer id belongs to, in office or not."""

    organisation: OrganisationId


@dataclass(frozen=True)
class InviteUse:
    """Who came in on an invite, by the invite's id."""

    key: PublicKey


ORGANISATIONS = Table("organisation", Organisation)
KEYS = Table("key", Key)
DEVICES = Table("device", Device)
GATEWAYS = Table("gateway", Gateway)
GATEWAY_NUMBERS = Table("gateway-number", GatewayNumber)
INVITES = Table("invite", InviteUse)
CONSENSUS_KEYS = Table("consensus-key", Office)
"""Every key that was ever to vote: it votes for one organisation, and signs nothing else."""
_AUTHORITY_PEERS = Table("authority-peer", Office)
_GATEWAY_COUNT = Table("gateway-count", GatewayCount)

PEERS_INDEX = "registry.peers"
"""A row per gateway whose standing changed: peer id -> its encoded `Gateway`."""


def organisation(reader: Readable, name: str) -> Organisation | None:
    """An organisation by its id."""
    return ORGANISATIONS.get(reader, name.encode())


def check_organisation(reader: Readable, name: str) -> Organisation:
    """An organisation by its id; the residents' quota is none. Raises: InvalidTransaction."""
    row = organisation(reader, name)
    if row is None or name == RESIDENTS:
        raise InvalidTransaction(Code.UNKNOWN_ORGANISATION, f"there is no organisation {name!r}")
    return row


def live_key(reader: Readable, key: PublicKey, height: Height) -> Key | None:
    """The owner of a key in the block of this height; None when it may not sign there.

    Also answers for heights that are past: was this key valid then?
    """
    row = KEYS.get(reader, key)
    return row if row is not None and row.is_live(height) else None


def live_keys(changes: Changes, context: Context) -> Sequence[Key]:
    """The keys of a transaction's signers that may sign in its block, in the signers' order.

    Looked for once: what a transaction itself does to keys works from the next block on.
    """
    found: Sequence[Key] | None = context.keys
    if found is None:
        height, found = context.round.height, []
        for signer in context.signers:
            row = KEYS.get(changes, signer)
            if row is not None and row.is_live(height):
                found.append(row)
        context.keys = found
    return found


def gateway(reader: Readable, peer: PeerId) -> Gateway | None:
    """A gateway by its peer id, live or not."""
    number = GATEWAY_NUMBERS.get(reader, peer.encode())
    return None if number is None else GATEWAYS.get(reader, _number(number.number))


def allowed_peers(reader: Readable, height: Height) -> frozenset[PeerId]:
    """The peer ids of all gateways whose key has not ended by a height: who may connect, beside authorities.

    One whose key is still to begin is among them: it has to follow the chain to see that it does.
    """
    count = _GATEWAY_COUNT.get(reader, b"") or GatewayCount(0)
    rows = (GATEWAYS.get(reader, _number(n)) for n in range(count.count))
    return frozenset(row.peer for row in rows if row is not None and not _is_over(reader, row.key, height))


def _is_over(reader: Readable, key: PublicKey, height: Height) -> bool:
    row = KEYS.get(reader, key)
    return row is None or (row.revoked_height is not None and row.revoked_height <= height)


def read_peers_ahead(changes: Changes, peers: Collection[PeerId]) -> None:
    """What `peer_is_free` is going to ask for, read together."""
    keys = {peer.encode() for peer in peers}
    GATEWAY_NUMBERS.read_ahead(changes, keys)
    _AUTHORITY_PEERS.read_ahead(changes, keys)


def _number(number: int) -> bytes:
    return number.to_bytes(4, "big")


def apply_gateway(changes: Changes, row: Gateway) -> None:
    """Write a gateway, a new one under the next number. Raises: InvalidTransaction."""
    known = GATEWAY_NUMBERS.get(changes, row.peer.encode())
    if known is None:
        count = (_GATEWAY_COUNT.get(changes, b"") or GatewayCount(0)).count
        if count >= GATEWAYS_MAX:
            raise InvalidTransaction(Code.TOO_MANY_GATEWAYS, f"a ledger has at most {GATEWAYS_MAX} gateways")
        known = GatewayNumber(count)
        _GATEWAY_COUNT.put(changes, b"", GatewayCount(count + 1))
        GATEWAY_NUMBERS.put(changes, row.peer.encode(), known)
    GATEWAYS.put(changes, _number(known.number), row)


def take_office(changes: Changes, key: PublicKey, peer: PeerId, office: Office) -> None:
    """Write down whose consensus key and peer these are, for ever."""
    CONSENSUS_KEYS.put(changes, key, office)
    _AUTHORITY_PEERS.put(changes, peer.encode(), office)


def peer_is_free(reader: Readable, peer: PeerId, organisation: OrganisationId | None = None) -> bool:
    """Whether a peer id is nobody's yet; or only that of this organisation's own authority."""
    office = _AUTHORITY_PEERS.get(reader, peer.encode())
    is_own = office is None or office.organisation == organisation
    return is_own and GATEWAY_NUMBERS.get(reader, peer.encode()) is None


def check_sponsor(reader: Readable, name: str, round_: Round) -> Organisation:
    """The sponsor of a transaction, with the quota that it has in this block.

    Raises: InvalidTransaction when it is unknown, so far, or suspended.
    """
    row = ORGANISATIONS.get(reader, name.encode())
    if row is None or round_.height < row.from_height:
        raise InvalidTransaction(Code.UNKNOWN_SPONSOR, f"there is no organisation {name!r}")
    if row.coming_quotas:
        row = with_fields(row, quota=row.quota_at(round_.height))
    if round_.time_ms < row.suspended_until_ms:
        raise InvalidTransaction(
            Code.SPONSOR_SUSPENDED, f"{name!r} is suspended until {row.suspended_until_ms} ms"
        )
    return row


def check_signed_for_resident(changes: Changes, context: Context) -> None:
    """Refuse what a resident's key signs alone: a gateway hands it in, and signs too.

    Either its own organisation is the sponsor, or the residents' quota pays (`genesis.RESIDENTS`).
    Raises: InvalidTransaction.
    """
    for key in live_keys(changes, context):
        if key.role is KeyRole.GATEWAY and context.sponsor in (key.organisation, RESIDENTS):
            return
    raise InvalidTransaction(
        Code.NOT_ENTITLED, "a live gateway has to sign, of the sponsor or for the residents' quota"
    )


def signed_in_role(*roles: KeyRole) -> CheckSigners:
    """The check that one of the signers is a live key of the sponsor in one of these roles."""

    def check_signers(changes: Changes, context: Context, payload: object) -> None:
        for key in live_keys(changes, context):
            if key.organisation == context.sponsor and key.role in roles:
                return
        allowed = ", ".join(role.name.lower() for role in roles)
        raise InvalidTransaction(
            Code.NOT_ENTITLED, f"no signer is a live key of {context.sponsor!r} in the role {allowed}"
        )

    return check_signers
