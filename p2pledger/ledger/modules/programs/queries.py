"""What can be asked of programs: balances with their arithmetic, totals, a replayed period. Floor 4, pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.payloads import EXPIRY_PERIODS_MAX, Points, ProgramId
from p2pledger.chain.period import PeriodNumber, period_at
from p2pledger.codec import U32, U64, Length, decode
from p2pledger.errors import Code, Fatal
from p2pledger.ledger.modules.programs.replay import replay
from p2pledger.ledger.modules.programs.rows import (
    ACCOUNTS,
    AUDITS,
    BY_ACCOUNT,
    BY_ORGANISATION,
    BY_PERIOD,
    BY_PROGRAM,
    PERIODS,
    PROGRAMS,
    Account,
    Bucket,
    Entry,
    Program,
    number_bytes,
    period_key,
)
from p2pledger.ledger.queries import (
    INVALID_PARAMETER,
    TOO_MANY_ROWS,
    ChainReader,
    Found,
    Page,
    Query,
    Unanswered,
    one,
    rows_of,
)
from p2pledger.types import HASH_BYTES, Hash, Height, PublicKey

DIFFERING_MAX = 1_000
"""How many accounts of altered rows a replay names."""

TOTALS_PERIODS_MAX = 1_000
"""How many periods are added up at most: 19 years of weeks."""
REPLAY_ACCOUNTS_MAX = 10_000
"""Of how many accounts a period is worked out again at most, by a node that has other work."""
POINTS_BYTES, PERIOD_BYTES = 8, 4

OfAccount = Annotated[PublicKey, "The account, a resident's pseudonymous key."]
OfProgram = Annotated[ProgramId, "The program."]
OfPeriod = Annotated[PeriodNumber, "The week's or month's number since 1970."]


@dataclass(frozen=True)
class AskPrograms:
    """Programs, who runs them, and which versions of their terms judge which periods, by their ids."""


@dataclass(frozen=True)
class AskBalance:
    """What an account may redeem at the last block's time, and how it came about: the sums of its entries.

    `points` = minted - redeemed - revoked - expired; `programs.entries` lists what these are sums of.
    """

    account: OfAccount


@dataclass(frozen=True)
class AskEntries:
    """The arithmetic behind an account's balance: everything that was booked on it, the oldest first."""

    account: OfAccount


@dataclass(frozen=True)
class AskTotals:
    """What became of all points of a program, at the last block's time; of 1,000 periods at most.

    It is the sum of `programs.periods`, which has no end.
    """

    program: OfProgram


@dataclass(frozen=True)
class AskPeriods:
    """What became of a program's points by the periods they were earned in, the oldest first.

    Periods in which nothing was earned are left out: a page may have fewer items than its limit.
    """

    program: OfProgram


@dataclass(frozen=True)
class AskReplay:
    """A period's points worked out again from claims, settlements and terms alone, and their root.

    It equals the root of what was booked unless a row was altered. Of 10,000 accounts at most: whoever wants
    more has the same rows from `programs.rewards`, and works it out at home.
    """

    program: OfProgram
    period: OfPeriod


@dataclass(frozen=True)
class AskRewards:
    """What was minted in a period: claims and settlements by account, with all that a replay needs."""

    program: OfProgram
    period: OfPeriod


@dataclass(frozen=True)
class AskAudits:
    """Audits of a period's claims, by account."""

    program: OfProgram
    period: OfPeriod


@dataclass(frozen=True)
class AskRedemptions:
    """Points that were redeemed at an organisation, the oldest first. By which account is not told."""

    organisation: Annotated[OrganisationId, "The organisation."]


@dataclass(frozen=True)
class ProgramFound:
    """A program, as of the last decision about it."""

    id: ProgramId
    program: Program


@dataclass(frozen=True)
class StatementFound:
    """A balance: points = minted - redeemed - revoked - expired, and by the periods they were earned in."""

    account: PublicKey
    program: ProgramId
    points: U64
    minted: U64
    redeemed: U64
    revoked: U64
    expired: U64
    buckets: Annotated[tuple[Bucket, ...], Length(0, EXPIRY_PERIODS_MAX + 1)]


@dataclass(frozen=True)
class EntryFound:
    """What was booked on an account; entries are numbered from 0 on."""

    number: U32
    entry: Entry


