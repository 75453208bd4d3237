"""The other side of the lobby: a machine that is nobody's peer yet, and asks to join. Floor 6."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from p2pledger.errors import InvalidMessage
from p2pledger.network import mending as mending  # before anything of the library is used
from p2pledger.network.host import DIAL_TIMEOUT_S
from p2pledger.network.lobby import JOIN
from p2pledger.network.names import Names
from p2pledger.network.seam import FRAME_BYTES_MAX, REQUEST_BYTES_MAX, Unreachable
from p2pledger.network.transport import NEGOTIATION_S, Upgrader
from p2pledger.network.wire import StreamReader, encode_frame
from p2pledger.network.yamux import Mux

_log = logging.getLogger(__name__)

REPLIES_MAX = 256
REPLIES_BYTES_MAX = 32 * 1024 * 1024


class _Unmoved:
    """A node that breaks the multiplexer's rules ends the visit; there is nothing more to it."""

    def on_violation(self, peer: ID, reason: str) -> None:
        _log.debug("muxer_rule_broken", extra={"peer": str(peer), "why": reason})

    def on_ping(self, peer: ID, rtt_ms: float) -> None:
        pass


@dataclass(frozen=True)
class Visit:
    """A connection to a node that is asked one thing after the other."""

    mux: Mux

    async def ask(self, request: bytes, *, timeout_ms: int) -> list[bytes]:
        """All replies to a request. Raises: Unreachable."""
        assert len(request) <= REQUEST_BYTES_MAX
        try:
            with trio.fail_after(timeout_ms / 1_000):
                return await self._ask(request)
        except trio.TooSlowError as error:
            raise Unreachable("no answer in time") from error
        except (BaseLibp2pError, InvalidMessage) as error:
            raise Unreachable(f"the answer broke off: {error!r}") from error

    async def _ask(self, request: bytes) -> list[bytes]:
        stream = await self.mux.open_stream()
        try:
            await MultiselectClient().select_one_of([JOIN], MultiselectCommunicator(stream), NEGOTIATION_S)
            await stream.write(encode_frame(request))
            reader, replies, size = StreamReader(stream), list[bytes](), 0
            while reply := await reader.frame(FRAME_BYTES_MAX):
                replies.append(reply)
                size += len(reply)
                if len(replies) > REPLIES_MAX or size > REPLIES_BYTES_MAX:
                    raise InvalidMessage("more replies than anybody asks for")
            if reply is None:
                raise InvalidMessage("the answer broke off")
            return replies
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()


@asynccontextmanager
async def visiting(seed: bytes, address: str) -> AsyncIterator[Visit]:
    """Connect as the identity that grows from `seed` to a multiaddr that ends in `/p2p/…`; closed at the end.

    Raises: Unreachable, when nobody answers there or it is not that peer.
    """
    base, _, peer = address.rpartition("/p2p/")
    mux = await _connect(seed, base, peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.start)
        try:
            yield Visit(mux)
        finally:
            with trio.CancelScope(shield=True):
                await mux.close()
        nursery.cancel_scope.cancel()


async def _connect(seed: bytes, base: str, peer: str) -> Mux:
    try:
        remote, candidates = ID.from_string(peer), await Names().resolve(base)
    except (MultiaddrError, OSError, ValueError) as error:
        raise Unreachable(f"{base} cannot be resolved: {error}") from error
    why: BaseException = Unreachable(f"{base} has no address")
    for candidate in candidates:
        try:
            with trio.fail_after(DIAL_TIMEOUT_S):
                return await _upgraded(seed, candidate, remote)
        except (BaseLibp2pError, OSError, ValueError, trio.TooSlowError) as error:
            why = error
    raise Unreachable(f"{base} does not answer as {peer}: {why!r}") from why


async def _upgraded(seed: bytes, candidate: Multiaddr, remote: ID) -> Mux:
    host_kind, port_kind = candidate.protocols()
    host, port = candidate.value_for_protocol(host_kind.name), candidate.value_for_protocol(port_kind.name)
    assert host is not None and port is not None
    stream = await trio.open_tcp_stream(host, int(port))
    try:
        upgrader = Upgrader(create_new_key_pair(seed), lambda peer: peer == remote, _Unmoved())
        raw = RawConnection(TrioTCPStream(stream), True)
        secure = await upgrader.upgrade_security(raw, True, remote)
        mux = await upgrader.upgrade_connection(secure, remote)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    assert isinstance(mux, Mux)
    return mux
