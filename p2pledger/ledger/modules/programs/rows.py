"""The programs' tables: terms by period, accounts with their points, claims; and index rows. Floor 4, pure.

Points lie in a bucket for the period that they were earned in. A bucket ends when its period is too long
ago, which is seen when it is read: no block is needed for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import (
    EXPIRY_PERIODS_MAX,
    Drive,
    EnergyWh,
    MobilityParameters,
    Name,
    Points,
    ProgramId,
    Terms,
)
from p2pledger.chain.period import Period, PeriodNumber
from p2pledger.codec import U32, U64, Length, Range
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.state import Readable, Table, with_fields
from p2pledger.types import Hash, Height, PublicKey

VERSIONS_MAX = 32
"""How many versions may stand between the oldest period that takes claims and the furthest planned one."""


@dataclass(frozen=True)
class Version:
    """Terms of a program, and the height from which claims may be judged by them."""

    terms: Terms
    from_height: Height


@dataclass(frozen=True)
class Mark:
    """From which period on a version of this number judges."""

    number: U32
    from_period: PeriodNumber


@dataclass(frozen=True)
class Program:
    """A program, and which versions of its terms judge the periods that can still be claimed for."""

    period: Period
    operator: OrganisationId
    issuer: OrganisationId
    auditor: OrganisationId
    from_height: Height
    versions_count: U32
    """Of all that were ever decided."""
    marks: Annotated[tuple[Mark, ...], Length(1, VERSIONS_MAX)]
    """By ascending period."""
    first_period: PeriodNumber
    """The first that anything was ever to be judged in."""


@dataclass(frozen=True)
class Taken:
    """Points of one period that were redeemed or taken back."""

    period: PeriodNumber
    points: Points


@dataclass(frozen=True)
class Bucket:
    """What is left of an account's points of one period. It is there, with 0, once the period was claimed."""

    period: PeriodNumber
    last_period: PeriodNumber
    """The last one in which they may be redeemed."""
    points: Points


@dataclass(frozen=True)
class Account:
    """A pseudonymous key in its one program. `entries` counts what was ever booked on it.

    What was minted and is neither redeemed nor revoked lies in its buckets, or has expired.
    """

    program: ProgramId
    entries: U32
    minted: U64
    redeemed: U64
    revoked: U64
    buckets: Annotated[tuple[Bucket, ...], Length(0, EXPIRY_PERIODS_MAX + 1)]
    """By ascending period; those that ended go when the row is next written."""

    def live(self, period: int) -> tuple[Bucket, ...]:
        """The buckets that may be redeemed from in this period."""
        return tuple([bucket for bucket in self.buckets if period <= bucket.last_period])


@dataclass(frozen=True)
class NullifierUse:
    """Which account came in under a nullifier."""

    account: PublicKey


@dataclass(frozen=True)
class PeriodTotals:
    """What became of the points of one period, over all accounts. The rest of them lives or has expired."""

    version: U32
    last_period: PeriodNumber
    accounts: U32
    minted: Points
    redeemed: Points
    revoked: Points


@dataclass(frozen=True)
class Claim:
    """What an audit needs to know of a claim."""

    root: Hash
    points: Points
    audit: Hash | None
    """The audit's transaction."""
    disputed_points: Points
    """Found wrong, but spent before."""


@dataclass(frozen=True)
class Settlement:
    """That a feeder's period was settled, by which transaction."""

    by: Hash


PROGRAMS = Table("program", Program)
VERSIONS = Table("program-version", Version)
ACCOUNTS = Table("account", Account)
NULLIFIERS = Table("nullifier", NullifierUse)
PERIODS = Table("program-period", PeriodTotals)
CLAIMS = Table("claim", Claim)
SETTLEMENTS = Table("settlement", Settlement)


@dataclass(frozen=True)
class Enrolled:
    """An account began."""

    TAG = 1

    program: ProgramId


@dataclass(frozen=True)
class Driven:
    """A claim: the sums, the version of the rules, and what these made of the sums."""

    TAG = 2

    period: PeriodNumber
    last_period: PeriodNumber
    version: U32
    drive: Drive
    score: Annotated[int, Range(0, 1_000)]
    points: Points


