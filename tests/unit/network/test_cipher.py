"""Cipher messages, ours against the library's: the same bytes on the wire, both ways."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.io import NoiseTransportReadWriter
from noise.connection import NoiseConnection
from p2pledger.network.transport import BoundedConnection, CipherMessages

SAID = [random.Random(size).randbytes(size) for size in (1, 20_000, 65_519, 65_520, 300_000, 3)]


def agreed() -> tuple[NoiseConnection, NoiseConnection]:
    """The two ends of a handshake that is done."""
    ours, theirs = (NoiseConnection.from_name(b"Noise_NN_25519_ChaChaPoly_SHA256") for _ in range(2))
    ours.set_as_initiator()
    theirs.set_as_responder()
    for end in (ours, theirs):
        end.start_handshake()
    theirs.read_message(bytes(ours.write_message()))
    ours.read_message(bytes(theirs.write_message()))
    return ours, theirs


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[CipherMessages, NoiseTransportReadWriter, trio.SocketStream]]:
    """Our end of a connection, the library's other end, and the socket below that."""
    sockets = [trio.SocketStream(end) for end in trio.socket.socketpair()]
    ours, theirs = (BoundedConnection(RawConnection(TrioTCPStream(end), False)) for end in sockets)
    state, their_state = agreed()
    stock = NoiseTransportReadWriter(theirs, their_state)
    async with sockets[0], sockets[1]:
        yield CipherMessages(ours, NoiseTransportReadWriter(ours, state)), stock, sockets[1]


async def heard(say: Callable[[bytes], Awaitable[None]], hear: Callable[[], Awaitable[bytes]]) -> bytes:
    """What one end hears while the other says all of SAID."""
    said = bytearray()

    async def say_all() -> None:
        for data in SAID:
            await say(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say_all)
        while len(said) < sum(map(len, SAID)):
            said += await hear()
    return bytes(said)


async def test_the_library_reads_what_we_say() -> None:
    async with ends() as (ours, stock, _):
        assert await heard(ours.write_msg, stock.read_msg) == b"".join(SAID)


async def test_we_read_what_the_library_says_many_messages_at_a_time() -> None:
    async with ends() as (ours, stock, _):
        for number in range(100):
            await stock.write_msg(b"%d," % number)
        assert await ours.read_msg() == b"".join(b"%d," % number for number in range(100))
        assert await heard(stock.write_msg, ours.read_msg) == b"".join(SAID)


async def test_a_message_in_pieces_is_waited_for_and_one_that_breaks_off_ends_the_connection() -> None:
    async with ends() as (ours, stock, socket):
        encrypted = stock.encrypt(b"in pieces")
        data = len(encrypted).to_bytes(2, "big") + encrypted
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def drip() -> None:
                for byte in data:
                    await socket.send_all(bytes([byte]))
                    await trio.testing.wait_all_tasks_blocked()

            assert await ours.read_msg() == b"in pieces"
        await socket.send_all(data[:-1])
        await socket.aclose()
        with pytest.raises(ConnectionClosedError):
            await ours.read_msg()
