"""The network, carried out over py-libp2p: TCP, Noise, yamux, gossipsub 1.1. Floor 6.

    host = Host(seed=…, listen=("/ip4/0.0.0.0/tcp/4001",), chain_tag="0011223344556677", handler=…, meter=…)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        host.admit(allowed, dial)
        …
        host.stop()

Nobody is admitted until `admit` says so; who is not gets into the lobby, or nowhere. Several hosts may live
in one process.
"""

import logging
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import trio
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.network import mending as mending  # before anything of the library is used
from p2pledger.network.gossip import Bus
from p2pledger.network.lobby import JOIN, Intrusion, Lobby
from p2pledger.network.names import LookUp, Names, look_up
from p2pledger.network.router import Router
from p2pledger.network.seam import FRAME_BYTES_MAX, GOSSIP_BYTES_MAX, Handler, Meter, PeerAddress, Topic
from p2pledger.network.standing import BAN_S, Offence, Standing
from p2pledger.network.streams import Asks, Frames
from p2pledger.network.transport import PatientSwarm, Switchboard, Upgrader
from p2pledger.types import PeerId

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

CHAIN_TAG_CHARS = 16
PEERS_PARSED_MAX = 4_096
DIAL_TICK_S = 0.25
MEET_TICK_S = 0.1
DIAL_TIMEOUT_S = 10.0
BACKOFF_S = 0.5
BACKOFF_S_MAX = 1.0
"""Short: how soon a network goes on once it is whole again hangs on it, and a dial costs next to nothing."""

STOP_S = 10.0


_id_of = lru_cache(PEERS_PARSED_MAX)(ID.from_string)
"""Reading a peer's id takes longer than queueing a frame for it."""


def peer_id_of(seed: bytes) -> PeerId:
    """The peer id of the identity that grows from a 32-byte seed."""
    return PeerId(str(ID.from_pubkey(create_new_key_pair(seed).public_key)))


def topic_name(chain_tag: str, topic: Topic) -> str:
    """A topic's name on the wire: chains do not hear each other."""
    return f"/p2pledger/{chain_tag}/{topic.value}/1"


@dataclass
class _Redial:
    """When a peer is dialled next."""

    due_at: float
    backoff_s: float = BACKOFF_S
    is_dialling: bool = False


