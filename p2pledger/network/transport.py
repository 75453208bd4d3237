"""Connections and streams: who may connect, how many, and what may never harm us. Floor 6.

The library's own classes are kept and these faults of theirs are mended by overriding:
    the gate knows addresses only   `Upgrader` refuses every peer id that is not admitted, both ways, right
                                    after the handshake and before a multiplexer or protocol is spoken; but
                                    for strangers that dial us and for whom the lobby has a place, which get
                                    no further than there;
    an unbounded read before the    `BoundedConnection` never asks the socket for more than a cipher message,
    handshake                       and reads it in large pieces;
    a tower of calls and two locks  `CipherMessages` takes apart at once what one read of the socket brought,
    around every cipher message     and writes all that waits at once;
    inbound places are never given  `PatientSwarm` holds a place for a handshake only as long as it lasts, and
    back                            few for each address;
    dead connections are preferred  `PatientSwarm` keeps and uses the newest of a peer's connections;
    dials on its own                only the host dials: `PatientSwarm` refuses, `IdleConnector` rests;
    one bad stream ends the process `Switchboard` ends the stream;
    streams without limit           `Switchboard` serves a few of each protocol to each peer.
"""

import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream, IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH, NoiseTransportReadWriter
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.exceptions import SecurityUpgradeFailure
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from p2pledger.errors import Fatal
from p2pledger.network.yamux import Mux, Watcher

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_PEER = 2
"""Two peers that dial each other at once end up with two; either serves."""

MAX_HANDSHAKES = 64
MAX_HANDSHAKES_PER_ADDRESS = 16
HANDSHAKE_S = 10.0
NEGOTIATION_S = 10
GUEST_BYTES = 256 * 1024
"""What a stranger may send after the handshake, in all."""

CIPHER_MESSAGE_BYTES = 65_535
CIPHER_LENGTH_BYTES = 2
READ_BYTES = 128 * 1024

StreamHandler = Callable[[INetStream], Awaitable[None]]


def _nobody(peer: ID, address: str) -> bool:
    return False


def _address_of(conn: IRawConnection | ReadWriteCloser) -> str:
    remote = conn.get_remote_address()
    return remote[0] if remote else ""


class Reception(Protocol):
    """Who receives strangers: the lobby."""

    def is_open_to(self, peer: ID, address: str) -> bool:
        """Whether a stranger may come in now."""

    async def receive(self, mux: Mux, address: str) -> None:
        """Keep a stranger's connection until its visit is over."""


