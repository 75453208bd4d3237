"""A node stops when it is told to, and refuses to start, or to vote, on what it must not trust."""

import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from p2pledger.chain.transaction import Transaction
from p2pledger.client import AsyncClient, Limits, Unavailable, Undecided
from p2pledger.codec import to_json
from p2pledger.testnet.directory import GENESIS, Node
from p2pledger.testnet.processes import NodeProcess
from tests.faults.fleet import Fleet, configure, running, until, with_parameters
from tests.faults.oracle import blocks_of, check_no_contradiction, signers_of, votes_of
from tests.faults.wishes import good

STOP_S_MAX = 10


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    with running(tmp_path_factory.mktemp("fleet") / "net", with_parameters(idle_interval_ms=500)) as fleet:
        yield fleet


async def votes(fleet: Fleet, name: str) -> None:
    """Wait until others count this authority's votes."""
    since = await fleet.height("gateway-1")

    async def is_counted() -> bool:
        return fleet.authorities.index(name) in signers_of(blocks_of(fleet, "gateway-1")[since:])

    await until(is_counted)


async def follows_without_voting(fleet: Fleet, name: str, why: str, cause: str) -> None:
    """Fail unless this authority has every block, says everywhere why it does not vote, and does not."""
    since = await fleet.height(name)
    await fleet.until_height(since + 6)
    status = await fleet.status(name)
    assert (status["is_authority"], status["is_voting"]) == (True, False)
    assert why in status["notice"]
    counted = await fleet.metrics(name)
    assert (counted["consensus_is_authority"], counted["consensus_is_voting"]) == (1, 0)
    assert counted[f'consensus_trouble{{cause="{cause}"}}'] == 1
    assert cause in await fleet.trouble(name)
    health = await fleet.health(name)
    assert health["ok"] and [notice for notice in health["notices"] if why in notice]
    lines = [json.loads(line) for line in fleet.log_of(name).splitlines() if line.startswith("{")]
    assert any(
        (line["level"], line["event"]) == ("error", "not_voting") and why in line["why"] for line in lines
    )
    assert fleet.authorities.index(name) not in signers_of(blocks_of(fleet, "gateway-1")[since + 1 :])
    await fleet.check_agreement()


async def refuses_to_start(node: Node, configuration: Path, code: int) -> str:
    """What a process with this configuration says before it ends."""
    log = node.home / "refused.log"
    process = NodeProcess(node.name, configuration, log, node.http_url)
    with trio.fail_after(20):
        await process.wait()
    assert process.how_it_ended() == f"ended with code {code}"
    said = log.read_text()
    log.unlink()
    assert "Traceback" not in said
    return said


