"""What the registry promises, by plain books over the accepted transactions. Floor 8.

A key has one owner for ever (a device's goes with it, where it is transferred); it begins and ends at heights
that are still to come, and an end only ever moves nearer; whoever signs for a sponsor has a key of it that
lives; an invite lets one gateway in; a device that was retired is heard no more; an organisation sponsors
nothing before its height, and nothing beyond its quota; a schema is published once; versions of a status list
follow one by one, at most one an hour, with bits enough to hide in.
"""

import gzip
from dataclasses import dataclass

from p2pledger.chain.genesis import RESIDENTS, Genesis, KeyRole, Quota
from p2pledger.chain.payloads import (
    AuthorityRotate,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    EraseRequest,
    GatewayJoin,
    GovPropose,
    GovSuspend,
    GovVote,
    GrantRevoke,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    OrgQuota,
    OrgRegister,
    RecordAppend,
    RecordBatch,
    SchemaPublish,
    StatusPublish,
)
from p2pledger.chain.schema import SCHEMAS
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.types import PeerId, PublicKey

HOUR_MS = 60 * 60 * 1_000
HERD = 131_072
BY_ADMINS = {
    one.KIND for one in (KeyAdd, KeyRotate, KeyRevoke, GovPropose, GovVote, GovSuspend, AuthorityRotate)
}
"""What an organisation's admins sign, as many as have to."""


@dataclass
class _Life:
    owner: str
    role: KeyRole
    begins: int
    ends: int | None = None


@dataclass
class _Device:
    keys: list[PublicKey]
    """In their order: the last is the one to keep, and may not have begun."""
    gateway: PeerId
    is_retired: bool = False


@dataclass
class _List:
    version: int
    hour: int
    purpose: int
    size: int


