"""Rules for accounts: enrol, redeem; and the books that other rules write in. Floor 4, pure.

Points are not transferable: no rule moves them from one account to another.
"""

from collections.abc import Collection, Iterable
from typing import Any, Literal

from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import AccountEnroll, PointsRedeem
from p2pledger.chain.period import period_at
from p2pledger.codec import encode
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.programs.rows import (
    ACCOUNTS,
    BY_ACCOUNT,
    BY_ORGANISATION,
    NULLIFIERS,
    PERIODS,
    Account,
    Audited,
    Driven,
    Enrolled,
    Entry,
    NullifierUse,
    Program,
    Redeemed,
    Supplied,
    Taken,
    check_account,
    check_program,
    draw,
    number_bytes,
    period_key,
)
from p2pledger.ledger.modules.registry import check_organisation, check_signed_for_resident, live_key
from p2pledger.ledger.modules.registry.keys import check_unowned, read_unowned_ahead
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, with_fields, with_sums
from p2pledger.types import PublicKey


def book(
    changes: Changes,
    context: Context,
    key: PublicKey,
    before: Account,
    what: Enrolled | Driven | Supplied | Redeemed | Audited,
    **after: Any,
) -> bytes:
    """Write an account with one more entry, whose encoding is returned, and with these fields `after` it."""
    entry = encode(Entry(context.transaction_id, context.round.height, what))
    context.emit(BY_ACCOUNT, key + number_bytes(before.entries), entry)
    ACCOUNTS.put(changes, key, with_fields(before, entries=before.entries + 1, **after))
    return entry


def now_in(context: Context, program: Program) -> int:
    """The period that the block lies in."""
    return period_at(program.period, context.round.time_ms)


def take(
    changes: Changes, program: str, taken: Iterable[Taken], field: Literal["redeemed", "revoked"]
) -> None:
    """Count what was taken out of buckets in the totals of their periods, as this."""
    for part in taken:
        key = period_key(program, part.period)
        row = PERIODS.get(changes, key)
        assert row is not None, "points were minted in a period that has totals"
        PERIODS.put(changes, key, with_sums(row, {field: part.points}))


def _check_enrolment(changes: Changes, context: Context, program: Program, payload: AccountEnroll) -> None:
    owner = live_key(changes, payload.issuer_key, context.round.height)
    if owner is None or owner.organisation != program.issuer:
        raise InvalidTransaction(
            Code.ENROLMENT_INVALID, f"the issuer's key is not a live one of {program.issuer!r}"
        )
    if owner.role not in (KeyRole.ADMIN, KeyRole.SERVICE):
        raise InvalidTransaction(Code.ENROLMENT_INVALID, "an admin or service key of the issuer has to sign")
    if not context.holds_inside(payload):
        raise InvalidTransaction(Code.ENROLMENT_INVALID, "the issuer's signature does not hold")


def apply_enroll(changes: Changes, context: Context, payload: AccountEnroll) -> bytes:
    """An account begins, without points. One to a nullifier and program; a key is of one program for ever."""
    context.check_signed_by(payload.account, "the account's key")
    program = check_program(changes, payload.program)
    if context.round.height < program.from_height:
        raise InvalidTransaction(Code.PERIOD_NOT_OPEN, f"the program begins at height {program.from_height}")
    check_unowned(changes, context, payload.account)
    if ACCOUNTS.get(changes, payload.account) is not None:
        raise InvalidTransaction(Code.KEY_TAKEN, "the key is an account already; make a new one")
    _check_enrolment(changes, context, program, payload)
    nullifier = _nullifier_key(payload)
    if NULLIFIERS.get(changes, nullifier) is not None:
        raise InvalidTransaction(Code.NULLIFIER_USED, "an account was enrolled under this nullifier")
    NULLIFIERS.put(changes, nullifier, NullifierUse(payload.account))
    account = Account(payload.program, 0, 0, 0, 0, ())
    book(changes, context, payload.account, account, Enrolled(payload.program))
    return b""


def apply_redeem(changes: Changes, context: Context, payload: PointsRedeem) -> bytes:
    """Points go, those that expire first before the others."""
    context.check_signed_by(payload.account, "the account's key")
    account = check_account(changes, payload.account)
    check_organisation(changes, payload.organisation)
    live = account.live(now_in(context, check_program(changes, account.program)))
    balance = sum(bucket.points for bucket in live)
    if payload.points > balance:
        raise InvalidTransaction(
            Code.TOO_FEW_POINTS, f"the balance is {balance}, {payload.points} are to be redeemed"
        )
    buckets, taken = draw(
        sorted(live, key=lambda bucket: (bucket.last_period, bucket.period)), payload.points
    )
    take(changes, account.program, taken, "redeemed")
    what, redeemed = Redeemed(payload.organisation, taken), account.redeemed + payload.points
    book(changes, context, payload.account, account, what, buckets=buckets, redeemed=redeemed)
    when = context.round.height.to_bytes(8, "big") + context.transaction_id
    value = account.program.encode() + b"\0" + payload.points.to_bytes(8, "big")
    context.emit(BY_ORGANISATION, payload.organisation.encode() + b"\0" + when, value)
    return b""


def _nullifier_key(payload: AccountEnroll) -> bytes:
    return payload.program.encode() + b"\0" + payload.nullifier


def check_signers(changes: Changes, context: Context, payload: object) -> None:
    """The signers' check of what a resident's account signs: a gateway hands it in."""
    check_signed_for_resident(changes, context)


def _read_enrolments_ahead(changes: Changes, payloads: Collection[AccountEnroll]) -> None:
    accounts = {payload.account for payload in payloads}
    ACCOUNTS.read_ahead(changes, accounts)
    read_unowned_ahead(changes, accounts)
    NULLIFIERS.read_ahead(changes, {_nullifier_key(payload) for payload in payloads})


def _read_redeemed_ahead(changes: Changes, payloads: Collection[PointsRedeem]) -> None:
    ACCOUNTS.read_ahead(changes, {payload.account for payload in payloads})


RULES = (
    Rule(AccountEnroll, check_signers, apply_enroll, read_ahead=_read_enrolments_ahead),
    Rule(PointsRedeem, check_signers, apply_redeem, read_ahead=_read_redeemed_ahead),
)
