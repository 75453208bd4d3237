"""What can be asked of programs: an account's arithmetic, totals, a period worked out again. Floor 4, pure.

State is read by key, index rows through a `Scan`, a page at a time and always in the order of their keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from p2pledger import merkle
from p2pledger.chain.payloads import EnergyParameters, MobilityParameters
from p2pledger.chain.period import period_at
from p2pledger.codec import decode
from p2pledger.ledger.modules.programs import energy, mobility
from p2pledger.ledger.modules.programs.rows import (
    ACCOUNTS,
    AUDITS,
    BY_ACCOUNT,
    BY_ORGANISATION,
    BY_PERIOD,
    BY_PROGRAM,
    PERIODS,
    PROGRAMS,
    Audited,
    Bucket,
    Driven,
    Entry,
    PeriodTotals,
    Program,
    Redeemed,
    Supplied,
    number_bytes,
    period_key,
    version,
)
from p2pledger.ledger.queries import Scan
from p2pledger.ledger.state import Readable
from p2pledger.types import Hash, Height, Millis, PublicKey

T = TypeVar("T")

PAGE_ROWS_MAX = 1_000


@dataclass(frozen=True)
class Balance:
    """What an account may redeem at a time, by the periods that it was earned in."""

    program: str
    points: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True)
class Statement:
    """How a balance came about: minted - redeemed - revoked - expired, each added up from `entries`."""

    minted: int
    redeemed: int
    revoked: int
    expired: int
    entries: tuple[tuple[int, Entry], ...]
    """All entries, each with its number."""

    @property
    def balance(self) -> int:
        """What is left."""
        return self.minted - self.redeemed - self.revoked - self.expired


@dataclass(frozen=True)
class Totals:
    """What became of all points of a program: balance = minted - redeemed - revoked - expired."""

    minted: int
    redeemed: int
    revoked: int
    expired: int

    @property
    def balance(self) -> int:
        """What all accounts together may redeem."""
        return self.minted - self.redeemed - self.revoked - self.expired


@dataclass(frozen=True)
class Redemption:
    """Points that an organisation gave something for."""

    height: Height
    transaction_id: Hash
    program: str
    points: int


@dataclass(frozen=True)
class Replay:
    """A period worked out again from what was claimed and settled in it.

    `root` is over the recomputed points, `booked_root` over those that were credited; they are equal unless a
    row was altered, and `differing` names the accounts of rows that were.
    """

    root: Hash
    booked_root: Hash
    accounts: int
    points: int
    differing: tuple[PublicKey, ...]


def balance(reader: Readable, key: PublicKey, time_ms: Millis) -> Balance | None:
    """The balance of an account at a block time; None when there is no such account."""
    account = ACCOUNTS.get(reader, key)
    if account is None:
        return None
    live = account.live(_now(reader, account.program, time_ms))
    return Balance(account.program, sum(bucket.points for bucket in live), live)


def entries(scan: Scan, key: PublicKey, after: int | None, limit: int) -> list[tuple[int, Entry]]:
    """Up to `limit` entries of an account behind the one of number `after`, oldest first, with numbers."""
    start = b"" if after is None else key + number_bytes(after)
    return [(_number(row), decode(Entry, value)) for row, value in scan(BY_ACCOUNT, key, start, limit)]


def statement(reader: Readable, scan: Scan, key: PublicKey, time_ms: Millis) -> Statement | None:
    """The whole arithmetic of an account at a block time; None when there is no such account."""
    account = ACCOUNTS.get(reader, key)
    if account is None:
        return None
    now = _now(reader, account.program, time_ms)
    booked = [(_number(row), decode(Entry, value)) for row, value in _all(scan, BY_ACCOUNT, key)]
    left: dict[int, int] = {}
    last: dict[int, int] = {}
    minted = redeemed = revoked = 0
    for _, entry in booked:
        what = entry.what
        if isinstance(what, Driven | Supplied):
            minted += what.points
            left[what.period], last[what.period] = what.points, what.last_period
        elif isinstance(what, Redeemed | Audited):
            for part in what.taken:
                left[part.period] -= part.points
            points = sum(part.points for part in what.taken)
            redeemed += points if isinstance(what, Redeemed) else 0
            revoked += points if isinstance(what, Audited) else 0
    expired = sum(points for period, points in left.items() if last[period] < now)
    return Statement(minted, redeemed, revoked, expired, tuple(booked))


def programs(scan: Scan, after: str, limit: int) -> list[tuple[str, Program]]:
    """Up to `limit` programs by ascending id, behind `after`."""
    rows = scan(BY_PROGRAM, b"", after.encode(), limit)
    return [(key.decode(), decode(Program, value)) for key, value in rows]


def period_totals(reader: Readable, program: str, period: int) -> PeriodTotals | None:
    """The totals of one period; None when nothing was minted in it."""
    return PERIODS.get(reader, period_key(program, period))


def totals(reader: Readable, program: str, time_ms: Millis) -> Totals | None:
    """The totals of a program at a block time, in time by its periods; None when there is no such program."""
    row = PROGRAMS.get(reader, program.encode())
    if row is None:
        return None
    now = period_at(row.period, time_ms)
    minted = redeemed = revoked = expired = 0
    for period in range(row.first_period, now):
        of_period = period_totals(reader, program, period)
        if of_period is not None:
            minted += of_period.minted
            redeemed += of_period.redeemed
            revoked += of_period.revoked
            if of_period.last_period < now:
                expired += of_period.minted - of_period.redeemed - of_period.revoked
    return Totals(minted, redeemed, revoked, expired)


def redemptions(
    scan: Scan, organisation: str, after: tuple[Height, Hash] | None, limit: int
) -> list[Redemption]:
    """Up to `limit` redemptions at an organisation, oldest first, behind one of this height and id."""
    prefix = organisation.encode() + b"\0"
    start = b"" if after is None else prefix + after[0].to_bytes(8, "big") + after[1]
    found = []
    for key, value in scan(BY_ORGANISATION, prefix, start, limit):
        height, transaction_id = key[len(prefix) : len(prefix) + 8], key[len(prefix) + 8 :]
        program, points = value[:-9].decode(), int.from_bytes(value[-8:], "big")
        found.append(Redemption(Height(int.from_bytes(height, "big")), Hash(transaction_id), program, points))
    return found


def audits(scan: Scan, program: str, period: int, after: bytes, limit: int) -> list[tuple[PublicKey, Entry]]:
    """Up to `limit` audits of a period's claims by ascending account, behind the account `after`."""
    return _by_account(scan, AUDITS, program, period, after, limit)


