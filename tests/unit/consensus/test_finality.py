"""From an F certificate to final blocks, in order, and over the boundary of an epoch."""

from dataclasses import replace

import pytest
from p2pledger.chain.block import FinalBlock, evidence_root
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import BlocksRequest
from p2pledger.consensus.events import Answered, Gossiped
from p2pledger.types import Height, View
from tests.sim.bench import Bench, f, n_, tx, x


@pytest.fixture
def bench():
    bench = Bench()
    bench.speak()
    return bench


def test_all_below_a_certified_block_becomes_final_in_order(bench):
    one = bench.header(1)
    two = bench.header(2, one)
    bench.receive(1, bench.proposal(one))
    bench.receive(2, bench.proposal(two, parent=bench.certificate(n_(1, one))))
    bench.give(n_(1, one))
    bench.give(f(2, two))
    assert [final.block.header for final in bench.finals] == [one, two]
    assert [final.block.certificate is not None for final in bench.finals] == [False, True]
    assert bench.finals[0].relay_rank is None
    assert bench.finals[1].relay_rank == (0 - bench.leader(3)) % 4


def test_a_certificate_enters_the_next_view_at_once_and_what_is_missing_is_fetched(bench):
    header = bench.header(7)
    bench.give(f(7, header))
    assert bench.s.view == 8
    [ask] = [ask for ask in bench.asks if ask.key == "blocks"]
    assert ask.request == BlocksRequest(Height(1), 256)
    bench.step(Answered("blocks", ask.peer, (bench.final_block(header),)))
    assert [final.block.header for final in bench.finals] == [header]
    assert not bench.s.asking.is_open("blocks")


def test_what_is_final_is_given_out_once(bench):
    block = bench.final_block(bench.header(1))
    for _ in range(3):
        bench.step(Gossiped(block))
    assert len(bench.finals) == 1


def test_patience_falls_back_and_what_is_below_is_forgotten(bench):
    bench.tick(60_000)
    assert bench.s.pacing.delta_ms > LAN.delta_ms
    bench.give(x(1), x(2))
    header = bench.header(3)
    bench.step(Gossiped(bench.final_block(header)))
    assert bench.s.pacing.delta_ms == LAN.delta_ms
    assert not bench.s.tally.skipped
    assert bench.s.unsaved == [bench.certificate(f(3, header))]


def test_the_next_epoch_starts_at_view_one_with_empty_tallies():
    bench = Bench(parameters=replace(LAN, epoch_blocks=2))
    bench.speak()
    one = bench.header(1)
    boundary = bench.header(2, one)
    bench.give(x(1), x(3))
    bench.receive(3, bench.proposal(bench.header(3, parent_digest=tx("junk"), height=Height(90))))
    bench.step(Gossiped(bench.final_block(one)))
    bench.step(Gossiped(bench.final_block(boundary)))
    s = bench.s
    assert (s.epoch, s.view, s.final_view) == (1, 1, 0)
    assert (s.base_digest, s.base_height) == (boundary.digest, 2)
    assert set(s.sets) == {0, 1, 2}
    assert s.boundaries[0].ballot == f(2, boundary)
    assert not s.tally.skipped
    assert len(s.tree) == 0
    assert s.leader(View(1)) == (1 + int.from_bytes(boundary.digest[:8], "big")) % 4


def test_a_late_vote_of_the_old_epoch_counts_for_nothing():
    bench = Bench(parameters=replace(LAN, epoch_blocks=1))
    boundary = bench.header(1)
    bench.step(Gossiped(bench.final_block(boundary)))
    for peer in (1, 2, 3):
        bench.receive(peer, bench.vote(peer, x(1)))
    bench.give(x(1))
    assert (bench.s.epoch, bench.s.view) == (1, 1)


def test_whoever_was_away_over_a_boundary_listens_first_again():
    bench = Bench(parameters=replace(LAN, epoch_blocks=1))
    bench.speak()
    assert not bench.s.voice.is_silent
    bench.step(Gossiped(bench.final_block(bench.header(1))))
    assert bench.s.voice.is_silent
    for peer in (1, 2):
        bench.receive(peer, bench.status(epoch=1, is_reply=True))
    assert not bench.s.voice.is_silent


def test_whoever_voted_for_the_boundary_goes_on_at_once():
    bench = Bench(parameters=replace(LAN, epoch_blocks=1))
    bench.speak()
    boundary = bench.header(1)
    bench.receive(1, bench.proposal(boundary))
    bench.give(f(1, boundary))
    assert bench.s.epoch == 1
    assert not bench.s.voice.is_silent


def test_evidence_is_pending_until_it_is_final_and_then_recorded(bench):
    for block in (bench.header(1, time_ms=1), bench.header(1, time_ms=2)):
        bench.receive(3, bench.vote(3, n_(1, block)))
    [(offence, evidence)] = bench.s.evidence.items()
    header = bench.header(1, evidence_root=evidence_root((evidence,)))
    bench.step(Gossiped(FinalBlock(header, (), (evidence,), bench.certificate(f(1, header)))))
    assert len(bench.finals) == 1
    assert bench.s.offences == {offence}
    assert bench.s.evidence == {}
