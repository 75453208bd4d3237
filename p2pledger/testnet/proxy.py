"""What lies between the nodes of a testnet: a TCP proxy, so that every link can be broken by itself. Floor 8.

    async with open_links() as links:
        port = await links.open("authority-1", "authority-2", "127.0.0.1", 7161)
        …                       # authority-1 dials authority-2 at this port, and nobody else does
        links.cut("authority-1", "authority-2")
        links.way("authority-2", "gateway-1").delay_ms = 100

There is one listening port for each pair of dialler and dialled, so a connection's ends are known by the
port alone, and nothing has to be read from the encrypted bytes. Each direction of a link is a `Way` of its
own, whoever dialled.

What it models, as far as a proxy of bytes can model a network of packets:

    cut      connections are reset, new ones too: a firewall that rejects, a host that is off
    silent   bytes stay where they are and come on when the silence ends, in order: a firewall that drops, a
             cable that is out. A real TCP would ask again only when its timer runs out, which may take as
             long again as the silence did; here it asks at once
    delay    each piece of bytes comes so much later, with jitter, never out of order
    loss     each piece is lost with this probability, and TCP sends it again after its shortest time-out,
             twice as long after each further loss of the same piece; what follows waits behind it

A way holds BUFFER_BYTES at most; then the proxy stops reading, and TCP pushes back on the sender.
"""

import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2pledger.testnet.ports import HOST

BUFFER_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024
RETRANSMIT_MS = 200.0
"""The shortest retransmission time-out of Linux."""

RETRANSMITS_MAX = 6
CONNECTIONS_MAX = 16
"""Of one dialler to one dialled: two that stand, and some that are being tried."""

BACKLOG = 16
DIAL_S = 3.0

_RESET = struct.pack("ii", 1, 0)
"""Linger for no time at all: closing then resets the connection."""


@dataclass
class Way:
    """How bytes fare from one node to another. May be changed at any time; holds for what comes next."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    """The probability, from 0 to 1, that a piece is lost on its way."""
    is_silent: bool = False
    changed: trio.Event = field(default_factory=trio.Event)

    def silence(self, is_silent: bool) -> None:
        """Begin or end a silence."""
        self.is_silent = is_silent
        self.changed.set()
        self.changed = trio.Event()

    def calm(self) -> None:
        """Nothing is the matter any more."""
        self.delay_ms = self.jitter_ms = self.loss = 0.0
        self.silence(False)

    def draw_s(self, source: random.Random) -> float:
        """How many seconds late the next piece is."""
        late_ms = self.delay_ms + source.uniform(0, self.jitter_ms)
        for attempt in range(RETRANSMITS_MAX):
            if source.random() >= self.loss:
                break
            late_ms += RETRANSMIT_MS * 2**attempt
        return late_ms / 1_000


class _Pipe:
    """One direction of one connection: bytes and when they are due, in order."""

    def __init__(self, way: Way, source: random.Random) -> None:
        self._way, self._source = way, source
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._n_bytes = 0
        self._due_s = 0.0
        self._changed = trio.lowlevel.ParkingLot()

    async def carry(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        """Carry bytes until the source ends and all have arrived. Raises: BrokenResourceError."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fill, source)
            await self._drain(sink)

    async def _fill(self, source: trio.SocketStream) -> None:
        while True:
            piece = await source.receive_some(READ_BYTES)
            self._due_s = max(self._due_s, trio.current_time() + self._way.draw_s(self._source))
            self._pieces.append((self._due_s, piece))
            self._n_bytes += len(piece)
            self._changed.unpark_all()
            if not piece:
                return
            while self._n_bytes > BUFFER_BYTES:
                await self._changed.park()

    async def _drain(self, sink: trio.SocketStream) -> None:
        while True:
            while not self._pieces:
                await self._changed.park()
            due_s, piece = self._pieces.popleft()
            if due_s > trio.current_time():
                await trio.sleep_until(due_s)
            while self._way.is_silent:
                await self._way.changed.wait()
            if not piece:
                return
            await sink.send_all(piece)
            self._n_bytes -= len(piece)
            self._changed.unpark_all()


