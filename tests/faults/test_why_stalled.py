"""Two of four authorities are dead: `p2pledger why-stalled` names both, and what they are needed for."""

import re
import sys
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest
import trio
from p2pledger.why_stalled import ask
from tests.faults.fleet import Fleet, running, until, with_parameters
from tests.faults.wishes import good


@pytest.fixture
def fleet(tmp_path) -> Iterator[Fleet]:
    with running(tmp_path / "net", with_parameters(idle_interval_ms=3_000)) as fleet:
        yield fleet


async def why_stalled(fleet: Fleet, *names: str) -> CompletedProcess:
    """The command as people run it, for these nodes."""
    nodes = [argument for name in names for argument in ("--node", fleet.nodes[name].http_url)]
    command = [sys.executable, "-m", "p2pledger", "why-stalled", *nodes]
    return await trio.run_process(command, capture_stdout=True, check=False)


async def reasons(fleet: Fleet, name: str) -> dict[str, list[str]]:
    """The codes of a node's reasons, and whom each is about."""
    answer = await trio.to_thread.run_sync(ask, fleet.nodes[name].http_url)
    assert answer.consensus is not None, answer.error
    return {reason.code: reason.organisations for reason in answer.consensus.reasons}


async def trouble(fleet: Fleet, name: str) -> set[str]:
    """The causes that a node's metrics show."""
    series = {name: value for name, value in (await fleet.metrics(name)).items() if "trouble" in name}
    assert len(series) > 10
    return {cause for name, value in series.items() if value for cause in re.findall(r'"(.+)"', name)}


async def test_two_of_four_dead_are_named_by_those_that_live(fleet: Fleet) -> None:
    well = await why_stalled(fleet, "authority-1", "gateway-1")
    assert (well.returncode, well.stdout.count(b": healthy")) == (0, 2), well.stdout.decode()

    one, two, *dead = fleet.authorities
    fleet.kill(*dead)
    members = dict(zip(fleet.authorities, fleet.genesis.authorities.members, strict=True))
    silent = sorted(members[name].organisation for name in dead)

    async def says_who_is_missing() -> bool:
        return sorted((await reasons(fleet, one)).get("no_quorum_heard", ())) == silent

    await until(says_who_is_missing)

    async def rings() -> bool:
        return "no_quorum_heard" in await trouble(fleet, one)

    await until(rings)  # what an alert goes by says the same
    stalled = await why_stalled(fleet, one, two, dead[0])
    text = " ".join(stalled.stdout.decode().split())
    assert stalled.returncode == 1
    assert "It takes 3 of the 4 authorities to decide, and only these are there" in text
    assert text.count(": stalled") == 2
    assert text.count(": not reachable") == 1
    assert "2 of 3 nodes answered" in text

    await fleet.start(*dead)
    async with fleet.client(one) as client:
        await client.send(good(fleet))

    async def is_well() -> bool:
        told = [await reasons(fleet, name) for name in fleet.nodes]
        return all(set(codes) <= {"idle", "working"} for codes in told)

    await until(is_well)

    async def is_calm() -> bool:
        return not any([await trouble(fleet, name) for name in fleet.nodes])

    await until(is_calm)
