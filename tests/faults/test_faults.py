"""Each fault that `p2pledger testnet fault` can make, against four authorities under load: how long it takes
until the next block is final, and whether anything that was final is lost or doubled.

`make faults`. The bounds are the project's own demands; they leave a slow machine several times the time that
it takes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from p2pledger.testnet.faults import Kind
from tests.faults.fleet import POLL_S, Troubled, troubled, until, with_parameters
from tests.faults.history import History
from tests.faults.load import load
from tests.faults.oracle import blocks_of, check_no_contradiction, signers_of, votes_of

WARM_BLOCKS = 15
NEXT_BLOCK_S = 2.0
HEALED_S = 5.0
RESTARTED_S = 10.0
EVIDENCE_S = 10.0

pytestmark = pytest.mark.campaign

IDLE = with_parameters(idle_interval_ms=1_000)


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

        await until(is_above)
        return trio.current_time() - began

    async def longest_pause(self, name: str, for_s: float) -> float:
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
async def under_load(path: Path, **told: float) -> AsyncIterator[tuple[Troubled, Watch]]:
    """A fleet that is written to all the time; afterwards all is healed, and the history has to hold."""
    history = History()
    async with troubled(path / "net", IDLE) as fleet:
        async with load(fleet, history):
            await fleet.until_height(WARM_BLOCKS)
            yield fleet, Watch(fleet)
            await fleet.make(Kind.HEAL)
            await fleet.until_ready()
        ends = await history.check(fleet)
        await fleet.check_agreement()
        print(f"{sum(ends.values())} transactions: {dict(ends)}")
        assert ends["final"] > 0.5 * sum(ends.values())
        await fleet.processes.stop()
        check_no_contradiction(set().union(*(votes_of(fleet, name) for name in fleet.nodes)))


async def test_kill_the_leader(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        dead = await fleet.leader()
        await fleet.make(Kind.KILL, dead)
        pause = await watch.longest_pause("gateway-1", 4)
        print(f"kill {dead}, the leader: {pause:.2f} s without a final block")
        assert pause < NEXT_BLOCK_S
        await fleet.make(Kind.RESTART, dead)
        took = await watch.grows(await watch.highest(), dead)
        print(f"restart {dead}: final blocks after {took:.2f} s")


async def test_kill_all_and_start_them_again(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        await fleet.make(Kind.KILL, *fleet.nodes)
        before = max(len(blocks_of(fleet, name)) for name in fleet.nodes)
        began = trio.current_time()
        await fleet.make(Kind.RESTART, *fleet.nodes)
        await watch.grows(before, "gateway-1")
        took = trio.current_time() - began
        print(f"kill -9 of all and restart: next final block after {took:.2f} s")
        assert took < RESTARTED_S


async def test_pause_the_leader(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        paused = await fleet.leader()
        await fleet.make(Kind.PAUSE, paused)
        pause = await watch.longest_pause("gateway-1", 6)
        print(f"pause {paused}, the leader: {pause:.2f} s without a final block")
        assert pause < NEXT_BLOCK_S
        await fleet.make(Kind.RESUME, paused)
        took = await watch.grows(await watch.highest(), *fleet.nodes)
        print(f"resume {paused}: all go on after {took:.2f} s")
        assert took < HEALED_S


@pytest.mark.parametrize("is_silent", [False, True], ids=["reset", "silent"])
async def test_disconnect_an_authority(tmp_path: Path, is_silent: bool) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        alone = await fleet.leader()
        await fleet.make(Kind.DISCONNECT, alone, is_silent=is_silent)
        pause = await watch.longest_pause("gateway-1", 5)
        print(f"disconnect {alone}, the leader: {pause:.2f} s without a final block")
        assert pause < NEXT_BLOCK_S
        stands_at = await fleet.height(alone)
        await trio.sleep(1)
        assert await fleet.height(alone) == stands_at  # there is no way around its links
        assert is_silent or (await fleet.status(alone))["peers"] == []
        await fleet.make(Kind.HEAL)
        took = await watch.grows(await watch.highest(), *fleet.nodes)
        print(f"healed: all go on after {took:.2f} s")
        assert took < HEALED_S


@pytest.mark.parametrize("is_silent", [False, True], ids=["reset", "silent"])
@pytest.mark.parametrize("for_s", [4, 15])
async def test_partition(tmp_path: Path, is_silent: bool, for_s: int) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        sides = ("authority-1,authority-2,gateway-1", "authority-3,authority-4")
        await fleet.make(Kind.PARTITION, *sides, is_silent=is_silent)
        await trio.sleep(1)
        before = await watch.highest()
        await trio.sleep(for_s - 1)
        assert await watch.highest() == before  # neither side has a quorum
        await fleet.make(Kind.HEAL)
        took = await watch.grows(await watch.highest(), *fleet.nodes)
        print(f"partition of {for_s} s healed: next final block at all after {took:.2f} s")
        assert took < HEALED_S


async def test_delay_and_loss(tmp_path: Path) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        await fleet.make(Kind.DELAY, ms=50, jitter_ms=20)
        await fleet.make(Kind.LOSS, percent=2)
        pause = await watch.longest_pause("gateway-1", 8)
        print(f"50 to 70 ms each way, 2 % loss: {pause:.2f} s at most without a final block")
        await fleet.make(Kind.HEAL)
        took = await watch.grows(await watch.highest(), *fleet.nodes)
        print(f"healed: all go on after {took:.2f} s")
        assert took < HEALED_S


@pytest.mark.parametrize("ms", [2_000, -2_000])
async def test_a_wrong_clock(tmp_path: Path, ms: int) -> None:
    async with under_load(tmp_path) as (fleet, watch):
        wrong = await fleet.leader()
        await fleet.make(Kind.CLOCK, wrong, ms=ms)
        pause = await watch.longest_pause("gateway-1", 6)
        print(f"{wrong} started again, its clock {ms} ms ahead: {pause:.2f} s without a final block")
        assert pause < NEXT_BLOCK_S
        await fleet.make(Kind.HEAL)
        await fleet.until_ready()
        assert await watch.grows(await watch.highest(), *fleet.nodes) < HEALED_S


async def test_a_twin_signs_twice(tmp_path: Path) -> None:
    history = History()
    async with troubled(tmp_path / "net", IDLE) as fleet:
        async with load(fleet, history):
            await fleet.until_height(WARM_BLOCKS)
            began = trio.current_time()
            await fleet.make(Kind.TWIN, "authority-2")
            ran = trio.current_time() - began
            honest = [name for name in fleet.nodes if name != "authority-2"]

            async def is_recorded() -> bool:
                return all(any(block.evidence for block in blocks_of(fleet, name)) for name in honest)

            await until(is_recorded)
            took = trio.current_time() - began
            print(
                f"twin: evidence final everywhere {took:.2f} s after its start, of which it took {ran:.2f} s"
            )
            assert took < EVIDENCE_S + ran
            status = await fleet.status("authority-2")
            assert not status["is_voting"] and "second node runs with this key" in status["notice"]
            since = await fleet.height("gateway-1")
            await fleet.until_height(since + WARM_BLOCKS)
            assert 1 not in signers_of(blocks_of(fleet, "gateway-1")[since + 5 :])
            for name in honest[:3]:
                counted = await fleet.metrics(name)
                series = 'consensus_equivocations_total{authority="authority-2"'
                assert [value for key, value in counted.items() if key.startswith(series)] >= [1.0]
            recorded = [e.offence for b in blocks_of(fleet, "gateway-1") for e in b.evidence]
            assert len(set(recorded)) == len(recorded) and {signer for _, _, signer in recorded} == {1}
            await fleet.make(Kind.HEAL)
        print(dict(await history.check(fleet)))
        await fleet.check_agreement()
