"""Links carry bytes whole and in order, or do with them exactly what they were told to."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from p2pledger.testnet.proxy import BUFFER_BYTES, RETRANSMIT_MS, Links, Way, open_links

ONE, OTHER = "authority-1", "authority-2"
RESET = (trio.BrokenResourceError, OSError)


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A port where everything comes back."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                async for data in stream:
                    await stream.send_all(data)
            except trio.BrokenResourceError:
                pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Links, int]]:
    async with echo() as port, open_links(seed=1) as links:
        yield links, await links.open(ONE, OTHER, "127.0.0.1", port)


async def said_back(stream: trio.SocketStream, data: bytes) -> bytes:
    """What comes back of some bytes."""
    back = b""

    async def listen() -> None:
        nonlocal back
        while len(back) < len(data) and (piece := await stream.receive_some()):
            back += piece

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await stream.send_all(data)
    return back


async def test_a_calm_link_carries_whatever_is_said() -> None:
    data = random.Random(1).randbytes(3 * BUFFER_BYTES)
    async with linked() as (_, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        assert await said_back(stream, data) == data


async def test_delay_and_loss_change_no_byte_and_no_order() -> None:
    data = random.Random(2).randbytes(200_000)
    async with linked() as (links, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        links.way(ONE, OTHER).delay_ms, links.way(ONE, OTHER).jitter_ms = 5, 50
        links.way(OTHER, ONE).loss = 0.3
        assert await said_back(stream, data) == data


async def test_each_direction_is_late_by_itself() -> None:
    async with linked() as (links, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        before = trio.current_time()
        links.way(ONE, OTHER).delay_ms = 200
        assert await said_back(stream, b"there") == b"there"
        late = trio.current_time() - before
        assert late >= 0.2
        before = trio.current_time()
        links.way(OTHER, ONE).delay_ms = 200
        assert await said_back(stream, b"both") == b"both"
        assert trio.current_time() - before >= 0.4


async def test_a_cut_resets_what_stands_and_what_is_dialled_until_the_two_are_joined() -> None:
    async with linked() as (links, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await said_back(stream, b"before") == b"before"
            links.cut(OTHER, ONE)
            with pytest.raises(RESET), trio.fail_after(5):
                await stream.receive_some()
        with pytest.raises(RESET), trio.fail_after(5):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.receive_some()
        assert not links.is_connected(ONE, OTHER)
        links.join(ONE, OTHER)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await said_back(stream, b"after") == b"after"
            assert links.is_connected(ONE, OTHER)


async def test_a_silence_keeps_what_was_said_and_lets_it_go_on_afterwards() -> None:
    async with linked() as (links, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        links.way(OTHER, ONE).silence(True)
        await stream.send_all(b"kept")
        with trio.move_on_after(0.3) as silence:
            await stream.receive_some()
        assert silence.cancelled_caught
        async with await trio.open_tcp_stream("127.0.0.1", port) as dialled_in_silence:
            links.way(OTHER, ONE).silence(False)
            assert await stream.receive_some() == b"kept"
            assert await said_back(dialled_in_silence, b"later") == b"later"


async def test_nobody_listening_is_a_reset_and_no_end_of_the_links() -> None:
    async with open_links() as links, echo() as port:
        async with echo() as gone:
            pass
        dead = await links.open(ONE, "nobody", "127.0.0.1", gone)
        with pytest.raises(RESET), trio.fail_after(5):
            async with await trio.open_tcp_stream("127.0.0.1", dead) as stream:
                await stream.receive_some()
        alive = await links.open(ONE, OTHER, "127.0.0.1", port)
        async with await trio.open_tcp_stream("127.0.0.1", alive) as stream:
            assert await said_back(stream, b"here") == b"here"


def test_a_lost_piece_is_late_by_whole_time_outs_and_never_for_ever() -> None:
    source = random.Random(3)
    certain = Way(loss=1.0)
    assert certain.draw_s(source) == RETRANSMIT_MS * (2**6 - 1) / 1_000
    late = [Way(loss=0.25).draw_s(source) for _ in range(4_000)]
    assert {0.0, 0.2, 0.6} <= {round(s, 3) for s in late}
    assert 0.2 < sum(s > 0 for s in late) / len(late) < 0.3


async def test_a_link_is_at_the_port_that_is_asked_for_and_finds_its_end_by_name() -> None:
    async with open_links() as links, trio.open_nursery() as nursery:
        (echo,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def answer(stream: trio.SocketStream) -> None:
            await stream.send_all(b"heard")

        nursery.start_soon(trio.serve_listeners, answer, [echo])
        free = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = free[0].socket.getsockname()[1]
        await free[0].aclose()
        far = echo.socket.getsockname()[1]
        assert await links.open(ONE, OTHER, "localhost", far, at=("127.0.0.1", port)) == port
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await stream.receive_some() == b"heard"
        nursery.cancel_scope.cancel()
