"""A host in a process of its own. Arguments: `own` or `stock`, its name, the names of those it admits.

It prints its address, then every gossip message that it hears; a line on its stdin is published, and the
end of stdin stops it. The stock one is what the library's documentation tells to build.
"""

import sys

import trio
from libp2p import new_host
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

ANYWHERE = Multiaddr("/ip4/127.0.0.1/tcp/0")


async def stock(name: str) -> None:
    from tests.net.attackers import TRANSACTIONS
    from tests.net.hosts import seed_of

    key_pair = create_new_key_pair(seed_of(name))
    host = new_host(
        key_pair=key_pair,
        listen_addrs=[ANYWHERE],
        sec_opt={NOISE: Noise(key_pair, noise_privkey=create_noise_key_pair().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        connection_config=ConnectionConfig(min_connections=0, low_watermark=0, max_connections=300),
    )
    router = GossipSub([PROTOCOL_ID_V11], degree=6, degree_low=4, degree_high=12, heartbeat_interval=1)
    pubsub = Pubsub(host, router)

    def check(peer: object, message: object) -> bool:
        raise RuntimeError("a fault of the node")

    async def serve(stream: INetStream) -> None:
        raise RuntimeError("a fault of the node")

    host.set_stream_handler(TProtocol("/p2pledger/ask/1"), serve)
    async with host.run([ANYWHERE]), background_trio_service(pubsub), background_trio_service(router):
        await pubsub.wait_until_ready()
        pubsub.set_topic_validator(TRANSACTIONS, check, False)
        await pubsub.subscribe(TRANSACTIONS)
        print(host.get_transport_addrs()[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        await host.close()


async def own(name: str, admitted: list[str]) -> None:
    from p2pledger.network.host import peer_id_of
    from p2pledger.network.seam import PeerAddress, Topic
    from p2pledger.types import PeerId
    from tests.net.hosts import make_peer, running, seed_of

    peer = make_peer(name)

    async def tell(topic: Topic, forwarder: PeerId, data: bytes) -> None:
        print(data.decode(errors="replace"), flush=True)

    peer.handler.on_gossip = tell  # type: ignore[method-assign]
    async with running(peer):
        ids = {other: peer_id_of(seed_of(other)) for other in admitted}
        peer.host.admit(frozenset(ids.values()), {})
        print(peer.host.addresses[0], flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            verb, *words = line.split()
            if verb == "publish":
                await peer.host.publish(Topic.TRANSACTIONS, " ".join(words).encode())
            else:
                dial = {ids[verb]: PeerAddress(ids[verb], tuple(words))}
                peer.host.admit(frozenset(ids.values()), dial)


if __name__ == "__main__":
    kind, own_name, *names = sys.argv[1:]
    if kind == "stock":
        trio.run(stock, own_name)
    else:
        trio.run(own, own_name, names)
