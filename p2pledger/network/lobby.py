"""Where strangers wait: connections of peers that are not admitted. Floor 6.

/p2pledger/join/1     one stream for each request, framed as an ask is (`streams`).

A guest is authenticated, and then may open this one protocol. It never enters the swarm: gossip, frames,
asks and identify do not know that it is there. There are few guests, few from one address, each for a short
time, one stream after the other, within a number of bytes both ways. One that opens anything else, sends what
no honest machine would, or comes and asks nothing is cut off, and its peer id is not let in for a while.
Peer ids cost nothing, so an address that brings several such guests is shut out as well. An admitted peer is
never a guest: what is held against strangers does not touch it, also when a stranger becomes one.

Peers that are admitted may ask over the same protocol: a machine is admitted by others before it knows.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import aclosing

import trio
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID, PROTOCOL_NOT_FOUND_MSG
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.network.flow import Stream
from p2pledger.network.seam import FRAME_BYTES_MAX, REQUEST_BYTES_MAX, Handler, Meter
from p2pledger.network.streams import END, STALL_S
from p2pledger.network.wire import ByteStream, StreamReader, encode_frame
from p2pledger.network.yamux import Mux
from p2pledger.types import PeerId

_log = logging.getLogger(__name__)

JOIN = TProtocol("/p2pledger/join/1")

GUESTS_MAX = 8
GUESTS_PER_ADDRESS = 2
VISIT_S = 60.0
IDLE_S = 10.0
"""How long a guest may take to open a stream, and to say on it what it wants."""

VISIT_REQUESTS = 64
VISIT_BYTES_OUT = 32 * 1024 * 1024
"""What a visit may cost, beside `transport.GUEST_BYTES` in; who has more to ask comes again."""

SHUT_S = 60.0
STRIKES_OF_ADDRESS = 8
STRUCK_MAX = 1_024


class Intrusion(Exception):
    """A guest did what only an admitted peer may do, or what nobody should."""


class Strikes:
    """Who is not let in for a while: names with strikes, forgotten SHUT_S after the last one."""

    def __init__(self) -> None:
        self._struck: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def add(self, name: str) -> None:
        """One strike. Of more than STRUCK_MAX names the ones struck longest ago are forgotten."""
        self._struck[name] = (self.of(name) + 1, trio.current_time() + SHUT_S)
        self._struck.move_to_end(name)
        if len(self._struck) > STRUCK_MAX:
            self._struck.popitem(last=False)

    def of(self, name: str) -> int:
        """How many strikes stand against a name."""
        count, until = self._struck.get(name, (0, 0.0))
        return count if trio.current_time() < until else 0


class Lobby:
    """Receives guests. `on_fatal` is called when the handler finds that our own state cannot be trusted.

    `is_known` tells peers of the allow-list: one of them that is banned is no guest instead.
    """

    def __init__(
        self,
        handler: Handler,
        meter: Meter,
        is_known: Callable[[ID], bool],
        on_fatal: Callable[[Fatal], None],
    ) -> None:
        self._is_known = is_known
        self._handler = handler
        self._meter = meter
        self._on_fatal = on_fatal
        self._guests: dict[Mux, str] = {}
        self._of_address: Counter[str] = Counter()
        self._strikes = Strikes()

    @property
    def guests(self) -> frozenset[PeerId]:
        """Who is here now."""
        return frozenset(PeerId(str(mux.peer_id)) for mux in self._guests)

    def is_open_to(self, peer: ID, address: str) -> bool:
        """Whether a stranger may come in now."""
        return (
            not self._is_known(peer)
            and len(self._guests) < GUESTS_MAX
            and self._of_address[address] < GUESTS_PER_ADDRESS
            and not self._strikes.of(str(peer))
            and self._strikes.of(address) < STRIKES_OF_ADDRESS
            and all(mux.peer_id != peer for mux in self._guests)
        )

    def strike(self, peer: ID) -> None:
        """Hold against a guest that it broke the multiplexer's rules; its connection is being closed."""
        for mux, address in self._guests.items():
            if mux.peer_id == peer:
                self._strike(peer, address, "muxer")
                return

    async def receive(self, mux: Mux, address: str) -> None:
        """Keep a stranger's connection until its visit is over; it is closed when this returns."""
        if self.is_open_to(mux.peer_id, address):
            self._guests[mux] = address
            self._of_address[address] += 1
            try:
                await self._attend(mux, address)
            finally:
                del self._guests[mux]
                self._of_address -= Counter((address,))
                with trio.CancelScope(shield=True):
                    await mux.close()
        else:
            with trio.CancelScope(shield=True):
                await mux.close()

    async def close(self) -> None:
        """Send all guests away."""
        for mux in list(self._guests):
            await mux.close()

    async def answer(self, peer: PeerId, stream: ByteStream, bytes_max: int = VISIT_BYTES_OUT) -> int:
        """Answer the request on a stream whose protocol is agreed on; returns how many bytes that took.

        Raises: InvalidMessage, BaseLibp2pError, trio.TooSlowError; Intrusion for an answer over `bytes_max`.
        """
        with trio.fail_after(IDLE_S):
            request = await StreamReader(stream).frame(REQUEST_BYTES_MAX)
        if request is None:
            return 0
        self._meter.traffic("inbound", "join", len(request))
        said = 0
        async with aclosing(self._handler.serve_join(peer, request)) as replies:
            async for reply in replies:
                assert 0 < len(reply) <= FRAME_BYTES_MAX
                said += len(reply)
                if said > bytes_max:
                    raise Intrusion("more than one visit may ask for")
                with trio.fail_after(STALL_S):
                    await stream.write(encode_frame(reply))
                self._meter.traffic("outbound", "join", len(reply))
        with trio.fail_after(STALL_S):
            await stream.write(END)
        return said

    async def _attend(self, mux: Mux, address: str) -> None:
        try:
            with trio.move_on_after(VISIT_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(mux.start)
                    await self._listen(mux)
                    nursery.cancel_scope.cancel()
        except* Fatal as errors:
            self._on_fatal(_first(errors))
        except* (Intrusion, InvalidMessage, trio.TooSlowError) as errors:
            self._strike(mux.peer_id, address, repr(errors.exceptions[0]))
        except* Exception as errors:  # noqa: BLE001 - an edge: what a stranger breaks ends its visit, not us
            _log.debug("visit_ended", extra={"peer": str(mux.peer_id), "why": repr(errors.exceptions)})

    async def _listen(self, mux: Mux) -> None:
        """Serve one stream after the other. Those beyond wait in the connection, few at a time."""
        peer, left = PeerId(str(mux.peer_id)), VISIT_BYTES_OUT
        for _ in range(VISIT_REQUESTS):
            with trio.fail_after(IDLE_S):
                stream = await mux.accept_stream()
                await _agree(stream)
            left -= await self.answer(peer, stream, left)
            await stream.close()

    def _strike(self, peer: ID, address: str, why: str) -> None:
        _log.info("stranger_turned_away", extra={"peer": str(peer), "address": address, "why": why})
        self._meter.banned("stranger")
        self._strikes.add(str(peer))
        self._strikes.add(address)


async def _agree(stream: Stream) -> None:
    """Agree on the join protocol: no second try, and no list of what else there is. Raises: Intrusion."""
    talk = MultiselectCommunicator(stream)
    try:
        if await talk.read() != MULTISELECT_PROTOCOL_ID:
            raise Intrusion("no multistream")
        await talk.write(MULTISELECT_PROTOCOL_ID)
        if (wanted := await talk.read()) != JOIN:
            await talk.write(PROTOCOL_NOT_FOUND_MSG)
            raise Intrusion(f"it opened {wanted[:40]!r}")
        await talk.write(JOIN)
    except UnicodeDecodeError as error:
        raise Intrusion("no text") from error
    except BaseLibp2pError as error:
        if stream.receive_closed:  # it went away, and said nothing wrong
            raise
        raise Intrusion("no multistream") from error


def _first(group: BaseExceptionGroup[Fatal]) -> Fatal:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