class Host:
    """A network, as `seam.Network` promises.

    `seed` is the 32 bytes that the identity key grows from, `listen` multiaddrs of TCP, `chain_tag` the
    first 16 hexadecimal digits of the genesis hash. `look_up` is what names are asked of.
    """

    def __init__(
        self,
        *,
        seed: bytes,
        listen: Sequence[str],
        chain_tag: str,
        handler: Handler,
        meter: Meter,
        ban_s: float = BAN_S,
        look_up: LookUp = look_up,
    ) -> None:
        assert len(chain_tag) == CHAIN_TAG_CHARS
        key_pair = create_new_key_pair(seed)
        self._listen = [Multiaddr(address) for address in listen]
        self._handler = handler
        self._meter = meter
        self._topics = {topic_name(chain_tag, topic): topic for topic in Topic}
        self._names = {topic: name for name, topic in self._topics.items()}
        self._allowed: dict[ID, PeerId] = {}
        self._dial: dict[ID, PeerAddress] = {}
        self._redial: dict[ID, _Redial] = {}
        self._met: frozenset[ID] = frozenset()
        self._resolver = Names(look_up)
        self._beats_s: dict[str, float] = {}
        self._standing = Standing(self._topics, self._on_ban, ban_s)
        self._lobby = Lobby(handler, meter, lambda peer: peer in self._allowed, self._on_fatal)
        upgrader = Upgrader(key_pair, self._is_admitted, self, self._lobby.is_open_to)
        self._swarm = PatientSwarm(key_pair, upgrader, self._is_admitted, self._lobby)
        self._local = self._swarm.get_peer_id()
        self._local_text = PeerId(str(self._local))
        self._switchboard = Switchboard(self._swarm, self._on_fatal)
        self._router = Router(self._standing, meter)
        self._bus = Bus(
            self._switchboard, self._router, self._topics, self._standing, handler, meter, self._on_fatal
        )
        self._asks = Asks(self._switchboard, self._standing, handler, meter)
        self._switchboard.serve(JOIN, self._serve_join, limit=1)
        self._frames: Frames | None = None
        self._nursery: trio.Nursery | None = None
        self._stopping = trio.Event()
        self._fatal: Fatal | None = None

    @property
    def local(self) -> PeerId:
        """Our own peer id."""
        return self._local_text

    @property
    def addresses(self) -> tuple[str, ...]:
        """The multiaddrs that we listen on, with the ports that the system chose."""
        return tuple(str(a) for listener in self._swarm.listeners.values() for a in listener.get_addrs())

    @property
    def protocols(self) -> tuple[str, ...]:
        """The ids of the protocols that a peer may open with us; gossip's is among them once we run."""
        return self._switchboard.protocols

    @property
    def unsent(self) -> int:
        """How many gossip messages wait to leave for one peer or another."""
        return self._bus.unsent

    @property
    def beats_s(self) -> Mapping[str, float]:
        """When each of our long-lived tasks last gave a sign, by trio's clock; infinite before the first."""
        return {**self._beats_s, "the gossip": self._router.beat_s}

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop` is called or the caller cancels; either way everything is closed in order.

        Raises: OSError when none of the addresses can be listened on; Fatal when a handler raised it.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_shielded, task_status)
            try:
                await self._stopping.wait()
            finally:
                self._stopping.set()
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """Begin to stop. `run` returns when that is done."""
        self._stopping.set()

    def connected(self) -> frozenset[PeerId]:
        """The peers that a connection stands to now."""
        return frozenset(PeerId(str(peer)) for peer, conns in self._swarm.connections.items() if conns)

    def admit(
        self,
        allowed: frozenset[PeerId],
        dial: Mapping[PeerId, PeerAddress],
        circle: frozenset[PeerId] = frozenset(),
    ) -> None:
        """Replace the allow-list and the list of peers to stay connected to."""
        before = self._allowed
        self._router.join_circle(frozenset(map(_id_of, circle)))
        self._allowed = {_id_of(peer): peer for peer in allowed if peer != self.local}
        self._dial = {
            peer: dial[text] for peer, text in self._allowed.items() if text in dial and dial[text].addresses
        }
        now = trio.current_time()
        self._redial = {
            peer: self._redial.get(peer, _Redial(self._first_dial(peer, now))) for peer in self._dial
        }
        for peer in before.keys() - self._allowed.keys():
            self._standing.forget(peer)
            self._cut_off(peer)

    async def publish(self, topic: Topic, data: bytes) -> None:
        """Gossip `data` to everybody. Raises: ValueError when it is over GOSSIP_BYTES_MAX."""
        if len(data) > GOSSIP_BYTES_MAX:
            raise ValueError(f"{len(data)} bytes to gossip, at most {GOSSIP_BYTES_MAX} are allowed")
        await self._bus.publish(self._names[topic], data)

    def send(self, peer: PeerId, data: bytes) -> bool:
        """Queue one frame for a peer's direct stream and return at once."""
        if not 0 < len(data) <= FRAME_BYTES_MAX:
            raise ValueError(f"a frame of {len(data)} bytes, 1 to {FRAME_BYTES_MAX} are allowed")
        remote = _id_of(peer)
        if self._frames is None or not self._swarm.connections.get(remote):
            self._meter.dropped("outbound")
            return False
        return self._frames.send(remote, data)

    def ask(self, peer: PeerId, request: bytes, *, timeout_ms: int) -> AsyncGenerator[bytes, None]:
        """Send a request and yield its replies as they come. Raises: Unreachable."""
        return self._asks.ask(_id_of(peer), request, timeout_ms)

    def peers_by_direction(self) -> dict[str, int]:
        """How many peers are connected, by who dialled: `inbound` and `outbound`."""
        count = {"inbound": 0, "outbound": 0}
        for conns in self._swarm.connections.values():
            if conns:
                assert isinstance(conns[0], SwarmConn)
                count["inbound" if conns[0].direction == Direction.INBOUND else "outbound"] += 1
        return count

    def mesh_sizes(self) -> dict[Topic, int]:
        """How many peers are in the mesh of each topic."""
        return {topic: len(self._router.mesh.get(name, ())) for name, topic in self._topics.items()}

    def scores(self) -> dict[PeerId, float]:
        """The score of each connected peer: 0 is spotless, at -100 it is banned."""
        return {
            PeerId(str(peer)): self._standing.total(peer)
            for peer, conns in self._swarm.connections.items()
            if conns
        }

    def on_violation(self, peer: ID, reason: str) -> None:
        """See `yamux.Watcher`."""
        _log.debug("muxer_rule_broken", extra={"peer": str(peer), "why": reason})
        if peer in self._allowed:
            self._standing.offend(peer, Offence.MUXER)
        else:
            self._lobby.strike(peer)

    def on_ping(self, peer: ID, rtt_ms: float) -> None:
        """See `yamux.Watcher`."""
        self._meter.ping(rtt_ms)

    async def _run_shielded(self, task_status: "TaskStatus[None]") -> None:
        # The library leaves dials that reach a stopped host when it is cancelled, so it never is.
        with trio.CancelScope(shield=True):
            async with (
                self._switchboard.run(self._listen),
                background_trio_service(self._bus),
                background_trio_service(self._router),
            ):
                if len(self._swarm.listeners) < len(self._listen):
                    raise OSError(f"cannot listen on all of {[str(address) for address in self._listen]}")
                await self._bus.wait_until_ready()
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self._frames = Frames(
                        self._switchboard, nursery, self._standing, self._handler, self._meter
                    )
                    nursery.start_soon(self._keep_dialling, nursery)
                    nursery.start_soon(self._keep_meeting)
                    task_status.started()
                    await self._stopping.wait()
                    nursery.cancel_scope.cancel()
                self._nursery = None
                with trio.move_on_after(STOP_S):
                    await self._close_all()

    async def _close_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for conn in self._swarm.get_connections():
                nursery.start_soon(conn.close)
            nursery.start_soon(self._lobby.close)
        await self._switchboard.close()

    def _is_admitted(self, peer: ID) -> bool:
        return peer in self._allowed and not self._standing.is_banned(peer)

    async def _serve_join(self, stream: INetStream) -> None:
        """A machine that was admitted while it joined goes on asking as it began."""
        remote = stream.muxed_conn.peer_id
        try:
            await self._lobby.answer(PeerId(str(remote)), stream)
        except (InvalidMessage, Intrusion):
            self._standing.offend(remote, Offence.REQUEST)
            raise

    def _on_fatal(self, error: Fatal) -> None:
        self._fatal = error
        self._stopping.set()

    def _on_ban(self, peer: ID, offence: Offence) -> None:
        _log.warning("peer_cut_off", extra={"peer": str(peer), "reason": offence.value})
        self._meter.banned(offence.value)
        self._cut_off(peer)

    def _cut_off(self, peer: ID) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._swarm.close_peer, peer)

    def _first_dial(self, peer: ID, now: float) -> float:
        # Two peers that know each other's address would dial at once: the greater id lets the other begin.
        return now + (BACKOFF_S if str(self._local) > str(peer) else 0.0)

    async def _keep_meeting(self) -> None:
        """Tell of new connections. The library tells too early, before anything can be sent on one."""
        while True:
            self._beats_s["the meeting of peers"] = trio.current_time()
            now = frozenset(peer for peer, conns in self._swarm.connections.items() if conns)
            for peer in now - self._allowed.keys():  # it was on its way in while the list changed
                self._cut_off(peer)
            fresh, self._met = now - self._met, now
            for peer in fresh:
                if self._frames is not None:
                    self._frames.reopen(peer)
                await self._handler.on_connected(PeerId(str(peer)))
            await trio.sleep(MEET_TICK_S)

    async def _keep_dialling(self, nursery: trio.Nursery) -> None:
        while True:
            now = self._beats_s["the dialling of peers"] = trio.current_time()
            for peer, redial in self._redial.items():
                if redial.is_dialling or redial.due_at > now or not self._is_admitted(peer):
                    continue
                if self._swarm.connections.get(peer):
                    redial.backoff_s = BACKOFF_S
                    continue
                redial.is_dialling = True
                nursery.start_soon(self._dial_once, peer, self._dial[peer].addresses, redial)
            await trio.sleep(DIAL_TICK_S)

    async def _dial_once(self, peer: ID, addresses: tuple[str, ...], redial: _Redial) -> None:
        is_connected = False
        for address in addresses:
            is_connected = is_connected or await self._dial_address(peer, address)
        self._meter.dial("ok" if is_connected else "error")
        redial.backoff_s = BACKOFF_S if is_connected else min(redial.backoff_s * 2, BACKOFF_S_MAX)
        redial.due_at = trio.current_time() + redial.backoff_s * random.uniform(0.5, 1.0)  # noqa: S311
        redial.is_dialling = False

    async def _dial_address(self, peer: ID, address: str) -> bool:
        """Dial one address, with all that its name stands for now, for at most DIAL_TIMEOUT_S."""
        with trio.move_on_after(DIAL_TIMEOUT_S):
            try:
                candidates = await self._resolver.resolve(address)
            except (MultiaddrError, OSError, ValueError) as error:
                _log.debug("address_unresolved", extra={"address": address, "why": repr(error)})
                return False
            for candidate in candidates:
                try:
                    await self._swarm.dial_addr(candidate, peer)
                except BaseLibp2pError as error:
                    why, where = repr(error), str(candidate)
                    _log.debug("dial_failed", extra={"peer": str(peer), "address": where, "why": why})
                else:
                    return True
        return False
