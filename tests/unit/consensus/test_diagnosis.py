"""What a core says of itself: each cause by the events that bring it about, and none where all is well."""

from dataclasses import replace

import pytest
from p2pledger.chain.block import FinalBlock, evidence_root
from p2pledger.chain.genesis import LAN, WAN
from p2pledger.chain.vote import VoteKind
from p2pledger.consensus.causes import CURES, Cause
from p2pledger.consensus.diagnosis import Accusation, diagnose
from p2pledger.consensus.events import AskFailed, ClockStepped, Gossiped, Pending
from p2pledger.types import Epoch, Millis, View
from tests.sim.bench import START_MS, Bench, f, n_, tx, x
from tests.sim.cluster import Cluster

SILENCE_MS = LAN.leader_silence_ms
LATE_MS = LAN.status_interval_ms + 100


@pytest.fixture
def bench():
    bench = Bench()
    bench.speak()
    return bench


def told(bench, *, later_ms=0, **known):
    return diagnose(bench.s, Millis(bench.now + later_ms), **known)


def causes(bench, **options):
    return [reason.cause for reason in told(bench, **options).reasons]


def reason(bench, cause, **options):
    [found] = [each for each in told(bench, **options).reasons if each.cause is cause]
    return found


def pass_time(bench, ms, heard=(1, 2, 3)):
    """Time goes by, and these authorities say every half second where they stand."""
    while ms > 0:
        step = min(ms, 500)
        bench.tick(step)
        ms -= step
        for peer in heard:
            bench.receive(peer, bench.status(view=bench.s.view, is_reply=True))


def lapse(bench, heard=(1, 2, 3)):
    """There is work, and the view's deadline passes, by more than what is normal."""
    bench.step(Pending(Epoch(0), bench.s.view))
    pass_time(bench, LAN.block_interval_ms + 3 * LAN.delta_ms + 500 + LATE_MS, heard)


# --- nothing is amiss


def test_an_idle_network_is_well_at_any_moment(bench):
    for _ in range(20):
        pass_time(bench, 400)
        diagnosis = told(bench)
        assert diagnosis.is_healthy
        assert [each.cause for each in diagnosis.reasons] == [Cause.IDLE]
    assert "within 2.3 s" in diagnosis.reasons[0].sentence


def test_a_network_with_work_is_well(bench):
    bench.step(Pending(Epoch(0), View(1)))
    bench.tick(100)
    assert causes(bench) == [Cause.WORKING]


@pytest.mark.parametrize(
    ("n", "parameters", "delay_ms"),
    [(4, LAN, (1, 60)), (5, replace(LAN, epoch_blocks=7), (1, 30)), (4, WAN, (20, 150))],
)
def test_no_core_of_a_healthy_cluster_ever_complains(n, parameters, delay_ms):
    cluster = Cluster(n, seed=3, delay_ms=delay_ms, parameters=parameters)
    seen = set()
    for i in range(240):
        if i % 80 < 40 and i % 2 == 0:  # work for five seconds, rest for five
            cluster.submit(tx(i))
        cluster.run(ms=(30, 220)[i % 2])
        for node in cluster.nodes:
            diagnosis = diagnose(node.core.situation, Millis(cluster.now))
            assert diagnosis.is_healthy, diagnosis.reasons
            seen |= {each.cause for each in diagnosis.reasons}
    assert min(cluster.heights()) > 10
    assert {Cause.IDLE, Cause.WORKING} <= seen <= {Cause.IDLE, Cause.WORKING, Cause.LISTENING}


def test_a_ledger_of_one_is_well():
    bench = Bench(n=1)
    bench.tick(5_000)
    assert causes(bench) == [Cause.IDLE]


def test_one_of_four_away_is_told_and_is_no_trouble():
    cluster = Cluster(4)
    cluster.run(ms=2_000)
    cluster.crash(3)
    for i in range(60):
        cluster.submit(tx(i))
        cluster.run(ms=200)
        diagnoses = [diagnose(cluster.nodes[j].core.situation, Millis(cluster.now)) for j in range(3)]
        assert all(diagnosis.is_healthy for diagnosis in diagnoses)
    for diagnosis in diagnoses:
        [note] = [each for each in diagnosis.reasons if each.cause is Cause.AUTHORITY_SILENT]
        assert note.organisations == ("org3",)
        assert "org3 for 1" in note.sentence


