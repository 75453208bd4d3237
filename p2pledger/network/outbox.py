"""What waits to be sent to one peer on one stream. Floor 6."""

import math
from collections import deque
from typing import Protocol

import trio

from p2pledger.network.seam import Meter

WRITE_BYTES = 256 * 1024
"""Messages are joined into writes of about this size."""

URGENT_BYTES = 64 * 1024
"""The room beyond the limit that is kept for urgent messages."""


class Writer(Protocol):
    """What an outbox is emptied into: a stream, mostly."""

    async def write(self, data: bytes) -> None:
        """Write all of `data`."""

    def write_now(self, data: bytes) -> bool:
        """Write all of `data` if that need not wait for anything; False: none of it was written."""


class MeteredWriter:
    """Writes to a stream of `protocol`, and tells `meter` how much."""

    def __init__(self, stream: Writer, meter: Meter, protocol: str) -> None:
        self._stream, self._meter, self._protocol = stream, meter, protocol

    async def write(self, data: bytes) -> None:
        """See `Writer.write`."""
        await self._stream.write(data)
        self._meter.traffic("outbound", self._protocol, len(data))

    def write_now(self, data: bytes) -> bool:
        """See `Writer.write_now`."""
        if not self._stream.write_now(data):
            return False
        self._meter.traffic("outbound", self._protocol, len(data))
        return True


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
        self._writer: Writer | None = None

    def __len__(self) -> int:
        return len(self._messages)

    def push(self, message: bytes, *, is_urgent: bool = False) -> bool:
        """Queue a message; False when there is no room or the outbox is closed."""
        is_next = not self._messages and not self._is_writing
        if is_next and self._writer is not None and self._writer.write_now(message):
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

    async def pour(self, writer: Writer, stall_s: float) -> None:
        """Write all that is pushed, in order, until closed.

        What the writer takes at once is never queued, and no task has to wake for it.
        Raises: trio.TooSlowError when one write takes longer than `stall_s`; whatever the writer raises.
        """
        # One scope for all writes: setting up one for each costs as much as a small write.
        self._writer = writer
        try:
            with trio.CancelScope() as scope:
                while (data := await self.pull()) is not None:
                    self._is_writing, scope.deadline = True, trio.current_time() + stall_s
                    await writer.write(data)
                    self._is_writing, scope.deadline = False, math.inf
        finally:
            self._writer = None
        if scope.cancelled_caught:
            raise trio.TooSlowError

    def close(self) -> int:
        """Refuse from now on and forget what waits; returns how many messages that were."""
        self._is_closed, self._writer = True, None
        n_lost = len(self._messages)
        self._messages.clear()
        self._n_bytes = 0
        self._filled.unpark_all()
        return n_lost
