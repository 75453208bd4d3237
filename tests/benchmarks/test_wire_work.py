"""What a message costs whatever is in it: calls at both ends, from one host to another in this process.

The scheduler's turns differ a little from run to run, so each bound has a tenth of room above the count.
"""

import gc
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
from p2pledger.network.seam import Topic
from tests.net.hosts import Peer, network

MESSAGES = 50
CALLS_MAX = {"gossip": 680, "frame": 430}


class Arrivals(list[object]):
    """What arrived, and a wait for one more: to look for it again and again would be counted too."""

    def __init__(self) -> None:
        super().__init__()
        self._came = trio.Event()

    def append(self, item: object) -> None:
        super().append(item)
        self._came.set()

    async def one_more(self) -> None:
        await self._came.wait()
        self._came = trio.Event()


async def calls_per_message(say: Callable[[int], Awaitable[None]], arrivals: Arrivals) -> float:
    counted = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    await say(0)  # what is done once only is done here
    await arrivals.one_more()
    gc.disable()
    sys.setprofile(note)
    try:
        for number in range(1, MESSAGES + 1):
            await say(number)
            await arrivals.one_more()
    finally:
        sys.setprofile(None)
        gc.enable()
    return counted / MESSAGES


@pytest.mark.parametrize("kind", CALLS_MAX)
async def test_a_message_costs_no_more_calls_than_it_did(kind: str) -> None:
    with trio.fail_after(60):
        async with network("sender", "receiver") as (sender, receiver):
            arrivals = Arrivals()
            say = gossiping(sender) if kind == "gossip" else framing(sender, receiver)
            setattr(receiver.handler, "gossip" if kind == "gossip" else "frames", arrivals)
            counted = await calls_per_message(say, arrivals)
    assert counted <= CALLS_MAX[kind], counted


def gossiping(sender: Peer) -> Callable[[int], Awaitable[None]]:
    async def say(number: int) -> None:
        await sender.host.publish(Topic.TRANSACTIONS, number.to_bytes(8, "big") * 2_500)

    return say


def framing(sender: Peer, receiver: Peer) -> Callable[[int], Awaitable[None]]:
    async def say(number: int) -> None:
        assert sender.host.send(receiver.id, number.to_bytes(8, "big") * 40)

    return say
