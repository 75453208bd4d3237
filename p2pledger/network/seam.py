"""What the node asks of a network, and what a network promises. Floor 6.

Nothing here knows libp2p. The node is written against these protocols; `host`, `gossip` and
`streams` carry them out over py-libp2p.

Three ways to speak, because three things are needed:
  gossip   to everybody, best effort, what it loses is asked for later (transactions, final blocks);
  frames   to one authority, in order, coalesced, never blocking the sender (votes, proposals, status);
  asks     one request, a bounded stream of replies, with back-pressure (bodies, old blocks).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from p2pledger.types import PeerId

FRAME_BYTES_MAX = 4 * 1024 * 1024
"""The largest frame on a direct stream, and the largest single reply to an ask."""

GOSSIP_BYTES_MAX = 512 * 1024
"""The largest gossip message."""

REQUEST_BYTES_MAX = 64 * 1024
"""The largest request of an ask."""


class Topic(Enum):
    """The gossip topics. The value is the topic's name on the wire, after the chain's own prefix."""

    TRANSACTIONS = "transactions"
    BLOCKS = "blocks"
    EVIDENCE = "evidence"


class Verdict(Enum):
    """Why a gossip message is not taken.

    IGNORE: neither taken nor forwarded, and nobody is blamed (what depends on our own state is ignored,
    never rejected: the library caches a rejection for 300 s and scores the forwarder down). REJECT: not
    forwarded, and the forwarder is scored down.
    """

    IGNORE = "ignore"
    REJECT = "reject"


Take = Callable[[], Awaitable[object]]
"""Takes a gossip message that was found good, as it was read when it was checked."""


class Unreachable(Exception):
    """The peer could not be asked, did not answer in time, or broke off. Ask another."""


@dataclass(frozen=True)
class PeerAddress:
    """A peer to stay connected to: dialled again for ever, its DNS names resolved at each dial.

    `addresses` are multiaddrs without the trailing `/p2p/…`; empty for a peer that only dials us.
    """

    peer: PeerId
    addresses: tuple[str, ...]


class Handler(Protocol):
    """What the node does with what arrives. Given to the network when it is made."""

    async def on_connected(self, peer: PeerId) -> None:
        """A connection to `peer` stands, after none did. What was sent to it before may be lost."""

    async def check_gossip(self, topic: Topic, peer: PeerId, data: bytes) -> Take | Verdict:
        """Judge a message by its bytes and signatures, before it is forwarded; must not raise.

        A good one is answered with what takes it, which is awaited once it was forwarded. Both are awaited
        by the reader of that peer: being slow pushes back on it. Whoever forwards vouches, so an honest
        peer cannot be made to be scored down for what another one signed falsely.
        """

    async def on_frame(self, peer: PeerId, data: bytes) -> None:
        """Take one frame from a direct stream of `peer`, in the order it was sent. Being slow pushes back."""

    def serve(self, peer: PeerId, request: bytes) -> AsyncGenerator[bytes, None]:
        """Answer an ask, reply by reply. Each reply is written before the next is drawn.

        Raising `InvalidMessage` resets the stream and scores the peer down.
        """

    def serve_join(self, peer: PeerId, request: bytes) -> AsyncGenerator[bytes, None]:
        """Answer a request of a machine that wants to join, which may be a stranger, as `serve` does.

        Raising `InvalidMessage` ends its visit and holds it against the peer.
        """

    def is_frame_peer(self, peer: PeerId) -> bool:
        """Whether this peer may open a direct frame stream to us (it is an authority)."""


class Meter(Protocol):
    """Where the network counts. Called often and inline: must be quick and must not raise.

    Gauges are not pushed: `peers_by_direction`, `mesh_sizes` and `scores` of the running network are
    read when metrics are asked for. The labels are closed sets, listed at each method.
    """

    def gossip(self, topic: Topic, result: str) -> None:
        """One gossip message: published, accept, ignore, reject or duplicate."""

    def traffic(self, direction: str, protocol: str, n_bytes: int) -> None:
        """Bytes `inbound` or `outbound` by gossip, frames, asks or join."""

    def dial(self, result: str) -> None:
        """One attempt to connect: ok or error."""

    def dropped(self, direction: str, count: int = 1) -> None:
        """Messages or frames that found no room: outbound in a queue, inbound in what one RPC may hold."""

    def banned(self, reason: str) -> None:
        """One peer cut off for a while: gossip, frame, request, muxer, invalid or stranger."""

    def ping(self, rtt_ms: float) -> None:
        """One round trip to a peer."""


class Network(Protocol):
    """A running network. Every method may be called from the node's own trio thread only."""

    @property
    def local(self) -> PeerId:
        """Our own peer id."""

    def connected(self) -> frozenset[PeerId]:
        """The peers that a connection stands to now."""

    def admit(
        self,
        allowed: frozenset[PeerId],
        dial: Mapping[PeerId, PeerAddress],
        circle: frozenset[PeerId] = frozenset(),
    ) -> None:
        """Replace the allow-list and the list of peers to stay connected to.

        A connected peer that is no longer allowed is cut off. `circle`: peers (the authorities) that all
        stay connected to each other. What one of them publishes it sends to all of them, and nobody
        forwards it to another one; where a link is down, that one has to ask for what it lacks.
        """

    async def publish(self, topic: Topic, data: bytes) -> None:
        """Gossip `data` to everybody. Best effort; our own handler does not get it back.

        Raises: ValueError when `data` is over GOSSIP_BYTES_MAX.
        """

    def send(self, peer: PeerId, data: bytes) -> bool:
        """Queue one frame for a peer's direct stream and return at once.

        Frames to one peer keep their order; frames queued together leave in one write. False when the
        peer's queue is full or it is not connected: the frame is dropped and counted, and the
        protocol's own repetition makes up for it.
        """

    def ask(self, peer: PeerId, request: bytes, *, timeout_ms: int) -> AsyncGenerator[bytes, None]:
        """Send a request and yield its replies as they come; ends when the peer has said all.

        `timeout_ms` bounds the whole of it. Close the generator to break off.
        Raises: Unreachable.
        """