# --- who is there


def test_fewer_than_a_quorum_are_heard(bench):
    bench.tick(SILENCE_MS - 100)
    assert told(bench).is_healthy
    pass_time(bench, SILENCE_MS, heard=[1])
    found = reason(bench, Cause.NO_QUORUM_HEARD)
    assert found.is_trouble
    assert found.organisations == ("org2", "org3")
    assert "3 of the 4 authorities" in found.sentence
    assert "only these are there: this node and org1" in found.sentence
    assert "org2 and org3 for 5.9 s" in found.sentence


def test_a_start_waits_for_answers_and_says_so():
    bench = Bench()
    bench.tick(1_000)
    assert causes(bench) == [Cause.LISTENING]
    assert "until another authority is heard" in reason(bench, Cause.LISTENING).sentence
    bench.receive(1, bench.status(is_reply=True))
    assert told(bench).is_healthy
    assert "until 2 others have answered (1 have), or for 1.0 s" in reason(bench, Cause.LISTENING).sentence
    bench.receive(2, bench.status(is_reply=True))
    assert causes(bench) == [Cause.IDLE]


def test_a_start_that_hears_nobody_is_in_trouble_for_that():
    bench = Bench()
    pass_time(bench, SILENCE_MS + 500, heard=[])
    assert causes(bench) == [Cause.LISTENING, Cause.NO_QUORUM_HEARD]
    assert reason(bench, Cause.NO_QUORUM_HEARD).organisations == ("org1", "org2", "org3")


def test_no_guard_and_a_lost_guard_are_told_apart():
    bench = Bench(guard=None)
    bench.speak()
    assert reason(bench, Cause.GUARD_MISSING).is_trouble
    bench = Bench(guard=(Epoch(0), View(3)))
    bench.receive(1, bench.status(view=6, echo=[bench.vote(0, x(5))]))
    assert reason(bench, Cause.GUARD_LOST).is_trouble
    assert Cause.GUARD_MISSING not in causes(bench)


def test_a_key_that_is_in_no_list_follows():
    bench = Bench()
    others = replace(bench.set, members=bench.set.members[1:])
    bench = Bench(sets={Epoch(0): others, Epoch(1): others})
    assert causes(bench) == [Cause.NOT_A_MEMBER, Cause.IDLE]
    assert told(bench).organisation is None


def test_a_gateway_is_well_and_says_whom_it_is_not_connected_to():
    bench = Bench(index=None)
    everybody = {member.peer for member in bench.set.members}
    bench.tick(1_000)
    assert causes(bench) == [Cause.IDLE]
    assert causes(bench, connected=everybody) == [Cause.IDLE]
    note = reason(bench, Cause.AUTHORITY_SILENT, connected=everybody - {bench.set.members[2].peer})
    assert (note.is_trouble, note.organisations) == (False, ("org2",))
    assert told(bench, connected=()).is_healthy  # it has just started
    bench.tick(LAN.idle_interval_ms + LATE_MS)
    assert reason(bench, Cause.NO_AUTHORITY_CONNECTED, connected=()).is_trouble


def test_a_gateway_that_sees_less_than_a_quorum_and_no_block_says_so_soon():
    bench = Bench(index=None)
    two = {member.peer for member in bench.set.members[:2]}
    bench.tick(5_000)
    arrived = Millis(bench.now)
    assert causes(bench, connected=two) == [Cause.AUTHORITY_SILENT, Cause.IDLE]
    bench.tick(1_000)
    assert causes(bench, connected=two, waiting_since=arrived) == [Cause.AUTHORITY_SILENT, Cause.WORKING]
    bench.tick(1_000)
    found = reason(bench, Cause.NO_QUORUM_HEARD, connected=two, waiting_since=arrived)
    assert (found.is_trouble, found.organisations) == (True, ("org2", "org3"))
    assert "connected to 2 of them, not to org2 and org3." in found.sentence
    assert "Nothing has become final here for 7.0 s." in found.sentence


