"""What goes on at once: a word to whoever is met again, a block whose bodies came by themselves."""

import pytest
from p2pledger.chain.message import Status
from p2pledger.chain.vote import Vote
from p2pledger.consensus.events import Arrived, Met
from tests.sim.bench import Bench, n_, tx, x


@pytest.fixture
def bench():
    bench = Bench()
    bench.speak()
    return bench


def test_whoever_is_met_is_told_where_we_stand_and_what_we_voted_last(bench):
    bench.tick(bench.s.pacing.deadline_ms() - bench.now)
    assert bench.ballots() == [x(1)]
    bench.sent.clear()
    bench.step(Met(2))
    assert {send.peer for send in bench.sent} == {2}
    (status,) = bench.frames(Status)
    assert (status.view, status.is_reply) == (1, False)
    assert [vote.ballot for vote in bench.frames(Vote)] == [x(1)]


def test_a_follower_and_a_stranger_say_nothing_when_they_meet(bench):
    bench.sent.clear()
    bench.step(Met(len(bench.set)))  # of a longer list, which reigned when the connection was made
    follower = Bench(index=None)
    follower.step(Met(1))
    assert bench.sent == [] and follower.frames(Status) == []


def test_bodies_that_came_by_themselves_have_the_block_executed_while_the_question_is_open(bench):
    ids = (tx(1), tx(2))
    header = bench.header(1, ids=ids)
    bench.missing[header.digest] = ids
    bench.receive(bench.leader(1), bench.proposal(header, ids))
    assert len(bench.asks) == 1 and bench.ballots() == []
    bench.step(Arrived(frozenset({tx(1)})))
    assert bench.s.tree.get(header.digest).missing == (tx(2),)
    assert bench.ballots() == []
    bench.missing.clear()
    bench.step(Arrived(frozenset({tx(2), tx(3)})))
    assert bench.ballots() == [n_(1, header)]
    bench.tick()
    assert len(bench.asks) == 1 and len(bench.s.asking) == 0
