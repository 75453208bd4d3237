import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.utils.varint import encode_varint_prefixed
from p2pledger.errors import InvalidMessage
from p2pledger.network.wire import FRAME_S, StreamReader, encode_delimited, encode_frame


class Pieces:
    """A stream that gives what it holds in pieces, then ends or says nothing more."""

    def __init__(self, data: bytes, size: int, *, ends: bool = True) -> None:
        self._data = bytearray(data)
        self._size = size
        self._ends = ends

    async def read(self, n: int | None = None) -> bytes:
        if not self._data:
            if self._ends:
                raise StreamEOF
            await trio.sleep_forever()
        piece = bytes(self._data[: self._size])
        del self._data[: self._size]
        return piece


def reader_of(data: bytes, size: int = 7, *, ends: bool = True) -> StreamReader:
    return StreamReader(Pieces(data, size, ends=ends))  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 400))
def test_messages_come_out_as_they_went_in(messages: list[bytes], size: int) -> None:
    async def run() -> None:
        framed = reader_of(b"".join(map(encode_frame, messages)), size)
        delimited = reader_of(b"".join(map(encode_delimited, messages)), size)
        assert [await framed.frame(300) for _ in messages] == messages
        assert [await delimited.delimited(300) for _ in messages] == messages
        assert await framed.frame(300) is None
        assert await delimited.delimited(300) is None

    trio.run(run)


@given(st.binary(max_size=300))
def test_the_varint_is_the_librarys(data: bytes) -> None:
    assert encode_delimited(data) == encode_varint_prefixed(data)


@pytest.mark.parametrize("start", [b"\0\0\0\x0b", b"\xff\xff\xff\xff"])
async def test_a_frame_over_the_limit(start: bytes) -> None:
    with pytest.raises(InvalidMessage, match="at most 10"):
        await reader_of(start).frame(10)


@pytest.mark.parametrize("start", [b"\x0b", b"\xff" * 9 + b"\x01", b"\x80" * 20])
async def test_a_delimited_message_over_the_limit(start: bytes) -> None:
    with pytest.raises(InvalidMessage):
        await reader_of(start).delimited(10)


@pytest.mark.parametrize("start", [b"\0", b"\0\0\0\x05abc"])
async def test_a_stream_that_ends_within_a_message(start: bytes) -> None:
    with pytest.raises(StreamEOF):
        await reader_of(start).frame(10)


async def test_a_message_that_never_ends(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await reader_of(b"\0\0\0\x05abc", ends=False).frame(10)
    with pytest.raises(trio.TooSlowError):
        await reader_of(b"\x05abc", ends=False).delimited(10)
    assert trio.current_time() - began == pytest.approx(2 * FRAME_S)


async def test_a_silent_stream_may_stay_silent(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(100 * FRAME_S) as scope:
        await reader_of(b"", ends=False).frame(10)
    assert scope.cancelled_caught
