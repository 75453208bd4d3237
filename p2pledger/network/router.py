"""Who gets which gossip: the library's router, mended. Floor 6. See `gossip` for the faults.

Messages go out encoded once, through a bounded outbox for each peer.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2

from p2pledger.network.outbox import Outbox
from p2pledger.network.seam import Meter
from p2pledger.network.standing import Standing
from p2pledger.network.wire import encode_delimited


class _AboutTopic(Protocol):
    topicID: str  # noqa: N815 - the library's name


_C = TypeVar("_C", bound=_AboutTopic)
_D = TypeVar("_D")

DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12
HEARTBEAT_S = 1
RECENT_BYTES = 16 * 1024 * 1024
CONTROLS_MAX = 64
IDS_MAX = 500
REPLY_BYTES = 1024 * 1024


def message_id(message: rpc_pb2.Message) -> bytes:
    """The id under which a message is known: only its content counts, not who sent it or when."""
    return hashlib.sha256(message.data).digest()


class RecentMessages(MessageCache):
    """The messages of the last heartbeats under the ids that peers use, bounded in bytes."""

    def __init__(self) -> None:
        super().__init__(window_size=3, history_size=5)
        self._n_bytes = 0

    def put(self, msg: rpc_pb2.Message) -> None:
        self.keep(message_id(msg), msg)

    def keep(self, key: bytes, msg: rpc_pb2.Message) -> None:
        """Put a message whose id is known: hashing a large one takes longer than all else here."""
        if key in self.msgs:
            return
        self.msgs[key] = msg
        self.history[0].append(CacheEntry(key, msg.topicIDs))
        self._n_bytes += len(msg.data)
        while self._n_bytes > RECENT_BYTES:
            oldest = next(iter(self.msgs))
            self._n_bytes -= len(self.msgs.pop(oldest).data)

    def window(self, topic: str) -> list[bytes]:
        return [key for key in super().window(topic) if key in self.msgs][:IDS_MAX]

    def shift(self) -> None:
        super().shift()
        self._n_bytes = sum(len(message.data) for message in self.msgs.values())


class Router(GossipSub):
    """Who gets what. The library keeps mesh and heartbeat; messages go out encoded once."""

    def __init__(self, standing: Standing, meter: Meter) -> None:
        super().__init__(
            [PROTOCOL_ID_V11],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=HEARTBEAT_S,
            spam_protection_enabled=False,
            adaptive_gossip_enabled=False,
            eclipse_protection_enabled=False,
        )
        self.scorer = standing
        self._recent = RecentMessages()
        self.mcache = self._recent
        self._standing = standing
        self._meter = meter
        self._last_rpc: tuple[rpc_pb2.RPC, bytes] | None = None
        self._circle: frozenset[bytes] = frozenset()
        self.beat_s = math.inf
        """When the heartbeat last went round, by trio's clock; infinite before the first time."""

    def fanout_heartbeat(self) -> None:
        self.beat_s = trio.current_time()
        super().fanout_heartbeat()

    def join_circle(self, circle: frozenset[ID]) -> None:
        """Say which peers all stay connected to each other (`seam.Network.admit`)."""
        self._circle = frozenset(peer.to_bytes() for peer in circle)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Send a checked message on."""
        self.spread(msg_forwarder, pubsub_msg, message_id(pubsub_msg))
        await trio.lowlevel.checkpoint()

    def spread(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message, key: bytes) -> None:
        """Queue a checked message, whose id is `key`, for all that are to have it."""
        assert self.pubsub is not None
        self._recent.keep(key, pubsub_msg)
        rpc = rpc_pb2.RPC(publish=[pubsub_msg])
        origin = pubsub_msg.from_id
        of_circle = origin in self._circle
        is_own = origin == self.pubsub.my_id.to_bytes()
        for peer in self._receivers(pubsub_msg.topicIDs[0], with_circle=of_circle and is_own):
            address = peer.to_bytes()
            has_it = address == origin or (of_circle and not is_own and address in self._circle)
            if peer != msg_forwarder and not has_it:
                self.send_rpc(peer, rpc)

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        """Queue an RPC for a peer; one that finds no room is counted and lost."""
        assert self.pubsub is not None
        outbox = self.pubsub.peer_queues.get(peer_id)
        if outbox is None:
            return
        if self._last_rpc is None or self._last_rpc[0] is not rpc:
            self._last_rpc = (rpc, encode_delimited(rpc.SerializeToString()))
        assert isinstance(outbox, Outbox)
        if not outbox.push(self._last_rpc[1], is_urgent=priority):
            self._meter.dropped("outbound")

    async def emit_control_message(self, control_msg: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        for message in self._known(self.mcache.window(topic)):
            self.send_rpc(peer_id, rpc_pb2.RPC(publish=[message]))

    async def handle_rpc(self, rpc: rpc_pb2.RPC, sender_peer_id: ID) -> None:
        """Take control messages about our own topics, a bounded number of them."""
        control = rpc.control
        for prune in self._about_ours(control.prune):
            del prune.peers[:]
            await self.handle_prune(prune, sender_peer_id)
        for graft in self._about_ours(control.graft):
            await self.handle_graft(graft, sender_peer_id)
        if not self._standing.allow_gossip(sender_peer_id, list(self.mesh)):
            return
        for ihave in self._about_ours(control.ihave):
            del ihave.messageIDs[IDS_MAX:]
            await self.handle_ihave(ihave, sender_peer_id)
        for iwant in self._bounded(control.iwant):
            await self.handle_iwant(iwant, sender_peer_id)

    async def handle_iwant(self, iwant_msg: rpc_pb2.ControlIWant, sender_peer_id: ID) -> None:
        if not self._check_iwant_rate_limit(sender_peer_id):
            return
        n_bytes = 0
        for message in self._known(iwant_msg.messageIDs[:IDS_MAX]):
            n_bytes += len(message.data)
            if n_bytes > REPLY_BYTES:
                return
            self.send_rpc(sender_peer_id, rpc_pb2.RPC(publish=[message]))

    async def _emit_control_msgs(
        self,
        peers_to_graft: dict[ID, list[str]],
        peers_to_prune: dict[ID, list[str]],
        peers_to_gossip: dict[ID, dict[str, list[bytes]]],
    ) -> None:
        for peer in {*peers_to_graft, *peers_to_prune, *peers_to_gossip}:
            control = rpc_pb2.ControlMessage()
            for topic in peers_to_graft.get(peer, ()):
                control.graft.add(topicID=topic)
            for topic in peers_to_prune.get(peer, ()):
                control.prune.add(topicID=topic, backoff=self.prune_back_off)
            for topic, keys in peers_to_gossip.get(peer, {}).items():
                control.ihave.add(topicID=topic, messageIDs=keys)
            await self.emit_control_message(control, peer)

    def _perform_opportunistic_grafting(self, topic: str, peers_to_graft: dict[ID, list[str]]) -> int:
        return 0  # all honest peers score alike: there is nobody better to change to

    async def _maintain_mesh_quality(self, topic: str) -> None:
        """Nothing, for the same reason."""

    def _track_peer_ip(self, peer_id: ID) -> None:
        """Nothing: organisations run several nodes behind one address."""

    def _receivers(self, topic: str, *, with_circle: bool) -> Iterator[ID]:
        """The mesh, and the circle's members; while the mesh is thin, everybody that listens."""
        assert self.pubsub is not None
        peers = self.mesh.get(topic, set())
        listening = self.pubsub.peer_topics.get(topic, set())
        if len(peers) < DEGREE_LOW:
            peers = peers | listening
        elif with_circle:
            peers = peers | {peer for peer in listening if peer.to_bytes() in self._circle}
        return (peer for peer in peers if self._standing.allow_publish(peer, [topic]))

    def _known(self, keys: Iterable[bytes]) -> Iterator[rpc_pb2.Message]:
        return (message for key in keys if (message := self.mcache.get(key)) is not None)

    def _about_ours(self, controls: Sequence[_C]) -> list[_C]:
        return [control for control in self._bounded(controls) if control.topicID in self.mesh]

    def _bounded(self, controls: Sequence[_D]) -> Sequence[_D]:
        """As many as are looked at; the others are counted and lost."""
        if len(controls) > CONTROLS_MAX:
            self._meter.dropped("inbound", len(controls) - CONTROLS_MAX)
        return controls[:CONTROLS_MAX]
