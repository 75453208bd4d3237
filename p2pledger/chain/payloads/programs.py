"""Payloads of programs: measures that set their rules, accounts, claims, settlements, points. Floor 3.

An account is a pseudonymous key of a resident, for one program only: two programs cannot be joined up.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads.words import Name
from p2pledger.chain.period import PeriodNumber
from p2pledger.codec import U32, Length, Pattern, Range, encode
from p2pledger.crypto import Domain, Signed, Signer
from p2pledger.types import Hash, PublicKey, Signature

POINTS_MAX = 2**48
CLAIM_PERIODS_MAX = 12
EXPIRY_PERIODS_MAX = 60
SETTLEMENT_ROWS_MAX = 256
WEEK_S = 604_800
SPEED_MAX_M_S = 100
"""No claim is for a faster drive than this (360 km/h), on the average of its driven seconds."""

_ENROLMENT_DOMAIN = Domain("p2pledger/enrolment/1")
_AUDIT_GRANT_DOMAIN = Domain("p2pledger/audit-grant/1")

ProgramId = Annotated[str, Length(1, 32), Pattern("[a-z0-9]+(-[a-z0-9]+)*")]
Points = Annotated[int, Range(0, POINTS_MAX)]
Weight = Annotated[int, Range(0, 1_000_000)]
EnergyWh = Annotated[int, Range(0, POINTS_MAX)]


@dataclass(frozen=True)
class MobilityParameters:
    """The numbers of the engine for responsible driving (`programs.mobility`). Its period is a week."""

    TAG = 1

    brake_mm_s2: Annotated[int, Range(1, 100_000)]
    """A brake is harsh from this deceleration on."""
    acceleration_mm_s2: Annotated[int, Range(1, 100_000)]
    speed_limit_mm_s: Annotated[int, Range(1, 100_000)]
    brake_weight: Weight
    acceleration_weight: Weight
    over_weight: Weight
    score_min: Annotated[int, Range(0, 1_000)]
    """A lower score earns nothing."""
    distance_max_m: Annotated[int, Range(1, 100_000_000)]
    """What is driven beyond this in a period earns nothing: points are for care, not for distance."""
    points_per_km: Annotated[int, Range(0, 1_000_000)]
    """At the full score of 1,000."""


@dataclass(frozen=True)
class EnergyParameters:
    """The numbers of the engine for shared energy (`programs.energy`). A period is a month, a point 1 Wh."""

    TAG = 2

    accounts_min: Annotated[int, Range(1, SETTLEMENT_ROWS_MAX)]
    """A settlement of fewer accounts would tell of each too much, and is refused."""


@dataclass(frozen=True)
class Terms:
    """One version of a program's rules. They judge whole periods, from `from_period` on."""

    from_period: PeriodNumber
    rule_hash: Hash
    """Of the published document that states the rules in words."""
    parameters: MobilityParameters | EnergyParameters
    """Their class says which engine the program runs."""
    budget_points: Annotated[int, Range(1, POINTS_MAX)]
    """What is minted at most for one period."""
    claim_periods: Annotated[int, Range(1, CLAIM_PERIODS_MAX)]
    """For how many periods after its end a period takes claims."""
    expiry_periods: Annotated[int, Range(1, EXPIRY_PERIODS_MAX)]
    """For how many periods after the one that they were earned in points can be redeemed."""

    def __post_init__(self) -> None:
        if self.claim_periods > self.expiry_periods:
            raise ValueError("points do not expire while they can still be claimed")


@dataclass(frozen=True)
class ProgramCreate:
    """A measure: a new program, its first terms, and the organisations with a part in it, for its life."""

    KIND = "program.create"

    program: ProgramId
    terms: Terms
    operator: OrganisationId
    """Who settles energy."""
    issuer: OrganisationId
    """Who says that an account belongs to a resident who has no other one."""
    auditor: OrganisationId


@dataclass(frozen=True)
class ProgramChange:
    """A measure: other terms for a program, of the same engine, for periods that have not begun."""

    KIND = "program.change"

    program: ProgramId
    terms: Terms


@dataclass(frozen=True)
class Enrolment:
    """What the issuer signs: this account may be of this program, for whom the nullifier stands for."""

    genesis_hash: Hash
    program: ProgramId
    account: PublicKey
    nullifier: Hash
    """The same for the same resident and program, and telling of neither: it takes the issuer's secret."""

    def sign_digest(self) -> Hash:
        """The 32 bytes that the issuer signs."""
        return _ENROLMENT_DOMAIN.hash(encode(self))


