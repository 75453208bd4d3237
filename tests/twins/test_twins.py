"""The Twins campaign, small: some schedules of each kind, and that it can fail."""

from dataclasses import replace

import pytest
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.vote import finalise, notarise, skip
from p2pledger.consensus.voice import Voice
from p2pledger.simulator.liars.liar import Shameless
from p2pledger.types import Epoch, Hash, Height, View
from tests.twins import __main__ as command
from tests.twins import campaign, mutants, stage
from tests.twins.actors import Troupe
from tests.twins.campaign import CASTS, DIGITS, Cast, Outcome, Task, explore
from tests.twins.judge import Violation, check_agreement, check_chain, check_votes
from tests.twins.snapshot import copied, places


def outcome_of(tasks: list[Task]) -> Outcome:
    total = Outcome()
    for task in tasks:
        total.add(explore(task))
    return total


def name_of(cast: Cast) -> str:
    return f"{cast.twin}-{cast.tempo}"


# --- the campaign ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cast", [Cast(1, "patient"), Cast(2, "hasty")], ids=name_of)
def test_all_schedules_of_two_views(cast):
    outcome = outcome_of(campaign.all_schedules(cast, 2))
    assert not outcome.failures, "\n".join(map(str, outcome.failures))
    assert outcome.schedules == 256


def test_a_sample_of_four_views_comes_to_what_a_campaign_is_for():
    outcome = outcome_of([t for cast in CASTS for t in campaign.sampled_schedules(cast, 4, 32, seed=1)])
    assert not outcome.failures, "\n".join(map(str, outcome.failures))
    assert outcome.schedules == 32 * len(CASTS)
    assert set(outcome.sights) == set(campaign.SIGHTS)


def test_tasks_are_every_schedule_once():
    for views in (1, 2, 3):
        tasks = campaign.all_schedules(Cast(0, "hasty"), views)
        assert len(tasks) * len(DIGITS) ** (views - len(tasks[0].prefix)) == 16**views
        assert len({task.prefix for task in tasks}) == len(tasks)


def test_a_sample_is_of_distinct_schedules_and_the_same_each_time():
    def draw(seed: int) -> list[Task]:
        return campaign.sampled_schedules(Cast(1, "hasty"), 6, 1_600, seed)

    assert draw(1) == draw(1) != draw(2)
    assert len({task.prefix for task in draw(1)}) == 100
    assert {len(task.prefix) for task in draw(1)} == {5}


def test_partitions_are_all_ways_to_part_five_instances_into_two_sides():
    parted = {
        frozenset(frozenset(i for i in range(5) if sides[i] == side) for side in (0, 1))
        for sides in map(stage.sides_of, range(stage.PARTITIONS))
    }
    assert len(parted) == 16


# --- that it can fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught_within_few_schedules(mutant, monkeypatch):
    mutant(monkeypatch)
    samples = [campaign.sampled_schedules(cast, 4, 80, seed=1) for cast in CASTS]
    failures = (explore(task).failures for row in zip(*samples, strict=True) for task in row)
    assert any(failures), "640 schedules show nothing"


def test_a_failure_is_played_again_from_its_schedule(monkeypatch, capsys):
    mutants.final_after_skip(monkeypatch)
    failure = explore(Task(Cast(0, "patient"), "2", 2)).failures[0]
    arguments = str(failure).split(":")[0].split()
    told = []
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["twins", *arguments])
        assert command.main() == 1
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert told[0].splitlines()[-1] == f"VIOLATION: {failure.reason.split(': ', 1)[1]}"
    assert "X(1)" in told[0]


# --- the stage -------------------------------------------------------------------------------------------


def test_a_quorum_passes_its_view_and_the_others_do_not():
    for tempo in stage.TEMPOS:
        troupe = Troupe(0)
        after = stage.after(troupe, stage.opened(troupe), 0b1100, tempo)  # 0 1 2 | 3 0'
        assert [troupe.actor(i).core.situation.view for i in after.cast] == [2, 2, 2, 1, 1]
        has_skipped = [skip(Epoch(0), View(1)) in troupe.actor(i).said for i in after.cast]
        assert has_skipped == [False, False, False, *[tempo == "patient"] * 2]


