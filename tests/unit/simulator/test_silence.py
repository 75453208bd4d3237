"""The judge of what a node may say after a start (R8)."""

from dataclasses import replace

import pytest
from p2pledger.chain.message import Status
from p2pledger.chain.vote import Vote, notarise
from p2pledger.simulator.judge import Violation
from p2pledger.simulator.node import Node
from p2pledger.simulator.run import build, case_of
from p2pledger.simulator.world import World
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, View

CASE = replace(case_of(0, n=4), faults=(), is_changing=False, followers=0, loss=0.0)
DIGEST = Hash(b"\x07" * 32)


@pytest.fixture
def world() -> World:
    """Four authorities that have just started."""
    return build(CASE)


def own_vote(node: Node, view: int) -> Vote:
    ballot = notarise(Epoch(0), View(view), DIGEST)
    genesis = node.world.city.genesis
    assert node.key is not None
    return Vote(
        ballot, node.number, node.key.sign(ballot.sign_digest(genesis.hash, genesis.authorities.hash))
    )


def status(*echo: Vote, is_reply: bool = True) -> Status:
    return Status(Epoch(0), View(1), View(0), Height(0), ZERO_HASH, echo, is_reply)


def test_a_vote_before_anybody_answered(world: World) -> None:
    node = world.nodes[0]
    with pytest.raises(Violation, match="has not listened"):
        world.judge.on_vote(node, own_vote(node, 1))


def test_a_vote_once_enough_answered_or_after_a_while(world: World) -> None:
    one, other = world.nodes[:2]
    for peer in (2, 3):
        world.judge.on_status(one, peer, status())
    world.judge.on_vote(one, own_vote(one, 1))
    other.cursor = Millis(world.now + 1_000)
    world.judge.on_vote(other, own_vote(other, 1))


def test_that_somebody_asks_is_no_answer(world: World) -> None:
    node = world.nodes[0]
    for peer in (1, 2, 3):
        world.judge.on_status(node, peer, status(is_reply=False))
    with pytest.raises(Violation, match="has not listened"):
        world.judge.on_vote(node, own_vote(node, 1))


def test_a_vote_after_one_of_its_own_was_shown_that_it_does_not_know(world: World) -> None:
    node = world.nodes[0]
    for peer in (1, 2):
        world.judge.on_status(node, peer, status(own_vote(node, 5)))
    with pytest.raises(Violation, match="was shown its"):
        world.judge.on_vote(node, own_vote(node, 6))


def test_what_it_knows_or_another_signed_does_not_silence_it(world: World) -> None:
    node, other = world.nodes[:2]
    for peer in (1, 2):
        world.judge.on_status(node, peer, status(replace(own_vote(other, 9), signer=0)))
    world.judge.on_vote(node, own_vote(node, 3))
    world.judge.on_status(node, 1, status(own_vote(node, 3)))
    world.judge.on_vote(node, own_vote(node, 4))


def test_a_vote_without_a_guard(world: World) -> None:
    node = world.nodes[0]
    world.judge.lost.add(0)
    with pytest.raises(Violation, match="lost its guard"):
        world.judge.on_vote(node, own_vote(node, 1))
