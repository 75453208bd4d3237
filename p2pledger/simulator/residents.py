"""Those who use all six modules in a simulated run: a hauler, residents, a utility, custodians. Floor 8.

Each errand goes on once what it asked for is final, as clients do that wait for receipts. Beside what is
right they hand in what has to be refused, at a time when it can be nothing else: a lot spent twice, a second
claim, a use of a revoked grant. The judge's books would not have it.
"""

from collections.abc import Callable
from dataclasses import replace

from p2pledger.chain.payloads import (
    AccessIntent,
    AccessRefused,
    AccessServed,
    AuditGrant,
    ClaimAudit,
    DataRegister,
    DeviceEnroll,
    Drive,
    EnergyParameters,
    EnergyRow,
    EnergySettle,
    Enrolment,
    EraseDone,
    EraseRequest,
    ErasureMethod,
    Fate,
    GrantGive,
    GrantRevoke,
    HoldPlace,
    LotClose,
    LotCreate,
    LotTransform,
    MandateEnd,
    MandateGive,
    MobilityClaim,
    MobilityParameters,
    NewLot,
    Operation,
    PointsRedeem,
    Power,
    ProgramChange,
    ProgramCreate,
    Purpose,
    RefusalReason,
    ShipAccept,
    ShipOffer,
    ShipReceive,
    SizeClass,
    Terms,
    sign_enrolment,
)
from p2pledger.chain.period import Period, period_at
from p2pledger.chain.transaction import Transaction
from p2pledger.simulator.city import START_MS, City
from p2pledger.simulator.client import Chain, Client, Errand, digest, weighing
from p2pledger.types import ZERO_HASH, Hash, Height, Millis, PeerId

DAY_MS = 24 * 60 * 60 * 1_000
SALT = 2**33
PERSONAL = "personal.reading/1"
MIXED, GLASS = "200301", "200102"
DRIVING = MobilityParameters(2_500, 2_000, 13_889, 10, 5, 1, 500, 200_000, 100)
DEARER = replace(DRIVING, points_per_km=2 * DRIVING.points_per_km)
CAREFUL = Drive(100_000, 7_000, 2, 3, 70, 7_004)
"""Scores 955, and so earns 9,550 points."""


