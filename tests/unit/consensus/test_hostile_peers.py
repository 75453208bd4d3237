"""What one liar can do to a core with well-formed messages: nothing but be blamed for them."""

from dataclasses import replace

import pytest
from p2pledger.chain.block import FinalBlock, Proposal
from p2pledger.chain.message import Certificates, ProposalsRequest
from p2pledger.chain.vote import evidence_of, notarise, skip
from p2pledger.consensus.events import Answered, Ask, AskFailed, Gossiped
from p2pledger.errors import Fatal
from p2pledger.types import Epoch, Height, View
from tests.sim.bench import FALSE, Bench, f, n_, tx, x


@pytest.fixture
def bench():
    bench = Bench()
    bench.speak()
    return bench


def test_a_parent_whose_certificate_is_forged_is_not_voted_for(bench):
    first = bench.header(1)
    bench.receive(1, bench.proposal(first))
    bench.give(x(1))
    child = bench.header(2, first)
    bench.receive(2, bench.proposal(child, parent=bench.forged(n_(1, first))))
    assert n_(2, child) not in bench.ballots()
    assert 2 in bench.blamed()


def test_a_parent_of_an_older_view_cannot_be_passed_off_as_a_newer_one(bench):
    older, newer = bench.header(1), bench.header(2)
    bench.receive(1, bench.proposal(older))
    bench.give(n_(1, older))
    bench.give(n_(2, newer))
    child = bench.header(3, older, parent_view=View(2))
    claim = bench.certificate(n_(2, older), (3,))
    bench.receive(3, bench.proposal(child, parent=claim))
    assert n_(3, child) not in bench.ballots()


def test_a_relay_that_spoils_a_justification_does_not_have_the_view_skipped(bench):
    first = bench.header(1)
    bench.receive(1, bench.proposal(first))
    bench.give(n_(1, first))
    child = bench.header(2, first)
    honest = bench.proposal(child, parent=bench.certificate(n_(1, first)))
    other = bench.certificate(n_(1, bench.header(1, time_ms=5)), (3,))
    bench.receive(3, replace(honest, justification=replace(honest.justification, parent=other)))
    bench.receive(2, honest)
    assert x(2) not in bench.ballots()
    assert n_(2, child) in bench.ballots()


def test_a_relay_that_spoils_the_content_does_not_have_the_view_skipped(bench):
    header = bench.header(1, ids=(tx(1),))
    honest = bench.proposal(header, (tx(1),))
    bench.receive(3, replace(honest, transaction_ids=(tx(2),)))
    bench.receive(1, honest)
    assert x(1) not in bench.ballots()
    assert n_(1, header) in bench.ballots()
    assert bench.blamed() == {3}


def test_spoiled_content_of_a_final_block_is_no_reason_to_stop(bench):
    header = bench.header(1, ids=(tx(1),))
    block = bench.final_block(header, (tx(1),))
    bench.step(Gossiped(replace(block, transaction_ids=(tx(2),))))
    bench.step(Gossiped(block))
    assert [final.block for final in bench.finals] == [block]


def test_a_forged_certificate_of_an_invalid_block_is_no_reason_to_stop(bench):
    final = bench.header(1)
    bench.step(Gossiped(bench.final_block(final)))
    child = bench.header(2, final, ids=(tx(1),))
    bench.invalid.add(child.digest)
    claim = replace(bench.forged(f(1, final)), ballot=f(1, child))
    bench.step(Answered("blocks", 2, (FinalBlock(child, (tx(1),), (), claim),)))
    bench.receive(2, bench.proposal(child, (tx(1),), parent=bench.certificate(f(1, final))))
    assert x(2) in bench.ballots()


@pytest.mark.parametrize("is_known_before", [True, False])
def test_a_final_block_that_is_invalid_here_stops_the_node(bench, is_known_before):
    header = bench.header(1, ids=(tx(1),))
    bench.invalid.add(header.digest)
    with pytest.raises(Fatal):
        if is_known_before:
            bench.receive(1, bench.proposal(header, (tx(1),)))
            assert x(1) in bench.ballots()
        bench.step(Gossiped(bench.final_block(header, (tx(1),))))
        bench.tick()


