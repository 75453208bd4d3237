"""A real node on a disk that is full, read-only or failing: it stops, says what to do, and loses nothing."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from p2pledger.testnet.processes import NodeProcess
from tests.faults.fleet import Fleet, running, with_parameters
from tests.faults.oracle import blocks_of, check_no_contradiction, votes_of
from tests.powerloss.test_power_loss import IS_LONG

PATIENCE_S = 30

FAULTS = [
    (f"write chain.db-wal 20 {errno.ENOSPC}", "chain.db", "the disk is full: free some space"),
    (f"sync guard.db-wal 9 {errno.EIO}", "guard.db", "the disk fails: look into the system's log"),
    (f"open guard.db 1 {errno.EROFS}", "guard.db", "whether its volume is mounted read-only"),
    (f"open chain.db 1 {errno.EROFS}", "chain.db", "whether its volume is mounted read-only"),
    (f"write guard.db-wal 60 {errno.ENOSPC}", "guard.db", "the disk is full: free some space"),
    (f"sync chain.db-wal 9 {errno.EIO}", "chain.db", "the disk fails: look into the system's log"),
    (f"write chain.db-wal 1 {errno.ENOSPC}", "chain.db", "the disk is full: free some space"),
    (f"open lock 1 {errno.EROFS}", "data", "whether its volume is mounted read-only"),
    (f"open lock 2 {errno.EROFS}", "guard", "whether its volume is mounted read-only"),
    (f"write guard.db-wal 60 {errno.EIO}", "guard.db", "the disk fails: look into the system's log"),
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    """One authority, which makes a block every 100 ms."""
    change = with_parameters(idle_interval_ms=100)
    place = tmp_path_factory.mktemp("fleet").resolve() / "net"
    with running(place, change, authorities=1, gateways=0) as fleet:
        yield fleet


async def says_when_it_stops(fleet: Fleet, shim: Path, fault: str) -> dict[str, str]:
    """The last line of the log of a node whose disk fails in this way."""
    node = fleet.nodes["authority-1"]
    environment = {
        "LD_PRELOAD": str(shim),
        "POWERLOSS_DIRECTORY": str(fleet.directory.path),
        "POWERLOSS_FAULT": fault,
    }
    log = node.home / "failing.log"
    log.unlink(missing_ok=True)
    process = NodeProcess(node.name, node.configuration, log, node.http_url, environment)
    try:
        with trio.fail_after(PATIENCE_S):
            await process.wait()
    finally:
        process.kill()
    assert process.how_it_ended() == "ended with code 1"
    text = log.read_text()
    assert "Traceback" not in text
    said: dict[str, str] = json.loads(text.splitlines()[-1])
    return said


@pytest.mark.parametrize(("fault", "file", "cure"), FAULTS if IS_LONG else FAULTS[:3])
async def test_it_stops_and_says_what_to_do(fleet: Fleet, shim, fault, file, cure) -> None:
    name = "authority-1"
    if fleet.is_alive(name):
        await fleet.end(name)
    blocks, votes = blocks_of(fleet, name), votes_of(fleet, name)
    said = await says_when_it_stops(fleet, shim, fault)
    assert (said["level"], said["event"]) == ("critical", "fatal")
    assert file in said["why"] and cure in said["why"]
    assert blocks_of(fleet, name)[: len(blocks)] == blocks
    check_no_contradiction(votes | votes_of(fleet, name))


async def test_once_the_disk_is_mended_it_goes_on(fleet: Fleet) -> None:
    name = "authority-1"
    if fleet.is_alive(name):
        await fleet.end(name)
    blocks, votes = blocks_of(fleet, name), votes_of(fleet, name)
    await fleet.start(name)
    await fleet.until_height(len(blocks) + 3, name)
    assert blocks_of(fleet, name)[: len(blocks)] == blocks
    check_no_contradiction(votes | votes_of(fleet, name))
