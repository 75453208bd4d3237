"""Each fault that `p2pledger testnet fault` can make, against four authorities under load: how long it takes
until the next block is final, and whether anything that was final is lost or doubled.

`make faults` runs this. The bounds are the project's own demands on a machine of two cores that has nothing
else to do; on a busy one, FAULTS_PATIENCE=5 gives everything five times as long.
"""

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from p2pledger.chain.vote import Vote
from p2pledger.testnet.fault import Kind
from tests.faults.fleet import POLL_S, Troubled, troubled, until, with_parameters
from tests.faults.history import History
from tests.faults.load import load
from tests.faults.oracle import blocks_of, check_no_contradiction, signers_of, votes_of

WARM_BLOCKS = 15
PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "1"))
NEXT_BLOCK_S = 2.0 * PATIENCE
HEALED_S = 5.0 * PATIENCE
RESTARTED_S = 10.0 * PATIENCE
EVIDENCE_S = 10.0 * PATIENCE
WRONG_BY_MS = 2_000
"""Four times what a block's time may be ahead of a voter's clock."""

pytestmark = pytest.mark.campaign


class Watch:
    """Looks at heights over HTTP, and says how long one took to grow."""

    def __init__(self, fleet: Troubled) -> None:
        self._fleet = fleet

    async def height(self, name: str) -> int:
        """A node's height; 0 for one that does not answer."""
        try:
            return await self._fleet.height(name)
        except httpx.TransportError:
            return 0

    async def highest(self) -> int:
        """The height of whoever is highest."""
        return max([await self.height(name) for name in self._fleet.nodes])

    async def grows(self, above: int, *names: str) -> float:
        """Seconds from now until each of these nodes is above a height."""
        began = trio.current_time()

        async def is_above() -> bool:
            return min([await self.height(name) for name in names]) > above

        try:
            await until(is_above)
        except trio.TooSlowError:
            pytest.fail(f"not above {above}: {[await self._stand(name) for name in names]}")
        return trio.current_time() - began

    async def _stand(self, name: str) -> str:
        try:
            status = await self._fleet.status(name)
        except httpx.TransportError as error:
            return f"{name}: {error!r}"
        told = ("height", "best_known_height", "view", "peers", "notice", "mempool_transactions")
        return f"{name}: {', '.join(f'{key} {status[key]}' for key in told)}"

    async def longest_pause(self, for_s: float, name: str = "gateway-1") -> float:
        """The longest time in which a node's height did not grow, out of so many seconds."""
        began = since = trio.current_time()
        height, longest = await self.height(name), 0.0
        while (now := trio.current_time()) < began + for_s:
            if (seen := await self.height(name)) > height:
                height, since = seen, now
            longest = max(longest, now - since)
            await trio.sleep(POLL_S / 2)
        return longest


@asynccontextmanager
async def under_load(path: Path) -> AsyncIterator[tuple[Troubled, Watch]]:
    """A fleet that is written to all the time; afterwards all is healed, and the history has to hold."""
    history = History()
    async with troubled(path / "net", with_parameters(idle_interval_ms=1_000)) as fleet:
        async with load(fleet, history):
            await fleet.until_height(WARM_BLOCKS)
            yield fleet, Watch(fleet)
            await fleet.make(Kind.HEAL)
            await fleet.until_ready()
        ends = await history.check(fleet)
        await fleet.check_agreement()
        print(f"history of {sum(ends.values())} transactions holds: {dict(ends)}")
        notes = Counter(note.split("(")[0] for entry in history.entries.values() for note in entry.notes)
        print(f"answered on the way: {dict(notes)}")
        await fleet.processes.stop()
        for name in fleet.nodes:
            assert "fatal" not in fleet.log_of(name)


def all_votes(fleet: Troubled) -> set[Vote]:
    return set().union(*(votes_of(fleet, name) for name in fleet.nodes))


def another(fleet: Troubled, name: str) -> str:
    """An authority beside this one. A gateway may have asked just this one, and waits for it a little."""
    return next(other for other in fleet.authorities if other != name)


async def kill_the_leader(fleet: Troubled, watch: Watch) -> None:
    dead = await fleet.leader()
    await fleet.make(Kind.KILL, dead)
    pause = await watch.longest_pause(4)
    print(f"kill of {dead}, the leader: {pause:.2f} s without a final block")
    assert pause < NEXT_BLOCK_S
    await fleet.make(Kind.RESTART, dead)
    took = await watch.grows(await watch.highest(), dead)
    print(f"restart of {dead}: final blocks there after {took:.2f} s")


async def pause_the_leader(fleet: Troubled, watch: Watch) -> None:
    paused = await fleet.leader()
    await fleet.make(Kind.PAUSE, paused)
    pause = await watch.longest_pause(5, another(fleet, paused))
    print(f"pause of {paused}, the leader: {pause:.2f} s without a final block")
    assert pause < NEXT_BLOCK_S
    await fleet.make(Kind.RESUME, paused)
    took = await watch.grows(await watch.highest(), *fleet.nodes)
    print(f"resume of {paused}: final blocks there after {took:.2f} s")
    assert took < HEALED_S


async def disconnect_the_leader(fleet: Troubled, watch: Watch, *, is_silent: bool) -> None:
    alone, how = await fleet.leader(), "silent" if is_silent else "reset"
    await fleet.make(Kind.DISCONNECT, alone, is_silent=is_silent)
    pause = await watch.longest_pause(4, another(fleet, alone))
    print(f"disconnection of {alone}, the leader, {how}: {pause:.2f} s without a final block")
    assert pause < NEXT_BLOCK_S
    stands_at = await fleet.height(alone)
    await trio.sleep(1)
    assert await fleet.height(alone) == stands_at  # there is no way around its links
    assert is_silent or (await fleet.status(alone))["peers"] == []
    await fleet.make(Kind.HEAL)
    took = await watch.grows(await watch.highest(), *fleet.nodes)
    print(f"healed: final blocks everywhere after {took:.2f} s")
    assert took < HEALED_S