@dataclass(frozen=True)
class AccountEnroll:
    """An account begins. Signed by its key and a gateway; `signature` is the issuer's, of the `Enrolment`."""

    KIND = "account.enroll"

    program: ProgramId
    account: PublicKey
    nullifier: Hash
    issuer_key: PublicKey
    signature: Signature

    def signed_inside(self, genesis_hash: Hash, sponsor: OrganisationId) -> Signed:
        """The issuer's signature, whoever pays for the transaction."""
        terms = Enrolment(genesis_hash, self.program, self.account, self.nullifier)
        return Signed(self.issuer_key, terms.sign_digest(), self.signature)


def sign_enrolment(enrolment: Enrolment, issuer: Signer) -> AccountEnroll:
    """The enrolment that an issuer hands to a resident."""
    signature = issuer.sign(enrolment.sign_digest())
    return AccountEnroll(
        enrolment.program, enrolment.account, enrolment.nullifier, issuer.public_key, signature
    )


@dataclass(frozen=True)
class Drive:
    """What a week's trips came to: sums only, from which no trip can be told."""

    distance_m: Annotated[int, Range(0, WEEK_S * SPEED_MAX_M_S)]
    driven_s: Annotated[int, Range(0, WEEK_S)]
    harsh_brakes: U32
    harsh_accelerations: U32
    over_s: Annotated[int, Range(0, WEEK_S)]
    """Seconds above the speed limit."""
    samples: U32

    def __post_init__(self) -> None:
        if self.over_s > self.driven_s:
            raise ValueError("nobody is over the limit for longer than they drive")
        if self.distance_m > self.driven_s * SPEED_MAX_M_S:
            raise ValueError(f"a drive is not faster than {SPEED_MAX_M_S} m/s on the average")
        if self.harsh_brakes + self.harsh_accelerations > self.samples:
            raise ValueError("there is at most one harsh event to a sample")


@dataclass(frozen=True)
class MobilityClaim:
    """What an account drove in one week. Signed by the account and by the gateway that took the trace."""

    KIND = "mobility.claim"

    account: PublicKey
    period: PeriodNumber
    drive: Drive
    root: Hash
    """`programs.mobility.trace_root` of the trace, which stays with the resident."""


@dataclass(frozen=True)
class Earned:
    """The result of a claim: what the program's rules made of it."""

    score: Annotated[int, Range(0, 1_000)]
    points: Points


@dataclass(frozen=True)
class EnergyRow:
    """What one account's register grew by in the period: what it fed in."""

    account: PublicKey
    energy_wh: EnergyWh


@dataclass(frozen=True)
class EnergySettle:
    """A month of one feeder. Signed by the program's operator. Rows stand by ascending account.

    `produced_wh` is the sum of the rows. What exceeds `consumed_wh` is the surplus that they share.
    """

    KIND = "energy.settle"

    program: ProgramId
    feeder: Name
    period: PeriodNumber
    produced_wh: EnergyWh
    consumed_wh: EnergyWh
    rows: Annotated[tuple[EnergyRow, ...], Length(1, SETTLEMENT_ROWS_MAX)]

    def __post_init__(self) -> None:
        if any(one.account >= other.account for one, other in pairwise(self.rows)):
            raise ValueError("rows stand by ascending account, each once")


@dataclass(frozen=True)
class PointsRedeem:
    """Points go to an organisation, which gives something for them. Signed by the account and a gateway."""

    KIND = "points.redeem"

    account: PublicKey
    points: Annotated[int, Range(1, POINTS_MAX)]
    organisation: OrganisationId


@dataclass(frozen=True)
class AuditGrant:
    """What a resident's account signs: this organisation may hold this claim against its trace.

    With the key that made the claim, so it tells nothing of the resident that the claim does not.
    """

    genesis_hash: Hash
    account: PublicKey
    period: PeriodNumber
    auditor: OrganisationId

    def sign_digest(self) -> Hash:
        """The 32 bytes that the account signs."""
        return _AUDIT_GRANT_DOMAIN.hash(encode(self))


@dataclass(frozen=True)
class ClaimAudit:
    """What an auditor found in the trace that a resident showed. Signed by the program's auditor."""

    KIND = "claim.audit"

    account: PublicKey
    period: PeriodNumber
    is_match: bool
    """Whether root and drive are what the trace gives."""
    root: Hash
    """As recomputed from the trace."""
    grant: Signature
    """The account's, of the `AuditGrant`."""

    def signed_inside(self, genesis_hash: Hash, sponsor: OrganisationId) -> Signed:
        """The account's grant to the organisation that sponsors the audit."""
        terms = AuditGrant(genesis_hash, self.account, self.period, sponsor)
        return Signed(self.account, terms.sign_digest(), self.grant)


@dataclass(frozen=True)
class Revoked:
    """The result of an audit: points taken back, and those that were spent already and stay disputed."""

    points: Points
    disputed_points: Points
