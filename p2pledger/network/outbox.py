"""What waits to be sent to one peer on one stream. Floor 6."""

import math
from collections import deque
from collections.abc import Awaitable, Callable

import trio

WRITE_BYTES = 256 * 1024
"""Messages are joined into writes of about this size."""

URGENT_BYTES = 64 * 1024
"""The room beyond the limit that is kept for urgent messages."""


class Outbox:
    """A queue of encoded messages, bounded in bytes, emptied in large writes.

    A full one refuses: a peer that does not read costs its own messages, never our memory or our time.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._n_bytes = 0
        self._messages: deque[bytes] = deque()
        self._filled = trio.lowlevel.ParkingLot()
        self._is_closed = False
        self._is_writing = False
        self._write_now: Callable[[bytes], bool] | None = None

    def __len__(self) -> int:
        return len(self._messages)

    def push(self, message: bytes, *, is_urgent: bool = False) -> bool:
        """Queue a message; False when there is no room or the outbox is closed."""
        is_next = not self._messages and not self._is_writing
        if is_next and self._write_now is not None and self._write_now(message):
            return True
        room = self._bytes_max + (URGENT_BYTES if is_urgent else 0)
        if self._is_closed or self._n_bytes + len(message) > room:
            return False
        self._messages.append(message)
        self._n_bytes += len(message)
        self._filled.unpark()
        return True

    async def pull(self) -> bytes | None:
        """Wait for messages and take as many as make one write, in order; None once closed."""
        while not self._messages and not self._is_closed:
            await self._filled.park()
        if self._is_closed:
            return None
        taken = [self._messages.popleft()]
        n_bytes = len(taken[0])
        while self._messages and n_bytes + len(self._messages[0]) <= WRITE_BYTES:
            taken.append(self._messages.popleft())
            n_bytes += len(taken[-1])
        self._n_bytes -= n_bytes
        return b"".join(taken)

    async def pour(
        self,
        write: Callable[[bytes], Awaitable[None]],
        stall_s: float,
        write_now: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Write all that is pushed, in order, until closed.

        `write_now` may take a message at once, or say False: what it takes is never queued, and no task has
        to wake for it.
        Raises: trio.TooSlowError when one write takes longer than `stall_s`; whatever `write` raises.
        """
        # One scope for all writes: setting up one for each costs as much as a small write.
        self._write_now = write_now
        try:
            with trio.CancelScope() as scope:
                while (data := await self.pull()) is not None:
                    self._is_writing, scope.deadline = True, trio.current_time() + stall_s
                    await write(data)
                    self._is_writing, scope.deadline = False, math.inf
        finally:
            self._write_now = None
        if scope.cancelled_caught:
            raise trio.TooSlowError

    def close(self) -> int:
        """Refuse from now on and forget what waits; returns how many messages that were."""
        self._is_closed, self._write_now = True, None
        n_lost = len(self._messages)
        self._messages.clear()
        self._n_bytes = 0
        self._filled.unpark_all()
        return n_lost