def test_a_gateway_to_which_no_block_comes_sends_people_on_to_the_authorities():
    bench = Bench(index=None)
    pass_time(bench, 14_000, heard=[])
    assert told(bench, waiting_since=Millis(START_MS)).is_healthy
    pass_time(bench, 1_000, heard=[])
    assert causes(bench, waiting_since=Millis(START_MS)) == [Cause.NOTHING_FINAL]
    assert told(bench, waiting_since=Millis(bench.now)).is_healthy
    pass_time(bench, 9_000, heard=[])
    assert told(bench).is_healthy
    pass_time(bench, 1_000, heard=[])
    assert causes(bench) == [Cause.NOTHING_FINAL]
    bench.step(Gossiped(bench.final_block(bench.header(1))))
    assert told(bench).is_healthy


# --- a view that does not end


def test_a_leader_that_does_not_propose_and_the_votes_that_would_skip_it(bench):
    bench.receive(2, bench.vote(2, x(1)))
    assert told(bench).is_healthy
    lapse(bench)
    silent = reason(bench, Cause.LEADER_SILENT)
    assert silent.organisations == ("org1",)
    assert silent.sentence == "org1 leads view 1, and has not proposed, though heard."
    votes = reason(bench, Cause.VOTES_MISSING)
    assert votes.organisations == ("org1", "org3")
    assert "skip has 2. None came from org1 and org3." in votes.sentence


def test_a_leader_that_is_gone(bench):
    lapse(bench, heard=[2, 3])
    pass_time(bench, SILENCE_MS + 500, heard=[2])
    assert "nothing was heard of it for" in reason(bench, Cause.LEADER_SILENT).sentence
    assert causes(bench)[0] is Cause.NO_QUORUM_HEARD


def test_a_deadline_that_has_just_passed_is_no_trouble(bench):
    bench.step(Pending(Epoch(0), View(1)))
    pass_time(bench, LAN.block_interval_ms + 3 * LAN.delta_ms + 200)
    assert told(bench).is_overdue
    assert told(bench).is_healthy


def test_votes_that_are_split_are_counted_by_kind(bench):
    bench.receive(1, bench.proposal(bench.header(1)))
    lapse(bench)
    found = reason(bench, Cause.VOTES_MISSING)
    assert "notarise has 2, skip has 1" in found.sentence
    assert found.organisations == ("org2", "org3")


def test_views_that_pass_without_an_end_are_told_after_a_while(bench):
    for view in range(1, 60):
        bench.give(x(view))
        pass_time(bench, 500)
    assert causes(bench) == [Cause.NOTHING_FINAL]
    assert not told(bench).is_healthy


# --- what is lacking


def test_transactions_that_nobody_gives(bench):
    header = bench.header(1, ids=(tx(1), tx(2)))
    bench.missing[header.digest] = (tx(1), tx(2))
    bench.receive(1, bench.proposal(header, (tx(1), tx(2))))
    assert told(bench).lacking[0].organisation == "org1"
    assert told(bench).is_healthy
    bench.step(AskFailed(bench.asks[-1].key, 1))
    note = reason(bench, Cause.BODIES_MISSING)
    assert not note.is_trouble
    assert note.sentence.startswith("2 transactions of block 1, proposed by org1, are not here")
    for _ in range(3):
        pass_time(bench, 2_000)
        asked = [ask for ask in bench.asks if ask.key.startswith("bodies:")][-1]
        bench.step(AskFailed(asked.key, asked.peer))
    assert "after 4 in vain" in reason(bench, Cause.BODIES_MISSING).sentence
    lapse(bench)
    assert reason(bench, Cause.BODIES_MISSING).is_trouble


def test_a_block_that_a_proposal_rests_on(bench):
    one = bench.header(1)
    bench.give(n_(1, one))
    bench.receive(2, bench.proposal(bench.header(2, one), parent=bench.certificate(n_(1, one))))
    assert told(bench).is_healthy
    lapse(bench)
    assert reason(bench, Cause.BLOCK_MISSING).is_trouble
    assert one.digest.hex()[:8] in reason(bench, Cause.BLOCK_MISSING).sentence


def test_many_that_are_lacking_make_one_reason(bench):
    bench.give(*(n_(view, bench.header(view)) for view in (1, 2, 3)))
    lapse(bench)
    assert "not here (and 2 more of the kind)" in reason(bench, Cause.BLOCK_MISSING).sentence


