"""A start takes everything that is on disk, and the maximum of it, whatever its order."""

import itertools
from dataclasses import replace

import pytest
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import Certificates
from p2pledger.chain.vote import finalise, notarise, skip
from p2pledger.consensus.events import Tick
from p2pledger.consensus.leading import UNSIGNED
from p2pledger.consensus.voice import LOST_GUARD, WAITING
from p2pledger.types import Epoch, Height, Millis, View
from tests.sim.bench import FALSE, START_MS, Bench, f, n_, tx, x

FIRST = Bench()


def test_an_empty_disk_starts_at_view_one():
    bench = Bench()
    bench.tick()
    assert (bench.s.view, bench.s.final_view) == (1, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_maximum_is_taken_not_the_last_record(order):
    certificates = [FIRST.certificate(b) for b in (x(3), n_(5, FIRST.header(5)), x(4))]
    bench = Bench(certificates=tuple(certificates[i] for i in order))
    bench.tick()
    assert bench.s.view == 6
    assert set(bench.s.tally.skipped) == {3, 4}


def test_the_guards_view_counts_too_and_nothing_below_it_is_signed():
    bench = Bench(guard=(Epoch(0), View(9)), voted=(x(9),))
    bench.speak()
    assert bench.s.view == 9
    bench.tick(60_000)
    assert bench.ballots() == []


def test_a_guard_of_another_epoch_says_nothing_of_this_ones_views():
    bench = Bench(guard=(Epoch(1), View(9)))
    bench.tick()
    assert bench.s.view == 1
    bench.speak()
    bench.tick(60_000)
    assert bench.ballots() == []


def test_the_tips_certificate_is_the_final_view():
    header = FIRST.header(4)
    bench = Bench(
        tip_digest=header.digest,
        tip_height=Height(1),
        tip_time_ms=header.time_ms,
        tip_certificate=FIRST.certificate(f(4, header)),
    )
    bench.tick()
    assert (bench.s.final_view, bench.s.view) == (4, 5)
    assert bench.finals == []


def test_what_is_final_and_not_in_the_chain_store_is_made_final_again_without_anybodys_help():
    """Power fails everywhere at once: the certificate is in the guard file, the block's commit is not."""
    first = FIRST.header(3)
    second = FIRST.header(4, first)
    bench = Bench(
        guard=(Epoch(0), View(4)),
        voted=(n_(4, second),),
        proposals=(FIRST.proposal(first), FIRST.proposal(second, parent=FIRST.certificate(n_(3, first)))),
        certificates=(FIRST.certificate(f(4, second)),),
    )
    bench.tick()
    assert [final.block.header for final in bench.finals] == [first, second]
    assert bench.asks == []
    assert not bench.s.tally.proposals, "they are no proposals to vote on any more"


def test_false_and_foreign_records_are_passed_over():
    foreign = replace(x(7), epoch=Epoch(1))
    bench = Bench(
        certificates=(FIRST.forged(x(8)), FIRST.certificate(foreign)),
        votes=(replace(FIRST.vote(0, x(3)), signature=FALSE), FIRST.vote(0, foreign)),
    )
    bench.tick()
    assert bench.s.view == 1
    assert bench.s.voice.votes == {}


def test_an_own_draft_gets_its_vote_back():
    header = FIRST.header(1)
    own = FIRST.vote(1, n_(1, header))
    draft = replace(FIRST.proposal(header), vote=replace(own, signature=UNSIGNED))
    bench = Bench(index=1, guard=(Epoch(0), View(1)), voted=(own.ballot,), votes=(own,), proposals=(draft,))
    assert bench.s.tally.proposals[View(1)].vote == own
    without = Bench(index=1, guard=(Epoch(0), View(1)), voted=(own.ballot,), proposals=(draft,))
    assert not without.s.tally.proposals


def test_what_was_on_disk_is_not_saved_again():
    bench = Bench(certificates=(FIRST.certificate(x(1)),))
    bench.speak()
    bench.tick(60_000)
    assert [sign.certificates for sign in bench.signed] == [()]


def test_one_authority_alone_waits_for_nobody():
    bench = Bench(n=1)
    bench.core.step(Tick(), Millis(START_MS))
    assert not bench.s.voice.is_silent


def later_epoch(**found):
    """A core whose guard file is in epoch 1 already, and its chain store still at the genesis block."""
    return Bench(parameters=replace(LAN, epoch_blocks=1), **found)


def end_epoch_0(bench):
    last = bench.header(1)
    bench.receive(1, bench.proposal(last))
    bench.give(f(1, last))
    assert (bench.s.epoch, bench.s.tree.root.digest) == (1, last.digest)


def test_what_was_said_in_an_epoch_that_the_chain_store_had_not_reached_is_known_again():
    """Else its own N votes, inside certificates, look like another's, and it falls silent for ever."""
    e1 = Epoch(1)
    said = [notarise(e1, View(1), tx(1)), skip(e1, View(2)), skip(e1, View(3))]
    certificate = FIRST.certificate(said[0], (0, 1, 2))
    bench = later_epoch(
        guard=(e1, View(3)),
        voted=(said[2],),
        votes=tuple(FIRST.vote(0, ballot) for ballot in said),
        certificates=(certificate, FIRST.certificate(said[1], (1, 2, 3))),
    )
    end_epoch_0(bench)
    assert bench.s.view == 3
    assert bench.s.tally.notarised == {1: certificate}
    assert [vote.ballot for vote in bench.s.voice.latest(8)] == said
    bench.give(said[2])
    bench.receive(1, Certificates((FIRST.certificate(said[1], (0, 1, 2)),)))
    assert bench.s.voice.notice in ("", WAITING)


def test_votes_that_the_guard_file_let_go_of_are_no_strangers_when_the_chain_is_fetched_anew():
    e1 = Epoch(1)
    bench = later_epoch(
        guard=(e1, View(30)),
        voted=(skip(e1, View(30)),),
        votes=(FIRST.vote(0, skip(e1, View(30))),),
        certificates=(FIRST.certificate(finalise(e1, View(25), tx(9)), (0, 1, 2)),),
    )
    last = bench.header(1)
    bench.receive(1, bench.proposal(last))
    bench.receive(1, Certificates((bench.certificate(f(1, last), (0, 1, 2)),)))
    assert bench.s.epoch == 1
    bench.receive(1, Certificates((FIRST.certificate(notarise(e1, View(26), tx(8)), (1, 2, 3)),)))
    assert bench.s.voice.notice in ("", WAITING)
    bench.receive(1, Certificates((FIRST.certificate(notarise(e1, View(27), tx(8)), (0, 1, 2)),)))
    assert bench.s.voice.notice == LOST_GUARD


def test_an_echo_of_an_epoch_that_the_chain_store_had_not_reached_raises_no_alarm():
    """A peer that lacks the last vote echoes the one before it, while this node is still an epoch behind."""
    e1 = Epoch(1)
    said = [notarise(e1, View(1), tx(1)), skip(e1, View(2))]
    votes = tuple(FIRST.vote(0, ballot) for ballot in said)
    bench = later_epoch(guard=(e1, View(2)), voted=(said[1],), votes=votes)
    bench.receive(1, bench.status(epoch=1, echo=votes[:1]))
    assert bench.s.voice.notice == WAITING
    bench.receive(2, bench.status(epoch=1, echo=[FIRST.vote(0, notarise(e1, View(2), tx(1)))]))
    assert bench.s.voice.notice == LOST_GUARD
