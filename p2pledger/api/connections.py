"""HTTP connections: hypercorn's own, mended where every request pays for what few need. Floor 7.

a task for each idle time    started after every request and cancelled by the next: one for a connection
                             is enough, whose deadline moves
three writes for an answer   head, body and nothing, each under a lock and a scope, and the client wakes
                             for the first two: an answer whose length is told leaves in one
a scope for every read       though there is no time limit to it
"""

import math
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio import run as hypercorn_run
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer

HEAD = b"HTTP/1.1 "
TELLS_LENGTH = b"\r\ncontent-length: "

UNREAD_PIECES_MAX = 16
"""So much of what a client still sent is read away before its connection is closed."""


class IdleTime:
    """Closes a connection that is idle for so long, or when the server ends. Stands for `TrioSingleTask`.

    Until it has done so it keeps the connection's nursery open, as hypercorn's does.
    """

    def __init__(self, seconds: float, terminated: Callable[[], Awaitable[None]]) -> None:
        self._seconds, self._terminated = seconds, terminated
        self._scope: trio.CancelScope | None = None
        self._is_idle = False

    async def restart(self, task_group: Any, close: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on."""
        self._is_idle, deadline = True, trio.current_time() + self._seconds
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=deadline)
            task_group.spawn(self._watch, self._scope, close)
        else:
            self._scope.deadline = deadline

    async def stop(self) -> None:
        """A request has come."""
        self._is_idle = False
        if self._scope is not None:
            self._scope.deadline = math.inf

    async def _watch(self, scope: trio.CancelScope, close: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await self._terminated()
            if not self._is_idle:
                return  # once it is answered, the request that is under way has the connection closed
        with trio.CancelScope(shield=True):
            await close()


class Connection(TCPServer):
    """One connection of a client."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.idle_task = IdleTime(self.config.keep_alive_timeout, self.context.terminated.wait)  # type: ignore[assignment]
        self._head = b""
        """The head of an answer that waits for its body."""

    async def protocol_send(self, event: Event) -> None:
        """Carry out what the protocol asks for."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
        elif not self._head and event.data.startswith(HEAD) and TELLS_LENGTH in event.data:
            self._head = event.data  # its end is announced by one more piece at least, maybe an empty one
        elif said := self._head + event.data:
            self._head = b""
            await self._write(said)

    async def _write(self, data: bytes) -> None:
        """Mostly the socket takes all of it at once, and there is no need of lock and scope."""
        if not self.send_lock.locked():
            with suppress(OSError):  # what is wrong with the socket shows below
                descriptor = self.stream.socket.fileno()  # type: ignore[attr-defined]
                data = data[os.write(descriptor, data) :]
        if data:
            await super().protocol_send(RawData(data))
        else:
            await trio.lowlevel.checkpoint()

    async def _read_data(self) -> None:
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while data := await self.stream.receive_some(MAX_RECV):
                await self.protocol.handle(RawData(bytes(data)))
            await self.protocol.handle(RawData(b""))
        await self.protocol.handle(Closed())

    async def _close(self) -> None:
        with suppress(OSError):  # a socket that is closed on what nobody has read takes the answer with it
            for _ in range(UNREAD_PIECES_MAX):
                if not os.read(self.stream.socket.fileno(), MAX_RECV):  # type: ignore[attr-defined]
                    break
        await super()._close()

    async def _idle_timeout(self) -> None:
        await self._initiate_server_close()


hypercorn_run.TCPServer = Connection  # type: ignore[assignment,attr-defined]
