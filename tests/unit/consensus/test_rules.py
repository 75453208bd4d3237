"""The rules R1 to R8, one by one: each of these fails when its rule is left out."""

from dataclasses import replace

import pytest
from p2pledger.chain.authority import faulty, quorum
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import Certificates, CertificatesRequest, Status
from p2pledger.chain.vote import Vote, VoteKind
from p2pledger.consensus.events import Answered, Executed, Judgement, Received
from p2pledger.types import Epoch, Millis, View
from tests.sim.bench import Bench, f, n_, x
from tests.sim.cluster import Cluster, tx


@pytest.fixture
def bench():
    bench = Bench()
    bench.speak()
    return bench


@pytest.mark.parametrize("n", range(1, 257))
def test_r1_two_quorums_share_an_honest_authority_and_the_honest_are_a_quorum(n):
    assert 2 * quorum(n) - n > faulty(n)
    assert n - faulty(n) >= quorum(n)


def test_r1_half_of_six_certify_nothing():
    bench = Bench(6)
    for peer in (1, 2, 3):
        bench.receive(peer, bench.vote(peer, x(1)))
    assert bench.s.view == 1
    bench.receive(4, bench.vote(4, x(1)))
    bench.receive(5, bench.vote(5, x(1)))
    assert bench.s.view == 2


def test_r2_no_skip_after_f_in_the_same_view(bench):
    header = bench.header(1)
    bench.receive(1, bench.proposal(header))
    bench.give(n_(1, header))
    assert f(1, header) in bench.ballots()
    assert not bench.s.voice.allows(x(1))


def test_r2_no_f_after_a_skip_of_the_same_view(bench):
    header = bench.header(1)
    bench.tick(60_000)
    assert bench.ballots() == [x(1)]
    bench.receive(1, bench.proposal(header))
    bench.give(n_(1, header))
    assert bench.s.tree.is_executed(header.digest)
    assert f(1, header) not in bench.ballots()


def test_r3_a_vote_is_shown_only_once_it_is_durable_and_with_what_it_rests_on(bench):
    header = bench.header(1)
    proposal = bench.proposal(header)
    core = bench.core
    core.step(Received(1, proposal), Millis(bench.now))
    judged = core.step(Executed(header.digest, Judgement.VALID), Millis(bench.now))
    assert [sign.ballot for sign in judged.sign] == [n_(1, header)]
    assert judged.sign[0].proposal == proposal
    assert not any(isinstance(send.frame, Vote) for send in judged.send)
    certificate = bench.certificate(n_(1, header))
    certified = core.step(Received(1, Certificates((certificate,))), Millis(bench.now))
    assert [sign.ballot for sign in certified.sign] == [f(1, header)]
    assert certified.sign[0].certificates == (certificate,)


def test_r4_a_parent_needs_a_skip_of_every_view_between(bench):
    bench.give(x(1), x(3), x(4))
    late = bench.header(5)
    bench.receive(1, bench.proposal(late, skips=(bench.certificate(x(1)),)))
    assert n_(5, late) not in bench.ballots()
    wanted = [ask.request for ask in bench.asks if isinstance(ask.request, CertificatesRequest)]
    assert wanted == [CertificatesRequest(Epoch(0), View(2), View(4))]
    bench.give(x(2))
    assert n_(5, late) in bench.ballots()


def test_r5_the_boundary_block_has_no_child_in_its_epoch():
    bench = Bench(parameters=replace(LAN, epoch_blocks=1))
    bench.speak()
    boundary = bench.header(1)
    assert boundary.next_set_hash == bench.set.hash
    bench.receive(1, bench.proposal(boundary))
    bench.give(n_(1, boundary))
    child = bench.header(2, boundary)
    bench.receive(2, bench.proposal(child, parent=bench.certificate(n_(1, boundary))))
    assert n_(2, child) not in bench.ballots()
    assert x(2) in bench.ballots()


def test_r5_the_boundary_block_is_proposed_again_as_it_was():
    bench = Bench(parameters=replace(LAN, epoch_blocks=1))
    bench.speak()
    boundary = bench.header(1, time_ms=5)
    bench.receive(1, bench.proposal(boundary))
    bench.give(n_(1, boundary))
    bench.now += 60_000  # its time is long past: exempt
    again = bench.proposal(boundary, view=2, parent=bench.certificate(n_(1, boundary)))
    bench.receive(2, again)
    assert n_(2, boundary) in bench.ballots()
    bench.give(n_(2, boundary), x(3))
    assert n_(4, boundary) in bench.ballots()  # this node leads view 4, at once


def test_r6_each_is_given_what_its_status_shows_it_to_lack():
    bench = Bench()
    header = bench.header(2, parent_view=View(0))
    bench.give(x(1), n_(2, header), x(2), x(3))
    bench.sent.clear()
    bench.now += 1_000
    bench.receive(2, bench.status(view=2))
    [given] = [send for send in bench.sent if isinstance(send.frame, Certificates)]
    assert given.peer == 2
    assert [c.ballot for c in given.frame.certificates] == [n_(2, header), x(2), x(3)]
    statuses = [s.frame for s in bench.sent if isinstance(s.frame, Status) and s.peer == 2]
    assert [status.is_reply for status in statuses] == [True, False]  # the answer, and its own turn


def test_r6_a_peer_with_an_older_final_view_gets_the_newest_f():
    bench = Bench()
    header = bench.header(1)
    bench.give(f(1, header))
    bench.now += 1_000
    bench.receive(2, bench.status(view=2, final_view=0))
    assert [c.ballot for c in bench.frames(Certificates)[0].certificates] == [f(1, header)]