class RegistryInvariants:
    """Takes accepted transactions in their order, and measures when they are enacted.

    Each raises ValueError when it breaks what was promised.
    """

    def __init__(self, genesis: Genesis) -> None:
        self.lives: dict[PublicKey, _Life] = {}
        self.begins = {RESIDENTS: 0}
        """From which height on an organisation sponsors."""
        self.thresholds: dict[str, int] = {}
        self.quotas: dict[str, list[tuple[int, Quota]]] = {}
        """Of each organisation, which quota was decided to hold from which height on."""
        self.schemas: dict[str, str] = {}
        """Who published each."""
        self.lists: dict[tuple[str, str], _List] = {}
        self._genesis = genesis
        self._devices: dict[bytes, _Device] = {}
        self._gateways = {gateway.peer: [gateway.key] for gateway in genesis.gateways}
        """The keys of each, as a device's."""
        self._invites: set[bytes] = set()
        self._used: dict[str, tuple[int, int, int]] = {}
        """The window in which each sponsor wrote last, and how many transactions and bytes in it."""
        self.quotas[RESIDENTS] = [(0, genesis.residents_quota)]
        for founder in genesis.organisations:
            self._organisation(founder.id, founder.admin_keys, founder.threshold, founder.quota, 0)
        for gateway in genesis.gateways:
            self._begin(gateway.key, gateway.organisation, 0, KeyRole.GATEWAY)

    def check(self, payload: OrgRegister | OrgQuota, from_height: int) -> None:
        """Whether a measure can be carried out now. Raises: ValueError."""
        if isinstance(payload, OrgQuota):
            _require(payload.id in self.begins, "a quota for nobody")
            return
        _require(payload.id not in self.begins, "an organisation registered twice")
        for key in payload.admin_keys:
            _require(key not in self.lives, "a key that had an owner before")

    def enact(self, payload: OrgRegister | OrgQuota, from_height: int) -> None:
        """A measure that was decided, to work from a height on. Raises: ValueError, and then does nothing."""
        self.check(payload, from_height)
        if isinstance(payload, OrgQuota):
            held = [one for one in self.quotas.get(payload.id, []) if one[0] < from_height]
            self.quotas[payload.id] = [*held, (from_height, payload.quota)]
            return
        self._organisation(payload.id, payload.admin_keys, payload.threshold, payload.quota, from_height)

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """An accepted transaction, in the block of this height and time. Raises: ValueError."""
        body = transaction.body
        begins = self.begins.get(body.sponsor)
        _require(begins is not None and begins <= height, "a sponsor that is unknown so far")
        self._charge(transaction, height, time_ms)
        if body.kind == GatewayJoin.KIND:
            self._join(transaction, decode(GatewayJoin, body.payload), height, time_ms)
            return
        self._check_signers(transaction, height)
        match body.kind:
            case KeyAdd.KIND | KeyRotate.KIND | KeyRevoke.KIND:
                self._change_key(transaction, height)
            case DeviceEnroll.KIND | DeviceTransfer.KIND | DeviceRetire.KIND:
                self._move_device(transaction, height)
            case RecordAppend.KIND | RecordBatch.KIND:
                self._hear(transaction, height)
            case SchemaPublish.KIND:
                self._publish(body.sponsor, decode(SchemaPublish, body.payload))
            case StatusPublish.KIND:
                self._status(body.sponsor, decode(StatusPublish, body.payload), time_ms // HOUR_MS)

    def _charge(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """A sponsor writes no more in a window of time than its quota at that height."""
        sponsor, window = transaction.body.sponsor, time_ms // self._genesis.parameters.quota_window_ms
        before = self._used.get(sponsor, (window, 0, 0))
        count, size = before[1:] if before[0] == window else (0, 0)
        count, size = count + 1, size + len(transaction.encoded)
        quota = self.quota_at(sponsor, height)
        is_within = quota is not None and count <= quota.transactions and size <= quota.size_bytes
        _require(
            is_within or _takes_back(transaction),
            f"{sponsor} wrote {count} transactions of {size} bytes in a window",
        )
        self._used[sponsor] = window, count, size

    def _check_signers(self, transaction: Transaction, height: int) -> None:
        """A key of the sponsor signed, a gateway's for residents; and admins where they have to."""
        sponsor = transaction.body.sponsor
        living = [key for key in transaction.body.signers if self.owner_at(key, height) is not None]
        if sponsor == RESIDENTS:
            has_gateway = any(self.lives[key].role is KeyRole.GATEWAY for key in living)
            _require(has_gateway, "a resident's transaction without a gateway")
            return
        own = [self.lives[key].role for key in living if self.lives[key].owner == sponsor]
        _require(bool(own), "no living key of the sponsor signed")
        if transaction.body.kind in BY_ADMINS:
            _require(own.count(KeyRole.ADMIN) >= self.thresholds[sponsor], "fewer admins than have to sign")

    def _join(self, transaction: Transaction, joined: GatewayJoin, height: int, time_ms: int) -> None:
        sponsor, terms = transaction.body.sponsor, joined.invite.terms
        issuer = self.lives.get(terms.issuer)
        is_own = terms.organisation == sponsor == self.owner_at(terms.issuer, height)
        _require(is_own and issuer is not None and issuer.role is KeyRole.ADMIN, "an invite of no admin")
        _require(terms.genesis_hash == self._genesis.hash, "an invite to another ledger")
        _require(time_ms <= terms.expires_ms, "an invite that had expired")
        _require(terms.id not in self._invites, "an invite used twice")
        _require(joined.peer not in self._gateways, "a peer that joins twice")
        _require(joined.key in transaction.body.signers, "a gateway whose key did not sign")
        self._begin(joined.key, sponsor, height + 1, KeyRole.GATEWAY)
        self._invites.add(terms.id)
        self._gateways[joined.peer] = [joined.key]

    def _change_key(self, transaction: Transaction, height: int) -> None:
        body, coming = transaction.body, height + 1
        if body.kind == KeyAdd.KIND:
            added: KeyAdd = decode(KeyAdd, body.payload)
            start = added.from_height or coming
            _require(start > height, "a key that begins in the past")
            _require(added.key in body.signers, "a new key that did not sign")
            self._begin(added.key, body.sponsor, start, added.role)
        elif body.kind == KeyRevoke.KIND:
            ended: KeyRevoke = decode(KeyRevoke, body.payload)
            self._end(self._own(ended.key, body.sponsor), ended.from_height or coming, height)
        else:
            turned: KeyRotate = decode(KeyRotate, body.payload)
            old, start = self._own(turned.old_key, body.sponsor), turned.from_height or coming
            _require(turned.new_key in body.signers, "a new key that did not sign")
            self._end(old, start, height)
            self._begin(turned.new_key, body.sponsor, start, old.role)
            for keys in (*(device.keys for device in self._devices.values()), *self._gateways.values()):
                if keys[-1] == turned.old_key:
                    keys.append(turned.new_key)

    def _move_device(self, transaction: Transaction, height: int) -> None:
        body = transaction.body
        if body.kind == DeviceEnroll.KIND:
            enrolled: DeviceEnroll = decode(DeviceEnroll, body.payload)
            _require(enrolled.device not in self._devices, "a device enrolled twice")
            self._check_gateway(transaction, enrolled.gateway, height)
            self._begin(enrolled.key, body.sponsor, height + 1, KeyRole.DEVICE)
            self._devices[enrolled.device] = _Device([enrolled.key], enrolled.gateway)
            return
        is_transfer = body.kind == DeviceTransfer.KIND
        moved: DeviceTransfer | DeviceRetire = decode(
            DeviceTransfer if is_transfer else DeviceRetire, body.payload
        )
        device = self._serving(moved.device)
        kept = device.keys[-1]
        is_own = kept in body.signers and self.owner_at(kept, height) is not None
        _require(is_own, "a device moves without its own signature")
        if isinstance(moved, DeviceTransfer):
            self._check_gateway(transaction, moved.gateway, height)
            device.gateway, self.lives[kept].owner = moved.gateway, body.sponsor
            return
        self._check_gateway(transaction, device.gateway, height)
        device.is_retired = True
        self.lives[kept].ends = height + 1

    def _serving(self, device: bytes) -> _Device:
        _require(device in self._devices, "a device that was never enrolled")
        _require(not self._devices[device].is_retired, "a device that is retired")
        return self._devices[device]

    def _check_gateway(self, transaction: Transaction, peer: PeerId, height: int) -> None:
        """The gateway of this peer has signed, and it is the sponsor's."""
        body = transaction.body
        signed = set(self._gateways.get(peer, ())) & set(body.signers)
        is_signed = any(self.owner_at(key, height) == body.sponsor for key in signed)
        _require(is_signed, "a gateway that did not sign, or is another's")

    def _hear(self, transaction: Transaction, height: int) -> None:
        """What a numbered record says, its device or that one's gateway signed, for their organisation."""
        body = transaction.body
        kind = RecordAppend if body.kind == RecordAppend.KIND else RecordBatch
        record: RecordAppend | RecordBatch = decode(kind, body.payload)
        if record.device is None:
            return
        device = self._serving(record.device)
        _require(self.lives[device.keys[-1]].owner == body.sponsor, "another's device")
        authors = {*device.keys, *self._gateways[device.gateway]} & set(body.signers)
        is_heard = any(self.owner_at(key, height) == body.sponsor for key in authors)
        _require(is_heard, "a record that neither its device nor its gateway signed")

    def owner_at(self, key: PublicKey, height: int) -> str | None:
        """Whose key it is in the block of a height; None when it may not sign there."""
        life = self.lives.get(key)
        if life is None or height < life.begins or (life.ends is not None and height >= life.ends):
            return None
        return life.owner

    def quota_at(self, organisation: str, height: int) -> Quota | None:
        """The quota that holds for an organisation in the block of a height, as decided so far."""
        held = [quota for begins, quota in self.quotas.get(organisation, []) if begins <= height]
        return held[-1] if held else None

    def _organisation(
        self, name: str, keys: tuple[PublicKey, ...], threshold: int, quota: Quota, begins: int
    ) -> None:
        self.begins[name], self.thresholds[name] = begins, threshold
        self.quotas[name] = [(0, quota)]
        for key in keys:
            self._begin(key, name, begins, KeyRole.ADMIN)

    def _begin(self, key: PublicKey, owner: str, begins: int, role: KeyRole) -> None:
        _require(key not in self.lives, "a key that had an owner before")
        self.lives[key] = _Life(owner, role, begins)

    def _own(self, key: PublicKey, owner: str) -> _Life:
        life = self.lives.get(key)
        _require(life is not None and life.owner == owner, "another's key")
        return self.lives[key]

    def _end(self, life: _Life, ends: int, height: int) -> None:
        _require(ends > height, "a key that ended in the past")
        _require(life.ends is None or ends < life.ends, "an end that moved away")
        life.ends = ends

    def _publish(self, sponsor: str, payload: SchemaPublish) -> None:
        name, _, number = payload.id.rpartition("/")
        shipped = {schema.split(".")[0] for schema in SCHEMAS}
        _require(name.split(".")[0] not in shipped, "a schema under a shipped name")
        _require(payload.id not in self.schemas, "a schema published twice")
        before = self.schemas.get(f"{name}/{int(number) - 1}")
        _require(number == "1" or before == sponsor, "a version that follows no own one")
        self.schemas[payload.id] = sponsor

    def _status(self, sponsor: str, payload: StatusPublish, hour: int) -> None:
        size = len(gzip.decompress(payload.compressed)) * 8
        _require(size >= HERD, "a status list that nobody can hide in")
        before = self.lists.get((sponsor, payload.list_id))
        now = _List(payload.version, hour, payload.purpose.value, size)
        if before is None:
            _require(payload.version == 1, "a status list that does not begin with 1")
        else:
            _require(payload.version == before.version + 1, "a version of a status list left out")
            _require(hour > before.hour, "two versions of a status list in an hour")
            _require((now.purpose, size) == (before.purpose, before.size), "another status list's version")
        self.lists[sponsor, payload.list_id] = now


def _takes_back(transaction: Transaction) -> bool:
    """Whether it is one of those that are carried out whatever was used of the quota."""
    body = transaction.body
    if body.kind == KeyRevoke.KIND:
        ended: KeyRevoke = decode(KeyRevoke, body.payload)
        return ended.from_height == 0
    return body.kind in (GrantRevoke.KIND, EraseRequest.KIND)


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise ValueError(found)
