"""Rules that mint points and take them back: claims, settlements, audits. Floor 4, pure.

A period is claimed for once it is over, once by each account, by the version of the rules that was decided
before it began, and within its budget.
"""

from collections.abc import Collection
from dataclasses import dataclass

from p2pledger.chain.genesis import KeyRole
from p2pledger.chain.payloads import (
    ClaimAudit,
    Earned,
    EnergyParameters,
    EnergySettle,
    MobilityClaim,
    MobilityParameters,
    Revoked,
)
from p2pledger.codec import encode
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.programs import energy, mobility
from p2pledger.ledger.modules.programs.accounts import book, check_signers, now_in, take
from p2pledger.ledger.modules.programs.rows import (
    ACCOUNTS,
    AUDITS,
    BY_PERIOD,
    CLAIMS,
    PERIODS,
    SETTLEMENTS,
    VERSIONS,
    Account,
    Audited,
    Bucket,
    Claim,
    Driven,
    PeriodTotals,
    Program,
    Settlement,
    Supplied,
    Version,
    by_period,
    check_account,
    check_program,
    claim_key,
    draw,
    mark_of,
    period_key,
)
from p2pledger.ledger.modules.registry.rows import signed_in_role
from p2pledger.ledger.rules import Context, Rule
from p2pledger.ledger.state import Changes, with_fields, with_sums
from p2pledger.types import PublicKey


@dataclass(frozen=True)
class _Open:
    """A period that may be claimed for now, and what judges it."""

    program: str
    period: int
    now: int
    number: int
    version: Version

    @property
    def last_period(self) -> int:
        return self.period + self.version.terms.expiry_periods


def _check_open(changes: Changes, context: Context, name: str, program: Program, period: int) -> _Open:
    """The rules of a period that is over, but not for too long. Raises: InvalidTransaction."""
    now = now_in(context, program)
    if period >= now:
        raise InvalidTransaction(Code.PERIOD_NOT_OPEN, f"period {period} is not over; it is {now} now")
    mark = mark_of(program, period)
    if mark is None:
        raise InvalidTransaction(
            Code.PERIOD_NOT_OPEN, f"no rules judge period {period}; the first is {program.first_period}"
        )
    version = VERSIONS.get(changes, period_key(name, mark.number))
    assert version is not None, "a mark names a version that is there"
    if context.round.height < version.from_height:
        raise InvalidTransaction(
            Code.PERIOD_NOT_OPEN, f"the rules of period {period} work from height {version.from_height} on"
        )
    if now > period + version.terms.claim_periods:
        raise InvalidTransaction(
            Code.PERIOD_NOT_OPEN,
            f"period {period} took claims until period {period + version.terms.claim_periods}",
        )
    return _Open(name, period, now, mark.number, version)


def _mint(changes: Changes, at: _Open, points: int, accounts: int) -> None:
    """Count points in their period's totals, within its budget."""
    key, budget = period_key(at.program, at.period), at.version.terms.budget_points
    row = PERIODS.get(changes, key) or PeriodTotals(at.number, at.last_period, 0, 0, 0, 0)
    if row.minted + points > budget:
        raise InvalidTransaction(
            Code.OVER_BUDGET,
            f"{points} points are more than the {budget - row.minted} left of the period's budget",
        )
    PERIODS.put(changes, key, with_sums(row, {"accounts": accounts, "minted": points}))


def _credit(
    changes: Changes, context: Context, at: _Open, key: PublicKey, account: Account, what: Driven | Supplied
) -> None:
    """Put minted points into the account's bucket of the period, the only ones that it ever gets for it."""
    live = account.live(at.now)
    # A period that takes claims is one whose points have not expired: its bucket cannot have been dropped.
    if at.period in map(by_period, live):
        raise InvalidTransaction(Code.ALREADY_CLAIMED, f"the account had its points for period {at.period}")
    bucket = Bucket(at.period, at.last_period, what.points)
    buckets = tuple(sorted((*live, bucket), key=by_period))
    minted = account.minted + what.points
    entry = book(changes, context, key, account, what, buckets=buckets, minted=minted)
    context.emit(BY_PERIOD, period_key(at.program, at.period) + key, entry)


def apply_claim(changes: Changes, context: Context, payload: MobilityClaim) -> bytes:
    """A week's drive is scored and rewarded. The output is the encoded `Earned`."""
    context.check_signed_by(payload.account, "the account's key")
    account = check_account(changes, payload.account)
    program = check_program(changes, account.program)
    at = _check_open(changes, context, account.program, program, payload.period)
    terms, drive = at.version.terms, payload.drive
    if not isinstance(terms.parameters, MobilityParameters):
        raise InvalidTransaction(Code.WRONG_ENGINE, f"{account.program!r} does not reward driving")
    mobility.check_rate(drive)
    score = mobility.score_of(drive, terms.parameters)
    points = mobility.points_of(score, drive.distance_m, terms.parameters)
    what = Driven(payload.period, at.last_period, at.number, drive, score, points)
    _credit(changes, context, at, payload.account, account, what)
    _mint(changes, at, points, 1)
    CLAIMS.put(changes, claim_key(payload.account, payload.period), Claim(payload.root, points, None, 0))
    return encode(Earned(score, points))