class Links:
    """All links of one testnet. Names are the nodes'."""

    def __init__(self, nursery: trio.Nursery, seed: int | None = None) -> None:
        self._nursery = nursery
        self._random = random.Random(seed)  # noqa: S311 - weather, no secret
        self._ways: dict[tuple[str, str], Way] = {}
        self._cut: set[frozenset[str]] = set()
        self._connections: dict[frozenset[str], set[trio.CancelScope]] = {}

    async def open(
        self, dialler: str, dialled: str, host: str, port: int, at: tuple[str, int] = (HOST, 0)
    ) -> int:
        """A new port at which `dialler`, and nobody else, reaches `dialled`, who listens at host and port.

        `at` is the proxy's own side: an address, and a port or 0 for a free one. A host that is a name is
        looked up for each connection. Raises: OSError.
        """
        (listener,) = await trio.open_tcp_listeners(at[1], host=at[0], backlog=BACKLOG)
        own_port: int = listener.socket.getsockname()[1]

        async def accept(stream: trio.SocketStream) -> None:
            await self._accept(stream, dialler, dialled, (host, port))

        self._nursery.start_soon(trio.serve_listeners, accept, [listener])
        return own_port

    def way(self, source: str, sink: str) -> Way:
        """How bytes fare from one node to another."""
        return self._ways.setdefault((source, sink), Way())

    def cut(self, one: str, other: str) -> None:
        """Reset what connects the two, and whatever they dial until they are joined."""
        self._cut.add(frozenset((one, other)))
        self.reset(one, other)

    def reset(self, one: str, other: str) -> None:
        """Reset what connects the two now."""
        for scope in self._connections.get(frozenset((one, other)), ()):
            scope.cancel()

    def is_connected(self, one: str, other: str) -> bool:
        """Whether a connection between the two stands, or is being made."""
        return bool(self._connections.get(frozenset((one, other))))

    def join(self, one: str, other: str) -> None:
        """The two may connect again, and hear each other."""
        self._cut.discard(frozenset((one, other)))
        self.way(one, other).silence(False)
        self.way(other, one).silence(False)

    def calm(self) -> None:
        """Nothing is the matter with any link any more."""
        self._cut.clear()
        for way in self._ways.values():
            way.calm()

    async def _accept(self, near: trio.SocketStream, dialler: str, dialled: str, to: tuple[str, int]) -> None:
        pair = frozenset((dialler, dialled))
        scopes = self._connections.setdefault(pair, set())
        scope = trio.CancelScope()
        async with near:
            if pair in self._cut or len(scopes) >= CONNECTIONS_MAX:
                _make_reset(near)
                return
            scopes.add(scope)
            with scope:
                await self._connect(near, dialler, dialled, to)
            scopes.discard(scope)
            if scope.cancelled_caught:
                _make_reset(near)

    async def _connect(
        self, near: trio.SocketStream, dialler: str, dialled: str, to: tuple[str, int]
    ) -> None:
        there, back = self.way(dialler, dialled), self.way(dialled, dialler)
        while there.is_silent or back.is_silent:  # the first packets of a connection go both ways
            await (there if there.is_silent else back).changed.wait()
        try:
            with trio.fail_after(DIAL_S):
                far = await trio.open_tcp_stream(*to)
        except (OSError, trio.TooSlowError):
            _make_reset(near)
            return
        async with far:
            try:
                async with trio.open_nursery() as nursery:
                    for pipe, source, sink in (
                        (_Pipe(there, self._random), near, far),
                        (_Pipe(back, self._random), far, near),
                    ):
                        nursery.start_soon(_carry, pipe, source, sink, nursery.cancel_scope)
            except trio.Cancelled:
                _make_reset(far)
                raise


async def _carry(
    pipe: _Pipe, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
) -> None:
    """Carry one direction; once it ends, however, the connection has ended: libp2p closes both at once."""
    try:
        await pipe.carry(source, sink)
    except* trio.BrokenResourceError:
        pass
    both.cancel()


def _make_reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


@asynccontextmanager
async def open_links(seed: int | None = None) -> AsyncIterator[Links]:
    """Links that work while this lasts. All listeners and connections are closed at the end."""
    async with trio.open_nursery() as nursery:
        yield Links(nursery, seed)
        nursery.cancel_scope.cancel()