class Residents(Client):
    """The clients of one run that use custody, programs and consent."""

    def __init__(self, city: City, chain: Callable[[], Chain], clock: Callable[[], int]) -> None:
        super().__init__(city, chain, clock, SALT)
        one, two, three = (city.member(index).organisation for index in (1, 2, 3))
        self._carrier, self._custodians, self._asker = one, (one, two), three
        self.before = [
            self._haul(),
            self._driving(),
            self._sharing(),
            self._consent(),
            self._inquiry(),
        ]
        self.after = [self._claims(), self._settlement()]

    # --- errands before the leap -------------------------------------------------------------------------

    def _haul(self) -> Errand:
        """A container is weighed, carried with a loss, sorted, and its parts are closed."""
        city, scale = self.city, self.key(0)
        device, peer = digest("scale")[:16], PeerId("city-gateway")
        enroll = DeviceEnroll(device, scale.public_key, peer, "scale", ZERO_HASH)
        yield from self.final(self.made(enroll, "city", city.signer(300), scale))
        weighings = [self.made(weighing(device, seq), "city", scale) for seq in range(3)]
        yield from self.final(*weighings)
        lot, glass, rest, other = (digest(name)[:16] for name in ("lot", "glass", "rest", "other"))
        create = LotCreate(lot, MIXED, 800_000, "container:7", START_MS, weighings[0].id)
        yield from self.final(self.by("city", create, scale))
        self.attempt(
            self.by("city", LotCreate(other, MIXED, 1, "container:7", START_MS, create.weighing), scale)
        )
        load = digest("load")[:16]
        yield from self.final(self.by("city", ShipOffer(load, (lot,), self._carrier, "city")))
        self.attempt(self.by(self._carrier, LotClose(lot, Fate.LANDFILL)))
        yield from self.final(self.by(self._carrier, ShipAccept(load)))
        receive = ShipReceive(load, 799_100, "facility:1", weighings[1].id)
        yield from self.final(self.by("city", receive))
        outputs = NewLot(glass, GLASS, 99_100), NewLot(rest, MIXED, 690_000)
        sort = LotTransform((lot,), outputs, 10_000, "sorting", "facility:1")
        yield from self.final(self.by("city", sort))
        closes = LotClose(glass, Fate.RECYCLED), LotClose(rest, Fate.ENERGY)
        yield from self.final(*(self.by("city", close) for close in closes))
        again = LotTransform((lot,), (NewLot(other, MIXED, 799_100),), 0, "sorting", "facility:1")
        self.attempt(self.by("city", again), self.by("city", LotClose(glass, Fate.SOLD)))

    def _driving(self) -> Errand:
        """A program for driving, and two accounts of it."""
        now = period_at(Period.WEEK, START_MS)
        drive = self._program("drive", DRIVING, now)
        yield from self.decide(drive)
        yield from self.final(*(self._enrolment("drive", one, nullifier=one) for one in (10, 11)))
        self.attempt(self._enrolment("drive", 12, nullifier=10))
        dearer = replace(drive.terms, from_period=now + 2, parameters=DEARER)
        yield from self.decide(ProgramChange("drive", dearer))

    def _sharing(self) -> Errand:
        """A program for shared energy, by one of two measures under that name, and two accounts of it."""
        one = self._program("sun", EnergyParameters(2), period_at(Period.MONTH, START_MS))
        self._sun = yield from self.decide(one, replace(one, operator=self._asker))
        yield from self.final(*(self._enrolment("sun", one, nullifier=one) for one in (13, 14)))

    def _program(self, name: str, rules: MobilityParameters | EnergyParameters, now: int) -> ProgramCreate:
        terms = Terms(now + 1, digest(name), rules, 1_000_000, 12, 24)
        return ProgramCreate(name, terms, "city", "city", "city")

    def _enrolment(self, program: str, account: int, *, nullifier: int) -> Transaction:
        key, secret = self.key(account).public_key, digest(f"nullifier {nullifier}")
        terms = Enrolment(self.city.genesis.hash, program, key, secret)
        return self.resident(account, sign_enrolment(terms, self.city.admin("city")))

    def _consent(self) -> Errand:
        """Data is granted, asked for, served, taken back, and erased."""
        mine, grant = self.by("city", self._registration(20)), self.resident(20, self._grant(20))
        yield from self.final(mine)
        yield from self.final(grant)
        intent = self.by(self._asker, self._intent(mine, 22, grant=grant.id))
        yield from self.final(intent)
        yield from self.final(self.by(self._custodians[0], AccessServed(intent.id)))
        yield from self.final(self.resident(20, GrantRevoke(grant.id)))
        self.attempt(
            self.by(self._asker, self._intent(mine, 23, grant=grant.id)),
            self.by(self._custodians[1], AccessServed(intent.id)),
        )
        yield from self.final(self.resident(20, EraseRequest(self.key(20).public_key, None)))
        yield from self.final(*(self.by(one, erased(mine)) for one in self._custodians))
        self.attempt(self.by(self._custodians[0], erased(mine)), self.resident(20, self._grant(20)))
        refused = AccessRefused(intent.id, RefusalReason.ERASED)
        yield from self.final(self.by(self._custodians[1], refused))

    def _inquiry(self) -> Errand:
        """Other data is searched and held by law, so that it is not erased; then the mandate ends."""
        held, mandate = self.by("city", self._registration(21)), digest("mandate")[:16]
        yield from self.final(held)
        yield from self.decide(
            MandateGive(
                id=mandate,
                organisation=self._asker,
                legal_reference="eli:act:12",
                purpose=Purpose.ENFORCE_SECURITY,
                powers=(Power.ACCESS, Power.SEAL, Power.HOLD),
                schemas=(PERSONAL,),
                until_ms=Millis(START_MS + 90 * DAY_MS),
            )
        )
        hold = HoldPlace(mandate, None, held.id, digest("order"), Millis(START_MS + 80 * DAY_MS))
        search = self._intent(held, 24, mandate=mandate, opens_height=Height(self.chain().height + 1_000))
        yield from self.final(self.by(self._asker, hold), self.by(self._asker, search))
        yield from self.final(self.resident(21, EraseRequest(None, held.id)))
        self.attempt(self.by(self._custodians[0], erased(held)))
        yield from self.decide(MandateEnd(mandate), MandateEnd(mandate))
        self.attempt(self.by(self._asker, self._intent(held, 25, mandate=mandate)))

    def _registration(self, handle: int) -> DataRegister:
        return DataRegister(
            commitment=digest(f"data of {handle}"),
            schema=PERSONAL,
            handle=self.key(handle).public_key,
            custodians=self._custodians,
            threshold=2,
            size_class=SizeClass.KIB_4,
            retain_until_ms=Millis((START_MS // DAY_MS + 100) * DAY_MS),
        )

    def _grant(self, handle: int) -> GrantGive:
        return GrantGive(
            handle=self.key(handle).public_key,
            grantee=self._asker,
            purpose=Purpose.SERVICE_PROVISION,
            operations=(Operation.CONSULT,),
            notice_hash=ZERO_HASH,
            until_ms=Millis(START_MS + 30 * DAY_MS),
            max_uses=3,
            price=None,
        )

    def _intent(
        self,
        data: Transaction,
        one_time: int,
        *,
        grant: Hash | None = None,
        mandate: bytes | None = None,
        opens_height: Height | None = None,
    ) -> AccessIntent:
        purpose = Purpose.SERVICE_PROVISION if mandate is None else Purpose.ENFORCE_SECURITY
        key = self.key(one_time).public_key
        return AccessIntent(data.id, grant, mandate, purpose, key, opens_height)

    # --- errands after it --------------------------------------------------------------------------------

    def _claims(self) -> Errand:
        """A week is claimed once, its points are redeemed, and a false claim's are taken back."""
        period = period_at(Period.WEEK, START_MS) + 1
        ann, ben = (self.key(number).public_key for number in (10, 11))
        claims = [MobilityClaim(account, period, CAREFUL, digest("trace")) for account in (ann, ben)]
        yield from self.final(*(self.resident(10 + i, claim) for i, claim in enumerate(claims)))
        self.attempt(self.resident(10, claims[0]), self.resident(10, PointsRedeem(ann, 28_651, "city")))
        terms = AuditGrant(self.city.genesis.hash, ben, period, "city")
        grant = self.key(11).sign(terms.sign_digest())
        audit = ClaimAudit(ben, period, False, digest("another trace"), grant)
        redeem = PointsRedeem(ann, 9_000, "city")
        yield from self.final(self.resident(10, redeem), self.by("city", audit))
        self.attempt(self.resident(11, PointsRedeem(ben, 1, "city")))
        dearer = MobilityClaim(ann, period + 1, CAREFUL, digest("trace"))
        yield from self.final(self.resident(10, PointsRedeem(ann, 1, "city")), self.resident(10, dearer))
        # The changed rules give twice as much as those before them left: 549 and 19,100 points.
        self.attempt(self.resident(10, PointsRedeem(ann, 19_650, "city")))
        yield from self.final(self.resident(10, PointsRedeem(ann, 19_649, "city")))

    def _settlement(self) -> Errand:
        """A feeder's month is settled once."""
        period = period_at(Period.MONTH, START_MS) + 1
        keys = sorted(self.key(number).public_key for number in (13, 14))
        rows = tuple(EnergyRow(key, 7_001 + i) for i, key in enumerate(keys))
        settle = EnergySettle("sun", "feeder:1", period, 14_003, 4_000, rows)
        operator, other = self._sun.operator, ({"city", self._asker} - {self._sun.operator}).pop()
        self.attempt(self.by(other, settle))
        yield from self.final(self.by(operator, settle))
        self.attempt(self.by(operator, settle))


def erased(data: Transaction) -> EraseDone:
    """A custodian's report that it holds nothing of the data any more."""
    return EraseDone(data.id, ErasureMethod.CRYPTOGRAPHIC_ERASE)