def rewards(scan: Scan, program: str, period: int, after: bytes, limit: int) -> list[tuple[PublicKey, Entry]]:
    """Up to `limit` entries that minted a period's points by ascending account, behind account `after`."""
    return _by_account(scan, BY_PERIOD, program, period, after, limit)


def replay(reader: Readable, scan: Scan, program: str, period: int) -> Replay:
    """Work a period's points out again, from inputs and terms alone.

    Raises ValueError when a row names terms that are not there, or is of another engine than they are.
    """
    prefix = period_key(program, period)
    booked: dict[PublicKey, int] = {}
    worked_out: dict[PublicKey, int] = {}
    settlements: dict[Hash, dict[PublicKey, Supplied]] = {}
    for row, value in _all(scan, BY_PERIOD, prefix):
        key, entry = PublicKey(row[len(prefix) :]), decode(Entry, value)
        what = entry.what
        if isinstance(what, Driven):
            worked_out[key] = _driven_points(reader, program, what)
        else:
            if not isinstance(what, Supplied):
                raise ValueError("a period has entries that mint, and no others")
            _parameters(reader, program, what.version, EnergyParameters)
            settlements.setdefault(entry.transaction_id, {})[key] = what
        booked[key] = what.points
    for rows in settlements.values():
        one = next(iter(rows.values()))
        energies_wh = [(key, what.energy_wh) for key, what in rows.items()]
        worked_out.update(energy.share(energy.surplus_of(one.produced_wh, one.consumed_wh), energies_wh))
    return Replay(
        root=period_root(worked_out),
        booked_root=period_root(booked),
        accounts=len(booked),
        points=sum(worked_out.values()),
        differing=tuple(sorted(key for key, points in booked.items() if points != worked_out[key])),
    )


def period_root(points: Mapping[PublicKey, int]) -> Hash:
    """The root of a period: over account | points (8 bytes), by ascending account."""
    leaves = (key + value.to_bytes(8, "big") for key, value in sorted(points.items()))
    return merkle.root(merkle.leaf_hashes(leaves))


def _driven_points(reader: Readable, program: str, what: Driven) -> int:
    parameters = _parameters(reader, program, what.version, MobilityParameters)
    score = mobility.score_of(what.drive, parameters)
    return mobility.points_of(score, what.drive.distance_m, parameters)


def _parameters(reader: Readable, program: str, number: int, engine: type[T]) -> T:
    found = version(reader, program, number)
    if found is None or not isinstance(found.terms.parameters, engine):
        raise ValueError(f"{program!r} has no version {number} for this engine")
    return found.terms.parameters


def _by_account(
    scan: Scan, index: str, program: str, period: int, after: bytes, limit: int
) -> list[tuple[PublicKey, Entry]]:
    prefix = period_key(program, period)
    start = prefix + after if after else b""
    return [
        (PublicKey(key[len(prefix) :]), decode(Entry, value))
        for key, value in scan(index, prefix, start, limit)
    ]


def _all(scan: Scan, index: str, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All rows below a prefix, read a page at a time."""
    after = b""
    while page := scan(index, prefix, after, PAGE_ROWS_MAX):
        yield from page
        after = page[-1][0]


def _now(reader: Readable, program: str, time_ms: Millis) -> int:
    row = PROGRAMS.get(reader, program.encode())
    assert row is not None, "an account is of a program that is there"
    return period_at(row.period, time_ms)


def _number(key: bytes) -> int:
    return int.from_bytes(key[-4:], "big")
