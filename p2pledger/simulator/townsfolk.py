"""Those who use all six modules in a simulated run: a hauler, residents, a utility, custodians. Floor 8.

Each errand goes on once what it asked for is final, as clients do that wait for receipts. Beside what is
right they hand in what has to be refused, at a time when it can be nothing else: a lot spent twice, a second
claim, a use of a revoked grant. The judge's books would not have it.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, Protocol

from p2pledger.chain.genesis import RESIDENTS
from p2pledger.chain.payloads import (
    AccessIntent,
    AccessRefused,
    AccessServed,
    Action,
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
    MandateGive,
    MobilityClaim,
    MobilityParameters,
    NewLot,
    Operation,
    PointsRedeem,
    Power,
    ProgramCreate,
    Purpose,
    RecordAppend,
    RefusalReason,
    ShipAccept,
    ShipOffer,
    ShipReceive,
    SizeClass,
    Terms,
    sign_enrolment,
)
from p2pledger.chain.payloads.bodies import SensorReading
from p2pledger.chain.payloads.governance import GovPropose, GovVote
from p2pledger.chain.period import Period, period_at
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.crypto import Signer
from p2pledger.simulator.city import START_MS, City
from p2pledger.types import ZERO_HASH, Hash, Height, Millis, PeerId

DAY_MS = 24 * 60 * 60 * 1_000
LEAP_MS = 60 * DAY_MS
"""Claims and settlements are for a week and a month that are over: so long the city sleeps in between."""
AHEAD = 6
"""How many blocks after its proposal a measure is to work."""
LASTING_MS = 100_000
AGAIN_MS = 1_000
"""What is not final by then is handed in again."""
SALT = 2**33
KEYS = 100_000
"""The numbers of their keys begin here."""
PERSONAL = "personal.reading/1"
MIXED, GLASS = "200301", "200102"
DRIVING = MobilityParameters(2_500, 2_000, 13_889, 10, 5, 1, 500, 200_000, 100)
CAREFUL = Drive(100_000, 7_000, 2, 3, 70, 7_004)
"""Scores 955, and so earns 9,550 points."""

Errand = Iterator[Sequence[Transaction]]
"""Yields what is wanted and not final; is asked again when time has passed."""


class Chain(Protocol):
    """What clients see of the ledger."""

    @property
    def height(self) -> int: ...
    def is_final(self, transaction_id: bytes) -> bool: ...
    def is_adopted(self, proposal: bytes) -> bool: ...
    def sitting(self) -> list[str]: ...


class Townsfolk:
    """The clients of one run. `chain`: what is final now. `clock`: the time now, as everybody sees it."""

    def __init__(self, city: City, chain: Callable[[], Chain], clock: Callable[[], int]) -> None:
        self._city, self._chain, self._clock = city, chain, clock
        self.wrong: list[Transaction] = []
        """What was handed in and must never be final."""
        self._fresh: list[Transaction] = []
        self._handed: dict[bytes, int] = {}
        self._wanted: list[Transaction] = []
        self._number = SALT
        one, two, three = (city.member(index).organisation for index in (1, 2, 3))
        self._carrier, self._custodians, self._asker = one, (one, two), three
        self._errands: list[Errand] = [self._haul(), self._driving(), self._sharing(), self._consent()]
        self._after_leap: list[Errand] = [self._claims(), self._settlement()]

    @property
    def is_settled(self) -> bool:
        """Whether all that can be had before the leap, or after it, is final."""
        self._advance()
        return not self._errands

    @property
    def waits_for(self) -> str:
        """What is not final, in words."""
        return ", ".join(sorted({one.body.kind for one in self._wanted}))

    def leap(self) -> None:
        """The periods that they were rewarded for are over."""
        self._errands, self._after_leap = self._after_leap, []

    def wishes(self) -> list[Transaction]:
        """What to hand in now."""
        self._advance()
        now = self._clock()
        due = [one for one in self._wanted if now >= self._handed.get(one.id, 0) + AGAIN_MS]
        self._handed.update((one.id, now) for one in due)
        fresh, self._fresh = self._fresh, []
        return due + fresh

    def _advance(self) -> None:
        self._wanted = []
        for errand in list(self._errands):
            wanted = next(errand, None)
            if wanted is None:
                self._errands.remove(errand)
            else:
                self._wanted += wanted

    # --- what errands are made of ------------------------------------------------------------------------

    def _key(self, number: int) -> Signer:
        return self._city.signer(KEYS + number)

    def _made(self, payload: Any, sponsor: str, *signers: Signer) -> Transaction:
        self._number += 1
        expires_ms = Millis(self._clock() + LASTING_MS)
        return self._city.signed(payload, sponsor, signers, self._number, expires_ms)

    def _by(self, organisation: str, payload: Any, *others: Signer) -> Transaction:
        return self._made(payload, organisation, self._city.admin(organisation), *others)

    def _for(self, resident: int, payload: Any) -> Transaction:
        return self._made(payload, RESIDENTS, self._key(resident), self._city.signer(300))

    def _final(self, *wanted: Transaction) -> Errand:
        while left := [one for one in wanted if not self._chain().is_final(one.id)]:
            yield left

    def _try(self, *wrong: Transaction) -> None:
        self.wrong += wrong
        self._fresh += wrong

    def _decide(self, measure: Any) -> Errand:
        """A measure is proposed until it is adopted, and waited for until it works."""
        is_adopted = False
        while not is_adopted:
            chain = self._chain()
            voters, until = chain.sitting(), chain.height + AHEAD
            proposal = self._by(
                voters[0],
                GovPropose(measure.KIND, encode(measure), Height(until), "council:simulated", ZERO_HASH),
            )
            votes = [self._by(voter, GovVote(proposal.id, approves=True)) for voter in voters]
            while not is_adopted and self._chain().height < until:
                now = votes if self._chain().is_final(proposal.id) else [proposal]
                yield [one for one in now if not self._chain().is_final(one.id)]
                is_adopted = self._chain().is_adopted(proposal.id)
        while self._chain().height < until:
            yield []

    # --- errands before the leap -------------------------------------------------------------------------

    def _haul(self) -> Errand:
        """A container is weighed, carried with a loss, sorted, and its parts are closed."""
        city, scale = self._city, self._key(0)
        device, peer = digest("scale")[:16], PeerId("city-gateway")
        enroll = DeviceEnroll(device, scale.public_key, peer, "scale", ZERO_HASH)
        yield from self._final(self._made(enroll, "city", city.signer(300), scale))
        weighings = [self._made(weighing(device, seq), "city", scale) for seq in range(3)]
        yield from self._final(*weighings)
        lot, glass, rest, other = (digest(name)[:16] for name in ("lot", "glass", "rest", "other"))
        create = LotCreate(lot, MIXED, 800_000, "container:7", START_MS, weighings[0].id)
        yield from self._final(self._by("city", create, scale))
        self._try(
            self._by("city", LotCreate(other, MIXED, 1, "container:7", START_MS, create.weighing), scale)
        )
        load = digest("load")[:16]
        yield from self._final(self._by("city", ShipOffer(load, (lot,), self._carrier, "city")))
        self._try(self._by(self._carrier, LotClose(lot, Fate.LANDFILL)))
        yield from self._final(self._by(self._carrier, ShipAccept(load)))
        receive = ShipReceive(load, 799_100, "facility:1", weighings[1].id)
        yield from self._final(self._by("city", receive))
        outputs = NewLot(glass, GLASS, 99_100), NewLot(rest, MIXED, 690_000)
        sort = LotTransform((lot,), outputs, 10_000, "sorting", "facility:1")
        yield from self._final(self._by("city", sort))
        closes = LotClose(glass, Fate.RECYCLED), LotClose(rest, Fate.ENERGY)
        yield from self._final(*(self._by("city", close) for close in closes))
        again = LotTransform((lot,), (NewLot(other, MIXED, 799_100),), 0, "sorting", "facility:1")
        self._try(self._by("city", again), self._by("city", LotClose(glass, Fate.SOLD)))

    def _driving(self) -> Errand:
        """A program for driving, and two accounts of it."""
        yield from self._program("drive", DRIVING, period_at(Period.WEEK, START_MS), (10, 11))
        self._try(self._enrolment("drive", 12, nullifier=10))

    def _sharing(self) -> Errand:
        """A program for shared energy, and two accounts of it."""
        yield from self._program("sun", EnergyParameters(2), period_at(Period.MONTH, START_MS), (13, 14))

    def _program(
        self, name: str, rules: MobilityParameters | EnergyParameters, now: int, accounts: Sequence[int]
    ) -> Errand:
        terms = Terms(now + 1, digest(name), rules, 1_000_000, 12, 24)
        yield from self._decide(ProgramCreate(name, terms, "city", "city", "city"))
        yield from self._final(*(self._enrolment(name, one, nullifier=one) for one in accounts))

    def _enrolment(self, program: str, account: int, *, nullifier: int) -> Transaction:
        key, secret = self._key(account).public_key, digest(f"nullifier {nullifier}")
        terms = Enrolment(self._city.genesis.hash, program, key, secret)
        return self._for(account, sign_enrolment(terms, self._city.admin("city")))

    def _consent(self) -> Errand:
        """Data is granted, asked for, served, taken back, held by law, and erased once it may be."""
        mine, held = (self._by("city", self._registration(handle)) for handle in (20, 21))
        grant = self._for(20, self._grant(20))
        yield from self._final(mine, held)
        yield from self._final(grant)
        intent = self._by(self._asker, self._intent(mine, 22, grant=grant.id))
        yield from self._final(intent)
        yield from self._final(self._by(self._custodians[0], AccessServed(intent.id)))
        yield from self._final(self._for(20, GrantRevoke(grant.id)))
        self._try(
            self._by(self._asker, self._intent(mine, 23, grant=grant.id)),
            self._by(self._custodians[1], AccessServed(intent.id)),
        )
        mandate = digest("mandate")[:16]
        yield from self._decide(
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
        search = self._intent(held, 24, mandate=mandate, opens_height=Height(self._chain().height + 1_000))
        yield from self._final(self._by(self._asker, hold), self._by(self._asker, search))
        requests = EraseRequest(self._key(20).public_key, None), EraseRequest(None, held.id)
        yield from self._final(*(self._for(20 + i, request) for i, request in enumerate(requests)))
        first, last = (self._by(one, erased(mine)) for one in self._custodians)
        self._try(self._by(self._custodians[0], erased(held)))
        yield from self._final(first, last)
        self._try(self._by(self._custodians[0], erased(mine)), self._for(20, self._grant(20)))
        refused = AccessRefused(intent.id, RefusalReason.ERASED)
        yield from self._final(self._by(self._custodians[1], refused))

    def _registration(self, handle: int) -> DataRegister:
        return DataRegister(
            commitment=digest(f"data of {handle}"),
            schema=PERSONAL,
            handle=self._key(handle).public_key,
            custodians=self._custodians,
            threshold=2,
            size_class=SizeClass.KIB_4,
            retain_until_ms=Millis((START_MS // DAY_MS + 100) * DAY_MS),
        )

    def _grant(self, handle: int) -> GrantGive:
        return GrantGive(
            handle=self._key(handle).public_key,
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
        key = self._key(one_time).public_key
        return AccessIntent(data.id, grant, mandate, purpose, key, opens_height)

    # --- errands after it --------------------------------------------------------------------------------

    def _claims(self) -> Errand:
        """A week is claimed once, its points are redeemed, and a false claim's are taken back."""
        period = period_at(Period.WEEK, START_MS) + 1
        ann, ben = (self._key(number).public_key for number in (10, 11))
        claims = [MobilityClaim(account, period, CAREFUL, digest("trace")) for account in (ann, ben)]
        yield from self._final(*(self._for(10 + i, claim) for i, claim in enumerate(claims)))
        self._try(self._for(10, claims[0]), self._for(10, PointsRedeem(ann, 9_551, "city")))
        terms = AuditGrant(self._city.genesis.hash, ben, period, "city")
        grant = self._key(11).sign(terms.sign_digest())
        audit = ClaimAudit(ben, period, False, digest("another trace"), grant)
        redeem = PointsRedeem(ann, 9_000, "city")
        yield from self._final(self._for(10, redeem), self._by("city", audit))
        self._try(self._for(11, PointsRedeem(ben, 1, "city")), self._for(10, redeem))
        yield from self._final(self._for(10, PointsRedeem(ann, 1, "city")))

    def _settlement(self) -> Errand:
        """A feeder's month is settled once."""
        period = period_at(Period.MONTH, START_MS) + 1
        keys = sorted(self._key(number).public_key for number in (13, 14))
        rows = tuple(EnergyRow(key, 7_001 + i) for i, key in enumerate(keys))
        settle = EnergySettle("sun", "feeder:1", period, 14_003, 4_000, rows)
        yield from self._final(self._by("city", settle))
        self._try(self._by("city", settle))


def digest(name: str) -> Hash:
    """32 bytes that stand for something of this name."""
    return Hash(sha256(name.encode()).digest())


def erased(data: Transaction) -> EraseDone:
    """A custodian's report that it holds nothing of the data any more."""
    return EraseDone(data.id, ErasureMethod.CRYPTOGRAPHIC_ERASE)


def weighing(device: bytes, seq: int) -> RecordAppend:
    """What a scale shows."""
    return RecordAppend(
        schema="sensor.reading/1",
        time_ms=START_MS,
        device=device,
        seq=seq,
        action=Action.OBSERVE,
        what=(),
        where=None,
        business_step=None,
        disposition=None,
        references=(),
        body=encode(SensorReading("mass", "KGM", 1_000, (1,))),
        commitment=None,
    )