def test_r6_a_peer_in_an_older_epoch_gets_its_boundary():
    bench = Bench(parameters=replace(LAN, epoch_blocks=1))
    header = bench.header(1)
    bench.give(f(1, header))
    bench.receive(1, bench.proposal(header))  # too late to be voted for, but it is held
    ask = next(ask for ask in bench.asks if ask.key == "blocks")
    bench.step(Answered("blocks", ask.peer, (bench.final_block(header),)))
    assert bench.s.epoch == 1
    bench.now += 1_000
    bench.receive(2, bench.status(epoch=0, view=9))
    assert [c.ballot for c in bench.frames(Certificates)[-1].certificates] == [f(1, header)]


def test_r6_a_peer_in_the_same_view_without_the_proposal_gets_it(bench):
    proposal = bench.proposal(bench.header(1))
    bench.receive(1, proposal)
    bench.now += 1_000
    bench.receive(2, bench.status(view=1))
    assert proposal in [send.frame for send in bench.sent if send.peer == 2]


def test_r7_own_votes_count_again_after_a_start_and_are_said_again():
    first = Bench()
    header = first.header(1)
    own = first.vote(0, n_(1, header))
    proposal = first.proposal(header)
    bench = Bench(guard=(Epoch(0), View(1)), voted=(n_(1, header),), votes=(own,), proposals=(proposal,))
    bench.speak()
    assert own in bench.frames(Vote)
    bench.receive(2, bench.vote(2, n_(1, header)))
    bench.receive(3, bench.vote(3, n_(1, header)))
    assert bench.s.tally.notarised[View(1)].ballot == n_(1, header)


def test_r8_nothing_is_said_before_others_told_what_this_key_has_signed():
    bench = Bench()
    bench.receive(1, bench.proposal(bench.header(1)))
    assert bench.ballots() == []
    bench.receive(1, bench.status(is_reply=True))
    assert bench.ballots() == []
    bench.receive(2, bench.status(is_reply=True))
    assert [ballot.kind for ballot in bench.ballots()] == [VoteKind.NOTARISE]


def test_r8_after_ten_deltas_it_speaks_all_the_same():
    bench = Bench()
    bench.receive(1, bench.proposal(bench.header(1)))
    bench.tick(999)
    assert bench.ballots() == []
    bench.tick(1)
    assert [ballot.kind for ballot in bench.ballots()] == [VoteKind.NOTARISE]


def test_r8_whoever_learns_of_a_vote_above_its_guard_falls_silent():
    bench = Bench()
    bench.receive(1, bench.status(echo=[bench.vote(0, x(7))], is_reply=True))
    bench.speak()
    bench.receive(1, bench.proposal(bench.header(1)))
    bench.tick(60_000)
    assert bench.ballots() == []
    assert "guard was lost" in bench.s.voice.notice


def test_r8_a_bare_claim_counts_for_nothing():
    bench = Bench()
    claim = replace(bench.vote(0, x(7)), signature=bench.vote(1, x(7)).signature)
    bench.receive(1, bench.status(echo=[claim], is_reply=True))
    assert "guard was lost" not in bench.s.voice.notice


def test_r8_a_vote_of_the_guards_own_view_that_it_does_not_know_counts_too():
    first = Bench()
    bench = Bench(guard=(Epoch(0), View(1)), voted=(x(1),), votes=(first.vote(0, x(1)),))
    bench.receive(1, bench.status(echo=[bench.vote(0, x(1))], is_reply=True))
    assert "guard was lost" not in bench.s.voice.notice
    bench.receive(1, bench.status(echo=[bench.vote(0, n_(1, bench.header(1)))], is_reply=True))
    assert "guard was lost" in bench.s.voice.notice


def test_r8_a_second_node_with_this_key_is_noticed_below_the_guard_too(bench):
    bench.give(x(1))
    bench.tick(60_000)
    assert x(2) in bench.ballots()
    own = bench.certificate(x(1), (0, 1, 2))  # view 1 is certified here already, without us
    bench.receive(2, Certificates((own,)))
    bench.receive(2, bench.status(echo=[bench.vote(0, x(1))]))
    assert "guard was lost" in bench.s.voice.notice


def test_r8_a_guard_restored_from_an_older_epoch_is_noticed_before_the_first_vote():
    cluster = Cluster(parameters=replace(LAN, epoch_blocks=5))
    cluster.run(ms=2_000)
    cluster.submit(tx(0))
    cluster.run(ms=500)
    backup = cluster.nodes[3].disk.copy()
    for i in range(1, 14):
        cluster.submit(tx(i))
        cluster.run(ms=500)
    assert cluster.nodes[0].core.situation.epoch >= 2
    given = len(cluster.given[3])
    cluster.crash(3)
    cluster.restart(3, backup)
    cluster.run(ms=10_000)
    assert cluster.nodes[3].core.situation.epoch >= 2
    assert "guard was lost" in cluster.nodes[3].core.situation.voice.notice
    assert len(cluster.given[3]) == given
    cluster.check_agreement()


def test_r4_a_parent_that_is_not_known_to_be_certified_is_asked_for_and_not_built_on(bench):
    parent = bench.header(1)
    bench.receive(1, bench.proposal(parent))
    bench.give(x(1))
    child = bench.header(2, parent)
    bench.receive(2, bench.proposal(child))
    assert n_(2, child) not in bench.ballots()
    [ask] = [ask for ask in bench.asks if isinstance(ask.request, CertificatesRequest)]
    assert (ask.peer, ask.request) == (2, CertificatesRequest(Epoch(0), View(1), View(1)))
    bench.step(Answered(ask.key, 2, (Certificates((bench.certificate(n_(1, parent)),)),)))
    assert n_(2, child) in bench.ballots()
