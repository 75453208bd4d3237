"""kill -9 of any authority, and of all nodes at once: the chain goes on, and no vote contradicts another."""

from collections.abc import Iterator

import pytest
import trio
from p2pledger.chain.transaction import Outcome, Transaction
from p2pledger.chain.vote import Vote
from p2pledger.client import Expired, Refused
from tests.faults.fleet import Fleet, running, until, with_parameters
from tests.faults.oracle import blocks_of, check_no_contradiction, places_of, signers_of, votes_of
from tests.faults.wishes import good, keep_writing, see_final

IDLE_MS = 2_000


@pytest.fixture
def fleet(tmp_path) -> Iterator[Fleet]:
    with running(tmp_path / "net", with_parameters(idle_interval_ms=IDLE_MS)) as fleet:
        yield fleet


def all_votes(fleet: Fleet) -> set[Vote]:
    return set().union(*(votes_of(fleet, name) for name in fleet.nodes))


async def goes_on_without(fleet: Fleet, name: str) -> None:
    """Kill a node: the others go on through more than a whole round of leaders, and skip only its views."""
    index = fleet.authorities.index(name)
    fleet.kill(name)
    killed_at = await fleet.height("gateway-1")
    await fleet.until_height(killed_at + 8, "gateway-1")
    later = blocks_of(fleet, "gateway-1")[killed_at + 2 :]  # what it had proposed may still become final
    assert index not in {block.header.proposer for block in later}
    assert index not in signers_of(later)
    views = [block.header.view for block in later]
    skipped = set(range(views[0], views[-1])) - set(views)
    led_by_it = {v for v in range(views[0], views[-1]) if fleet.genesis.authorities.leader(v, 0) == index}
    assert led_by_it and led_by_it <= skipped


async def comes_back(fleet: Fleet, name: str) -> None:
    """Start a node again: it catches up, and others count its votes and take its proposals."""
    index = fleet.authorities.index(name)
    started_at = await fleet.height("gateway-1")
    await fleet.start(name)
    await fleet.until_height(started_at, name)

    async def counts_again() -> bool:
        later = blocks_of(fleet, "gateway-1")[started_at + 2 :]
        return index in signers_of(later) and index in {block.header.proposer for block in later}

    await until(counts_again)
    status = await fleet.status(name)
    assert (status["is_voting"], status["notice"]) == (True, "")


async def test_the_others_go_on_without_a_killed_authority_and_it_comes_back_to_vote(fleet: Fleet) -> None:
    taken: list[Transaction] = []
    votes: set[Vote] = set()
    async with fleet.client("gateway-1") as client, trio.open_nursery() as nursery:
        nursery.start_soon(keep_writing, fleet, client, taken)
        await fleet.until_height(5)
        victims = [await fleet.leader(), *fleet.authorities]
        for name in victims[:1] + [other for other in victims[1:] if other != victims[0]][:1]:
            votes |= all_votes(fleet)
            await goes_on_without(fleet, name)
            votes |= all_votes(fleet)
            await comes_back(fleet, name)
        nursery.cancel_scope.cancel()
    await see_final(fleet, taken)
    await fleet.check_agreement()
    votes |= all_votes(fleet)
    assert {vote.signer for vote in votes} == {0, 1, 2, 3}
    check_no_contradiction(votes)
    for name in fleet.authorities:
        counted = await fleet.metrics(name)
        equivocations = [v for series, v in counted.items() if "equivocations_total{" in series]
        assert equivocations and not any(equivocations)


async def test_after_all_were_killed_the_chain_goes_on_from_where_it_was(fleet: Fleet) -> None:
    async with fleet.client("gateway-1") as client:
        await client.send(good(fleet))
        # Some outlive the crash for sure, some may expire before anybody is back.
        wishes = [good(fleet, expires_in_ms=60_000 if n % 2 else 3_000) for n in range(100)]
        await client.submit_many(wishes[:50])
        await fleet.until_height(await fleet.height("gateway-1") + 1)
        await client.submit_many(wishes[50:])
    fleet.kill(*fleet.nodes)
    before = {name: blocks_of(fleet, name) for name in fleet.nodes}
    votes = all_votes(fleet)
    assert all(before.values())

    await fleet.start()
    async with fleet.client("gateway-1") as client:
        outcomes = {}
        for wish in wishes:
            try:
                outcomes[wish.id] = (await client.send(wish)).outcome
            except (Expired, Refused) as error:
                assert error.code == "expired"
                outcomes[wish.id] = Outcome.EXPIRED
    highest = max(len(blocks) for blocks in before.values())
    await fleet.until_height(highest + 1)
    for name, blocks in before.items():
        after = blocks_of(fleet, name)
        assert [block.header for block in after[: len(blocks)]] == [block.header for block in blocks]
    is_late = {wish.id: wish.body.expires_ms - wishes[0].body.expires_ms for wish in wishes}
    assert {o for wish, o in outcomes.items() if is_late[wish] > 30_000} == {Outcome.FINAL}
    await see_final(fleet, [wish for wish in wishes if outcomes[wish.id] is Outcome.FINAL])
    for name in fleet.nodes:
        places = places_of(blocks_of(fleet, name))
        assert not [i for i, outcome in outcomes.items() if outcome is Outcome.EXPIRED and i in places]
    await fleet.check_agreement()
    check_no_contradiction(votes | all_votes(fleet))
