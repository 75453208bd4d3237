"""The periods of reward programs: weeks and months of UTC, numbered. Floor 3.

A period is a stretch of block time, not an epoch of the authorities. Numbers only grow, so that periods
are compared and expire by arithmetic on integers.
"""

from enum import Enum
from typing import Annotated

from p2pledger.chain.schema import DAY_MS
from p2pledger.codec import Range
from p2pledger.types import Millis

PeriodNumber = Annotated[int, Range(0, 2**31 - 1)]
"""A week's or a month's number since 1970."""

_THURSDAY = 3
"""The first day of 1970, counted from Monday: ISO 8601 weeks begin on Mondays."""


class Period(Enum):
    """How long a program's periods are."""

    WEEK = 1
    """From Monday to Sunday (ISO 8601); week 0 holds the first day of 1970."""
    MONTH = 2
    """A calendar month; month 0 is January 1970."""


def period_at(kind: Period, time_ms: Millis) -> int:
    """The number of the period that holds a time."""
    day = time_ms // DAY_MS
    return (day + _THURSDAY) // 7 if kind is Period.WEEK else _month_of(day)


def period_bounds(kind: Period, number: int) -> tuple[Millis, Millis]:
    """The first and the last millisecond of a period. Week 0 is cut off at the beginning of 1970."""
    if kind is Period.WEEK:
        first, after = max(0, number * 7 - _THURSDAY), (number + 1) * 7 - _THURSDAY
    else:
        first, after = _first_day(number), _first_day(number + 1)
    return Millis(first * DAY_MS), Millis(after * DAY_MS - 1)


def _month_of(day: int) -> int:
    guess = day * 12 * 400 // 146_097  # 400 years of the Gregorian calendar have 146,097 days
    while _first_day(guess) > day:
        guess -= 1
    while _first_day(guess + 1) <= day:
        guess += 1
    return guess


def _first_day(month: int) -> int:
    """The day, from 1970 on, that a month begins with: years from March, so that leap days end them."""
    year, of_year = divmod(month + 10, 12)  # months from March 1969 on
    year += 1969
    leap_days = year // 4 - year // 100 + year // 400
    return year * 365 + leap_days + (of_year * 153 + 2) // 5 - 719_468
