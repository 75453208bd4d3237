"""The three probes, of a node that lives, of one that is stuck, and of one that is of no use yet."""

import math
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from p2pledger.chain.authority import AuthoritySet
from p2pledger.ledger.machine import Machine
from p2pledger.metrics import Metrics
from p2pledger.network.host import peer_id_of
from p2pledger.node import health
from p2pledger.node.config import Role
from p2pledger.node.health import STALLED_S, Condition, Pulse, health_of
from p2pledger.node.node import Node
from p2pledger.node.recovery import stored_lists
from p2pledger.signer.guardfile import GuardFile
from p2pledger.signer.local import LocalSigner
from p2pledger.storage.memory import MemoryStore
from tests import ledgers
from tests.unit.api.codes.node_alone import SEED, configured
from tests.unit.node.solo import Solo, fact, genesis

WELL = Condition(is_started=True, is_stopping=False, is_in_sync=True, is_listening=False, is_connected=True)


def beating(task="one", at_s=0.0, **changes):
    return Pulse(task, at_s, **changes)


def test_a_node_that_is_well_has_no_reasons():
    told = health_of([beating()], WELL, STALLED_S)
    assert (told.started, told.live, told.ready, told.reasons) == (True, True, True, ())


def test_a_task_without_a_sign_of_life_is_death_and_is_named():
    pulses = [beating("this", 10.0), beating("that", 9.9)]
    told = health_of(pulses, WELL, 9.95 + STALLED_S)
    assert (told.live, told.ready) == (False, False)
    assert told.reasons == ("that gives no sign of life",)


def test_a_task_that_rests_or_has_not_begun_owes_no_sign():
    for pulse in (beating(is_resting=True), beating(at_s=math.inf)):
        assert health_of([pulse], WELL, 1e9).live


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"is_stopping": True}, "stopping"),
        ({"is_started": False}, "starting"),
        ({"is_in_sync": False}, "catching up with the chain"),
        ({"is_listening": True}, "asking other authorities what this key has signed before"),
        ({"is_connected": False}, "no peer is connected"),
    ],
)
def test_what_is_no_death_is_told_by_readiness_alone(change, why):
    told = health_of([beating()], replace(WELL, **change), 0.0)
    assert (told.live, told.ready, told.reasons) == (True, False, (why,))
    assert told.started is change.get("is_started", True)


def test_an_authority_that_votes_no_more_is_ready_and_says_so():
    told = health_of([beating()], replace(WELL, notice="its key signs elsewhere"), 0.0)
    assert (told.live, told.ready, told.notices) == (True, True, ("its key signs elsewhere",))


async def test_a_pulse_that_rested_for_long_is_young_once_it_goes_on():
    pulse = Pulse("one")
    pulse.beat()
    pulse.rest()
    pulse.beat_s -= 10 * STALLED_S
    assert not pulse.is_stalled(trio.current_time())
    pulse.beat()
    assert not pulse.is_stalled(trio.current_time())


class Watching(MemoryStore):
    """A store that looks at the pulse of who stores, while it does."""

    pulse = None

    def commit(self, *block):
        now_s = trio.from_thread.run_sync(trio.current_time)
        self.seen = self.pulse.is_resting, self.pulse.is_stalled(now_s)
        super().commit(*block)


async def test_a_block_after_long_idleness_is_no_sign_of_death(tmp_path):
    of = genesis()
    store = Watching(of, Machine(of).start())
    solo = Solo(tmp_path, of, store)
    solo.finals.pulse.rest()
    solo.finals.pulse.beat_s = -math.inf
    store.pulse = solo.finals.pulse
    async with solo.running():
        one = fact(of)
        await solo.pool.submit([one.encoded])
        with trio.fail_after(30):
            await solo.pool.wait(one.id, 30_000)
    assert store.seen == (False, False)
    assert solo.finals.pulse.is_resting


class Stuck(LocalSigner):
    """A signer whose disk does not come back, until it does."""

    def __init__(self, *rest):
        super().__init__(*rest)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def sign_vote(self, *vote):
        self.asked.set()
        self.go_on.wait()
        return super().sign_vote(*vote)


async def until(is_so):
    with trio.fail_after(30):
        while not is_so():
            await trio.sleep(0.01)


@asynccontextmanager
async def authority(directory, size):
    """The first of so many authorities, nobody else being there. Its signer gets stuck."""
    of, key = ledgers.genesis(parameters=genesis().parameters), ledgers.signer("authority 0")
    seeds = [bytes([i]) * 32 for i in range(size)]
    seeds[0] = SEED
    members = zip(of.authorities.members, seeds, strict=False)
    members = AuthoritySet(tuple(replace(member, peer=peer_id_of(seed)) for member, seed in members))
    [gateway] = of.gateways
    gateways = (replace(gateway, peer=peer_id_of(SEED[::-1])),)
    of = replace(of, authorities=members, next_authorities=members, gateways=gateways)
    machine = Machine(of)
    store = MemoryStore(of, machine.start())
    GuardFile.create(directory, key.public_key, of.hash)
    guard = GuardFile(directory, key.public_key, of.hash)
    voter = Stuck(key, guard, of.hash, stored_lists(of, store))
    metrics = Metrics(version="0", chain_id="test", node="a")
    node = Node(
        configured(directory, Role.AUTHORITY), of, store, machine, key.public_key, voter, SEED, metrics
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            yield node, voter
            voter.go_on.set()
            nursery.cancel_scope.cancel()
    finally:
        voter.go_on.set()
        voter.close()


async def test_a_node_that_is_stuck_is_not_live_and_lives_again_when_it_goes_on(tmp_path, monkeypatch):
    async with authority(tmp_path, 1) as (node, voter):
        await node.submit([fact(node.genesis).encoded])
        await trio.to_thread.run_sync(voter.asked.wait)
        assert node.health().live
        monkeypatch.setattr(health, "STALLED_S", 0)
        await until(lambda: "the agreement loop gives no sign of life" in node.health().reasons)
        assert not node.health().live
        monkeypatch.setattr(health, "STALLED_S", STALLED_S)
        voter.go_on.set()
        await until(lambda: node.status().height > 0)
        assert node.health().live


async def test_an_authority_that_has_not_heard_what_it_signed_before_is_live_and_not_ready(tmp_path):
    async with authority(tmp_path, 4) as (node, _):
        told = node.health()
        assert (told.started, told.live, told.ready) == (True, True, False)
        assert "asking other authorities what this key has signed before" in told.reasons


async def test_a_node_that_is_about_to_stop_is_live_and_not_ready(tmp_path):
    async with authority(tmp_path, 1) as (node, _):
        assert node.health().ready
        node.begin_to_stop()
        told = node.health()
        assert (told.live, told.ready, told.reasons) == (True, False, ("stopping",))
