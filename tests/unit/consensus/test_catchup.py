"""Statuses: who lags is given, who is ahead is asked."""

import pytest
from p2pledger.chain.genesis import LAN
from p2pledger.chain.message import CERTIFICATES_MAX, Certificates, Status
from p2pledger.chain.vote import Vote
from p2pledger.consensus import catchup
from p2pledger.consensus.events import Answered, Gossiped
from p2pledger.types import View
from tests.sim.bench import Bench, f, n_, x


@pytest.fixture
def bench():
    bench = Bench()
    bench.speak()
    return bench


def statuses(bench, *, is_reply=False):
    return [s for s in bench.sent if isinstance(s.frame, Status) and s.frame.is_reply == is_reply]


def test_a_start_says_at_once_where_it_stands():
    bench = Bench()
    bench.tick()
    assert {send.peer for send in statuses(bench)} == {1, 2, 3}


def test_every_status_interval_it_is_said_again(bench):
    bench.sent.clear()
    bench.tick(LAN.status_interval_ms - 1)
    assert statuses(bench) == []
    bench.tick(1)
    assert {send.peer for send in statuses(bench)} == {1, 2, 3}


def test_a_reply_is_not_replied_to(bench):
    bench.sent.clear()
    bench.receive(2, bench.status(is_reply=True))
    assert statuses(bench) == statuses(bench, is_reply=True) == []


def test_a_status_echoes_the_peers_own_highest_votes(bench):
    header = bench.header(1)
    votes = (bench.vote(2, n_(1, header)), bench.vote(2, x(1)))
    for vote in votes:
        bench.receive(2, vote)
    bench.sent.clear()
    bench.receive(2, bench.status())
    assert set(statuses(bench, is_reply=True)[0].frame.echo) == set(votes)


def test_a_page_of_certificates_is_bounded(bench):
    for start in range(1, 400, 100):
        bench.give(*(x(view) for view in range(start, start + 100)))
    lacking = catchup.lacking(bench.s, bench.status(view=5))
    assert len(lacking) == CERTIFICATES_MAX
    assert lacking[0].ballot == x(5)
    found = catchup.certificates_between(bench.s, View(10), View(12))
    assert [c.ballot for c in found] == [x(10), x(11), x(12)]


def test_one_that_asks_all_the_time_is_given_once_in_a_while(bench):
    bench.give(x(1), x(2))
    bench.now += LAN.delta_ms
    for _ in range(20):
        bench.receive(2, bench.status(view=1))
    assert len(bench.frames(Certificates)) == 1
    bench.now += LAN.delta_ms
    bench.receive(2, bench.status(view=1))
    assert len(bench.frames(Certificates)) == 2


def test_one_certificate_is_enough_to_enter_the_next_view(bench):
    bench.give(x(41))
    assert bench.s.view == 42


def test_one_ahead_is_asked_for_blocks_once_nothing_moved_for_a_status_interval(bench):
    header = bench.header(1)
    bench.receive(2, bench.status(view=2, final_view=1, final_height=1))
    bench.tick(LAN.status_interval_ms)
    [ask] = [ask for ask in bench.asks if ask.key == "blocks"]
    assert ask.peer == 2
    bench.step(Answered("blocks", 2, (bench.final_block(header),)))
    assert bench.s.tree.root.digest == header.digest
    assert bench.s.view == 2


def test_a_gateway_asks_any_authority_and_follows(bench):
    gateway = Bench(index=None)
    gateway.tick(LAN.status_interval_ms)
    [ask] = [ask for ask in gateway.asks if ask.key == "blocks"]
    headers = [gateway.header(1)]
    headers.append(gateway.header(2, headers[0]))
    gateway.step(Answered("blocks", ask.peer, tuple(map(gateway.final_block, headers))))
    assert [final.block.header for final in gateway.finals] == headers
    assert all(final.relay_rank is None for final in gateway.finals)
    assert gateway.sent == []
    assert gateway.ballots() == []


