"""When N, X and F are cast: judged in full, held back for the clock, never twice."""

from dataclasses import replace

import pytest
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import BodiesRequest, ProposalsRequest
from p2pledger.chain.vote import VoteKind
from p2pledger.consensus.events import Answered, Pending
from p2pledger.types import Epoch, Height, Millis, View
from tests.sim.bench import Bench, f, n_, tx, x


@pytest.fixture
def bench():
    bench = Bench()
    bench.speak()
    return bench


def test_a_valid_proposal_is_notarised_once(bench):
    proposal = bench.proposal(bench.header(1))
    bench.receive(1, proposal)
    bench.receive(2, proposal)
    bench.tick(10)
    assert bench.ballots() == [n_(1, proposal.header)]


@pytest.mark.parametrize(
    "wrong", [{"proposer": 3}, {"height": Height(2)}, {"next_set_hash": tx(1)}, {"genesis_hash": tx(1)}]
)
def test_what_its_leader_signed_and_is_wrong_is_skipped_at_once(bench, wrong):
    bench.receive(1, bench.proposal(bench.header(1, **wrong)))
    assert bench.ballots() == [x(1)]
    assert bench.signed[0].reason == "invalid"


def test_what_fails_when_executed_is_skipped_at_once(bench):
    header = bench.header(1)
    bench.invalid.add(header.digest)
    bench.receive(1, bench.proposal(header))
    assert bench.ballots() == [x(1)]


def test_a_block_from_the_future_is_waited_for(bench):
    header = bench.header(1, time_ms=Millis(bench.now + LAN.clock_drift_ms + 200))
    wake = bench.receive(1, bench.proposal(header)).wake_at
    assert bench.ballots() == []
    assert wake <= bench.now + 200
    bench.tick(199)
    assert bench.ballots() == []
    bench.tick(1)
    assert bench.ballots() == [n_(1, header)]


def test_a_block_from_the_past_is_skipped(bench):
    old = bench.now - LAN.clock_drift_ms - LAN.idle_interval_ms
    late = bench.header(1, time_ms=Millis(old - 1))
    bench.receive(1, bench.proposal(late))
    assert bench.ballots() == [x(1)]
    assert bench.signed[0].reason == "stale"
    bench.give(x(1))
    just = bench.header(2, time_ms=Millis(old))
    bench.receive(2, bench.proposal(just, skips=(bench.certificate(x(1)),)))
    assert n_(2, just) in bench.ballots()


def test_missing_bodies_are_asked_of_the_proposer_and_then_it_is_notarised(bench):
    header = bench.header(1, ids=(tx(1),))
    bench.missing[header.digest] = (tx(1),)
    bench.receive(1, bench.proposal(header, (tx(1),)))
    [ask] = [ask for ask in bench.asks if isinstance(ask.request, BodiesRequest)]
    assert (ask.peer, ask.request.ids) == (1, (tx(1),))
    assert bench.ballots() == []
    bench.missing.clear()
    bench.step(Answered(ask.key, ask.peer, (bench.proposal(header, (tx(1),)),)))
    assert bench.ballots() == [n_(1, header)]


def test_an_unknown_parent_is_asked_for_by_digest(bench):
    parent = bench.header(1)
    bench.give(n_(1, parent))
    child = bench.header(2, parent)
    bench.receive(2, bench.proposal(child, parent=bench.certificate(n_(1, parent))))
    assert n_(2, child) not in bench.ballots()
    [ask] = [ask for ask in bench.asks if isinstance(ask.request, ProposalsRequest)]
    assert ask.request.digests == (parent.digest,)
    bench.step(Answered(ask.key, ask.peer, (bench.proposal(parent),)))
    assert n_(2, child) in bench.ballots()


def test_f_follows_a_certificate_and_a_late_body_as_long_as_nothing_was_signed_above(bench):
    header = bench.header(1)
    bench.give(n_(1, header))
    assert bench.s.view == 2
    assert bench.ballots() == []
    ask = bench.asks[-1]
    bench.step(Answered(ask.key, ask.peer, (bench.proposal(header),)))
    assert bench.ballots() == [f(1, header)]