def test_two_notarised_blocks_of_one_view_are_evidence_against_their_signers(bench):
    one, other = bench.header(1), bench.header(1, time_ms=5)
    bench.give(n_(1, one))
    bench.give(n_(1, other))
    proven = {m.evidence.first.signer for m in bench.misbehaved if m.evidence is not None}
    assert proven == {1, 2, 3}


def test_votes_for_two_blocks_of_one_view_never_raise(bench):
    one, other = bench.header(1), bench.header(1, time_ms=5)
    bench.give(n_(1, one))
    for peer in (1, 2, 3):
        bench.receive(peer, bench.vote(peer, n_(1, other)))
    assert bench.s.tally.notarised[View(1)].ballot == n_(1, one)


def test_a_leaders_many_blocks_for_one_view_are_not_kept(bench):
    for i in range(50):
        bench.receive(1, bench.proposal(bench.header(1, time_ms=i + 1)))
    assert len(bench.s.tree) == 1
    assert len([m for m in bench.misbehaved if m.evidence is not None]) == 1


def test_the_notarised_one_of_two_blocks_is_fetched_though_the_other_came_first(bench):
    first, notarised = bench.header(1), bench.header(1, time_ms=5)
    bench.receive(1, bench.proposal(first))
    bench.give(n_(1, notarised))
    ask = next(ask for ask in bench.asks if isinstance(ask.request, ProposalsRequest))
    bench.step(Answered(ask.key, ask.peer, (bench.proposal(notarised),)))
    assert bench.s.tree.is_executed(notarised.digest)


def test_blocks_on_unknown_parents_are_forgotten_once_their_view_is_over(bench):
    good = None
    for view in range(1, 200):
        if bench.leader(view) == 2:
            junk = bench.header(
                view, parent_digest=tx(view), height=Height(10**6 + view), parent_view=View(0)
            )
            bench.receive(2, bench.proposal(junk))
            bench.give(x(view))
        elif bench.leader(view) != 0:
            header = bench.header(view, good)
            bench.step(Gossiped(bench.final_block(header)))
            good = header
        else:
            bench.give(x(view))
    assert len(bench.s.tree) < 5
    assert len(bench.s.asking) < 5


def test_a_page_of_blocks_that_nobody_certified_is_not_kept(bench):
    parent = None
    page = []
    for view in range(1, 20):
        parent = bench.header(view, parent)
        page.append(bench.final_block(parent, certified=False))
    bench.step(Answered("blocks", 2, tuple(page)))
    assert len(bench.s.tree) == 0


def test_blocks_below_a_certified_one_of_a_page_are_believed(bench):
    one = bench.header(1)
    two = bench.header(2, one)
    page = (bench.final_block(one, certified=False), bench.final_block(two))
    bench.step(Answered("blocks", 2, page))
    assert [final.block.header for final in bench.finals] == [one, two]


def test_a_block_of_a_page_keeps_no_certificate_that_was_not_verified(bench):
    one = bench.header(1)
    two = bench.header(2, one)
    spoiled = replace(bench.final_block(one), certificate=bench.forged(f(1, one)))
    bench.step(Answered("blocks", 2, (spoiled, bench.final_block(two))))
    assert all(final.block.certificate != spoiled.certificate for final in bench.finals)
    assert 2 in bench.blamed()


def test_an_answer_that_does_not_help_has_the_next_peer_asked(bench):
    one = bench.header(1)
    bench.give(f(1, one))
    asked = []
    for _ in range(6):
        ask = [a for a in bench.asks if a.key == "blocks"][-1]
        asked.append(ask.peer)
        junk = bench.final_block(bench.header(7, time_ms=len(asked)), certified=False)
        bench.asks.clear()
        bench.step(Answered("blocks", ask.peer, (junk,)))
        bench.tick(3_000)
    assert set(asked) == {1, 2, 3}


def test_one_that_claims_to_be_ahead_does_not_keep_us_from_asking_others(bench):
    bench.receive(2, bench.status(final_height=10**9))
    bench.tick(1_000)
    asked = set()
    for _ in range(6):
        for ask in [a for a in bench.asks if a.key == "blocks"]:
            asked.add(ask.peer)
            bench.asks.clear()
            bench.step(AskFailed("blocks", ask.peer))
        bench.tick(3_000)
    assert asked == {1, 2, 3}


