"""What governance decides about programs: their creation, and other terms for them. Floor 4, pure.

Terms judge whole periods, and are decided before the first of these begins. So all claims of a period are
judged alike, whenever they come, and a period that began under old rules is judged by them.
"""

from p2pledger.chain.payloads import CLAIM_PERIODS_MAX, ProgramChange, ProgramCreate, Terms
from p2pledger.chain.period import Period, period_at
from p2pledger.codec import encode
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.modules.programs.rows import (
    BY_PROGRAM,
    PROGRAMS,
    VERSIONS,
    VERSIONS_MAX,
    Mark,
    Program,
    Version,
    check_program,
    period_key,
    period_of,
)
from p2pledger.ledger.modules.registry import check_organisation
from p2pledger.ledger.rules import Context, Measure
from p2pledger.ledger.state import Changes, with_fields
from p2pledger.types import Height


def _check_ahead(context: Context, period: Period, terms: Terms) -> int:
    """The period under way, which the terms' first one has to lie after."""
    now = period_at(period, context.round.time_ms)
    if terms.from_period <= now:
        raise InvalidTransaction(
            Code.BACKDATED, f"period {terms.from_period} has begun; the next is {now + 1}"
        )
    return now


def _put(changes: Changes, context: Context, name: str, row: Program, terms: Terms, height: Height) -> None:
    VERSIONS.put(changes, period_key(name, row.versions_count - 1), Version(terms, height))
    PROGRAMS.put(changes, name.encode(), row)
    context.emit(BY_PROGRAM, name.encode(), encode(row))


def enact_create(changes: Changes, context: Context, payload: ProgramCreate, from_height: Height) -> None:
    """A program begins: it enrolls from this height on, and rewards from its terms' first period on."""
    if PROGRAMS.get(changes, payload.program.encode()) is not None:
        raise InvalidTransaction(Code.PROGRAM_TAKEN, f"there is a program {payload.program!r} already")
    for name in (payload.operator, payload.issuer, payload.auditor):
        check_organisation(changes, name)
    terms = payload.terms
    period = period_of(terms)
    _check_ahead(context, period, terms)
    row = Program(
        period=period,
        operator=payload.operator,
        issuer=payload.issuer,
        auditor=payload.auditor,
        from_height=from_height,
        versions_count=1,
        marks=(Mark(0, terms.from_period),),
        first_period=terms.from_period,
    )
    _put(changes, context, payload.program, row, terms, from_height)


def enact_change(changes: Changes, context: Context, payload: ProgramChange, from_height: Height) -> None:
    """Other terms from a period on that has not begun. What was planned for it, or for later, is dropped."""
    row, terms = check_program(changes, payload.program), payload.terms
    if period_of(terms) is not row.period:
        raise InvalidTransaction(Code.WRONG_ENGINE, "a program keeps its engine; create another program")
    now = _check_ahead(context, row.period, terms)
    before = [mark for mark in row.marks if mark.from_period < terms.from_period]
    # The version that judges the oldest period that takes claims stays, and all after it.
    while len(before) > 1 and before[1].from_period <= now - CLAIM_PERIODS_MAX:
        del before[0]
    if len(before) == VERSIONS_MAX:
        raise InvalidTransaction(
            Code.TOO_MANY_VERSIONS, f"{VERSIONS_MAX} versions judge periods that are open or to come"
        )
    marks = (*before, Mark(row.versions_count, terms.from_period))
    changed = with_fields(
        row,
        versions_count=row.versions_count + 1,
        marks=marks,
        first_period=row.first_period if before else terms.from_period,
    )
    _put(changes, context, payload.program, changed, terms, from_height)


MEASURES = (Measure(ProgramCreate, enact_create), Measure(ProgramChange, enact_change))
