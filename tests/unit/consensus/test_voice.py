"""The mirror of the guard allows what the guard allows, and notices what the guard did not sign."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.vote import finalise, notarise, skip
from p2pledger.consensus.voice import Voice
from p2pledger.signer.guard import Guard, GuardRefused, check_guard
from p2pledger.types import Epoch, View
from tests.sim.bench import Bench, n_, tx, x

BENCH = Bench()
START = (Epoch(0), View(0))

BALLOTS = st.builds(
    lambda kind, epoch, view, block: kind(Epoch(epoch), View(view), tx(block)),
    st.sampled_from([notarise, finalise, lambda epoch, view, _: skip(epoch, view)]),
    st.integers(0, 1),
    st.integers(1, 3),
    st.integers(0, 1),
)


@given(st.lists(BALLOTS, max_size=30))
def test_what_it_allows_the_guard_signs(ballots):
    voice, guard = Voice(0, START, ()), Guard()
    for ballot in ballots:
        if voice.allows(ballot):
            guard = check_guard(guard, ballot)
            voice.plan(ballot)
        elif voice.guard <= (ballot.epoch, ballot.view):
            # What it does not allow was asked for already, or the guard refuses it as well.
            with suppress(GuardRefused):
                assert check_guard(guard, ballot) == guard or ballot.kind in {b.kind for b in guard.ballots()}


@given(st.lists(BALLOTS, max_size=10), st.lists(BALLOTS, max_size=10))
def test_a_start_from_the_guard_allows_no_more(before, after):
    voice, guard = Voice(0, START, ()), Guard()
    for ballot in before:
        if voice.allows(ballot):
            guard = check_guard(guard, ballot)
            voice.plan(ballot)
    again = Voice(0, guard.at, guard.ballots())
    for ballot in after:
        assert again.allows(ballot) == voice.allows(ballot)


@pytest.mark.parametrize(
    ("index", "guard", "notice"),
    [(None, START, "no authority"), (0, None, "no guard was found"), (0, START, "")],
)
def test_it_says_why_it_is_silent(index, guard, notice):
    voice = Voice(index, guard, ())
    assert notice in voice.notice
    assert voice.is_silent == bool(notice)
    assert voice.allows(x(1)) != voice.is_silent


def test_it_knows_its_own_votes_and_no_others():
    voice = Voice(0, START, ())
    for ballot in (x(1), n_(3, BENCH.header(3))):
        voice.plan(ballot)
        voice.record(BENCH.vote(0, ballot))
    assert not voice.meet(BENCH.vote(0, x(1)))
    assert not voice.meet(BENCH.vote(0, n_(3, BENCH.header(3))))
    voice.prune(Epoch(0), View(2))
    assert not voice.meet(BENCH.vote(0, x(1)))  # below what is final it does not remember
    assert not voice.is_silent
    assert voice.meet(BENCH.vote(0, x(3)))
    assert voice.is_silent


def test_the_latest_views_are_said_again():
    voice = Voice(0, START, ())
    for view in range(1, 12):
        voice.record(BENCH.vote(0, x(view)))
    assert [vote.ballot.view for vote in voice.latest(3)] == [9, 10, 11]
    voice.prune(Epoch(0), View(11))
    assert list(voice.votes) == [11]


def test_a_new_epoch_keeps_the_guard():
    voice = Voice(0, (Epoch(0), View(9)), (x(9),))
    voice.begin_epoch(Epoch(1), 2)
    assert voice.index == 2
    assert not voice.allows(x(8))
    assert voice.allows(skip(Epoch(1), View(1)))
