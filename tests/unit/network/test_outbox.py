from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.network.outbox import URGENT_BYTES, WRITE_BYTES, MeteredWriter, Outbox
from tests.net.hosts import Counts


async def test_what_is_queued_together_leaves_together_and_in_order() -> None:
    outbox = Outbox(1000)
    assert all(outbox.push(data) for data in (b"one", b"two", b"three"))
    assert len(outbox) == 3
    assert await outbox.pull() == b"onetwothree"
    assert len(outbox) == 0


async def test_pull_waits_for_a_message() -> None:
    outbox, pulled = Outbox(1000), []

    async def pull() -> None:
        pulled.append(await outbox.pull())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pull)
        await trio.testing.wait_all_tasks_blocked()
        assert pulled == []
        outbox.push(b"late")
    assert pulled == [b"late"]


async def test_a_full_outbox_refuses_until_it_is_pulled() -> None:
    outbox = Outbox(10)
    assert outbox.push(bytes(10))
    assert not outbox.push(b"x")
    assert outbox.push(bytes(URGENT_BYTES), is_urgent=True)
    assert not outbox.push(b"x", is_urgent=True)
    assert len(await outbox.pull() or b"") == 10 + URGENT_BYTES
    assert outbox.push(b"x")


async def test_a_closed_outbox_tells_what_is_lost_and_wakes_its_reader() -> None:
    outbox = Outbox(10)
    outbox.push(b"a")
    outbox.push(b"b")
    assert outbox.close() == 2
    assert await outbox.pull() is None
    assert not outbox.push(b"x")


@given(st.lists(st.integers(0, WRITE_BYTES * 2), max_size=8))
def test_nothing_is_lost_or_reordered(sizes: list[int]) -> None:
    outbox, messages = Outbox(10**9), [bytes([index]) * size for index, size in enumerate(sizes)]

    async def run() -> bytes:
        for message in messages:
            assert outbox.push(message)
        writes = []
        while len(outbox):
            writes.append(await outbox.pull() or b"")
        assert all(len(write) <= max(WRITE_BYTES, *sizes) for write in writes)
        return b"".join(writes)

    assert trio.run(run) == b"".join(messages)


class Sink:
    """Takes what is written, each after so many seconds; at once only while it `takes_now`."""

    def __init__(self, seconds: Callable[[bytes], float] = lambda data: 0.0) -> None:
        self.taken: list[bytes] = []
        self.takes_now = False
        self._seconds = seconds

    async def write(self, data: bytes) -> None:
        self.taken.append(data)
        await trio.sleep(self._seconds(data))

    def write_now(self, data: bytes) -> bool:
        if self.takes_now:
            self.taken.append(data)
        return self.takes_now


async def test_all_that_is_pushed_is_poured_until_it_is_closed_or_one_write_takes_too_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outbox, sink = Outbox(1000), Sink(lambda data: 1 if data != b"slow" else 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.pour, sink, 10)
        for data in (b"one", b"two"):
            outbox.push(data)
            await trio.sleep(50)  # to wait for something to write is not to be slow
        outbox.close()
    assert sink.taken == [b"one", b"two"]
    outbox = Outbox(1000)
    outbox.push(b"slow")
    with pytest.raises(trio.TooSlowError):
        await outbox.pour(sink, 10)


async def test_what_is_taken_at_once_is_never_queued_and_overtakes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outbox, sink = Outbox(1000), Sink(lambda data: 5)
    sink.takes_now = True
    assert outbox.push(b"before anybody writes")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.pour, sink, 10.0)
        await trio.testing.wait_all_tasks_blocked()
        assert outbox.push(b"while that is written")  # and not before it
        assert sink.taken == [b"before anybody writes"] and len(outbox) == 1
        await trio.sleep(11)
        assert outbox.push(b"at once")
        assert sink.taken == [b"before anybody writes", b"while that is written", b"at once"]
        sink.takes_now = False
        assert outbox.push(b"when there is room")
        assert len(outbox) == 1
        await trio.sleep(6)
        assert sink.taken[3:] == [b"when there is room"]
        outbox.close()
        sink.takes_now = True
        assert not outbox.push(b"x")


async def test_all_that_is_written_is_told_to_the_meter_and_nothing_else() -> None:
    sink, counts = Sink(), Counts()
    writer = MeteredWriter(sink, counts, "gossip")
    await writer.write(b"four")
    assert not writer.write_now(b"refused")
    sink.takes_now = True
    assert writer.write_now(b"seven b")
    assert sink.taken == [b"four", b"seven b"]
    assert counts.of == {("traffic", "outbound", "gossip"): 11}