class BoundedConnection(RawConnection):
    """A raw connection that is read through a buffer and whose `read(n)` gives all `n` bytes.

    At most one task may read and one may write at a time. Raises: ConnectionClosedError at the end.
    """

    def __init__(self, conn: RawConnection) -> None:
        super().__init__(conn.stream, conn.is_initiator)
        self._buffer = bytearray()
        self.bytes_left: int | None = None
        """How much more may arrive on it; None for a peer that is admitted."""

    async def read(self, n: int | None = None) -> bytes:
        """Raises: ConnectionClosedError at the end, or when more than a cipher message is asked for."""
        if n is None or n > CIPHER_MESSAGE_BYTES:
            raise ConnectionClosedError(f"refused to read {n} bytes at once")
        while len(self._buffer) < n:
            await self._fill()
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    async def cipher_messages(self) -> list[bytes]:
        """All cipher messages that are here whole, without their lengths; waits for the first of them."""
        while not (messages := self._cut()):
            await self._fill()
        return messages

    async def write(self, data: bytes) -> None:
        try:
            # Mostly the socket takes all of it at once: the scheduler's turn for that would cost more.
            with suppress(BlockingIOError):
                data = data[os.write(self._socket.socket.fileno(), data) :]
            if data:
                await self._socket.send_all(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError("the connection has ended") from error

    @property
    def _socket(self) -> trio.SocketStream:
        # Past the library's locks: each costs a turn of the scheduler, and nobody reads or writes beside us.
        assert isinstance(self.stream, TrioTCPStream)
        return self.stream.stream

    async def _fill(self) -> None:
        socket = self._socket.socket
        try:
            # Small messages come one by one: to try before there is anything would fail nearly every time.
            await trio.lowlevel.wait_readable(socket.fileno())
            # Asked for anew: a number that was closed meanwhile may be another socket's by now.
            piece = os.read(socket.fileno(), READ_BYTES)
        except BlockingIOError:
            return  # it was woken for nothing
        except (OSError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError("the connection has ended") from error
        if not piece:
            raise ConnectionClosedError("closed by the peer")
        if self.bytes_left is not None:
            self.bytes_left -= len(piece)
            if self.bytes_left < 0:
                raise ConnectionClosedError("more than a stranger may send")
        self._buffer += piece

    def _cut(self) -> list[bytes]:
        messages, at, here = [], 0, len(self._buffer)
        with memoryview(self._buffer) as buffer:
            while (start := at + CIPHER_LENGTH_BYTES) <= here:
                end = start + int.from_bytes(buffer[at:start], "big")
                if end > here:
                    break
                messages.append(bytes(buffer[start:end]))
                at = end
        del self._buffer[:at]
        return messages


class CipherMessages(NoiseTransportReadWriter):
    """Reads and writes the library's cipher messages, as many at a time as there are."""

    def __init__(self, conn: BoundedConnection, agreed: NoiseTransportReadWriter) -> None:
        super().__init__(conn, agreed.noise_state)
        self.bounded = conn

    async def read_msg(self, prefix_encoded: bool = False) -> bytes:
        """What the messages say that are here, one after the other; at least one."""
        return b"".join(map(self.decrypt, await self.bounded.cipher_messages()))

    async def write_msg(self, msg: bytes, prefix_encoded: bool = False) -> None:
        """Say `msg` in as many messages as it takes, and in one write."""
        parts: list[bytes] = []
        for start in range(0, len(msg), MAX_PLAINTEXT_LENGTH):
            encrypted = self.encrypt(msg[start : start + MAX_PLAINTEXT_LENGTH])
            parts += (len(encrypted).to_bytes(CIPHER_LENGTH_BYTES, "big"), encrypted)
        await self.bounded.write(b"".join(parts))


def _bounded(mux: Mux) -> BoundedConnection:
    """What a connection reads from."""
    secure = mux.secured_conn
    assert isinstance(secure, SecureSession) and isinstance(secure.conn, CipherMessages)
    return secure.conn.bounded


class _StrangerCame(Exception):
    """A connection is a stranger's: what the library does with one that stands is not to be done."""

    def __init__(self, mux: Mux) -> None:
        super().__init__("a stranger came")
        self.mux = mux


class _Muxers(MuxerMultistream):
    """Offers yamux only, and makes our own. The library's constructor is hard-wired."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__({TProtocol(YAMUX): Mux}, NEGOTIATION_S)
        self._watcher = watcher

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return Mux(conn, peer_id, self._watcher)


class Upgrader(TransportUpgrader):
    """Noise, then the allow-list, then yamux. Nothing else is offered."""

    def __init__(
        self,
        key_pair: KeyPair,
        is_admitted: Callable[[ID], bool],
        watcher: Watcher,
        may_visit: Callable[[ID, str], bool] = _nobody,
    ) -> None:
        noise = Noise(key_pair, noise_privkey=create_noise_key_pair().private_key)
        super().__init__({NOISE: noise}, {TProtocol(YAMUX): Mux}, NEGOTIATION_S)
        self.muxer_multistream = _Muxers(watcher)
        self._is_admitted, self._may_visit = is_admitted, may_visit

    async def upgrade_security(
        self, raw_conn: IRawConnection, is_initiator: bool, peer_id: ID | None = None
    ) -> ISecureConn:
        """Raises: SecurityUpgradeFailure, also when the peer is not admitted."""
        assert isinstance(raw_conn, RawConnection)
        bounded = BoundedConnection(raw_conn)
        secure = await super().upgrade_security(bounded, is_initiator, peer_id)
        assert isinstance(secure, SecureSession) and isinstance(secure.conn, NoiseTransportReadWriter)
        secure.conn = CipherMessages(bounded, secure.conn)
        remote = secure.get_remote_peer()
        if not self._is_admitted(remote):
            if not is_initiator and self._may_visit(remote, _address_of(raw_conn)):
                bounded.bytes_left = GUEST_BYTES
                return secure
            await secure.close()
            raise SecurityUpgradeFailure("the peer is not admitted")
        return secure


class IdleConnector(AutoConnector):
    """Dials nobody: the library's dials whatever addresses it has heard of."""

    async def run_background_task(self, nursery: trio.Nursery) -> None:
        """Nothing."""

    async def maybe_connect(self) -> None:
        """Nothing."""

    def record_disconnect(self, peer_id: ID) -> None:
        """Nothing."""


class PatientSwarm(Swarm):
    """The set of connections. It accepts and keeps them; the host alone dials."""

    def __init__(
        self,
        key_pair: KeyPair,
        upgrader: Upgrader,
        is_admitted: Callable[[ID], bool],
        reception: Reception,
    ) -> None:
        peer_id = ID.from_pubkey(key_pair.public_key)
        store = PeerStore()
        store.add_key_pair(peer_id, key_pair)
        config = ConnectionConfig(
            max_connections=MAX_CONNECTIONS,
            min_connections=0,
            low_watermark=0,
            high_watermark=MAX_CONNECTIONS,
            max_connections_per_peer=MAX_CONNECTIONS_PER_PEER,
            inbound_upgrade_timeout=HANDSHAKE_S,
            outbound_upgrade_timeout=HANDSHAKE_S,
        )
        super().__init__(
            peer_id,
            store,
            upgrader,
            transports=[TCP()],
            retry_config=RetryConfig(max_retries=0),
            connection_config=config,
        )
        self.auto_connector = IdleConnector(self)
        self._is_admitted, self._reception = is_admitted, reception
        self._handshakes: Counter[str] = Counter()

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Raises: SwarmException always: opening a stream must not open a connection."""
        raise SwarmException(f"not connected to {peer_id}")

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        """Take a connection into the set, but a stranger's only as far as the lobby.

        Asked anew here: whoever stopped being admitted during the handshake does not slip in.
        """
        assert isinstance(muxed_conn, Mux)
        is_admitted = self._is_admitted(muxed_conn.peer_id)
        _bounded(muxed_conn).bytes_left = None if is_admitted else GUEST_BYTES
        if is_admitted:
            return await super().add_conn(muxed_conn, direction)
        if direction == "inbound":
            raise _StrangerCame(muxed_conn)
        await muxed_conn.close()
        raise SwarmException("the peer is not admitted any more")

    def _trim_connections(self, peer_id: ID) -> None:
        """Close the oldest connections beyond the limit: the newest proves that the peer is there."""
        conns = self.connections[peer_id]
        self.connections[peer_id] = conns[-MAX_CONNECTIONS_PER_PEER:]
        for conn in conns[:-MAX_CONNECTIONS_PER_PEER]:
            self.manager.run_task(self._close_connection_async, conn)

    def _best_connection(self, connections: list[INetConn]) -> INetConn:
        """Open streams on the newest connection, for the same reason."""
        return connections[-1]

    async def _handle_inbound_connection(self, read_write_closer: ReadWriteCloser, maddr: Multiaddr) -> None:
        address = _address_of(read_write_closer)
        if (
            self._handshakes[address] >= MAX_HANDSHAKES_PER_ADDRESS
            or self._handshakes.total() >= MAX_HANDSHAKES
        ):
            return
        self._handshakes[address] += 1
        stranger: Mux | None = None
        try:
            muxed = await self.upgrade_inbound_raw_conn(RawConnection(read_write_closer, False), maddr)
        except _StrangerCame as came:
            stranger = came.mux
        finally:
            self._handshakes[address] -= 1
            if not self._handshakes[address]:
                del self._handshakes[address]
        # The listener closes the socket when this returns.
        if stranger is not None:
            await self._reception.receive(stranger, address)
            return
        assert isinstance(muxed, Mux)
        await muxed.event_closed.wait()


class Switchboard(BasicHost):
    """Gives each stream to its protocol's handler. Whatever a handler raises ends the stream only.

    `limits` holds how many streams of each protocol one peer may have open to us. `on_fatal` is called
    when a handler finds that our own state cannot be trusted.
    """

    def __init__(self, swarm: PatientSwarm, on_fatal: Callable[[Fatal], None]) -> None:
        notifees = list(swarm.notifees)
        super().__init__(swarm, negotiate_timeout=NEGOTIATION_S, disable_identify_address_discovery=True)
        # Identify is answered, for peers of other make; we ask nobody, for we believe nobody's answer.
        swarm.notifees = notifees
        self.multiselect.handlers.clear()
        self._limits: dict[TProtocol, int] = {}
        self._open: Counter[tuple[ID, TProtocol]] = Counter()
        self._on_fatal = on_fatal
        self.serve(IDENTIFY, identify_handler_for(self, use_varint_format=True), limit=2)

    def serve(self, protocol: TProtocol, handler: StreamHandler, *, limit: int) -> None:
        """Answer a protocol, with at most `limit` streams open to one peer."""
        self._limits[protocol] = limit
        self.set_stream_handler(protocol, handler)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The ids of the protocols that are answered."""
        return tuple(sorted(map(str, self._limits)))

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        try:
            await self._serve(net_stream)
            await net_stream.close()
        except Fatal as error:
            self._on_fatal(error)
        except Exception as error:  # noqa: BLE001 - an edge: a peer's bytes reach handlers of the library
            peer = str(net_stream.muxed_conn.peer_id)
            _log.debug("stream_ended", extra={"peer": peer, "why": repr(error)})
            await net_stream.reset()

    async def _serve(self, stream: INetStream) -> None:
        with trio.fail_after(NEGOTIATION_S):
            protocol, handler = await self.multiselect.negotiate(
                MultiselectCommunicator(stream), NEGOTIATION_S
            )
        if protocol is None or handler is None:
            await stream.reset()
            return
        stream.set_protocol(protocol)
        key = (stream.muxed_conn.peer_id, protocol)
        if self._open[key] >= self._limits[protocol]:
            await stream.reset()
            return
        self._open[key] += 1
        try:
            await handler(stream)
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