def test_what_ends_a_view_is_said_in_the_next_round():
    troupe = Troupe(0)
    first = stage.after(troupe, stage.opened(troupe), 0, "patient")
    assert [len(troupe.actor(i).chain) for i in first.cast] == [0] * 5
    assert all(troupe.actor(i).said[-1].view == 1 for i in first.cast)
    for partition, heights in ((0, [1] * 5), (0b0011, [0, 0, 0, 0, 0]), (0b1000, [1, 1, 1, 1, 0])):
        second = stage.after(troupe, first, partition, "hasty")
        assert [len(troupe.actor(i).chain) for i in second.cast] == heights


def test_twins_propose_different_blocks_and_do_not_fall_silent():
    troupe = Troupe(1)  # leads view 1
    after = stage.after(troupe, stage.opened(troupe), 0, "patient")
    after = stage.after(troupe, after, 0, "patient")
    twins = [troupe.actor(after.cast[i]) for i in (1, 4)]
    assert len({twin.said[0] for twin in twins}) == 2
    assert {twin.said[-1].view for twin in twins} == {2}
    assert not any(twin.core.situation.voice.is_silent for twin in twins)


def test_twins_that_heed_their_own_signatures_fall_silent(monkeypatch):
    """(R8) ends what the campaign is about: hence `Shameless`."""
    monkeypatch.setattr(Shameless, "fall_silent", Voice.fall_silent)
    troupe = Troupe(1)
    after = stage.opened(troupe)
    for partition in (0b0001, 0b0000):  # 0 2 3 1' | 1, then all together
        after = stage.after(troupe, after, partition, "patient")
    silent = [troupe.actor(number).core.situation.voice.is_silent for number in after.cast]
    assert silent == [False, True, False, False, False]


def test_a_copy_shares_nothing_that_can_change():
    troupe = Troupe(2)
    played = stage.opened(troupe)
    for partition in (3, 14, 7, 0):
        played = stage.after(troupe, played, partition, "patient")
    for number in played.cast:
        actor = troupe.actor(number)
        copy = copied(actor)
        assert copy == replace(actor, core=copy.core)
        found = places(actor)
        assert len(found) == len(set(found)), "what is held in two places would be copied twice"
        assert not set(found) & set(places(copy))
        assert len(found) == len(places(copy)) > 30


# --- the judge -------------------------------------------------------------------------------------------

A, B = Hash(b"a" * 32), Hash(b"b" * 32)


@pytest.mark.parametrize(
    "said",
    [
        [notarise(Epoch(0), View(1), A), notarise(Epoch(0), View(1), B)],
        [finalise(Epoch(0), View(1), A), finalise(Epoch(0), View(1), B)],
        [skip(Epoch(0), View(1)), finalise(Epoch(0), View(1), A)],
        [finalise(Epoch(0), View(1), A), skip(Epoch(0), View(1))],
    ],
)
def test_votes_that_exclude_each_other_are_seen(said):
    with pytest.raises(Violation):
        check_votes("0", said)


def test_votes_that_do_not_exclude_each_other_pass():
    n, x = notarise(Epoch(0), View(1), A), skip(Epoch(0), View(1))
    check_votes("0", [n, n, x, notarise(Epoch(0), View(2), B), finalise(Epoch(0), View(2), B)])


def test_two_blocks_of_a_height_are_seen():
    check_agreement([[A, B], [A], [A, B]], "012")
    with pytest.raises(Violation, match="2 and another made different blocks final at height 2"):
        check_agreement([[A, B], [A], [A, A]], "012")


def test_a_chain_out_of_order_is_seen():
    actors, _ = healed_actors()
    chain: list[FinalBlock] = max((actor.chain for actor in actors), key=len)
    assert len(chain) > 1
    check_chain("0", chain)
    with pytest.raises(Violation, match="where 1 was due"):
        check_chain("0", chain[1:])
    higher = replace(chain[1], header=replace(chain[1].header, parent_digest=A, height=Height(2)))
    with pytest.raises(Violation, match="on another parent"):
        check_chain("0", [chain[0], higher])


def healed_actors():
    troupe = Troupe(3)
    played = stage.opened(troupe)
    for partition in (0, 0, 4):
        played = stage.after(troupe, played, partition, "hasty")
    return stage.healed(troupe, played)