@dataclass(frozen=True)
class TotalsFound:
    """All accounts together: balance = minted - redeemed - revoked - expired."""

    program: ProgramId
    balance: U64
    minted: U64
    redeemed: U64
    revoked: U64
    expired: U64


@dataclass(frozen=True)
class PeriodFound:
    """What became of a period's points, which may be redeemed until the end of `last_period`."""

    period: PeriodNumber
    last_period: PeriodNumber
    version: U32
    accounts: U32
    minted: U64
    redeemed: U64
    revoked: U64
    expired: U64


@dataclass(frozen=True)
class ReplayFound:
    """A period worked out again. `differing`: accounts of altered rows, the first thousand."""

    program: ProgramId
    period: PeriodNumber
    root: Hash
    booked_root: Hash
    is_same: bool
    accounts: U32
    points: Points
    differing: Annotated[tuple[PublicKey, ...], Length(0, DIFFERING_MAX)]


@dataclass(frozen=True)
class AccountEntryFound:
    """What was booked on an account."""

    account: PublicKey
    entry: Entry


@dataclass(frozen=True)
class RedemptionFound:
    """Points that an organisation gave something for."""

    transaction_id: Hash
    height: Height
    program: ProgramId
    points: Points


def _program(reader: ChainReader, name: ProgramId) -> Program:
    row = PROGRAMS.get(reader, name.encode())
    if row is None:
        raise Unanswered(Code.UNKNOWN_PROGRAM, f"there is no program {name!r}")
    return row


def _account(reader: ChainReader, key: PublicKey) -> Account:
    row = ACCOUNTS.get(reader, key)
    if row is None:
        raise Unanswered(Code.UNKNOWN_ACCOUNT, f"no program has an account {key.hex()}")
    return row


def ask_programs(reader: ChainReader, asked: AskPrograms, page: Page) -> Found[ProgramFound]:
    """See `AskPrograms`."""

    def item(key: bytes, value: bytes) -> ProgramFound:
        return ProgramFound(key.decode(), decode(Program, value))

    return rows_of(reader, BY_PROGRAM, b"", page, item)


def ask_balance(reader: ChainReader, asked: AskBalance, page: Page) -> Found[StatementFound]:
    """See `AskBalance`. Raises: Unanswered."""
    account = _account(reader, asked.account)
    program = PROGRAMS.get(reader, account.program.encode())
    if program is None:
        raise Fatal(f"an account is of {account.program!r}, which is not there")
    now = period_at(program.period, reader.time_ms)
    live = account.live(now)
    points = sum(bucket.points for bucket in live)
    expired = account.minted - account.redeemed - account.revoked - points
    sums = account.minted, account.redeemed, account.revoked, expired
    return one(StatementFound(asked.account, account.program, points, *sums, live))


def ask_entries(reader: ChainReader, asked: AskEntries, page: Page) -> Found[EntryFound]:
    """See `AskEntries`. Raises: Unanswered."""
    _account(reader, asked.account)

    def item(key: bytes, value: bytes) -> EntryFound:
        return EntryFound(int.from_bytes(key[-4:], "big"), decode(Entry, value))

    return rows_of(reader, BY_ACCOUNT, asked.account, page, item)


def ask_periods(reader: ChainReader, asked: AskPeriods, page: Page) -> Found[PeriodFound]:
    """See `AskPeriods`. The cursor is the last period's number. Raises: Unanswered."""
    program = _program(reader, asked.program)
    if len(page.after) not in (0, PERIOD_BYTES):
        raise Unanswered(INVALID_PARAMETER, "after: not a cursor of this query")
    now = period_at(program.period, reader.time_ms)
    after = int.from_bytes(page.after, "big") if page.after else 0
    first = max(program.first_period, after + 1)
    past = min(now, first + page.limit)
    found = tuple(_periods(reader, asked.program, range(first, past), now))
    return Found(found, number_bytes(past - 1) if first < past < now else None)


def _periods(
    reader: ChainReader, program: ProgramId, periods: Iterable[int], now: int
) -> Iterator[PeriodFound]:
    for period in periods:
        row = PERIODS.get(reader, period_key(program, period))
        if row is not None:
            left = row.minted - row.redeemed - row.revoked
            expired = left if row.last_period < now else 0
            sums = row.minted, row.redeemed, row.revoked, expired
            yield PeriodFound(period, row.last_period, row.version, row.accounts, *sums)