def stalled_client(http_url: str, path: str) -> socket.socket:
    """A client that asks for much and then reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the node's buffer follows it
    host, port = http_url.removeprefix("http://").split(":")
    client.connect((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
    return client


async def test_sigterm_ends_a_node_in_order_though_subscribers_have_stalled(fleet: Fleet) -> None:
    async with fleet.client("gateway-1") as client:
        wishes = [good(fleet) for _ in range(1_000)]
        await client.submit_many(wishes)
        await client.wait(wishes[-1].id)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(stalled_client(fleet.nodes["gateway-1"].http_url, "/v1/events?after=0"))

        async def are_heard() -> bool:
            return (await fleet.metrics("gateway-1"))['api_subscribers{kind="events"}'] == 5

        await until(are_heard)
        with trio.fail_after(STOP_S_MAX):
            assert await fleet.end("gateway-1") == "ended with code 0"
    assert '"event": "stopped"' in fleet.log_of("gateway-1").splitlines()[-1]
    with trio.fail_after(STOP_S_MAX):
        assert await fleet.end("authority-1") == "ended with code 0"
    await fleet.start("gateway-1", "authority-1")


async def test_a_node_that_stops_says_so_first_goes_on_answering_and_hands_on_what_it_took(
    fleet: Fleet,
) -> None:
    name = "gateway-1"
    configuration = fleet.nodes[name].configuration
    before = configuration.read_text()
    configuration.write_text(before.replace("[api]\n", "[api]\ndrain_ms = 3000\n"))
    await fleet.end(name)
    await fleet.start(name)
    os.kill(fleet.processes.pid(name), signal.SIGTERM)

    async def is_leaving() -> bool:
        return "stopping" in (await fleet.health(name))["reasons"]

    await until(is_leaving)
    taken: list[Transaction] = []
    url, patience = fleet.nodes[name].http_url, Limits(attempts_max=2, time_ms_max=2_000)
    async with AsyncClient([url], fleet.genesis, patience) as client:
        with suppress(Unavailable, Undecided):  # until it does not answer any more
            while True:
                wish = good(fleet)
                await client.submit(wish)
                taken.append(wish)
    assert taken

    async def has_ended() -> bool:
        return not fleet.is_alive(name)

    await until(has_ended)  # by the one signal
    assert await fleet.end(name) == "ended with code 0"
    async with fleet.client("authority-1") as client:
        for wish in taken:
            assert (await client.wait(wish.id)).height  # which nobody has handed in there
    configuration.write_text(before)
    await fleet.start(name)


async def test_another_ledgers_data_is_refused_with_the_command_that_mends_it(fleet: Fleet) -> None:
    node = fleet.nodes["gateway-1"]
    await fleet.end(node.name)
    other = replace(fleet.genesis, chain_id="other")
    (node.home / "other.json").write_text(json.dumps(to_json(other)))
    configure(node, "genesis", f"../{GENESIS}", "other.json")
    said = await refuses_to_start(node, node.configuration, code=1)
    assert other.hash.hex() in said and fleet.genesis.hash.hex() in said and '"code": "other_genesis"' in said
    command = re.search("`rm -r ([^`]+)`", said)
    assert command is not None and Path(command[1]).resolve() == (node.home / "data").resolve()
    configure(node, "genesis", "other.json", f"../{GENESIS}")
    shutil.rmtree(command[1])  # the other cure: this copy of the chain is given up, and comes again by sync
    await fleet.start(node.name)
    await fleet.until_height(await fleet.height("authority-1"), node.name)
    await fleet.check_agreement()


async def test_a_second_instance_is_refused_and_does_not_disturb_the_first(fleet: Fleet, tmp_path) -> None:
    node = fleet.nodes["authority-2"]
    for one in (fleet.nodes["gateway-1"], node):
        said = await refuses_to_start(one, one.configuration, code=1)
        assert '"code": "directory_held"' in said and "data is held by another process" in said
    # Nor with a chain and ports of its own: the guard itself is what is held.
    elsewhere = node.home / "elsewhere.toml"
    text = node.configuration.read_text().replace('data_dir = "data"', f'data_dir = "{tmp_path}"')
    own = [int(url.split(":")[2].split("/")[0]) for url in (node.http_url, node.metrics_url)]
    for port in (*own, int(node.p2p.rsplit("/", 1)[1])):
        text = text.replace(str(port), str(port + len(fleet.nodes)))  # free in the fleet's own block
    elsewhere.write_text(text)
    said = await refuses_to_start(node, elsewhere, code=1)
    assert '"code": "directory_held"' in said and "guard is held by another process" in said
    assert fleet.is_alive("authority-2") and fleet.is_alive("gateway-1")
    await votes(fleet, "authority-2")


async def test_an_authority_without_its_guard_follows_and_says_so(fleet: Fleet) -> None:
    home = fleet.nodes["authority-3"].home
    await fleet.end("authority-3")
    (home / "guard").rename(home / "away")
    await fleet.start("authority-3")
    await follows_without_voting(fleet, "authority-3", "no guard was found", "guard_missing")
    assert not (home / "guard" / "guard.db").exists()  # looking for it did not make one
    # The very guard back in its place, not a copy: it knows every vote that its key has given.
    await fleet.end("authority-3")
    (home / "guard").rmdir() if (home / "guard").exists() else None
    (home / "away").rename(home / "guard")
    await fleet.start("authority-3")
    await votes(fleet, "authority-3")


async def test_an_authority_with_an_old_copy_of_its_guard_does_not_vote(fleet: Fleet) -> None:
    home = fleet.nodes["authority-4"].home
    await fleet.end("authority-4")
    shutil.copytree(home / "guard", home / "backup")
    await fleet.start("authority-4")
    await votes(fleet, "authority-4")
    fleet.kill("authority-4")
    cast = votes_of(fleet, "authority-4")
    shutil.rmtree(home / "guard")
    (home / "backup").rename(home / "guard")
    await fleet.start("authority-4")
    await follows_without_voting(fleet, "authority-4", "guard was lost", "guard_lost")
    check_no_contradiction(cast.union(*(votes_of(fleet, name) for name in fleet.nodes)))
