"""Gossip: /meshsub/1.1.0 with strict signing, over the library's router (`router`). Floor 6.

A message's id is the SHA-256 of its data. A message that arrives is checked, forwarded and handed to the
node by the very task that read it: a slow node pushes back on the peer, and nothing piles up. What is sent
is encoded once and waits in a bounded outbox for each peer.

These faults of the library are mended here by overriding:
    one undecodable RPC, key or sender, or a raising check, ends the process;
    a task for every message, without bound;
    refusals are remembered for 300 s, and with them what a later message of equal data says;
    IHAVE announces ids that nobody else computes, so that every announcement is asked for;
    two tasks write to one stream, and mix their messages;
    every RPC carries a signed address record, and is checked for one;
    GRAFTs meant for one peer are sent to all that follow it;
    peers may name topics, ids and addresses without bound (memory), and have us dial (PX);
    lists of delivery times grow for ever.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, KeysView, Mapping
from functools import lru_cache

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import INetStream
from libp2p.crypto.keys import PublicKey
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator

from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.network.mending import UnlockedStream
from p2pledger.network.outbox import MeteredWriter, Outbox
from p2pledger.network.router import Router, message_id
from p2pledger.network.seam import GOSSIP_BYTES_MAX, Handler, Meter, Take, Topic, Verdict
from p2pledger.network.standing import Offence, Standing
from p2pledger.network.transport import Switchboard
from p2pledger.network.wire import StreamReader, encode_delimited
from p2pledger.types import PeerId

_log = logging.getLogger(__name__)


RPC_BYTES_MAX = 2 * 1024 * 1024
OUTBOX_BYTES = 8 * 1024 * 1024
SEEN_S = 120.0
SEEN_MAX = 100_000
SUBSCRIPTIONS_MAX = 64
STALL_S = 30.0
STREAMS_PER_PEER = 2
ORIGINS_MAX = 1_024
ORIGIN_BYTES_MAX = 64
"""An id that is a key of ours, Ed25519, has 38 bytes; what is longer is not kept."""

_SIGNED_PREFIX = PUBSUB_SIGNING_PREFIX.encode()


class SeenMessages:
    """Ids seen in the last SEEN_S seconds, at most SEEN_MAX of them; the library's runs a thread for it."""

    def __init__(self) -> None:
        self._seen_at: OrderedDict[bytes, float] = OrderedDict()

    def has(self, key: bytes) -> bool:
        return key in self._seen_at

    def add(self, key: bytes) -> None:
        now = trio.current_time()
        self._seen_at[key] = now
        oldest = next(iter(self._seen_at))
        while self._seen_at[oldest] < now - SEEN_S or len(self._seen_at) > SEEN_MAX:
            del self._seen_at[oldest]
            oldest = next(iter(self._seen_at))