async def part_the_network(fleet: Troubled, watch: Watch, for_s: float, *, is_silent: bool) -> None:
    how = "silent" if is_silent else "reset"
    sides = ("authority-1,authority-2,gateway-1", "authority-3,authority-4")
    await fleet.make(Kind.PARTITION, *sides, is_silent=is_silent)
    await trio.sleep(1)  # what was under way may still become final
    before = await watch.highest()
    await trio.sleep(for_s)
    assert await watch.highest() == before  # neither side has a quorum
    await fleet.make(Kind.HEAL)
    took = await watch.grows(before, "gateway-1")
    took_all = took + await watch.grows(before, *fleet.nodes)
    print(
        f"partition, {how}, of {for_s + 1:g} s healed: final after {took:.2f} s, everywhere {took_all:.2f} s"
    )
    assert took < HEALED_S


async def test_processes_that_are_killed_and_paused(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        for _ in range(2):
            await kill_the_leader(fleet, watch)
            await pause_the_leader(fleet, watch)
    check_no_contradiction(all_votes(fleet))


async def test_links_that_are_cut_and_silent(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        for is_silent in (False, True):
            await disconnect_the_leader(fleet, watch, is_silent=is_silent)
            await part_the_network(fleet, watch, 3, is_silent=is_silent)
        # Longer than a connection that says nothing is believed in.
        await part_the_network(fleet, watch, 26, is_silent=True)
    check_no_contradiction(all_votes(fleet))


async def test_links_that_are_slow_and_lossy(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        await fleet.make(Kind.DELAY, ms=40, jitter_ms=20)
        pause = await watch.longest_pause(6)
        print(f"40 to 60 ms more each way: {pause:.2f} s at most without a final block")
        assert pause < NEXT_BLOCK_S
        await fleet.make(Kind.LOSS, percent=2)
        pause = await watch.longest_pause(6)
        print(f"and 2 % lost: {pause:.2f} s at most without a final block")
        await fleet.make(Kind.HEAL)
        took = await watch.grows(await watch.highest(), *fleet.nodes)
        print(f"healed: final blocks everywhere after {took:.2f} s")
        assert took < HEALED_S
    check_no_contradiction(all_votes(fleet))


async def test_all_are_killed_and_started_again(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        await fleet.make(Kind.KILL, *fleet.nodes)
        before = max(len(blocks_of(fleet, name)) for name in fleet.nodes)
        votes = all_votes(fleet)
        began = trio.current_time()
        await fleet.make(Kind.RESTART, *fleet.nodes)
        await watch.grows(before, "gateway-1")
        took = trio.current_time() - began
        print(f"kill -9 of all and restart: next final block after {took:.2f} s")
        assert took < RESTARTED_S
    check_no_contradiction(votes | all_votes(fleet))


async def test_clocks_that_are_wrong(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        for ms in (WRONG_BY_MS, -WRONG_BY_MS):
            wrong = await fleet.leader()
            await fleet.make(Kind.CLOCK, wrong, ms=ms)
            pause = await watch.longest_pause(6)
            print(f"{wrong} started again, its clock {ms} ms ahead: {pause:.2f} s without a final block")
            assert pause < NEXT_BLOCK_S
            await fleet.make(Kind.CLOCK, wrong, ms=0)
            await fleet.until_ready()
    check_no_contradiction(all_votes(fleet))


async def test_a_twin_signs_twice(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, _):
        began = trio.current_time()
        await fleet.make(Kind.TWIN, "authority-2")
        runs = trio.current_time()

        async def is_recorded() -> bool:
            return all(recorded_at(fleet, name) for name in fleet.nodes)

        await until(is_recorded)
        took, starting = trio.current_time() - runs, runs - began
        print(f"twin: evidence final everywhere {took:.2f} s after its start, which took {starting:.2f} s")
        assert took < EVIDENCE_S
        await silent_with_its_reason(fleet, "authority-2")
        since = await fleet.height("gateway-1")
        await fleet.until_height(since + WARM_BLOCKS)  # three are a quorum
        assert 1 not in signers_of(blocks_of(fleet, "gateway-1")[since + 5 :])
        offences = recorded_at(fleet, "gateway-1")
        assert len(set(offences)) == len(offences) and {signer for _, _, signer in offences} == {1}
        for name in ("authority-1", "authority-3", "authority-4"):
            assert await fleet.equivocations(name, "authority-2") >= 1


def recorded_at(fleet: Troubled, name: str) -> list[tuple[int, int, int]]:
    """The offences in a node's final blocks: epoch, view, signer."""
    return [item.offence for block in blocks_of(fleet, name) for item in block.evidence]


async def silent_with_its_reason(fleet: Troubled, name: str) -> None:
    """Wait until a node says everywhere that it does not vote, because its key is used elsewhere."""

    async def is_silent() -> bool:
        status = await fleet.status(name)
        return not status["is_voting"] and "a second node runs with this key" in status["notice"]

    async def is_told() -> bool:
        counted = await fleet.metrics(name)
        return counted['consensus_trouble{cause="guard_lost"}'] == 1 and "guard_lost" in await fleet.trouble(
            name
        )

    await until(is_silent)
    await until(is_told)
    assert any("a second node" in notice for notice in (await fleet.health(name))["notices"])
    lines = [json.loads(line) for line in fleet.log_of(name).splitlines() if line.startswith("{")]
    said = [line["why"] for line in lines if (line["level"], line["event"]) == ("error", "not_voting")]
    assert any("a second node runs with this key" in why for why in said)
