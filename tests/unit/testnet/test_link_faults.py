"""Links without nodes: what befalls links is done, what befalls nodes is refused."""

import pytest
import trio
from p2pledger.testnet.fault import Fault, FaultRefused, Kind
from p2pledger.testnet.link_faults import LinkFaults
from p2pledger.testnet.proxy import open_links

NAMES = ("authority-1", "authority-2", "gateway-1")


async def test_links_are_delayed_cut_and_healed() -> None:
    async with open_links() as links, trio.open_nursery() as later:
        faults = LinkFaults(links, NAMES, later)
        await faults.make(Fault(Kind.DELAY, ("gateway-1",), ms=7))
        there = links.way("authority-1", "gateway-1")
        assert (there.delay_ms, links.way("authority-1", "authority-2").delay_ms) == (7, 0)
        done = await faults.make(Fault(Kind.DISCONNECT, ("gateway-1",), is_silent=True))
        assert done == "all links of gateway-1 silent" and there.is_silent
        assert await faults.make(Fault(Kind.HEAL)) == "healed: all links are calm"
        assert (there.delay_ms, there.is_silent) == (0, False)


@pytest.mark.parametrize(
    "kind", sorted(set(Kind) - {*map(Kind, ("delay", "loss", "disconnect", "partition", "heal"))}, key=str)
)
async def test_what_befalls_nodes_is_refused(kind: Kind) -> None:
    async with open_links() as links, trio.open_nursery() as later:
        with pytest.raises(FaultRefused, match="only the links"):
            await LinkFaults(links, NAMES, later).make(Fault(kind, ("authority-1",)))


async def test_nodes_that_are_not_there_are_refused() -> None:
    async with open_links() as links, trio.open_nursery() as later:
        with pytest.raises(FaultRefused, match="there are authority-1, authority-2, gateway-1"):
            await LinkFaults(links, NAMES, later).make(Fault(Kind.LOSS, ("authority-9",), percent=1))
