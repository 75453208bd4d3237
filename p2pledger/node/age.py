"""How long a transaction must have been here before it is proposed. Floor 6."""

AGE_MS_MIN = 2
"""Four authorities under load that took all of two cores lacked something in one block of 260."""
GROWTH = 1.5
SHRINK_MS = 1.0
"""Less, with every block that was executed as it came: some ten blocks make good for one."""


class GossipAge:
    """The age at which others have a transaction too, so that they can execute a block of it at once.

    Nobody tells a leader what its voters lacked; but what was late here, in the blocks of others, was about
    as late there. It needs no clock but one's own.
    """

    def __init__(self, ms_max: int) -> None:
        self._ms, self._ms_max = float(AGE_MS_MIN), ms_max

    @property
    def ms(self) -> int:
        """The age now: AGE_MS_MIN at least, `ms_max` at most."""
        return round(self._ms)

    def observe(self, *, is_whole: bool) -> None:
        """A block was to be executed, and all of it was here, or not."""
        wanted = self._ms - SHRINK_MS if is_whole else self._ms * GROWTH
        self._ms = min(max(wanted, AGE_MS_MIN), self._ms_max)
