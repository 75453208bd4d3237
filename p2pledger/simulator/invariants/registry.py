"""What the registry promises, by plain books over the accepted transactions. Floor 8.

A key has one owner for ever; it begins and ends at heights that are still to come, and an end only ever moves
nearer; an organisation sponsors nothing before its height; a schema is published once; versions of a status
list follow one by one, at most one an hour, with bits enough to hide in.
"""

import gzip
from dataclasses import dataclass

from p2pledger.chain.genesis import RESIDENTS, Genesis, KeyRole, Quota
from p2pledger.chain.payloads import (
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    GatewayJoin,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    OrgQuota,
    OrgRegister,
    SchemaPublish,
    StatusPublish,
)
from p2pledger.chain.schema import SCHEMAS
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import decode
from p2pledger.types import PublicKey

HOUR_MS = 60 * 60 * 1_000
HERD = 131_072


@dataclass
class _Life:
    owner: str
    is_admin: bool
    begins: int
    ends: int | None = None


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
        self._devices: dict[bytes, PublicKey] = {}
        self._peers = {gateway.peer: gateway.organisation for gateway in genesis.gateways}
        for founder in genesis.organisations:
            self._organisation(founder.id, founder.admin_keys, founder.threshold, founder.quota, 0)
        for gateway in genesis.gateways:
            self._begin(gateway.key, gateway.organisation, 0, is_admin=False)

    def enact(self, payload: OrgRegister | OrgQuota, from_height: int) -> None:
        """A measure that was decided, to work from a height on. Raises: ValueError."""
        if isinstance(payload, OrgQuota):
            _require(payload.id in self.begins, "a quota for nobody")
            held = [one for one in self.quotas.get(payload.id, []) if one[0] < from_height]
            self.quotas[payload.id] = [*held, (from_height, payload.quota)]
            return
        _require(payload.id not in self.begins, "an organisation registered twice")
        self._organisation(payload.id, payload.admin_keys, payload.threshold, payload.quota, from_height)

    def apply(self, transaction: Transaction, height: int, time_ms: int) -> None:
        """An accepted transaction, in the block of this height and time. Raises: ValueError."""
        body, coming = transaction.body, height + 1
        begins = self.begins.get(body.sponsor)
        _require(begins is not None and begins <= height, "a sponsor that is unknown so far")
        match body.kind:
            case KeyAdd.KIND:
                self._check_admins(transaction, height)
                added: KeyAdd = decode(KeyAdd, body.payload)
                start, is_admin = added.from_height or coming, added.role is KeyRole.ADMIN
                _require(start > height, "a key that begins in the past")
                self._begin(added.key, body.sponsor, start, is_admin=is_admin)
            case KeyRotate.KIND:
                self._check_admins(transaction, height)
                turned: KeyRotate = decode(KeyRotate, body.payload)
                old = self._own(turned.old_key, body.sponsor)
                self._end(old, turned.from_height or coming, height)
                start = turned.from_height or coming
                self._begin(turned.new_key, body.sponsor, start, is_admin=old.is_admin)
                for device, key in self._devices.items():
                    if key == turned.old_key:
                        self._devices[device] = turned.new_key
            case KeyRevoke.KIND:
                self._check_admins(transaction, height)
                ended: KeyRevoke = decode(KeyRevoke, body.payload)
                self._end(self._own(ended.key, body.sponsor), ended.from_height or coming, height)
            case GatewayJoin.KIND:
                joined: GatewayJoin = decode(GatewayJoin, body.payload)
                _require(joined.peer not in self._peers, "a peer that joins twice")
                self._peers[joined.peer] = body.sponsor
                self._begin(joined.key, body.sponsor, coming, is_admin=False)
            case DeviceEnroll.KIND:
                enrolled: DeviceEnroll = decode(DeviceEnroll, body.payload)
                _require(enrolled.device not in self._devices, "a device enrolled twice")
                self._devices[enrolled.device] = enrolled.key
                self._begin(enrolled.key, body.sponsor, coming, is_admin=False)
            case DeviceTransfer.KIND:
                moved: DeviceTransfer = decode(DeviceTransfer, body.payload)
                self.lives[self._devices[moved.device]].owner = self._peers[moved.gateway]
            case DeviceRetire.KIND:
                retired: DeviceRetire = decode(DeviceRetire, body.payload)
                life = self.lives[self._devices[retired.device]]
                if life.ends is None:
                    life.ends = coming
            case SchemaPublish.KIND:
                self._publish(body.sponsor, decode(SchemaPublish, body.payload))
            case StatusPublish.KIND:
                self._status(body.sponsor, decode(StatusPublish, body.payload), time_ms // HOUR_MS)

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
            self._begin(key, name, begins, is_admin=True)

    def _begin(self, key: PublicKey, owner: str, begins: int, *, is_admin: bool) -> None:
        _require(key not in self.lives, "a key that had an owner before")
        self.lives[key] = _Life(owner, is_admin, begins)

    def _own(self, key: PublicKey, owner: str) -> _Life:
        life = self.lives.get(key)
        _require(life is not None and life.owner == owner, "another's key")
        return self.lives[key]

    def _end(self, life: _Life, ends: int, height: int) -> None:
        _require(ends > height, "a key that ended in the past")
        _require(life.ends is None or ends < life.ends, "an end that moved away")
        life.ends = ends

    def _check_admins(self, transaction: Transaction, height: int) -> None:
        sponsor = transaction.body.sponsor
        signed = [key for key in transaction.body.signers if self.owner_at(key, height) == sponsor]
        admins = [key for key in signed if self.lives[key].is_admin]
        _require(len(admins) >= self.thresholds[sponsor], "fewer admins than have to sign")

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


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise ValueError(found)