class Bus(Pubsub):
    """Subscribes to the chain's topics and exchanges signed messages with every connected peer.

    `topics` maps the names on the wire to ours.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        router: Router,
        topics: Mapping[str, Topic],
        standing: Standing,
        handler: Handler,
        meter: Meter,
        on_fatal: Callable[[Fatal], None],
    ) -> None:
        self._topics = dict(topics)
        self._standing = standing
        self._handler = handler
        self._meter = meter
        self._on_fatal = on_fatal
        super().__init__(switchboard, router, strict_signing=True, msg_id_constructor=message_id)
        self.seen_messages.stop()
        self.seen_messages = SeenMessages()  # type: ignore[assignment]
        self._routing = router
        self._own_id = self.my_id
        self._own_bytes = self._own_id.to_bytes()
        self._own_key = switchboard.get_public_key().serialize()
        switchboard.serve(PROTOCOL_ID_V11, self.stream_handler, limit=STREAMS_PER_PEER)

    @property
    def topic_ids(self) -> KeysView[str]:
        return self._topics.keys()

    async def run(self) -> None:
        for name in self._topics:
            await self.router.join(name)
        await super().run()

    @property
    def unsent(self) -> int:
        """How many messages wait in all outboxes."""
        return sum(len(outbox) for outbox in self.peer_queues.values() if isinstance(outbox, Outbox))

    async def publish(self, topic_id: str | list[str], data: bytes) -> None:
        """Sign `data` and send it to the mesh."""
        assert isinstance(topic_id, str) and self.sign_key is not None
        message = rpc_pb2.Message(
            data=data, topicIDs=[topic_id], from_id=self._own_bytes, seqno=self._next_seqno()
        )
        message.signature = self.sign_key.sign(_SIGNED_PREFIX + message.SerializeToString())
        message.key = self._own_key
        key = message_id(message)
        self.seen_messages.add(key)
        self._meter.gossip(self._topics[topic_id], "published")
        self._routing.spread(self._own_id, message, key)
        await trio.lowlevel.checkpoint()

    async def stream_handler(self, stream: INetStream) -> None:
        """Read a peer's RPCs for as long as it sends them."""
        peer = stream.muxed_conn.peer_id
        reader = StreamReader(stream)
        try:
            while (data := await reader.delimited(RPC_BYTES_MAX)) is not None:
                self._meter.traffic("inbound", "gossip", len(data))
                await self._take(peer, _decode(data))
        except InvalidMessage:
            self._standing.offend(peer, Offence.GOSSIP)
            raise

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Check a message, forward it and hand it to the node."""
        topic = self._topics.get(msg.topicIDs[0]) if len(msg.topicIDs) == 1 else None
        if topic is None or msg.from_id == self._own_bytes:
            return
        key = message_id(msg)
        if self.seen_messages.has(key):
            self._meter.gossip(topic, "duplicate")
            return
        peer = PeerId(str(msg_forwarder))
        found: Take | Verdict = Verdict.REJECT
        if len(msg.data) <= GOSSIP_BYTES_MAX and _is_signed(msg):
            # Before the check can wait: the next copy is a duplicate already. But after the signature: a
            # forged copy must not shut out the true one.
            self.seen_messages.add(key)
            found = await self._check(topic, peer, msg)
        if isinstance(found, Verdict):
            self._meter.gossip(topic, found.value)
            if found is Verdict.REJECT:
                self._standing.refuse(msg_forwarder, msg.topicIDs[0])
            return
        self._meter.gossip(topic, "accept")
        self._routing.spread(msg_forwarder, msg, key)
        try:
            await found()
        except Fatal as error:
            self._on_fatal(error)
        except Exception:  # noqa: BLE001 - an edge: the peer is not to lose its stream for our fault
            _log.exception("gossip_failed", extra={"peer": peer, "topic": topic.value})

    async def _check(self, topic: Topic, peer: PeerId, message: rpc_pb2.Message) -> Take | Verdict:
        try:
            return await self._handler.check_gossip(topic, peer, message.data)
        except Fatal as error:
            self._on_fatal(error)
        except Exception:  # noqa: BLE001 - an edge: a fault of ours is not to be blamed on the peer
            _log.exception("gossip_failed", extra={"peer": peer, "topic": topic.value})
        return Verdict.IGNORE

    async def _take(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        if len(rpc.subscriptions) > SUBSCRIPTIONS_MAX:
            self._meter.dropped("inbound", len(rpc.subscriptions) - SUBSCRIPTIONS_MAX)
        for subscription in rpc.subscriptions[:SUBSCRIPTIONS_MAX]:
            await self._take_subscription(peer, subscription.topicid, subscription.subscribe)
        for message in rpc.publish:
            await self.push_msg(peer, message)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)
        await trio.lowlevel.checkpoint()

    async def _take_subscription(self, peer: ID, name: str, is_wanted: bool) -> None:
        if name not in self._topics:
            return
        if not is_wanted:
            peers = self.peer_topics.get(name, set())
            peers.discard(peer)
            if not peers:
                self.peer_topics.pop(name, None)
            return
        self.peer_topics.setdefault(name, set()).add(peer)
        await self.router.on_peer_subscribed(peer, name)
        await self._replay_recent_messages(peer, name)

    async def _handle_new_peer(self, peer_id: ID) -> None:
        """Open our stream to a peer and greet it.

        Raises: SwarmException when that failed; the library tries again while the connection stands.
        """
        if peer_id in self.peers:
            return
        try:
            stream = await self.host.new_stream(peer_id, self.protocols)
        except BaseLibp2pError as error:
            raise SwarmException("no gossip stream") from error
        if peer_id in self.peers:
            await stream.reset()
            return
        outbox = Outbox(OUTBOX_BYTES)
        hello = rpc_pb2.RPC()
        for name in self._topics:
            hello.subscriptions.add(subscribe=True, topicid=name)
        outbox.push(encode_delimited(hello.SerializeToString()))
        self.router.add_peer(peer_id, PROTOCOL_ID_V11)
        self.peers[peer_id] = stream
        self.peer_queues[peer_id] = outbox  # type: ignore[assignment]
        self.manager.run_task(self._send, peer_id, stream, outbox)
        for name in [name for name, peers in self.peer_topics.items() if peer_id in peers]:
            await self._replay_recent_messages(peer_id, name)

    async def _send(self, peer: ID, stream: INetStream, outbox: Outbox) -> None:
        try:
            assert isinstance(stream, UnlockedStream)
            await outbox.pour(MeteredWriter(stream, self._meter, "gossip"), STALL_S)
        except (BaseLibp2pError, trio.TooSlowError) as error:
            _log.debug("gossip_ended", extra={"peer": str(peer), "why": repr(error)})
        with trio.CancelScope(shield=True):
            await stream.reset()
        if self.peers.get(peer) is stream:
            self._handle_dead_peer(peer)


def _decode(data: bytes) -> rpc_pb2.RPC:
    rpc = rpc_pb2.RPC()
    try:
        rpc.ParseFromString(data)
    except DecodeError as error:
        raise InvalidMessage("undecodable RPC") from error
    return rpc


def _is_signed(message: rpc_pb2.Message) -> bool:
    """As the library judges it, but with the key of an origin read out of its id only once."""
    origin = message.from_id
    if not origin or not message.signature:
        return False
    try:
        key = _key_in(origin) if len(origin) <= ORIGIN_BYTES_MAX else None
        if key is None:
            return bool(signature_validator(message))
        unsigned = rpc_pb2.Message(
            data=message.data, topicIDs=message.topicIDs, from_id=origin, seqno=message.seqno
        )
        return key.verify(_SIGNED_PREFIX + unsigned.SerializeToString(), message.signature)
    except Exception:  # noqa: BLE001 - an edge: the library raises whatever a peer's key makes it raise
        return False


@lru_cache(ORIGINS_MAX)
def _key_in(origin: bytes) -> PublicKey | None:
    """The key that an id consists of; None when it is only a key's hash, or nothing at all."""
    peer = ID(origin)
    key = peer.extract_public_key()
    return key if key is not None and ID.from_pubkey(key) == peer else None