def test_certificates_that_a_proposal_needs(bench):
    bench.give(x(2))
    bench.receive(3, bench.proposal(bench.header(3)))
    assert told(bench).is_healthy
    bench.step(AskFailed(bench.asks[-1].key, 3))
    found = reason(bench, Cause.CERTIFICATES_MISSING)
    assert not found.is_trouble
    assert found.sentence == (
        "A certificate of the views 1 to 2 is not here; asked now, after 1 in vain: org1."
    )
    lapse(bench)
    assert "certificate of view 1, on which" in reason(bench, Cause.CERTIFICATES_MISSING).sentence


def test_a_final_block_that_is_not_here(bench):
    bench.give(f(7, bench.header(7)))
    assert told(bench).is_healthy
    pass_time(bench, LATE_MS)
    assert Cause.FINAL_NOT_EXECUTED in causes(bench)
    assert "Final block 1 is not here" in reason(bench, Cause.BLOCK_MISSING).sentence


def test_a_final_block_whose_transactions_are_not_here(bench):
    header = bench.header(1, ids=(tx(1),))
    bench.missing[header.digest] = (tx(1),)
    bench.step(Gossiped(bench.final_block(header, (tx(1),))))
    pass_time(bench, LATE_MS)
    assert "Block 1 of view 1 is known to be final" in reason(bench, Cause.FINAL_NOT_EXECUTED).sentence
    assert reason(bench, Cause.BODIES_MISSING).is_trouble


def test_behind_what_more_than_may_lie_say(bench):
    bench.receive(1, bench.status(final_height=10**9, is_reply=True))
    assert causes(bench) == [Cause.IDLE]
    bench.receive(2, bench.status(final_height=40, is_reply=True))
    assert causes(bench) == [Cause.BEHIND]
    note = reason(bench, Cause.BEHIND)
    assert (note.is_trouble, note.organisations) == (False, ("org1", "org2"))
    assert (
        note.sentence
        == "Block 40 is final at org1 and org2; this node is 40 blocks behind, and is fetching them."
    )
    bench.tick(LATE_MS)
    assert reason(bench, Cause.BEHIND).is_trouble


def test_a_peer_that_lags(bench):
    parent = None
    for view in range(1, 102):
        parent = bench.header(view, parent)
        bench.step(Gossiped(bench.final_block(parent)))
    bench.receive(1, bench.status(final_height=100, is_reply=True))
    bench.receive(2, bench.status(final_height=1, is_reply=True))
    note = reason(bench, Cause.PEER_BEHIND)
    assert (note.is_trouble, note.organisations) == (False, ("org2",))
    assert [each.blocks_behind for each in told(bench).authorities] == [None, 1, 100, None]


# --- clocks and content


def test_a_block_from_the_future(bench):
    bench.receive(1, bench.proposal(bench.header(1, time_ms=Millis(bench.now + 2_000))))
    found = reason(bench, Cause.CLOCK_AHEAD)
    assert (found.is_trouble, found.organisations) == (True, ("org1",))
    assert "2.0 s ahead" in found.sentence
    bench.tick(1_500)
    assert told(bench).is_healthy


def test_a_block_from_the_past(bench):
    bench.step(ClockStepped(60_000))
    bench.now += 60_000
    bench.receive(1, bench.proposal(bench.header(1, time_ms=Millis(bench.now - 30_000))))
    assert x(1) in bench.ballots()
    assert "30 s behind" in reason(bench, Cause.CLOCK_BEHIND).sentence


def test_a_start_that_finds_the_old_proposal_it_voted_for_blames_no_clock():
    before = Bench()
    before.speak()
    proposal = before.proposal(before.header(1))
    before.receive(1, proposal)
    bench = Bench(
        guard=(Epoch(0), View(1)),
        voted=tuple(before.ballots()),
        votes=tuple(before.votes),
        proposals=(proposal,),
    )
    bench.now += 60_000
    bench.step(ClockStepped(60_000))
    bench.receive(1, bench.status(is_reply=True))
    diagnosis = told(bench)
    assert diagnosis.has_proposal
    assert diagnosis.entered_ms == proposal.header.time_ms + 60_000
    assert Cause.CLOCK_BEHIND not in causes(bench)


def test_an_invalid_block(bench):
    header = bench.header(1)
    bench.invalid.add(header.digest)
    bench.receive(1, bench.proposal(header))
    assert not reason(bench, Cause.BLOCK_INVALID).is_trouble
    lapse(bench)
    assert reason(bench, Cause.BLOCK_INVALID).is_trouble


