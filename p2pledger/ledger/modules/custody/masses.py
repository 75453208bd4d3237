"""The arithmetic of custody: exact, in whole grams. Floor 4, pure."""

from collections.abc import Mapping

from p2pledger.types import Millis

TOLERANCE_PER_MILLE = 10
"""How much of what was sent may be missing or too much: what scales of vehicles and moisture come to."""
TOLERANCE_FLOOR_G = 1_000
"""A difference up to this is within tolerance however light the load: scales have a least division."""

_DAY_MS = 86_400_000
_DAYS_OF_400_YEARS = 146_097
_DAYS_BEFORE_1970 = 719_468
"""From 1 March of the year 0, where each cycle of 400 years begins, to 1 January 1970."""


def is_within_tolerance(sent_g: int, received_g: int) -> bool:
    """Whether a difference is booked at once. Where nothing arrived at all it never is."""
    difference_g = abs(sent_g - received_g)
    limit = max(sent_g * TOLERANCE_PER_MILLE, TOLERANCE_FLOOR_G * 1_000)
    return received_g > 0 and difference_g * 1_000 <= limit


def split(total_g: int, masses_g: Mapping[bytes, int]) -> dict[bytes, int]:
    """Share a mass out in proportion to others, exactly (largest remainder, Hamilton's method).

    The grams that rounding down leaves over go to the largest remainders, ties by ascending key. Where
    `total_g` is at most the sum of the masses, no share is above its mass; where at least, none below it.
    The masses are not all 0.
    """
    sum_g = sum(masses_g.values())
    shares = {key: total_g * mass_g // sum_g for key, mass_g in masses_g.items()}
    left = total_g - sum(shares.values())
    by_remainder = sorted(masses_g, key=lambda key: (-(total_g * masses_g[key] % sum_g), key))
    for key in by_remainder[:left]:
        shares[key] += 1
    return shares


def month_of(time_ms: Millis) -> str:
    """The UTC month of a time, as `2026-01` (ISO 8601).

    Source: H. Hinnant, chrono-compatible low-level date algorithms, `civil_from_days`: years begin in March.
    """
    days = time_ms // _DAY_MS + _DAYS_BEFORE_1970
    cycle, day = divmod(days, _DAYS_OF_400_YEARS)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day_of_year = day - (365 * year + year // 4 - year // 100)
    months = (5 * day_of_year + 2) // 153
    month = months + 3 if months < 10 else months - 9
    return f"{400 * cycle + year + (month <= 2):04d}-{month:02d}"
