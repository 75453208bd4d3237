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


def apply_charge(
    changes: Changes, organisation: str, quota: Quota, size_bytes: int, time_ms: Millis, window_ms: int
) -> None:
    """Charge one transaction of `size_bytes` to an organisation. Raises: InvalidTransaction."""
    before = usage(changes, organisation, time_ms, window_ms)
    after = Usage(before.window, before.transactions + 1, before.size_bytes + size_bytes)
    if after.transactions > quota.transactions or after.size_bytes > quota.size_bytes:
        reset_ms = (after.window + 1) * window_ms - time_ms
        raise InvalidTransaction(
            Code.OVER_QUOTA, f"{organisation!r} has used its quota; the next window begins in {reset_ms} ms"
        )
    _USAGES.put(changes, organisation.encode(), after)
