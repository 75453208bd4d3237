"""Replays real data through gateways that somebody else runs: `p2pledger testnet load`. Floor 8."""

import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import trio
from rich.console import Console

from p2pledger.client import AsyncClient
from p2pledger.client.outcomes import LedgerError
from p2pledger.client.readings import ReadingsFile
from p2pledger.signer.keyfile import KeyFileRefused
from p2pledger.testnet.agreement import heights_of
from p2pledger.testnet.directory import Directory, NotATestnet
from p2pledger.testnet.display import ReplayDisplay, sum_of
from p2pledger.testnet.fleet import Gateway
from p2pledger.testnet.link import ClientLink
from p2pledger.testnet.replay import EnrolmentRefused, Replay
from p2pledger.testnet.sources import REPLAYS
from p2pledger.testnet.tally import Tally
from p2pledger.testnet.up import foreseen_in

DISPLAY_S = 1.0
REQUEST_S = 5.0

EXPECTED = (NotATestnet, EnrolmentRefused, KeyFileRefused, LedgerError)
"""What may keep a load from running, and says itself what is the matter."""


@dataclass(frozen=True)
class Load:
    """What to replay and how fast. Without `duration_s` passes follow each other until a signal comes."""

    replay: str
    rate: float
    duration_s: float | None
    gateways: tuple[str, ...] = ()
    """Through whom; none: through all."""


def run(directory: Directory, load: Load, console: Console) -> int:
    """Replay until the time is over, SIGTERM or Ctrl-C; 0 when something became final, else 1.

    Raises: those of EXPECTED.
    """
    gateways = directory.gateways(load.gateways)
    try:
        tally = trio.run(_run, directory, gateways, load, console)
    except ExceptionGroup as group:
        raise foreseen_in(group, EXPECTED) from None
    console.print(sum_of(tally), soft_wrap=True)
    return 0 if tally.transactions_final else 1


async def _run(directory: Directory, gateways: Sequence[Gateway], load: Load, console: Console) -> Tally:
    tally, stop = Tally(), trio.Event()
    urls = {gateway.name: gateway.http_url for gateway in gateways}
    async with (
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
        httpx.AsyncClient(timeout=REQUEST_S, trust_env=False) as http,
    ):
        nursery.start_soon(_stop_at_a_signal, stop)
        if load.duration_s is not None:
            nursery.start_soon(_stop_after, load.duration_s, stop)
        links = []
        for gateway in gateways:
            client = await stack.enter_async_context(AsyncClient([gateway.http_url], directory.genesis))
            readings = ReadingsFile(directory.path / gateway.name / "readings.db")
            stack.callback(readings.close)
            links.append((ClientLink(gateway, client), readings))
        replay = Replay(directory.genesis, links, REPLAYS[load.replay], load.rate, tally)
        with ReplayDisplay(console) as display:
            nursery.start_soon(_display, display, replay, http, urls)
            await replay.run(stop, passes=None)
        nursery.cancel_scope.cancel()
    return tally


async def _stop_at_a_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            stop.set()


async def _stop_after(seconds: float, stop: trio.Event) -> None:
    await trio.sleep(seconds)
    stop.set()


async def _display(
    display: ReplayDisplay, replay: Replay, http: httpx.AsyncClient, urls: dict[str, str]
) -> None:
    while True:
        heights = await heights_of(http, urls)
        display.update(replay.passes, replay.progress(), replay.size, replay.tally, heights)
        await trio.sleep(DISPLAY_S)