def test_a_core_that_is_not_stepped_any_more(bench):
    assert Cause.NODE_STUCK not in causes(bench, later_ms=9_000)
    assert reason(bench, Cause.NODE_STUCK, later_ms=11_000).is_trouble


# --- the facts


def test_votes_are_told_by_kind_and_by_organisation(bench):
    header = bench.header(1)
    bench.receive(1, bench.proposal(header))
    bench.receive(2, bench.vote(2, x(1)))
    notarise, skip = told(bench).votes
    assert (notarise.kind, notarise.digest, notarise.voters) == (
        VoteKind.NOTARISE,
        header.digest,
        ("org0", "org1"),
    )
    assert (notarise.unverified, notarise.missing) == ((), ("org2", "org3"))
    assert (skip.kind, skip.voters, skip.unverified) == (VoteKind.SKIP, ("org2",), ("org2",))
    assert [each.voted for each in told(bench).authorities][2:] == [(VoteKind.SKIP,), ()]


def test_the_parent_and_the_newest_certificates_are_told_with_their_age(bench):
    one = bench.header(1)
    bench.receive(1, bench.proposal(one))
    bench.give(n_(1, one))
    bench.receive(3, bench.vote(3, f(1, one)))
    bench.tick(300)
    diagnosis = told(bench)
    assert (diagnosis.view, diagnosis.leader, diagnosis.has_proposal) == (2, "org2", False)
    assert (diagnosis.parent.height, diagnosis.parent.is_executed, diagnosis.parent.is_final) == (
        1,
        True,
        False,
    )
    assert diagnosis.parent.finalise.voters == ("org0", "org3")
    [newest] = diagnosis.newest
    assert (newest.kind, newest.view, newest.height, newest.age_ms) == (VoteKind.NOTARISE, 1, 1, 300)
    bench.give(f(1, one))
    bench.give(x(2))
    assert [(each.kind.name, each.view) for each in told(bench).newest] == [
        ("NOTARISE", 1), ("SKIP", 2), ("FINALISE", 1),
    ]  # fmt: skip
    assert told(bench).parent.is_final


def test_authorities_are_told_as_they_were_heard(bench):
    pass_time(bench, 500)
    bench.tick(200)
    own, other, *_ = told(bench, connected={bench.set.members[1].peer}).authorities
    assert (own.is_self, own.is_connected, own.heard_age_ms) == (True, None, None)
    assert (other.is_self, other.is_leader, other.is_connected) == (False, True, True)
    assert (other.heard_age_ms, other.said_age_ms, other.view) == (200, 200, 1)


def test_a_clock_that_is_set_changes_no_age(bench):
    bench.give(x(1))
    pass_time(bench, 500)
    before = told(bench)
    bench.now += 3_600_000
    bench.step(ClockStepped(3_600_000))
    after = told(bench)
    assert [each.age_ms for each in after.newest] == [each.age_ms for each in before.newest]
    assert [each.said_age_ms for each in after.authorities] == [
        each.said_age_ms for each in before.authorities
    ]
    assert after.final_age_ms == before.final_age_ms
    assert after.is_healthy


def test_the_deadline_is_told_before_and_after_it_passed(bench):
    assert told(bench).deadline_ms == START_MS + LAN.idle_interval_ms + 3 * LAN.delta_ms
    bench.tick(20_000)
    assert (told(bench).is_overdue, told(bench).deadline_ms) == (True, bench.now)


def test_evidence_is_told_before_and_after_it_is_recorded(bench):
    for block in (bench.header(1, time_ms=1), bench.header(1, time_ms=2)):
        bench.receive(3, bench.vote(3, n_(1, block)))
    assert told(bench).evidence == (Accusation(Epoch(0), View(1), "org3", False, None),)
    [(offence, evidence)] = bench.s.evidence.items()
    header = bench.header(1, evidence_root=evidence_root((evidence,)))
    bench.step(Gossiped(FinalBlock(header, (), (evidence,), bench.certificate(f(1, header)))))
    assert told(bench).evidence == (Accusation(Epoch(0), View(1), "org3", True, None),)
    assert told(bench, heights={offence: 1}).evidence[0].height == 1


def test_every_cause_has_a_cure():
    assert set(CURES) == set(Cause)


def test_nothing_that_is_read_changes_the_core(bench):
    lapse(bench, heard=[1])
    before = repr(bench.s)
    told(bench)
    assert repr(bench.s) == before
