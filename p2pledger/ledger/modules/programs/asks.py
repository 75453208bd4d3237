"""What the table of queries has of programs: bounded questions over `programs.queries`. Floor 4, pure."""

from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.payloads import EXPIRY_PERIODS_MAX, Points, ProgramId
from p2pledger.chain.period import PeriodNumber
from p2pledger.codec import U32, U64, Length
from p2pledger.errors import Code
from p2pledger.ledger.modules.programs import queries
from p2pledger.ledger.modules.programs.rows import PROGRAMS, Bucket, Entry, Program
from p2pledger.ledger.queries import (
    INVALID_PARAMETER,
    ChainReader,
    Found,
    Page,
    Query,
    Unanswered,
    one,
)
from p2pledger.types import Hash, PublicKey

DIFFERING_MAX = 1_000
"""How many accounts of altered rows a replay names."""

OfAccount = Annotated[PublicKey, "The account, a resident's pseudonymous key."]
OfProgram = Annotated[ProgramId, "The program."]


@dataclass(frozen=True)
class AskPrograms:
    """Programs, who runs them, and which versions of their terms judge which periods, by their ids."""


@dataclass(frozen=True)
class AskBalance:
    """What an account may redeem at the last block's time, and how it came about, added up from its entries.

    `points` = minted - redeemed - revoked - expired; `programs.entries` lists what these are sums of.
    """

    account: OfAccount


@dataclass(frozen=True)
class AskEntries:
    """The arithmetic behind an account's balance: everything that was booked on it, the oldest first."""

    account: OfAccount


@dataclass(frozen=True)
class AskTotals:
    """What became of all points of a program, at the last block's time."""

    program: OfProgram


@dataclass(frozen=True)
class AskReplay:
    """A period's points worked out again from claims, settlements and terms alone, and their root.

    It equals the root of what was booked unless a row was altered.
    """

    program: OfProgram
    period: Annotated[PeriodNumber, "The week's or month's number since 1970."]


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


def ask_programs(reader: ChainReader, asked: AskPrograms, page: Page) -> Found[ProgramFound]:
    """See `AskPrograms`. Raises: Unanswered for a cursor that is no program's."""
    try:
        after = page.after.decode()
    except UnicodeDecodeError:
        raise Unanswered(INVALID_PARAMETER, "after: not a cursor of this query") from None
    found = queries.programs(reader.scan, after, page.limit + 1)
    shown = found[: page.limit]
    items = tuple(ProgramFound(name, program) for name, program in shown)
    return Found(items, shown[-1][0].encode() if len(found) > len(shown) else None)


def _no_account(account: PublicKey) -> Unanswered:
    return Unanswered(Code.UNKNOWN_ACCOUNT, f"no program has an account {account.hex()}")


def ask_balance(reader: ChainReader, asked: AskBalance, page: Page) -> Found[StatementFound]:
    """See `AskBalance`. Raises: Unanswered."""
    now = queries.balance(reader, asked.account, reader.time_ms)
    how = queries.statement(reader, reader.scan, asked.account, reader.time_ms)
    if now is None or how is None:
        raise _no_account(asked.account)
    sums = how.minted, how.redeemed, how.revoked, how.expired
    return one(StatementFound(asked.account, now.program, now.points, *sums, now.buckets))


def ask_entries(reader: ChainReader, asked: AskEntries, page: Page) -> Found[EntryFound]:
    """See `AskEntries`. The cursor is the last entry's number. Raises: Unanswered."""
    if len(page.after) not in (0, 4):
        raise Unanswered(INVALID_PARAMETER, "after: not a cursor of this query")
    if queries.balance(reader, asked.account, reader.time_ms) is None:
        raise _no_account(asked.account)
    after = int.from_bytes(page.after, "big") if page.after else None
    found = queries.entries(reader.scan, asked.account, after, page.limit + 1)
    shown = found[: page.limit]
    items = tuple(EntryFound(number, entry) for number, entry in shown)
    return Found(items, shown[-1][0].to_bytes(4, "big") if len(found) > len(shown) else None)


def _no_program(program: ProgramId) -> Unanswered:
    return Unanswered(Code.UNKNOWN_PROGRAM, f"there is no program {program!r}")


def ask_totals(reader: ChainReader, asked: AskTotals, page: Page) -> Found[TotalsFound]:
    """See `AskTotals`. Raises: Unanswered."""
    sums = queries.totals(reader, asked.program, reader.time_ms)
    if sums is None:
        raise _no_program(asked.program)
    parts = sums.minted, sums.redeemed, sums.revoked, sums.expired
    return one(TotalsFound(asked.program, sums.balance, *parts))


def ask_replay(reader: ChainReader, asked: AskReplay, page: Page) -> Found[ReplayFound]:
    """See `AskReplay`. Raises: Unanswered."""
    if PROGRAMS.get(reader, asked.program.encode()) is None:
        raise _no_program(asked.program)
    done = queries.replay(reader, reader.scan, asked.program, asked.period)
    roots = done.root, done.booked_root, done.root == done.booked_root
    differing = done.differing[:DIFFERING_MAX]
    return one(ReplayFound(asked.program, asked.period, *roots, done.accounts, done.points, differing))


QUERIES = (
    Query("programs.programs", AskPrograms, ProgramFound, ask_programs),
    Query("programs.balance", AskBalance, StatementFound, ask_balance),
    Query("programs.entries", AskEntries, EntryFound, ask_entries),
    Query("programs.totals", AskTotals, TotalsFound, ask_totals),
    Query("programs.replay", AskReplay, ReplayFound, ask_replay),
)
