"""A peer that speaks libp2p as far as it likes, and then does what no honest one would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from libp2p.abc import ISecureConn
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.upgrader import TransportUpgrader
from p2pledger.network.flow import Stream
from p2pledger.network.host import peer_id_of, topic_name
from p2pledger.network.seam import PeerAddress, Topic
from p2pledger.network.wire import encode_delimited
from p2pledger.network.yamux import Mux
from p2pledger.types import PeerId
from tests.net.hosts import CHAIN_TAG, Peer, seed_of, until

GOSSIP = "/meshsub/1.1.0"
TRANSACTIONS = topic_name(CHAIN_TAG, Topic.TRANSACTIONS)


class Indifferent:
    """Does not mind what the other side does."""

    def on_violation(self, peer: ID, reason: str) -> None:
        raise AssertionError(f"our host broke the rules: {reason}")

    def on_ping(self, peer: ID, rtt_ms: float) -> None:
        pass


class Attacker:
    """One authenticated connection to a host, with its frames and streams in the attacker's hand."""

    def __init__(self, name: str, mux: Mux) -> None:
        self.key_pair = create_new_key_pair(seed_of(name))
        self.id = peer_id_of(seed_of(name))
        self.mux = mux
        self._seqno = 0

    async def open(self, protocol: str) -> Stream:
        """Open a stream and agree on its protocol. Raises when the host refuses."""
        stream = await self.mux.open_stream()
        await MultiselectClient().select_one_of([TProtocol(protocol)], MultiselectCommunicator(stream), 10)
        return stream

    async def open_many(self, protocol: str, count: int) -> list[Stream]:
        """Open streams and return those that were not refused."""
        opened = []
        for _ in range(count):
            with suppress(BaseLibp2pError):
                opened.append(await self.open(protocol))
        return opened

    async def insist(self, protocol: str, data: bytes) -> None:
        """Say the same on one stream after the other, until the connection is closed."""
        for _ in range(15):
            with suppress(BaseLibp2pError):
                stream = await self.open(protocol)
                await stream.write(data)
                await until(lambda: stream.is_reset)
            if self.mux.is_closed:
                return

    async def gossip(self, stream: Stream, *messages: rpc_pb2.Message) -> None:
        await stream.write(encode_delimited(rpc_pb2.RPC(publish=messages).SerializeToString()))

    def message(self, data: bytes, topic: str = TRANSACTIONS) -> rpc_pb2.Message:
        """A message that is signed as it should be."""
        self._seqno += 1
        message = rpc_pb2.Message(
            data=data,
            topicIDs=[topic],
            from_id=ID.from_base58(self.id).to_bytes(),
            seqno=self._seqno.to_bytes(8, "big"),
        )
        message.signature = self.key_pair.private_key.sign(
            PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString()
        )
        return message


def id_of(target: Peer | PeerAddress) -> PeerId:
    return target.peer if isinstance(target, PeerAddress) else target.id


async def connect(target: Peer | PeerAddress) -> trio.SocketStream:
    addresses = target.addresses if isinstance(target, PeerAddress) else target.host.addresses
    return await trio.open_tcp_stream("127.0.0.1", int(addresses[0].rsplit("/", 1)[1]))


@asynccontextmanager
async def shaken_hands(name: str, target: Peer | PeerAddress) -> AsyncIterator[ISecureConn]:
    """Connect and authenticate, with the stock library; closed at the end."""
    key_pair = create_new_key_pair(seed_of(name))
    noise = Noise(key_pair, noise_privkey=create_noise_key_pair().private_key)
    upgrader = TransportUpgrader({NOISE: noise}, {TProtocol(YAMUX): Yamux})
    async with await connect(target) as stream:
        raw = RawConnection(TrioTCPStream(stream), True)
        yield await upgrader.upgrade_security(raw, True, ID.from_base58(id_of(target)))


async def agree_on_yamux(secure: ISecureConn) -> None:
    await MultiselectClient().select_one_of([TProtocol(YAMUX)], MultiselectCommunicator(secure), 10)


@asynccontextmanager
async def attacker_at(name: str, target: Peer | PeerAddress) -> AsyncIterator[Attacker]:
    """An attacker that is connected to a host, which may be in another process."""
    async with shaken_hands(name, target) as secure, trio.open_nursery() as nursery:
        await agree_on_yamux(secure)
        mux = Mux(secure, ID.from_base58(id_of(target)), Indifferent())
        nursery.start_soon(mux.start)
        await mux.event_started.wait()
        yield Attacker(name, mux)
        await mux.close()


@asynccontextmanager
async def attacker(name: str, target: Peer) -> AsyncIterator[Attacker]:
    """An attacker that the target has admitted and knows to be connected."""
    async with attacker_at(name, target) as enemy:
        await until(lambda: enemy.id in target.host.connected() or enemy.mux.is_closed)
        yield enemy


def admit_too(name: str, *peers: Peer) -> PeerId:
    """Let all of `peers` admit each other and the attacker, whom nobody dials."""
    everybody = {peer.id: peer.address for peer in peers}
    enemy = peer_id_of(seed_of(name))
    for peer in peers:
        peer.host.admit(frozenset({*everybody, enemy}), everybody)
    return enemy


def resident_bytes() -> int:
    """The memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