def ask_totals(reader: ChainReader, asked: AskTotals, page: Page) -> Found[TotalsFound]:
    """See `AskTotals`. Raises: Unanswered."""
    program = _program(reader, asked.program)
    now = period_at(program.period, reader.time_ms)
    periods = range(program.first_period, now)
    if len(periods) > TOTALS_PERIODS_MAX:
        raise Unanswered(TOO_MANY_ROWS, f"{len(periods)} periods, {TOTALS_PERIODS_MAX} are added up at most")
    found = tuple(_periods(reader, asked.program, periods, now))
    minted, redeemed = sum(each.minted for each in found), sum(each.redeemed for each in found)
    revoked, expired = sum(each.revoked for each in found), sum(each.expired for each in found)
    balance = minted - redeemed - revoked - expired
    return one(TotalsFound(asked.program, balance, minted, redeemed, revoked, expired))


def ask_replay(reader: ChainReader, asked: AskReplay, page: Page) -> Found[ReplayFound]:
    """See `AskReplay`. Raises: Unanswered."""
    _program(reader, asked.program)
    prefix = period_key(asked.program, asked.period)
    rows = reader.scan(BY_PERIOD, prefix, b"", REPLAY_ACCOUNTS_MAX + 1)
    if len(rows) > REPLAY_ACCOUNTS_MAX:
        raise Unanswered(TOO_MANY_ROWS, f"more than {REPLAY_ACCOUNTS_MAX} accounts, which is the most")
    rewards = ((PublicKey(key[len(prefix) :]), decode(Entry, value)) for key, value in rows)
    done = replay(reader, asked.program, rewards)
    roots = done.root, done.booked_root, done.root == done.booked_root
    differing = done.differing[:DIFFERING_MAX]
    return one(ReplayFound(asked.program, asked.period, *roots, done.accounts, done.points, differing))


def ask_rewards(reader: ChainReader, asked: AskRewards, page: Page) -> Found[AccountEntryFound]:
    """See `AskRewards`. Raises: Unanswered."""
    return _by_account(reader, BY_PERIOD, asked.program, asked.period, page)


def ask_audits(reader: ChainReader, asked: AskAudits, page: Page) -> Found[AccountEntryFound]:
    """See `AskAudits`. Raises: Unanswered."""
    return _by_account(reader, AUDITS, asked.program, asked.period, page)


def _by_account(
    reader: ChainReader, index: str, program: ProgramId, period: PeriodNumber, page: Page
) -> Found[AccountEntryFound]:
    _program(reader, program)
    prefix = period_key(program, period)

    def item(key: bytes, value: bytes) -> AccountEntryFound:
        return AccountEntryFound(PublicKey(key[len(prefix) :]), decode(Entry, value))

    return rows_of(reader, index, prefix, page, item)


def ask_redemptions(reader: ChainReader, asked: AskRedemptions, page: Page) -> Found[RedemptionFound]:
    """See `AskRedemptions`."""
    prefix = asked.organisation.encode() + b"\0"

    def item(key: bytes, value: bytes) -> RedemptionFound:
        height = Height(int.from_bytes(key[len(prefix) : -HASH_BYTES], "big"))
        program, points = value[: -1 - POINTS_BYTES].decode(), int.from_bytes(value[-POINTS_BYTES:], "big")
        return RedemptionFound(Hash(key[-HASH_BYTES:]), height, program, points)

    return rows_of(reader, BY_ORGANISATION, prefix, page, item)


QUERIES = (
    Query("programs.programs", AskPrograms, ProgramFound, ask_programs),
    Query("programs.balance", AskBalance, StatementFound, ask_balance),
    Query("programs.entries", AskEntries, EntryFound, ask_entries),
    Query("programs.periods", AskPeriods, PeriodFound, ask_periods),
    Query("programs.totals", AskTotals, TotalsFound, ask_totals),
    Query("programs.replay", AskReplay, ReplayFound, ask_replay),
    Query("programs.rewards", AskRewards, AccountEntryFound, ask_rewards),
    Query("programs.audits", AskAudits, AccountEntryFound, ask_audits),
    Query("programs.redemptions", AskRedemptions, RedemptionFound, ask_redemptions),
)
