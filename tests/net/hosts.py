"""Real hosts on loopback, and a node that only remembers what reached it."""

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio
from p2pledger.errors import InvalidMessage
from p2pledger.network.host import Host
from p2pledger.network.names import LookUp, look_up
from p2pledger.network.seam import PeerAddress, Take, Topic, Verdict
from p2pledger.types import PeerId

CHAIN_TAG = "00112233445566aa"
PATIENCE_S = 60
"""Until what waits in vain fails: processes of other tests load meanwhile, and each takes seconds to."""


class Counts:
    """A meter that counts."""

    def __init__(self) -> None:
        self.of: Counter[tuple[object, ...]] = Counter()

    def gossip(self, topic: Topic, result: str) -> None:
        self.of["gossip", topic, result] += 1

    def traffic(self, direction: str, protocol: str, n_bytes: int) -> None:
        self.of["traffic", direction, protocol] += n_bytes

    def dial(self, result: str) -> None:
        self.of["dial", result] += 1

    def dropped(self, direction: str, count: int = 1) -> None:
        self.of["dropped", direction] += count

    def banned(self, reason: str) -> None:
        self.of["banned", reason] += 1

    def ping(self, rtt_ms: float) -> None:
        assert rtt_ms >= 0
        self.of["ping",] += 1


@dataclass
class Recorder:
    """A handler: gossip that begins with ! is refused, with ? ignored; a request tells its own answer."""

    gossip: list[tuple[Topic, PeerId, bytes]] = field(default_factory=list)
    frames: list[tuple[PeerId, bytes]] = field(default_factory=list)
    frame_peers: set[PeerId] | None = None
    gossip_gate: trio.Event | None = None
    open_answers: int = 0
    knocks: list[tuple[PeerId, bytes]] = field(default_factory=list)
    met: list[PeerId] = field(default_factory=list)

    async def check_gossip(self, topic: Topic, peer: PeerId, data: bytes) -> Take | Verdict:
        if data.startswith(b"raise in check"):
            raise RuntimeError("a fault of the node")
        refused = {b"!": Verdict.REJECT, b"?": Verdict.IGNORE}.get(data[:1])
        return refused or partial(self.on_gossip, topic, peer, data)

    async def on_connected(self, peer: PeerId) -> None:
        self.met.append(peer)

    async def on_gossip(self, topic: Topic, peer: PeerId, data: bytes) -> None:
        if self.gossip_gate is not None:
            await self.gossip_gate.wait()
        if data.startswith(b"raise in take"):
            raise RuntimeError("a fault of the node")
        self.gossip.append((topic, peer, data))

    async def on_frame(self, peer: PeerId, data: bytes) -> None:
        if data == b"raise":
            raise RuntimeError("a fault of the node")
        if data == b"rubbish":
            raise InvalidMessage("rubbish")
        self.frames.append((peer, data))

    async def serve(self, peer: PeerId, request: bytes) -> AsyncGenerator[bytes, None]:
        self.open_answers += 1
        try:
            verb, _, argument = request.partition(b" ")
            if verb == b"raise":
                raise RuntimeError("a fault of the node")
            if verb == b"rubbish":
                raise InvalidMessage("rubbish")
            if verb == b"hang":
                await trio.sleep_forever()
            count, size = (int(number) for number in argument.split())
            for index in range(count):
                yield bytes([index % 256]) * size
        finally:
            self.open_answers -= 1

    async def serve_join(self, peer: PeerId, request: bytes) -> AsyncGenerator[bytes, None]:
        self.knocks.append((peer, request))
        async with aclosing(self.serve(peer, request)) as replies:
            async for reply in replies:
                yield reply

    def is_frame_peer(self, peer: PeerId) -> bool:
        return self.frame_peers is None or peer in self.frame_peers

    def heard(self) -> list[bytes]:
        return [data for _, _, data in self.gossip]


@dataclass
class Peer:
    """A running host with what it hears and counts."""

    host: Host
    handler: Recorder
    counts: Counts

    @property
    def id(self) -> PeerId:
        return self.host.local

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.host.local, self.host.addresses)


def seed_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def make_peer(
    name: str,
    *,
    ban_s: float = 300.0,
    listen: str = "/ip4/127.0.0.1/tcp/0",
    look_up: LookUp = look_up,
) -> Peer:
    handler, counts = Recorder(), Counts()
    host = Host(
        seed=seed_of(name),
        listen=[listen],
        chain_tag=CHAIN_TAG,
        handler=handler,
        meter=counts,
        ban_s=ban_s,
        look_up=look_up,
    )
    return Peer(host, handler, counts)


def introduce(*peers: Peer) -> None:
    """Admit all to all and have everybody dial everybody."""
    everybody = {peer.id: peer.address for peer in peers}
    for peer in peers:
        peer.host.admit(frozenset(everybody), everybody)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something becomes so; a test that waits in vain fails."""
    with trio.fail_after(PATIENCE_S):
        while not is_so():
            await trio.sleep(0.01)


@asynccontextmanager
async def running(*peers: Peer) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for peer in peers:
            await nursery.start(peer.host.run)
        try:
            yield
        finally:
            for peer in peers:
                peer.host.stop()


@asynccontextmanager
async def network(*names: str, ban_s: float = 300.0) -> AsyncIterator[list[Peer]]:
    """Hosts that are all connected and meshed."""
    peers = [make_peer(name, ban_s=ban_s) for name in names]
    async with running(*peers):
        introduce(*peers)
        await until(lambda: all(set(p.host.mesh_sizes().values()) == {len(peers) - 1} for p in peers))
        yield peers