@dataclass(frozen=True)
class Supplied:
    """An account's part in a settlement: what it fed in, and its share of the surplus (a point is 1 Wh)."""

    TAG = 3

    period: PeriodNumber
    last_period: PeriodNumber
    version: U32
    feeder: Name
    produced_wh: EnergyWh
    consumed_wh: EnergyWh
    energy_wh: EnergyWh
    points: Points


Taking = Annotated[tuple[Taken, ...], Length(0, EXPIRY_PERIODS_MAX + 1)]


@dataclass(frozen=True)
class Redeemed:
    """Points went to an organisation, out of these periods."""

    TAG = 4

    organisation: OrganisationId
    taken: Taking


@dataclass(frozen=True)
class Audited:
    """A claim was audited; points were taken back out of these periods."""

    TAG = 5

    period: PeriodNumber
    is_match: bool
    taken: Taking
    disputed_points: Points


@dataclass(frozen=True)
class Entry:
    """One line of an account: which transaction booked it, at which height, and what."""

    transaction_id: Hash
    height: Height
    what: Enrolled | Driven | Supplied | Redeemed | Audited


BY_PROGRAM = "programs.programs"
"""program -> its encoded `Program`, as of the last decision about it."""
BY_ACCOUNT = "programs.accounts"
"""account | number of the entry (4 bytes) -> the encoded `Entry`, in the order of booking."""
BY_PERIOD = "programs.periods"
"""program | 0 | period (4 bytes) | account -> the encoded `Entry` that minted: a `Driven` or `Supplied`."""
BY_ORGANISATION = "programs.redemptions"
"""organisation | 0 | height (8 bytes) | transaction id -> program | 0 | points (8 bytes). No account."""
AUDITS = "programs.audits"
"""program | 0 | period (4 bytes) | account -> the encoded `Entry` of the audit."""


def number_bytes(number: int) -> bytes:
    """A period's, version's or entry's number in a key: keys ascend with it."""
    return number.to_bytes(4, "big")


def period_key(program: str, period: int) -> bytes:
    """The key of a period's totals, and the prefix of its index rows."""
    return program.encode() + b"\0" + number_bytes(period)


def claim_key(account: PublicKey, period: int) -> bytes:
    """The key of a claim."""
    return account + number_bytes(period)


def period_of(terms: Terms) -> Period:
    """How long the periods of an engine are."""
    return Period.WEEK if isinstance(terms.parameters, MobilityParameters) else Period.MONTH


def mark_of(program: Program, period: int) -> Mark | None:
    """The version that judges a period that can still be claimed for; None before the program's first one."""
    found = [mark for mark in program.marks if mark.from_period <= period]
    return found[-1] if found else None


def version(reader: Readable, program: str, number: int) -> Version | None:
    """A version of a program's terms, by the number that entries name."""
    return VERSIONS.get(reader, period_key(program, number))


def check_program(reader: Readable, name: str) -> Program:
    """A program by its id. Raises: InvalidTransaction."""
    row = PROGRAMS.get(reader, name.encode())
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_PROGRAM, f"there is no program {name!r}")
    return row


def check_account(reader: Readable, key: PublicKey) -> Account:
    """An account by its key. Raises: InvalidTransaction."""
    row = ACCOUNTS.get(reader, key)
    if row is None:
        raise InvalidTransaction(Code.UNKNOWN_ACCOUNT, "no program has such an account")
    return row


by_period = attrgetter("period")
"""The order of an account's buckets."""


def draw(buckets: Iterable[Bucket], points: int) -> tuple[tuple[Bucket, ...], tuple[Taken, ...]]:
    """Take points out of buckets, in their order; what is left by ascending period, and what was taken.

    Takes less when there is less. An emptied bucket stays: its period was claimed.
    """
    left, taken = [], []
    for bucket in buckets:
        part = min(points, bucket.points)
        if part:
            points -= part
            taken.append(Taken(bucket.period, part))
            bucket = with_fields(bucket, points=bucket.points - part)
        left.append(bucket)
    left.sort(key=by_period)
    return tuple(left), tuple(taken)