def test_no_late_f_once_something_was_signed_above(bench):
    header = bench.header(1)
    bench.give(n_(1, header))
    ask = bench.asks[-1]
    bench.tick(60_000)
    assert bench.ballots() == [x(2)]
    bench.step(Answered(ask.key, ask.peer, (bench.proposal(header),)))
    assert bench.s.tree.is_executed(header.digest)
    assert bench.ballots() == [x(2)]


def test_the_deadline_comes_sooner_with_work_and_grows(bench):
    bench.step(Pending(Epoch(0), View(1)))
    bench.tick(329)
    assert bench.ballots() == []
    bench.tick(1)
    assert bench.ballots() == [x(1)]
    assert bench.signed[0].reason == "deadline"
    assert bench.s.pacing.delta_ms == 150


def test_a_body_that_comes_late_counts_as_work_of_the_view(bench):
    header = bench.header(1, ids=(tx(1),))
    bench.give(n_(1, header))
    assert bench.s.pacing.work_since_ms is None
    ask = bench.asks[-1]
    bench.step(Answered(ask.key, ask.peer, (bench.proposal(header, (tx(1),)),)))
    assert bench.s.pacing.work_since_ms == bench.now


def test_once_the_last_block_with_transactions_is_final_nobody_waits_for_another(bench):
    header = bench.header(1, ids=(tx(1),))
    bench.receive(1, bench.proposal(header, (tx(1),)))
    bench.give(n_(1, header))
    assert bench.s.pacing.work_since_ms == bench.now
    bench.give(f(1, header))
    assert bench.s.pacing.work_since_ms is None
    bench.tick(10_299)
    assert x(2) not in bench.ballots()


def test_what_is_pending_still_counts_when_what_was_notarised_is_final(bench):
    header = bench.header(1, ids=(tx(1),))
    bench.receive(1, bench.proposal(header, (tx(1),)))
    bench.give(n_(1, header))
    bench.step(Pending(Epoch(0), View(2)))
    bench.give(f(1, header))
    bench.tick(350)
    assert x(2) in bench.ballots()


def test_a_silent_leader_is_skipped_at_once_while_a_quorum_without_it_is_heard(bench):
    bench.now += LAN.leader_silence_ms
    bench.receive(2, bench.status())
    assert bench.ballots() == []
    bench.now += 1
    bench.receive(3, bench.status())
    assert bench.ballots() == [x(1)]
    assert bench.signed[0].reason == "silent"


def test_a_leader_falls_silent_at_a_time_of_its_own_though_nobody_speaks_then(bench):
    bench.now += LAN.leader_silence_ms - 10
    for peer in (2, 3):
        bench.receive(peer, bench.status())
    assert bench.ballots() == []
    assert bench.s.wake_at == bench.now + 11
    bench.tick(11)
    assert bench.ballots() == [x(1)] and bench.signed[0].reason == "silent"


def test_nobody_is_silent_right_after_a_start():
    bench = Bench()
    for peer in (2, 3):
        bench.receive(peer, bench.status(is_reply=True))
    bench.tick(500)
    assert bench.ballots() == []


def test_a_follower_without_a_guard_votes_for_nothing():
    bench = Bench(guard=None)
    bench.speak()
    bench.receive(1, bench.proposal(bench.header(1)))
    bench.tick(60_000)
    assert bench.ballots() == []


def test_old_and_foreign_votes_are_dropped(bench):
    foreign = replace(x(1), epoch=Epoch(1))
    bench.receive(1, bench.vote(1, foreign))
    bench.receive(1, bench.vote(1, x(1 + LAN.vote_window_views + 1)))
    assert bench.s.tally.vote_of(View(1), VoteKind.SKIP, 1) is None
    assert len(bench.s.tally._votes) == 0
    bench.receive(1, bench.vote(2, x(1)))
    assert bench.blamed() == {1}
