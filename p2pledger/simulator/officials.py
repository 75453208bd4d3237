"""Those who keep the ledger in order in a simulated run: admins, gateways, issuers, authorities. Floor 8.

As `residents` do, they wait for what is right and hand in what has to be refused: a write by a revoked key,
an invite used twice, a status list's wrong version, ranges that overlap, a stranger's correction.
"""

from collections.abc import Callable
from gzip import compress

from p2pledger.chain.genesis import KeyRole, Quota
from p2pledger.chain.invite import Invite, InviteTerms, sign_invite
from p2pledger.chain.payloads import (
    AuthorityRotate,
    CorrectionReason,
    DeviceEnroll,
    DeviceRetire,
    DeviceTransfer,
    DiscrepancyReason,
    DiscrepancyResolve,
    Fate,
    GatewayJoin,
    GovPropose,
    GovSuspend,
    KeyAdd,
    KeyRevoke,
    KeyRotate,
    LotClose,
    LotCreate,
    OrgQuota,
    OrgRegister,
    Parameter,
    ParameterSet,
    RecordBatch,
    RecordCorrect,
    RevocationReason,
    SchemaField,
    SchemaPublish,
    ShipAccept,
    ShipOffer,
    ShipReceive,
    StatusPublish,
    StatusPurpose,
    UpgradePlan,
)
from p2pledger.chain.schema import FieldClass, SchemaClass
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.crypto import Signer
from p2pledger.simulator.city import START_MS, City
from p2pledger.simulator.client import Chain, Client, Errand, digest, note, weighing
from p2pledger.types import ZERO_HASH, Height, Millis, PeerId

