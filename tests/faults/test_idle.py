"""An idle network is quiet, and a dead leader costs one deadline at the next transaction."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import trio
from tests.faults.fleet import Fleet, running, until, with_parameters
from tests.faults.oracle import blocks_of
from tests.faults.wishes import good

IDLE_MS = 3_000
INTERVALS = 2

MACHINE_MS = 2_000
"""What a busy machine may add to all of it."""


@pytest.fixture
def fleet(tmp_path) -> Iterator[Fleet]:
    with running(tmp_path / "net", with_parameters(idle_interval_ms=IDLE_MS)) as fleet:
        yield fleet


async def test_an_idle_network_makes_a_block_per_idle_interval_and_a_dead_leader_costs_one_deadline(
    fleet: Fleet,
) -> None:
    before = await fleet.height("gateway-1")
    await trio.sleep(INTERVALS * IDLE_MS / 1_000)
    made = await fleet.height("gateway-1") - before
    assert 1 <= made <= INTERVALS + 1
    blocks = blocks_of(fleet, "gateway-1")
    assert not any(block.transaction_ids for block in blocks)
    # By the headers too, where no clock of this test has a say.
    times = [block.header.time_ms for block in blocks]
    assert min(later - earlier for earlier, later in pairwise(times)) >= IDLE_MS

    # A leader dies right after its view began: idle, it would propose only after a whole idle interval.
    view = (await fleet.status("authority-1"))["view"]

    async def begins() -> bool:
        return bool((await fleet.status("authority-1"))["view"] > view)

    await until(begins)
    dead = await fleet.leader()
    fleet.kill(dead)
    p = fleet.genesis.parameters
    # On its way with all alive: 15 ms to be packed, 30 ms to be counted, and a block is final after three
    # messages of at most Δ. With a dead leader, one deadline more: block interval + 3Δ.
    usual_ms = 15 + 30 + p.block_interval_ms + 3 * p.delta_ms
    deadline_ms = p.block_interval_ms + 3 * p.delta_ms
    allowed_ms = usual_ms + deadline_ms + MACHINE_MS
    assert allowed_ms < IDLE_MS  # so that waiting for the idle interval would be found out
    async with fleet.client("gateway-1") as client:
        for _ in range(6):  # more than a round of leaders
            with trio.fail_after(allowed_ms / 1_000):
                await client.send(good(fleet))
    assert fleet.authorities.index(dead) not in {
        block.header.proposer for block in blocks_of(fleet, "gateway-1") if block.transaction_ids
    }
