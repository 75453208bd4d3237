"""The engine for shared energy: from registers to a surplus, and the surplus to accounts. Floor 4, pure.

A meter's register only grows, so an interval's energy is a difference, a missing reading loses nothing, and
consecutive intervals add up to the whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from p2pledger.types import Millis, PublicKey


class Register(NamedTuple):
    """What a meter's register showed at a time."""

    time_ms: Millis
    energy_wh: int


def intervals(registers: Iterable[Register]) -> list[int]:
    """The energy between each reading and the next, in Wh.

    Raises ValueError where time does not ascend or the register runs back.
    """
    found = []
    for before, after in pairwise(registers):
        if after.time_ms <= before.time_ms:
            raise ValueError(f"the reading at {after.time_ms} ms does not follow the one before")
        if after.energy_wh < before.energy_wh:
            raise ValueError(f"the register ran back at {after.time_ms} ms")
        found.append(after.energy_wh - before.energy_wh)
    return found


def surplus_of(produced_wh: int, consumed_wh: int) -> int:
    """What a feeder gave away: production beyond consumption, or nothing."""
    return max(0, produced_wh - consumed_wh)


def share(surplus_wh: int, energies_wh: Sequence[tuple[PublicKey, int]]) -> Mapping[PublicKey, int]:
    """The surplus divided in proportion to what each account fed in: credits that add up to it exactly.

    By the largest remainder (Hamilton's method): everyone gets the whole part of their share, and what is
    left goes, one Wh each, to the largest remainders; equal ones by ascending account.
    Raises ValueError when there is a surplus and nobody fed in anything.
    """
    total_wh = sum(energy_wh for _, energy_wh in energies_wh)
    if not surplus_wh:
        return {account: 0 for account, _ in energies_wh}
    if not total_wh:
        raise ValueError("a surplus has to come from somebody")
    parts = {account: divmod(surplus_wh * energy_wh, total_wh) for account, energy_wh in energies_wh}
    left_wh = surplus_wh - sum(whole for whole, _ in parts.values())
    by_remainder = sorted(parts, key=lambda account: (-parts[account][1], account))
    favoured = set(by_remainder[:left_wh])
    return {account: whole + (account in favoured) for account, (whole, _) in parts.items()}
