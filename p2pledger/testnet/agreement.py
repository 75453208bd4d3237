"""Whether all nodes hold the same ledger: one digest at the highest height that all of them have. Floor 8."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import trio

CALM_S = 10.0
"""How long nodes get to arrive at one height once nothing is submitted any more."""

POLL_S = 0.25


@dataclass(frozen=True)
class Agreement:
    """What the nodes say at one height. `faults`: nodes that differ from the most, or do not answer."""

    height: int
    agree: bool
    faults: tuple[str, ...]


async def heights_of(client: httpx.AsyncClient, urls: Mapping[str, str]) -> dict[str, int]:
    """The final height of every node that answers."""
    heights: dict[str, int] = {}

    async def ask(name: str, url: str) -> None:
        try:
            heights[name] = (await client.get(f"{url}/v1/status")).json()["height"]
        except (httpx.TransportError, ValueError, KeyError):
            return

    async with trio.open_nursery() as nursery:
        for name, url in urls.items():
            nursery.start_soon(ask, name, url)
    return {name: heights[name] for name in urls if name in heights}


async def agreement_of(client: httpx.AsyncClient, urls: Mapping[str, str]) -> Agreement:
    """Compare the nodes' digests at their highest common height, once they have arrived at one height.

    A node that does not answer cannot agree.
    """
    heights = await heights_of(client, urls)
    with trio.move_on_after(CALM_S):
        while len(set(heights.values())) > 1:
            await trio.sleep(POLL_S)
            heights = await heights_of(client, urls)
    faults = [f"{name} does not answer" for name in urls if name not in heights]
    height = min(heights.values(), default=0)
    if height > 0:
        digests = {name: await _digest(client, urls[name], height) for name in heights}
        most = max(digests.values(), key=list(digests.values()).count)
        faults += [
            f"{name} has {digest} at {height}, others {most}"
            for name, digest in digests.items()
            if digest != most
        ]
    return Agreement(height, not faults, tuple(faults))


async def _digest(client: httpx.AsyncClient, url: str, height: int) -> str:
    try:
        answer: dict[str, Any] = (await client.get(f"{url}/v1/blocks/{height}")).json()
        return str(answer["digest"])
    except (httpx.TransportError, ValueError, KeyError):
        return "no answer"