def apply_settle(changes: Changes, context: Context, payload: EnergySettle) -> bytes:
    """A feeder's surplus becomes points of those who fed it in, all of it and once."""
    program = check_program(changes, payload.program)
    if context.sponsor != program.operator:
        raise InvalidTransaction(Code.NOT_ENTITLED, f"{program.operator!r} settles this program")
    at = _check_open(changes, context, payload.program, program, payload.period)
    parameters = at.version.terms.parameters
    if not isinstance(parameters, EnergyParameters):
        raise InvalidTransaction(Code.WRONG_ENGINE, f"{payload.program!r} does not share energy")
    if len(payload.rows) < parameters.accounts_min:
        raise InvalidTransaction(
            Code.TOO_FEW_ACCOUNTS, f"{len(payload.rows)} accounts, {parameters.accounts_min} at least"
        )
    energies_wh = [(row.account, row.energy_wh) for row in payload.rows]
    total_wh = sum(energy_wh for _, energy_wh in energies_wh)
    if total_wh != payload.produced_wh:
        raise InvalidTransaction(
            Code.NOT_BALANCED, f"the rows add up to {total_wh} Wh, not to {payload.produced_wh}"
        )
    settled = _settlement_key(payload)
    if SETTLEMENTS.get(changes, settled) is not None:
        raise InvalidTransaction(Code.ALREADY_CLAIMED, f"period {payload.period} of the feeder is settled")
    surplus_wh = energy.surplus_of(payload.produced_wh, payload.consumed_wh)
    _mint(changes, at, surplus_wh, len(payload.rows))
    credits_wh = energy.share(surplus_wh, energies_wh)
    for key, energy_wh in energies_wh:
        account = check_account(changes, key)
        if account.program != payload.program:
            raise InvalidTransaction(Code.UNKNOWN_ACCOUNT, f"{payload.program!r} has no account {key.hex()}")
        what = Supplied(
            period=payload.period,
            last_period=at.last_period,
            version=at.number,
            feeder=payload.feeder,
            produced_wh=payload.produced_wh,
            consumed_wh=payload.consumed_wh,
            energy_wh=energy_wh,
            points=credits_wh[key],
        )
        _credit(changes, context, at, key, account, what)
    SETTLEMENTS.put(changes, settled, Settlement(context.transaction_id))
    return b""


def apply_audit(changes: Changes, context: Context, payload: ClaimAudit) -> bytes:
    """A claim was compared with the trace that its account let the auditor see.

    Without a match its points go, as far as the balance reaches.

    First those that are left of the claim's own period, then those that expire first; what the balance does
    not cover was spent before, and stays disputed. The output is the encoded `Revoked`.
    """
    account = check_account(changes, payload.account)
    program = check_program(changes, account.program)
    if context.sponsor != program.auditor:
        raise InvalidTransaction(Code.NOT_ENTITLED, f"{program.auditor!r} audits this program")
    if not context.holds_inside(payload):
        raise InvalidTransaction(
            Code.AUDIT_NOT_GRANTED,
            f"the account has not let {context.sponsor!r} audit {payload.period}",
        )
    place = claim_key(payload.account, payload.period)
    claim = CLAIMS.get(changes, place)
    if claim is None:
        raise InvalidTransaction(Code.UNKNOWN_CLAIM, f"the account claimed nothing for {payload.period}")
    if claim.audit is not None:
        raise InvalidTransaction(Code.ALREADY_AUDITED, f"by {claim.audit.hex()}")
    if payload.is_match and payload.root != claim.root:
        raise InvalidTransaction(Code.AUDIT_CONTRADICTORY, "a trace of another root does not match the claim")
    live = account.live(now_in(context, program))
    if payload.period not in map(by_period, live):
        raise InvalidTransaction(Code.PERIOD_NOT_OPEN, f"the points of period {payload.period} have expired")
    own_first = sorted(live, key=lambda one: (one.period != payload.period, one.last_period, one.period))
    buckets, taken = draw(own_first, 0 if payload.is_match else claim.points)
    revoked = sum([part.points for part in taken])
    disputed = 0 if payload.is_match else claim.points - revoked
    take(changes, account.program, taken, "revoked")
    CLAIMS.put(changes, place, with_fields(claim, audit=context.transaction_id, disputed_points=disputed))
    what = Audited(payload.period, payload.is_match, taken, disputed)
    after = {"buckets": buckets, "revoked": account.revoked + revoked}
    entry = book(changes, context, payload.account, account, what, **after)
    context.emit(AUDITS, period_key(account.program, payload.period) + payload.account, entry)
    return encode(Revoked(revoked, disputed))


def _read_claims_ahead(changes: Changes, payloads: Collection[MobilityClaim | ClaimAudit]) -> None:
    ACCOUNTS.read_ahead(changes, {payload.account for payload in payloads})
    CLAIMS.read_ahead(changes, {claim_key(payload.account, payload.period) for payload in payloads})


def _settlement_key(payload: EnergySettle) -> bytes:
    return period_key(payload.program, payload.period) + payload.feeder.encode()


def _read_settlements_ahead(changes: Changes, payloads: Collection[EnergySettle]) -> None:
    SETTLEMENTS.read_ahead(changes, {_settlement_key(payload) for payload in payloads})
    ACCOUNTS.read_ahead(changes, {row.account for payload in payloads for row in payload.rows})


_by_the_organisation = signed_in_role(KeyRole.ADMIN, KeyRole.SERVICE)

RULES = (
    Rule(MobilityClaim, check_signers, apply_claim, read_ahead=_read_claims_ahead),
    Rule(EnergySettle, _by_the_organisation, apply_settle, read_ahead=_read_settlements_ahead),
    Rule(ClaimAudit, _by_the_organisation, apply_audit, read_ahead=_read_claims_ahead),
)