SALT = 2**34
HOUR_MS = 60 * 60 * 1_000
FOREVER = 1_000_000
"""How many blocks ahead an upgrade is planned: no run comes to it, so no node has to know its rules."""
NO_BITS = compress(bytes(131_072 // 8), mtime=0)
GOODS = "200101"
MUSEUM = "museum"
SMALL = Quota(3, 1_000_000)
"""What the museum may write in a window: fewer transactions than it hands in."""
BLOCK_TRANSACTIONS = 12
"""What a block may hold once the authorities have said so: fewer than blocks hold without it."""


class Officials(Client):
    """The clients of one run that use the registry, records, settled discrepancies, and governance."""

    def __init__(self, city: City, chain: Callable[[], Chain], clock: Callable[[], int]) -> None:
        super().__init__(city, chain, clock, SALT)
        one, two, three = (city.member(index).organisation for index in (1, 2, 3))
        self._partner, self._stranger, self._issuer = one, two, three
        self.before = [
            self._keys(),
            self._fleet(),
            self._filing(),
            self._partnership(),
            self._status(),
            self._charter(),
            self._limits(),
            self._rotation(),
        ]
        self.after = [self._next_status(), self._free_again()]

    # --- errands before the leap -------------------------------------------------------------------------

    def _keys(self) -> Errand:
        """A key for writing comes, turns into another one, and ends."""
        first, second = self.key(0), self.key(1)
        add = KeyAdd(first.public_key, KeyRole.SERVICE, None, Height(0))
        yield from self.final(self.by("city", add, first))
        self.attempt(
            self.made(KeyAdd(second.public_key, KeyRole.ADMIN, None, Height(0)), "city", first, second),
            self.by(self._stranger, KeyRevoke(first.public_key, RevocationReason.CEASED, Height(0))),
            self.by("city", KeyRevoke(first.public_key, RevocationReason.CEASED, Height(1))),
        )
        yield from self.final(self.made(note(), "city", first))
        rotate = KeyRotate(first.public_key, second.public_key, None, Height(0))
        yield from self.final(self.by("city", rotate, second))
        self.attempt(self.made(note(), "city", first), self.by("city", add, first))
        yield from self.final(self.made(note(), "city", second))
        revoke = KeyRevoke(second.public_key, RevocationReason.COMPROMISED, Height(0))
        yield from self.final(self.by("city", revoke))
        self.attempt(self.made(note(), "city", second), self.by("city", revoke))

    def _fleet(self) -> Errand:
        """A gateway joins; a meter writes ranges behind one gateway, then behind another, and retires."""
        city, gateway, other, meter = self.city.signer(300), self.key(10), self.key(11), self.key(12)
        partner, device = self._partner, digest("meter")[:16]
        invite = self._invite(partner, 1)
        join = GatewayJoin(gateway.public_key, PeerId("fleet-gateway"), invite)
        enroll = DeviceEnroll(device, meter.public_key, PeerId("city-gateway"), "meter", ZERO_HASH)
        yield from self.final(self.made(join, partner, gateway), self.made(enroll, "city", city, meter))
        late = self._invite(partner, 3, expires_ms=START_MS)
        for peer, found in (("another", invite), ("fleet", self._invite(partner, 2)), ("late", late)):
            again = GatewayJoin(other.public_key, PeerId(f"{peer}-gateway"), found)
            self.attempt(self.made(again, partner, other))
        yield from self.final(self.made(batch(device, 0, 9), "city", city))
        self.attempt(
            self.made(batch(device, 5, 14), "city", city), self.made(weighing(device, 9), "city", meter)
        )
        apart = batch(device, 20, 29), batch(device, 12, 15)
        yield from self.final(*(self.made(one, "city", city) for one in apart))
        transfer = DeviceTransfer(device, PeerId("fleet-gateway"), ZERO_HASH)
        yield from self.final(self.made(transfer, partner, gateway, meter))
        self.attempt(self.made(batch(device, 40, 49), "city", city))
        yield from self.final(self.made(batch(device, 50, 59), partner, gateway))
        retire = DeviceRetire(device, ZERO_HASH)
        yield from self.final(self.made(retire, partner, gateway, meter))
        back = DeviceTransfer(device, PeerId("city-gateway"), ZERO_HASH)
        self.attempt(self.made(batch(device, 60, 69), partner, gateway), self.made(back, "city", city, meter))

    def _filing(self) -> Errand:
        """A schema is published and followed by another version; a record of it is corrected once."""
        schema = self._schema(1)
        yield from self.final(self.by("city", schema))
        self.attempt(self.by("city", schema), self.by(self._stranger, self._schema(2)))
        notes = [self.by("city", note("bench.repair/1")) for _ in range(2)]
        yield from self.final(*notes)
        wrong, right = notes
        correct = RecordCorrect(wrong.id, CorrectionReason.INCORRECT_DATA, (right.id,))
        self.attempt(self.by(self._stranger, correct))
        yield from self.final(self.by("city", correct), self.by("city", self._schema(2)))
        self.attempt(self.by("city", correct))

    def _partnership(self) -> Errand:
        """Another organisation's scale shows less than was sent; both sides settle it."""
        city, gateway, partner = self.city.signer(300), self.key(20), self._partner
        ours, theirs = self.key(21), self.key(22)
        join = GatewayJoin(gateway.public_key, PeerId("scale-gateway"), self._invite(partner, 4))
        scales = [digest(name)[:16] for name in ("our scale", "their scale")]
        enrolments = [
            DeviceEnroll(scales[0], ours.public_key, PeerId("city-gateway"), "scale", ZERO_HASH),
            DeviceEnroll(scales[1], theirs.public_key, PeerId("scale-gateway"), "scale", ZERO_HASH),
        ]
        yield from self.final(self.made(join, partner, gateway), self.made(enrolments[0], "city", city, ours))
        sent = self.made(weighing(scales[0], 0), "city", ours)
        yield from self.final(sent, self.made(enrolments[1], partner, gateway, theirs))
        come = self.made(weighing(scales[1], 0), partner, theirs)
        lot, load = digest("bale")[:16], digest("bales")[:16]
        create = LotCreate(lot, GOODS, 500_000, "container:8", START_MS, sent.id)
        yield from self.final(come, self.by("city", create, ours))
        offer = ShipOffer(load, (lot,), self._stranger, partner)
        yield from self.final(self.by("city", offer))
        yield from self.final(self.by(self._stranger, ShipAccept(load)))
        receive = ShipReceive(load, 480_000, "facility:2", come.id)
        yield from self.final(self.by(partner, receive))
        resolve = DiscrepancyResolve(load, DiscrepancyReason.MOISTURE, 490_000)
        self.attempt(self.by(partner, resolve), self.by("city", LotClose(lot, Fate.SOLD)))
        both = self.by(partner, resolve, self.city.admin("city"))
        yield from self.final(both)
        self.attempt(self.by("city", resolve, self.city.admin(partner)))
        # The scale is stolen: what its key signs is refused from then on.
        stolen = KeyRevoke(ours.public_key, RevocationReason.COMPROMISED, Height(0))
        yield from self.final(self.by(partner, LotClose(lot, Fate.RECYCLED)), self.by("city", stolen))
        self.attempt(self.made(weighing(scales[0], 1), "city", ours))

    def _status(self) -> Errand:
        """The first version of a list of credentials' status."""
        first = self.by(self._issuer, bits(1))
        yield from self.final(first)
        self.attempt(*(self.by(self._issuer, bits(version)) for version in (1, 2, 3)))

    def _charter(self) -> Errand:
        """An organisation is founded by one of two measures, is given less room, and is suspended."""
        founders = self.key(30), self.key(31)
        registers = [
            OrgRegister(MUSEUM, "museum", (one.public_key,), 1, Quota(100, 1_000_000)) for one in founders
        ]
        founded = yield from self.decide(*registers)
        admin, other = founders if founded is registers[0] else reversed(founders)
        self._curator = admin
        yield from self.final(self.made(note(), MUSEUM, admin))
        again = GovPropose(
            OrgRegister.KIND, encode(registers[0]), Height(self.chain().height + 100), "again", ZERO_HASH
        )
        self.attempt(self.made(note(), MUSEUM, other), self.by(self.chain().sitting()[0], again))
        yield from self.decide(OrgQuota(MUSEUM, SMALL))
        # Which of them stand is for the blocks' order to decide; no more than the quota has room for.
        self.flood(self.made(note(), MUSEUM, admin) for _ in range(SMALL.transactions + 1))
        until_ms = Millis(self.clock() + HOUR_MS)
        calls: dict[str, Transaction] = {}
        while not self.chain().is_suspended(MUSEUM, self.clock()):
            for name in self.chain().sitting():
                if name not in calls:
                    calls[name] = self.by(name, GovSuspend(MUSEUM, until_ms))
            yield [one for one in calls.values() if not self.chain().is_final(one.id)]
        self.attempt(self.made(note(), MUSEUM, admin))

    def _limits(self) -> Errand:
        """Blocks become smaller; two upgrades to one version are planned, of which one can be."""
        yield from self.decide(ParameterSet(Parameter.BLOCK_TRANSACTIONS_MAX, BLOCK_TRANSACTIONS))
        yield from self.decide(UpgradePlan(2), UpgradePlan(2), ahead=FOREVER)

    def _rotation(self) -> Errand:
        """An authority is to vote with another key. Its node is never ready, so that it never comes to it."""
        rotate = AuthorityRotate(self.key(40).public_key, PeerId("another-peer"))
        tried: dict[str, Transaction] = {}
        while not any(self.chain().is_final(one.id) for one in tried.values()):
            name = self.chain().sitting()[-1]
            if name not in tried:
                tried[name] = self.by(name, rotate)
            yield [tried[name]]
        self.attempt(self.by(self.chain().sitting()[0], rotate))

    # --- errands after it --------------------------------------------------------------------------------

    def _next_status(self) -> Errand:
        """The next version of the list, once its hour has come."""
        yield from self.final(self.by(self._issuer, bits(2)))
        self.attempt(*(self.by(self._issuer, bits(version)) for version in (2, 3)))

    def _free_again(self) -> Errand:
        """The suspension has ended by itself."""
        yield from self.final(self.made(note(), MUSEUM, self._curator))

    # --- what they hand in -------------------------------------------------------------------------------

    def _invite(self, organisation: str, number: int, expires_ms: int = START_MS + HOUR_MS) -> Invite:
        admin: Signer = self.city.admin(organisation)
        terms = InviteTerms(
            id=digest(f"invite {number}")[:16],
            organisation=organisation,
            role=KeyRole.GATEWAY,
            expires_ms=Millis(expires_ms),
            uses=1,
            genesis_hash=self.city.genesis.hash,
            issuer=admin.public_key,
        )
        return sign_invite(terms, admin)

    def _schema(self, version: int) -> SchemaPublish:
        fields = (SchemaField("parts", FieldClass.PUBLIC),)
        return SchemaPublish(f"bench.repair/{version}", SchemaClass.PUBLIC, digest("bench"), fields)


def batch(device: bytes, first: int, last: int) -> RecordBatch:
    """Readings of a device, the first and the last by their numbers."""
    root = digest(f"readings {first} to {last}")
    count = last - first + 1
    return RecordBatch("sensor.reading/1", device, first, last, count, START_MS, START_MS, root)


def bits(version: int) -> StatusPublish:
    """A list in which no bit is set."""
    return StatusPublish("passes", version, StatusPurpose.REVOCATION, NO_BITS)
