"""How much an organisation may write: transactions and bytes per quota window. Floor 4, pure.

There is no gas and no coin. A window is a slice of block time; what was used is remembered with the
window it was used in, so a new window starts empty without anything being written.
"""

from dataclasses import dataclass

from p2pledger.chain.genesis import Quota
from p2pledger.codec import U32, U64
from p2pledger.errors import Code, InvalidTransaction
from p2pledger.ledger.state import Changes, Readable, Table
from p2pledger.types import Millis


@dataclass(frozen=True)
class Usage:
    """What an organisation has written in the window `time_ms // quota_window_ms`."""

    window: U64
    transactions: U32
    size_bytes: U64


_USAGES = Table("quota", Usage)


def usage(reader: Readable, organisation: str, time_ms: Millis, window_ms: int) -> Usage:
    """What an organisation has written in the window that holds a block time."""
    window = time_ms // window_ms
    row = _USAGES.get(reader, organisation.encode())
    return row if row is not None and row.window == window else Usage(window, 0, 0)


class Charges:
    """What a block's transactions are charged with, beside what was used of their window before.

    Nothing of it is written before `settle`: within a block a quota counts what the block itself holds, and
    no rule reads it. `time_ms` is the block's.
    """

    def __init__(self, changes: Changes, time_ms: Millis, window_ms: int) -> None:
        self._changes, self._time_ms, self._window_ms = changes, time_ms, window_ms
        self._used: dict[str, tuple[int, int]] = {}
        """Transactions and bytes, by organisation, of those that were looked at."""
        self._charged: set[str] = set()

    def check(self, organisation: str, quota: Quota | None, size_bytes: int, count: int = 1) -> None:
        """Refuse so many transactions, of this size together, that the quota has no room for.

        None: it has room for these, whatever was used. Raises: InvalidTransaction.
        """
        transactions, used_bytes = self._used.get(organisation) or self._read(organisation)
        if quota is None:
            return
        if transactions + count > quota.transactions or used_bytes + size_bytes > quota.size_bytes:
            reset_ms = self._window_ms - self._time_ms % self._window_ms
            raise InvalidTransaction(
                Code.OVER_QUOTA,
                f"{organisation!r} has used its quota; the next window begins in {reset_ms} ms",
            )

    def add(self, organisation: str, size_bytes: int, count: int = 1) -> None:
        """Charge what was checked and carried out."""
        transactions, used_bytes = self._used[organisation]
        self._used[organisation] = transactions + count, used_bytes + size_bytes
        self._charged.add(organisation)

    def settle(self) -> None:
        """Write what was charged, once for each organisation."""
        window = self._time_ms // self._window_ms
        for organisation in sorted(self._charged):
            _USAGES.put(self._changes, organisation.encode(), Usage(window, *self._used[organisation]))

    def _read(self, organisation: str) -> tuple[int, int]:
        before = usage(self._changes, organisation, self._time_ms, self._window_ms)
        self._used[organisation] = used = before.transactions, before.size_bytes
        return used
