"""Votes add up to certificates, false ones are thrown out, contradictions come to light."""

from dataclasses import replace

import pytest
from p2pledger.consensus.tally import LATE_VIEWS, Tally
from p2pledger.errors import InvalidMessage
from p2pledger.simulator.city import is_keyed_hash
from p2pledger.types import Epoch, View
from tests.sim.bench import FALSE, Bench, f, n_, x
from tests.sim.cluster import GENESIS_HASH

BENCH = Bench()
ONE, OTHER = BENCH.header(1), BENCH.header(1, time_ms=5)


@pytest.fixture
def tally():
    return Tally(Epoch(0), BENCH.set, GENESIS_HASH, is_keyed_hash)


def test_a_quorum_makes_a_certificate_and_one_less_does_not(tally):
    assert tally.add_vote(BENCH.vote(0, n_(1, ONE))).certificate is None
    assert tally.add_vote(BENCH.vote(1, n_(1, ONE))).certificate is None
    certificate = tally.add_vote(BENCH.vote(2, n_(1, ONE))).certificate
    assert certificate == BENCH.certificate(n_(1, ONE), (0, 1, 2))
    assert tally.add_vote(BENCH.vote(3, n_(1, ONE))).certificate is None


def test_one_signer_counts_once(tally):
    for _ in range(5):
        assert tally.add_vote(BENCH.vote(0, x(1))).certificate is None


def test_false_votes_are_thrown_out_when_they_would_count_and_true_ones_count_then(tally):
    false = replace(BENCH.vote(3, x(1)), signature=FALSE)
    tally.add_vote(false)
    tally.add_vote(BENCH.vote(0, x(1)))
    counted = tally.add_vote(BENCH.vote(1, x(1)))
    assert counted.certificate is None
    assert counted.forgers == [3]
    assert tally.add_vote(BENCH.vote(2, x(1))).certificate == BENCH.certificate(x(1), (0, 1, 2))


def test_a_false_certificate_is_refused_and_changes_nothing(tally):
    with pytest.raises(InvalidMessage):
        tally.add_certificate(BENCH.forged(x(1)))
    with pytest.raises(InvalidMessage):
        tally.add_certificate(BENCH.certificate(x(1), (0, 1)))
    assert not tally.skipped
    assert tally.vote_of(View(1), x(1).kind, 0) is None


def test_contradictions_in_votes_and_certificates_become_evidence(tally):
    tally.add_vote(BENCH.vote(3, n_(1, OTHER)))
    counted = tally.add_certificate(BENCH.certificate(n_(1, ONE)))
    assert [e.offence for e in counted.evidence] == [(0, 1, 3)]


def test_n_then_x_is_honest_and_x_with_f_is_not(tally):
    assert not tally.add_vote(BENCH.vote(0, n_(1, ONE))).evidence
    assert not tally.add_vote(BENCH.vote(0, x(1))).evidence
    assert len(tally.add_vote(BENCH.vote(0, f(1, ONE))).evidence) == 1


def test_a_false_vote_is_no_evidence(tally):
    tally.add_vote(BENCH.vote(0, n_(1, ONE)))
    counted = tally.add_vote(replace(BENCH.vote(0, n_(1, OTHER)), signature=FALSE))
    assert not counted.evidence
    assert counted.forgers == [0]
    tally.add_vote(replace(BENCH.vote(1, n_(1, ONE)), signature=FALSE))
    assert not tally.add_vote(BENCH.vote(1, n_(1, OTHER))).evidence
    assert tally.vote_of(View(1), n_(1, OTHER).kind, 1) == BENCH.vote(1, n_(1, OTHER))


def test_a_view_may_hold_both_an_n_and_an_x_certificate(tally):
    tally.add_certificate(BENCH.certificate(n_(1, ONE)))
    tally.add_certificate(BENCH.certificate(x(1)))
    assert set(tally.notarised) == set(tally.skipped) == {1}


def test_the_newest_f_is_kept_and_what_lies_below_is_forgotten(tally):
    low, high = BENCH.header(5), BENCH.header(100)
    for view in (4, 5, 30, 100, 101):
        tally.add_certificate(BENCH.certificate(x(view)))
    tally.add_certificate(BENCH.certificate(f(100, high)))
    assert tally.add_certificate(BENCH.certificate(f(5, low))).certificate is None
    assert tally.final_view == 100
    tally.prune()
    assert set(tally.skipped) == {100, 101}
    assert all(view + LATE_VIEWS >= 100 for view in tally._votes)


def test_late_certificates_are_compared_but_not_kept(tally):
    tally.add_vote(BENCH.vote(3, n_(1, OTHER)))
    tally.add_certificate(BENCH.certificate(f(2, BENCH.header(2))))
    counted = tally.add_certificate(BENCH.certificate(n_(1, ONE)))
    assert counted.certificate is None
    assert len(counted.evidence) == 1
    assert not tally.notarised


def test_the_echo_holds_true_votes_of_the_highest_view_only(tally):
    tally.add_vote(BENCH.vote(2, x(3)))
    tally.add_vote(BENCH.vote(2, n_(5, ONE)))
    tally.add_vote(BENCH.vote(2, x(5)))
    tally.add_vote(replace(BENCH.vote(2, x(9)), signature=FALSE))
    assert {v.ballot for v in tally.highest_votes_of(2)} == {n_(5, ONE), x(5)}
    assert tally.highest_votes_of(1) == ()
