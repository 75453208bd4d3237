"""Every liar lies, and nothing comes of it: the promises hold, and what can be proved is recorded."""

from dataclasses import replace
from random import Random

import pytest
from p2pledger.chain.message import Frame
from p2pledger.chain.vote import skip
from p2pledger.codec import decode, encode
from p2pledger.consensus.events import Send
from p2pledger.errors import InvalidMessage
from p2pledger.simulator.faults import BUDGETED, Fault, Kind
from p2pledger.simulator.liars import LIARS
from p2pledger.simulator.liars.garbage_sender import GarbageSender
from p2pledger.simulator.liars.liar import SendBytes, colluded, vote_of
from p2pledger.simulator.liars.wrong_content import WrongContent
from p2pledger.simulator.run import Case, Report, build, case_of, run
from p2pledger.simulator.world import World
from p2pledger.types import Height, View


def with_liars(seed: int, *names: str, n: int | None = None) -> Case:
    """The case of a seed, with these liars in place of all that its fault budget was spent on."""
    case = case_of(seed, n=n)
    others = tuple(fault for fault in case.faults if fault.kind not in BUDGETED)
    numbers = Random(seed).sample(range(case.n), len(names))
    lies = tuple(Fault(0, Kind.LIE, (number,), how=name) for number, name in zip(numbers, names, strict=True))
    return replace(case, faults=(*lies, *others))


def told(seed: int, *names: str, n: int | None = None) -> Report:
    """What came of a run with these liars, all promises kept."""
    report = run(with_liars(seed, *names, n=n))
    assert report.violation is None
    for name in names:
        assert report.counts[f"lies: {name}"] > 0
    return report


@pytest.mark.parametrize("name", sorted(LIARS))
def test_a_liar_lies_and_every_promise_holds(name: str) -> None:
    for seed in (1, 2):
        told(seed, name, n=4)


@pytest.mark.parametrize("name", ["DoubleVoter", "EquivocatingProposer", "RootLiar"])
def test_what_a_liar_signed_twice_is_recorded_in_a_block(name: str) -> None:
    assert told(7, name, n=4).counts["offences recorded"] > 0


PAIRS = [("Colluder", "EquivocatingProposer"), ("BoundaryBreaker", "DoubleVoter"), ("Colluder", "Colluder")]


@pytest.mark.parametrize("names", PAIRS)
def test_two_that_collude_get_no_further(names: tuple[str, str]) -> None:
    told(3, *names, n=7)


def test_garbage_is_dropped_where_it_does_not_decode_and_judged_where_it_does() -> None:
    counts = told(5, "GarbageSender", n=4).counts
    assert counts["frames that do not decode"] > 0
    assert counts["frames that decode though bent"] > 0


def test_a_former_member_goes_on_voting_and_nobody_counts_it() -> None:
    lie = Fault(0, Kind.LIE, (0,), how="StaleEpochVoter")
    changing = replace(with_liars(0, n=4), is_changing=True)
    changing = replace(changing, faults=(lie, *changing.faults))
    worlds: list[World] = []
    report = run(changing, prepare=worlds.append)
    assert report.violation is None
    former = worlds[0].nodes[0]
    assert former.core.situation.voice.index is None
    before = worlds[0].counts["lies: StaleEpochVoter"]
    block = former.disk.store.block(former.disk.store.tip().height)
    assert block is not None
    assert former.liar.upon(former, block)
    assert worlds[0].counts["lies: StaleEpochVoter"] == before + 1


def test_a_run_with_liars_is_the_same_run_again() -> None:
    case = with_liars(11, "GarbageSender", n=4)
    assert run(case).trace_hash == run(case).trace_hash


def bribed(*names: str, n: int) -> World:
    """A world a moment after its start, its first nodes being liars."""
    faults = tuple(Fault(0, Kind.LIE, (number,), how=name) for number, name in enumerate(names))
    world = build(replace(case_of(0, n=n), faults=faults, loss=0.0, followers=0))
    world.run(lambda: False, world.now + 1)
    return world


def test_liars_make_a_certificate_only_with_enough_honest_votes() -> None:
    world = bribed("Colluder", "Colluder", n=7)
    liar = world.nodes[0]
    s = liar.core.situation
    ballot = skip(s.epoch, View(3))
    for honest in (2, 3):
        s.tally.add_vote(vote_of(world.nodes[honest], ballot))
        assert colluded(liar, ballot) is None  # q is 5: two liars need three more
    s.tally.add_vote(replace(vote_of(world.nodes[4], ballot), signature=vote_of(liar, ballot).signature))
    assert colluded(liar, ballot) is None  # the third signature is false
    s.tally.add_vote(vote_of(world.nodes[5], ballot))
    certificate = colluded(liar, ballot)
    assert certificate is not None
    assert len(certificate.signatures) == s.authorities.quorum


def test_a_liar_does_not_fall_silent_over_its_own_signature() -> None:
    world = bribed("DoubleVoter", n=4)
    honest, liar = world.nodes[1], world.nodes[0]
    for node in (honest, liar):
        s = node.core.situation
        s.voice.meet(vote_of(node, skip(s.epoch, View(50))))
    assert "guard" in honest.core.situation.voice.notice
    assert "guard" not in liar.core.situation.voice.notice


def test_garbage_is_bounded_and_mostly_not_a_frame() -> None:
    world = bribed("GarbageSender", n=4)
    node, liar = world.nodes[0], GarbageSender(Random(0))
    true = Send(vote_of(node, skip(node.core.situation.epoch, View(1))))
    said = [item for _ in range(200) for item in liar.say(node, true)]
    garbage = [item.data for item in said if isinstance(item, SendBytes)]
    assert len(said) <= 2 * 200
    assert garbage
    assert all(len(data) <= 2 * len(encode(true.frame, Frame)) + 256 for data in garbage)
    refused = 0
    for data in garbage:
        try:
            decode(Frame, data)
        except InvalidMessage:
            refused += 1
    assert refused > len(garbage) / 2


def test_liars_that_pass_things_on_do_not_go_on_for_ever_among_themselves() -> None:
    world = bribed("WrongContent", n=4)
    world.run(lambda: world.judge.height >= 3, world.now + 60_000)
    node, liar = world.nodes[0], WrongContent(Random(0))
    block = world.nodes[1].disk.store.block(Height(1))
    assert block is not None
    assert sum(len(liar.hear(node, block)) for _ in range(100)) == 1