def test_questions_for_what_is_not_needed_any_more_make_room(bench):
    for view in range(1, 100):
        junk = bench.header(view, parent_digest=tx(view), height=Height(9), parent_view=View(0))
        if bench.leader(view) != 0:
            bench.receive(bench.leader(view), bench.proposal(junk))
        bench.give(x(view))
    assert len(bench.s.asking) < 5


def test_certificates_below_the_final_view_are_not_kept(bench):
    header = bench.header(5, parent_view=View(0))
    bench.give(x(1), x(2), x(3), x(4))
    bench.step(Gossiped(bench.final_block(header)))
    bench.give(x(1), x(2), x(3), x(4))
    assert list(bench.s.tally.skipped) == []


def test_false_votes_are_verified_once_not_at_every_status():
    verified = []
    bench = Bench()
    bench.speak()
    tally = bench.s.tally
    verify = tally._is_signed
    tally._is_signed = lambda *a: verified.append(1) or verify(*a)
    for view in range(1, 500):
        bench.receive(2, replace(bench.vote(2, x(view)), signature=FALSE))
    bench.receive(2, bench.status())
    first = len(verified)
    bench.receive(2, bench.status())
    assert len(verified) == first


def test_one_cannot_fill_the_chain_with_evidence_against_itself(bench):
    for view in range(1, 500):
        one, other = tx("one"), tx("other")
        pair = (bench.vote(2, notarise(Epoch(0), View(view), d)) for d in (one, other))
        bench.receive(2, evidence_of(*pair))
    assert 0 < len(bench.s.evidence) <= 16


def test_a_frame_of_a_position_that_the_list_does_not_have_is_dropped(bench):
    assert bench.receive(9, bench.status()).send == ()


def test_a_deep_branch_of_blocks_on_an_invalid_one_is_condemned_without_recursion(bench):
    root = bench.header(1, ids=(tx(1),))
    bench.invalid.add(root.digest)
    parent = root
    for view in range(2, 3_000):
        header = bench.header(view, parent)
        proposal: Proposal = bench.proposal(header)
        bench.step(Answered(f"proposal:{header.digest.hex()}", 2, (proposal,)))
        parent = header
    bench.receive(1, bench.proposal(root, (tx(1),)))
    assert x(1) in bench.ballots()


def test_a_false_certificate_ends_the_reading_of_a_message(bench):
    many = tuple(bench.forged(x(view)) for view in range(1, 200))
    bench.receive(2, Certificates(many))
    assert len(bench.misbehaved) == 1


def test_lost_questions_are_put_again_for_ever(bench):
    header = bench.header(1, ids=(tx(1),))
    bench.missing[header.digest] = (tx(1),)
    bench.receive(1, bench.proposal(header, (tx(1),)))
    bench.give(n_(1, header))
    asked: list[Ask] = []
    for _ in range(20):
        found = [a for a in bench.asks if a.key.startswith("bodies")]
        asked += found
        bench.asks.clear()
        for ask in found:
            bench.step(AskFailed(ask.key, ask.peer))
        bench.tick(2_000)
    assert {ask.peer for ask in asked} == {1, 2, 3}
    assert len(asked) >= 15


def test_only_the_leader_of_a_view_proposes_in_it(bench):
    header = bench.header(1)
    proposal = bench.proposal(header)
    unsigned = replace(proposal, vote=replace(proposal.vote, signature=FALSE))
    other_vote = replace(proposal, vote=bench.vote(1, n_(1, bench.header(1, time_ms=5))))
    for lie in (bench.proposal(header, signer=3), unsigned, other_vote):
        bench.receive(3, lie)
    assert bench.ballots() == []
    assert not bench.s.tally.proposals
    assert len(bench.s.tree) == 0
    bench.give(n_(1, header))
    bench.step(Answered(f"proposal:{header.digest.hex()}", 3, (unsigned,)))
    assert len(bench.s.tree) == 0
    assert [m.peer for m in bench.misbehaved] == [3, 3, 3, 3]


def test_a_vote_of_another_epoch_is_no_offence_whatever_the_order_of_its_list(bench):
    bench.receive(1, bench.vote(3, skip(Epoch(1), View(1))))
    assert bench.blamed() == set()
    bench.receive(1, bench.vote(3, x(1)))
    assert bench.blamed() == {1}