def test_an_authority_that_hears_nobody_asks_too_for_it_may_be_none_any_more(bench):
    for _ in range(LAN.leader_silence_ms // LAN.status_interval_ms):
        bench.tick(LAN.status_interval_ms)
    assert bench.asks == []
    bench.tick(LAN.status_interval_ms)
    [ask] = bench.asks
    assert (ask.key, ask.request.from_height) == ("blocks", 1)


def test_an_authority_that_hears_too_few_to_decide_asks_too(bench):
    """Two that missed an epoch's end hear each other, while the others are in the next one, or dead."""
    silence_ms, every_ms = LAN.leader_silence_ms, LAN.status_interval_ms
    for _ in range(silence_ms // every_ms + 3):
        bench.receive(2, bench.status(is_reply=True))
        bench.tick(every_ms)
    assert {ask.peer for ask in bench.asks} <= {1, 3} and bench.asks


def test_an_authority_that_hears_a_quorum_waits_for_it(bench):
    for _ in range(LAN.leader_silence_ms // LAN.status_interval_ms + 3):
        for peer in (2, 3):
            bench.receive(peer, bench.status(is_reply=True))
        bench.tick(LAN.status_interval_ms)
    assert not bench.asks


def test_a_page_that_helped_is_followed_by_the_next(bench):
    bench.receive(2, bench.status(final_height=500))
    bench.tick(LAN.status_interval_ms)
    parent = None
    for view in range(1, 4):
        ask = bench.asks[-1]
        assert (ask.key, ask.request.from_height) == ("blocks", view)
        parent = bench.header(view, parent)
        bench.step(Answered("blocks", ask.peer, (bench.final_block(parent),)))


def test_caught_up_means_nothing_is_known_above(bench):
    assert catchup.is_caught_up(bench.s)
    bench.receive(1, bench.status(final_height=5))
    assert catchup.is_caught_up(bench.s)  # one may lie
    bench.receive(2, bench.status(final_height=5))
    assert not catchup.is_caught_up(bench.s)
    other = Bench()
    other.give(f(3, other.header(3)))
    assert not catchup.is_caught_up(other.s)


def test_votes_and_the_own_proposal_are_said_again_after_the_deadline(bench):
    bench.tick(60_000)
    bench.sent.clear()
    bench.tick(3 * bench.s.pacing.delta_ms)
    assert [vote.ballot for vote in bench.frames(Vote)] == [x(1)]


def test_an_unfinal_block_is_served_from_wherever_it_is_held(bench):
    header = bench.header(1)
    proposal = bench.proposal(header)
    bench.receive(1, proposal)
    assert catchup.unfinal_proposal(bench.s, header.digest) == proposal
    bench.step(Gossiped(bench.final_block(header)))
    assert catchup.unfinal_proposal(bench.s, header.digest) == proposal
    assert catchup.unfinal_proposal(bench.s, x(1).digest) is None


def test_what_lies_below_a_final_block_is_asked_for_by_height_and_not_block_by_block(bench):
    parent, headers = None, []
    for view in range(1, 40):
        parent = bench.header(view, parent)
        headers.append(parent)
    bench.give(*(n_(header.view, header) for header in headers), f(39, headers[-1]))
    assert {ask.key for ask in bench.asks} == {"blocks"}
    bench.step(Answered("blocks", 1, tuple(map(bench.final_block, headers))))
    assert bench.s.tree.root.height == 39


def test_whoever_answers_nothing_is_not_asked_first_again() -> None:
    gateway = Bench(index=None)
    asked = []
    for _ in range(4):
        gateway.tick(LAN.status_interval_ms)
        ask = [ask for ask in gateway.asks if ask.key == "blocks"][-1]
        asked.append(ask.peer)
        gateway.step(Answered("blocks", ask.peer, ()))
    assert set(asked) == {0, 1, 2, 3}
