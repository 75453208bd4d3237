"""After a start, before the first vote: what others know of this key is heard first (R8)."""

from dataclasses import replace

import pytest
from p2pledger.chain.block import evidence_root
from p2pledger.chain.message import Status
from p2pledger.chain.vote import Evidence, evidence_of
from p2pledger.consensus.events import Gossiped
from p2pledger.types import Epoch, View
from tests.sim.bench import Bench, f, n_, x


def test_nothing_is_said_while_nobody_is_there_to_tell_what_was_said_before():
    bench = Bench()
    for _ in range(300):  # half a minute, many deadlines
        bench.tick(100)
    assert bench.ballots() == []
    bench.receive(1, bench.status())
    assert bench.ballots() == []
    bench.tick(900)
    assert bench.ballots() == []
    bench.tick(100)  # 10Δ after the first word the others have had their time
    bench.tick(1_000)
    assert bench.ballots() == [x(1)]


def test_whoever_comes_is_asked_at_once_and_again_every_delta():
    bench = Bench()
    bench.tick(700)
    bench.sent.clear()
    bench.receive(1, bench.status())
    asked = [send.peer for send in bench.sent if isinstance(send.frame, Status) and not send.frame.is_reply]
    assert set(asked) == {1, 2, 3}
    bench.sent.clear()
    bench.tick(100)
    asked = [send.peer for send in bench.sent if isinstance(send.frame, Status) and not send.frame.is_reply]
    assert set(asked) == {1, 2, 3}


def test_an_older_copy_of_the_guard_is_found_out_however_late_the_others_come():
    bench = Bench(guard=(Epoch(0), View(3)))
    for _ in range(100):
        bench.tick(100)
    bench.receive(1, bench.status(view=6, echo=[bench.vote(0, x(5))]))
    for peer in (1, 2, 3):
        bench.receive(peer, bench.status(view=6, is_reply=True))
    bench.tick(10_000)
    assert bench.ballots() == []
    assert "guard was lost" in bench.s.voice.notice


@pytest.fixture
def moved_on() -> tuple[Bench, Evidence]:
    """A core whose blocks 1 and 2 are final, and what proves that its key skipped view 1 elsewhere."""
    bench = Bench()
    bench.speak()
    one = bench.header(1)
    bench.receive(bench.leader(1), bench.proposal(one))
    bench.give(n_(1, one))
    assert bench.ballots() == [n_(1, one), f(1, one)]
    two = bench.header(2, one)
    bench.receive(bench.leader(2), bench.proposal(two, parent=bench.certificate(n_(1, one))))
    bench.give(n_(2, two), f(2, two))
    assert bench.s.final_view == 2 and not bench.s.voice.is_silent
    return bench, evidence_of(bench.vote(0, f(1, one)), bench.vote(0, x(1)))


def test_proof_against_its_own_key_silences_it_though_its_guard_has_moved_on(moved_on):
    bench, evidence = moved_on
    bench.step(Gossiped(evidence))
    assert "guard was lost" in bench.s.voice.notice


def test_proof_against_its_own_key_that_a_final_block_brings_silences_it(moved_on):
    bench, evidence = moved_on
    root = evidence_root((evidence,))
    three = bench.header(3, bench.s.tally.proposals[View(2)].header, evidence_root=root)
    bench.step(Gossiped(replace(bench.final_block(three), evidence=(evidence,))))
    assert bench.s.tree.root.height == 3
    assert "guard was lost" in bench.s.voice.notice


def test_proof_against_its_own_key_in_the_chain_silences_it_from_the_start(moved_on):
    _, evidence = moved_on
    bench = Bench(offences={evidence.offence}, guard=(Epoch(0), View(9)))
    bench.speak()
    bench.tick(10_000)
    assert bench.ballots() == []
    assert "guard was lost" in bench.s.voice.notice


def test_proof_against_another_leaves_it_its_voice(moved_on):
    bench, evidence = moved_on
    first, second = evidence.first.ballot, evidence.second.ballot
    bench.step(Gossiped(evidence_of(bench.vote(3, first), bench.vote(3, second))))
    assert bench.s.evidence and not bench.s.voice.is_silent
