"""Which of a device's numbers are taken. Floor 4, pure.

A device counts its readings; parallel writers and late data deliver them in any order. So its highest
number is remembered with the gaps below it, and a range is accepted above the highest, or inside one
gap. Nothing is lost, nothing is accepted twice, and what is missing can be seen.
"""

from dataclasses import dataclass
from typing import Annotated

from p2pledger.chain.payloads import SeqNumber
from p2pledger.codec import U64, Kept, Length
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.types import Millis

GAPS_MAX = 64
_NEVER = Millis(0)


@dataclass(frozen=True)
class Gap:
    """Numbers from `first` to `last`, both inclusive, that have not come yet."""

    first: SeqNumber
    last: SeqNumber


_NO_GAPS = Kept[Gap]()


@dataclass(frozen=True, slots=True)
class Sequence:
    """All numbers below `next_number` were accepted, but for the gaps, which ascend and do not touch."""

    next_number: U64 = 0
    gaps: Annotated[Kept[Gap], Length(0, GAPS_MAX)] = _NO_GAPS
    """Kept, since nearly every record leaves them as they are."""
    heard_ms: Millis = _NEVER
    """The time of the last block that has a record or a batch of the device."""

    def accept(self, first: int, last: int, heard_ms: Millis = _NEVER) -> "Sequence":
        """The sequence with the numbers `first` to `last` taken, in a block of this time.

        Raises: InvalidTransaction with `duplicate` when one of them was taken before, `too_many_gaps`
        when it would leave more than GAPS_MAX gaps (deliver what is missing first).
        """
        gaps, next_number = self.gaps, self.next_number
        if first == next_number:
            return Sequence(last + 1, gaps, heard_ms)
        if first > next_number:
            return self._with(last + 1, (*gaps, Gap(next_number, first - 1)), heard_ms)
        for i, gap in enumerate(gaps):
            if gap.first <= first and last <= gap.last:
                left = (Gap(gap.first, first - 1),) if gap.first < first else ()
                right = (Gap(last + 1, gap.last),) if last < gap.last else ()
                return self._with(next_number, (*gaps[:i], *left, *right, *gaps[i + 1 :]), heard_ms)
        raise InvalidTransaction(Code.DUPLICATE, f"of the numbers {first} to {last} one was accepted before")

    def _with(self, next_number: int, gaps: tuple[Gap, ...], heard_ms: Millis) -> "Sequence":
        if len(gaps) > GAPS_MAX:
            raise InvalidTransaction(Code.TOO_MANY_GAPS, f"more than {GAPS_MAX} gaps would be open")
        return Sequence(next_number, Kept(gaps), heard_ms)
