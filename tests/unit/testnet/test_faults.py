"""What cannot be done to a testnet is refused with the reason, before anything is touched."""

from pathlib import Path

import pytest
import trio
from p2pledger.testnet import control
from p2pledger.testnet.control import SOCKET, NoTestnet
from p2pledger.testnet.directory import Directory, Plan, create_directory
from p2pledger.testnet.fault import Fault, FaultRefused, Kind
from p2pledger.testnet.faults import Faults
from p2pledger.testnet.nodes import Nodes
from p2pledger.testnet.proxy import open_links

ONE, TWO, THREE = "authority-1", "authority-2", "gateway-1"


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Directory:
    """A testnet of which no process runs."""
    return create_directory(tmp_path_factory.mktemp("net"), Plan(2, 1, 31_000))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(Kind.KILL, ("authority-9",)), "there are authority-1, authority-2, gateway-1"),
        (Fault(Kind.KILL), "name one of"),
        (Fault(Kind.KILL, (ONE, ONE)), "named twice"),
        (Fault(Kind.KILL, (ONE,)), "does not run: `fault restart authority-1`"),
        (Fault(Kind.PAUSE, (ONE,), for_s=0), "--for is more than 0"),
        (Fault(Kind.RESTART, (ONE,), for_s=1), "leave out --for"),
        (Fault(Kind.CLOCK, (ONE,), ms=86_400_001), "at most a day"),
        (Fault(Kind.TWIN, (THREE,)), "name one of authority-1, authority-2"),
        (Fault(Kind.PARTITION, (f"{ONE},{TWO}",)), "two sides or more"),
        (Fault(Kind.PARTITION, (ONE, f"{TWO},{ONE}")), "named twice"),
        (Fault(Kind.DELAY, ms=-1), "--ms and --jitter are from 0"),
        (Fault(Kind.LOSS, percent=100), "less than 100"),
        (Fault(Kind.HEAL, (ONE,)), "name no node"),
    ],
)
async def test_what_makes_no_sense_is_refused(directory: Directory, fault: Fault, why: str) -> None:
    async with open_links() as links, trio.open_nursery() as later:
        with pytest.raises(FaultRefused, match=why):
            await Faults(Nodes(directory, links), links, later).make(fault)


@pytest.mark.parametrize("kind", [Kind.TWIN, Kind.DISCONNECT, Kind.PARTITION, Kind.DELAY, Kind.LOSS])
async def test_links_are_broken_only_where_there_are_links(directory: Directory, kind: Kind) -> None:
    async with trio.open_nursery() as later:
        with pytest.raises(FaultRefused, match="testnet up --faults"):
            await Faults(Nodes(directory), None, later).make(Fault(kind, (ONE, TWO)))


async def test_links_are_impaired_each_way_and_calm_again_when_the_time_is_over(directory: Directory) -> None:
    async with open_links() as links, trio.open_nursery() as later:
        faults = Faults(Nodes(directory, links), links, later)
        done = await faults.make(Fault(Kind.DELAY, (ONE,), for_s=0.1, ms=30, jitter_ms=5))
        assert done == "all links of authority-1 take 30 to 35 ms longer each way, for 0.1 s"
        await faults.make(Fault(Kind.LOSS, (TWO,), percent=3))
        there, back, other = links.way(ONE, TWO), links.way(TWO, ONE), links.way(TWO, THREE)
        assert (there.delay_ms, back.delay_ms, other.delay_ms) == (30, 30, 0)
        assert (there.loss, back.loss, other.loss) == (0.03, 0.03, 0.03)
        with trio.fail_after(20):
            while there.delay_ms:
                await trio.sleep(0.01)
        assert (there.loss, back.delay_ms, back.jitter_ms) == (0.03, 0, 0)


async def test_a_side_is_silent_to_the_other_one_only(directory: Directory) -> None:
    async with open_links() as links, trio.open_nursery() as later:
        faults = Faults(Nodes(directory, links), links, later)
        await faults.make(Fault(Kind.PARTITION, (f"{ONE},{THREE}", TWO), is_silent=True))
        silent = {pair: links.way(*pair).is_silent for pair in ((ONE, TWO), (TWO, THREE), (ONE, THREE))}
        assert silent == {(ONE, TWO): True, (TWO, THREE): True, (ONE, THREE): False}


async def test_a_testnet_is_asked_over_a_socket_that_is_its_owners(directory: Directory) -> None:
    async with open_links() as links, trio.open_nursery() as nursery:
        faults = Faults(Nodes(directory, links), links, nursery)
        await nursery.start(control.serve, directory.path, faults)
        assert (directory.path / SOCKET).stat().st_mode & 0o077 == 0

        async def ask(fault: Fault) -> str:
            return await trio.to_thread.run_sync(control.ask, directory.path, fault)

        assert await ask(Fault(Kind.LOSS, percent=2.5)) == "all links lose 2.5 % of what is sent"
        assert links.way(ONE, THREE).loss == 0.025
        with pytest.raises(FaultRefused, match="no node is called"):
            await ask(Fault(Kind.KILL, ("nobody",)))
        assert control.find(directory.path) == directory.path
        nursery.cancel_scope.cancel()
    assert not (directory.path / SOCKET).exists()
    with pytest.raises(NoTestnet, match="no testnet answers"):
        control.ask(directory.path, Fault(Kind.HEAL))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"kind": "explode", "nodes": []}\n',
        b'{"kind": "heal", "nodes": [], "x": 1}\n',
        b"[]\n",
    ],
)
def test_a_request_that_cannot_be_read_is_refused(line: bytes) -> None:
    with pytest.raises(FaultRefused, match="cannot be read"):
        control.read_fault(line)


def test_a_path_that_no_socket_can_have_is_refused(directory: Directory, tmp_path: Path) -> None:
    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await control.serve(tmp_path / ("x" * 100), Faults(Nodes(directory), None, nursery))

    with pytest.raises(ExceptionGroup) as failed:
        trio.run(serve)
    (error,) = failed.value.exceptions
    assert isinstance(error, NoTestnet) and "shorter --dir" in str(error)
