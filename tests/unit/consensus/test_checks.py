"""Every field of a header is held to its place."""

from dataclasses import replace

import pytest
from p2pledger.chain.vote import evidence_of, notarise
from p2pledger.consensus.checks import (
    check_content,
    check_header,
    check_roots,
    leader_offset,
)
from p2pledger.errors import InvalidMessage
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, View
from tests.sim.bench import Bench, tx

BENCH = Bench()
PLACE = BENCH.s.place(Height(0), Millis(0))
GOOD = BENCH.header(1, ids=(tx(1), tx(2)))


def test_a_header_in_its_place_passes():
    check_header(GOOD, PLACE)
    check_roots(GOOD, (tx(1), tx(2)), ())
    check_content((tx(1), tx(2)), (), ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"genesis_hash": tx("other")},
        {"epoch": Epoch(1)},
        {"view": View(0)},
        {"parent_view": View(1)},
        {"height": Height(2)},
        {"height": Height(0)},
        {"time_ms": Millis(0)},
        {"proposer": 2},
        {"next_set_hash": tx("list")},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_each_wrong_field_is_refused(wrong):
    with pytest.raises(InvalidMessage):
        check_header(replace(GOOD, **wrong), PLACE)


def test_a_boundary_names_the_next_list_and_no_other_block_does():
    last = replace(PLACE, epoch_blocks=1)
    with pytest.raises(InvalidMessage):
        check_header(GOOD, last)
    check_header(replace(GOOD, next_set_hash=tx("list")), last)


def test_ids_and_evidence_are_the_headers():
    for ids in ((), (tx(1),), (tx(2), tx(1))):
        with pytest.raises(InvalidMessage):
            check_roots(GOOD, ids, ())
    evidence = evidence_of(*(BENCH.vote(1, notarise(Epoch(0), View(1), tx(i))) for i in "ab"))
    with pytest.raises(InvalidMessage):
        check_roots(GOOD, (tx(1), tx(2)), (evidence,))


def test_nothing_stands_twice_and_no_offence_is_recorded_again():
    evidence = evidence_of(*(BENCH.vote(1, notarise(Epoch(0), View(1), tx(i))) for i in "ab"))
    check_content((), (evidence,), ())
    for ids, items, recorded in (
        ((tx(1), tx(1)), (), ()),
        ((), (evidence, evidence), ()),
        ((), (evidence,), {evidence.offence}),
    ):
        with pytest.raises(InvalidMessage):
            check_content(ids, items, recorded)


def test_the_rotation_of_the_first_epoch_starts_at_zero_and_others_are_drawn():
    assert leader_offset(tx("x"), Epoch(0), 4) == 0
    drawn = {leader_offset(Hash(bytes([i] * 32)), Epoch(1), 4) for i in range(40)}
    assert drawn == {0, 1, 2, 3}
    assert leader_offset(ZERO_HASH, Epoch(3), 4) == 0
