"""Proposing: on which parent, when, with what justification; once."""

from dataclasses import replace

import pytest
from p2pledger.chain.block import Proposal
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import CertificatesRequest
from p2pledger.chain.vote import evidence_of, notarise
from p2pledger.consensus.events import Built, Pending
from p2pledger.types import Epoch, View
from tests.sim.bench import Bench, f, n_, tx, x
from tests.sim.cluster import BASE


@pytest.fixture
def bench():
    """Leads view 1 of four."""
    bench = Bench(index=1)
    for peer in (0, 2):
        bench.receive(peer, bench.status(is_reply=True))
    return bench


def build(bench, ids=(), **other):
    """Answer the newest order."""
    order = bench.builds[-1]
    fields = {
        "height": order.height,
        "parent_digest": order.parent_digest,
        "parent_view": order.parent_view,
        "time_ms": order.time_ms,
    } | other
    header = bench.header(order.view, ids=ids, **fields)
    bench.step(Built(order.view, header, ids, order.evidence))
    return header


def test_with_work_it_builds_after_the_block_interval(bench):
    bench.step(Pending(Epoch(0), View(1)))
    assert bench.builds == []
    bench.tick(LAN.block_interval_ms)
    [order] = bench.builds
    assert (order.parent_digest, order.parent_view, order.height) == (BASE, 0, 1)
    header = build(bench, (tx(1),))
    [proposal] = bench.frames(Proposal)
    assert proposal.header == header
    assert proposal.vote == bench.vote(1, n_(1, header))
    bench.tick(1)
    assert len(bench.builds) == 1


def test_idle_it_builds_after_the_idle_interval(bench):
    bench.tick(LAN.idle_interval_ms - 1)
    assert bench.builds == []
    bench.tick(1)
    build(bench)
    assert len(bench.frames(Proposal)) == 1


def test_what_turns_out_to_be_nothing_is_not_proposed_before_it_is_time(bench):
    bench.step(Pending(Epoch(0), View(1)))
    bench.tick(LAN.block_interval_ms)
    build(bench)
    assert bench.frames(Proposal) == []
    bench.tick(1)
    assert len(bench.builds) == 1


def test_the_parent_is_the_highest_notarised_executed_block_with_skips_above(bench):
    bench.give(x(1))
    low = bench.header(2)
    bench.receive(2, bench.proposal(low, skips=(bench.certificate(x(1)),)))
    bench.give(n_(2, low), x(3), x(4))
    bench.step(Pending(Epoch(0), View(5)))
    bench.tick(LAN.block_interval_ms)
    header = build(bench, (tx(1),))
    assert (header.parent_digest, header.parent_view) == (low.digest, 2)
    [proposal] = bench.frames(Proposal)
    assert proposal.justification.parent.ballot == n_(2, low)
    assert [c.ballot for c in proposal.justification.skips] == [x(3), x(4)]


def test_missing_certificates_are_asked_for(bench):
    bench.give(x(1))
    bench.give(x(4))
    bench.tick(LAN.block_interval_ms)
    asked = [ask.request for ask in bench.asks if isinstance(ask.request, CertificatesRequest)]
    assert asked == [CertificatesRequest(Epoch(0), View(2), View(4))]
    assert bench.builds == []


def test_a_block_built_on_a_parent_that_a_better_one_overtook_is_built_again(bench):
    bench.give(x(1), x(3), x(4))
    low, high = bench.header(2), bench.header(4)
    for header in (low, high):
        bench.step(Pending(Epoch(0), View(5)))
        bench.s.tally.proposals.pop(View(2), None)
        bench.receive(bench.leader(header.view), bench.proposal(header))
    bench.give(n_(2, low))
    bench.step(Pending(Epoch(0), View(5)))
    bench.tick(LAN.block_interval_ms)
    assert bench.builds[-1].parent_digest == low.digest
    bench.give(n_(4, high))
    build(bench, (tx(1),))
    assert bench.frames(Proposal) == []


def test_known_evidence_goes_into_the_block_once(bench):
    votes = (bench.vote(3, notarise(Epoch(0), View(1), tx(i))) for i in "ab")
    evidence = evidence_of(*votes)
    bench.receive(2, evidence)
    bench.tick(LAN.block_interval_ms)
    assert bench.builds[-1].evidence == (evidence,)


def test_too_much_that_is_unfinal_makes_empty_blocks():
    bench = Bench(index=1, parameters=replace(LAN, unfinal_blocks_max=2))
    for peer in (0, 2):
        bench.receive(peer, bench.status(is_reply=True))
    parent = None
    for view in range(1, 5):
        header = bench.header(view, parent, ids=(tx(view),))
        if bench.leader(view) == 1:
            bench.step(Pending(Epoch(0), View(view)))
            bench.tick(LAN.block_interval_ms)
            header = build(bench, (tx(view),))
        else:
            certificate = bench.certificate(n_(parent.view, parent))
            bench.receive(bench.leader(view), bench.proposal(header, (tx(view),), parent=certificate))
        for peer in (0, 2, 3):
            bench.receive(peer, bench.vote(peer, n_(view, header)))
        parent = header
    assert bench.s.view == 5
    bench.tick(LAN.block_interval_ms)
    assert bench.builds[-1].view == 5
    assert bench.builds[-1].is_empty


def test_it_does_not_build_on_what_is_final_and_not_yet_here(bench):
    header = bench.header(4)
    bench.give(f(4, header))
    bench.tick(60_000)
    assert bench.builds == []


def test_its_own_proposal_is_never_built_again_after_a_start():
    first = Bench(index=1)
    header = first.header(1)
    own = first.vote(1, n_(1, header))
    draft = first.proposal(header)
    bench = Bench(index=1, guard=(Epoch(0), View(1)), voted=(own.ballot,), votes=(own,), proposals=(draft,))
    for peer in (0, 2):
        bench.receive(peer, bench.status(is_reply=True))
    bench.step(Pending(Epoch(0), View(1)))
    bench.tick(100)
    assert bench.builds == []
    assert draft in bench.frames(Proposal)
