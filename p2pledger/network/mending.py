"""Faults of libp2p 0.8.1 that no subclass can reach, mended in place. Floor 6. Imported before its use.

Every mend is named after its fault and replaces a module's name; every one has a test that fails on the
stock library. What a subclass can reach is mended there: `yamux` (multiplexer), `transport` (connections,
streams), `gossip` (pubsub).

    unbounded protocol names      a peer announces a protocol name of any length and the negotiation reads it
    logging to the root logger    every connection writes to the root logger, and makes it a handler
    a lock for every read         a stream takes a lock, and so a turn of the scheduler, around looking at its
                                  own state before every read and write
"""

import importlib.metadata
import logging

from libp2p.exceptions import ParseError
from libp2p.io.abc import Reader
from libp2p.network.connection import swarm_connection
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from p2pledger.network.flow import Stream

VERSION = "0.8.1"
PROTOCOL_NAME_BYTES_MAX = 1024


def check_version() -> None:
    """Raises: ImportError when the installed libp2p is not the one that the mends were written for."""
    installed = importlib.metadata.version("libp2p")
    if installed != VERSION:
        raise ImportError(
            f"the network is built on libp2p {VERSION}, found {installed}; see network/mending.py"
        )


async def read_bounded_delim(reader: Reader) -> bytes:
    """Read one line of multistream-select: a length, then a text that ends in a newline.

    Raises: ParseError, MessageTooLarge, IncompleteReadError.
    """
    line = await read_varint_prefixed_bytes_limited(reader, PROTOCOL_NAME_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise ParseError("a protocol name must end in a newline")
    return line[:-1]


def mend_unbounded_protocol_names() -> None:
    multiselect_communicator.read_delim = read_bounded_delim  # type: ignore[attr-defined]


def mend_logging_to_the_root_logger() -> None:
    # A logger has the functions of the module that are used there: debug, info, warning.
    swarm_connection.logging = logging.getLogger("libp2p.network.connection")  # type: ignore[assignment,attr-defined]
    # Its warnings and errors report what peers do; what matters of that is counted by our own metrics.
    for name in ("libp2p", "libp2p.network.auto_connector"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class UnlockedStream(NetStream):
    """Reads and writes at once while it is open; all else is left to the library's own way."""

    async def read(self, n: int | None = None) -> bytes:
        if self._state is StreamState.OPEN:
            try:
                return await self.muxed_stream.read(n)
            except MuxedStreamError:
                pass  # it says the same again below, where the library notes and translates it
        return await super().read(n)

    async def write(self, data: bytes) -> None:
        if self._state is StreamState.OPEN:
            try:
                await self.muxed_stream.write(data)
            except MuxedStreamError:
                pass
            else:
                return
        await super().write(data)

    def write_now(self, data: bytes) -> bool:
        """See `flow.Stream.write_now`."""
        stream = self.muxed_stream
        return self._state is StreamState.OPEN and isinstance(stream, Stream) and stream.write_now(data)


def mend_a_lock_for_every_read() -> None:
    swarm_connection.NetStream = UnlockedStream  # type: ignore[attr-defined]


check_version()
mend_unbounded_protocol_names()
mend_logging_to_the_root_logger()
mend_a_lock_for_every_read()
