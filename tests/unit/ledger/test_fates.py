import pytest
from p2pledger.chain.transaction import Outcome
from p2pledger.ledger.fates import EXPIRED, Fate, Fates
from p2pledger.types import Hash, Height

ALL = ONE, OTHER, THIRD, FOURTH, FIFTH, SIXTH = [Hash(bytes([n]) * 32) for n in range(6)]
FINAL = Fate(Outcome.FINAL, height=Height(3))
REFUSED = Fate(Outcome.REFUSED, code="duplicate", message="taken")


def test_the_first_end_stands_unless_the_chain_says_final():
    fates = Fates(10, 10)
    assert fates.end(ONE, REFUSED)
    assert not fates.end(ONE, EXPIRED)
    assert fates.get(ONE) == REFUSED
    fates.end_final([ONE], Height(7))
    assert fates.get(ONE) == Fate(Outcome.FINAL, height=Height(7))
    assert not fates.end(ONE, REFUSED)
    assert fates.get(ONE) == Fate(Outcome.FINAL, height=Height(7))


def test_an_id_that_is_accepted_again_is_open_again_unless_it_is_final():
    fates = Fates(10, 10)
    fates.end(ONE, REFUSED)
    fates.reopen([ONE, THIRD])
    assert fates.get(ONE) is None
    fates.end_final([ONE], Height(1))
    fates.end(OTHER, EXPIRED)
    fates.reopen([THIRD])
    fates.reopen([ONE, OTHER])
    assert fates.among([ONE, OTHER]) == {ONE}


def test_the_oldest_end_is_forgotten_first():
    fates = Fates(2, 2)
    for one in (ONE, OTHER, THIRD):
        fates.end(one, EXPIRED)
    assert [fates.get(one) for one in (ONE, OTHER, THIRD)] == [None, EXPIRED, EXPIRED]
    assert len(fates) == 2


def test_many_become_final_as_one_after_the_other_would():
    def ended():
        fates = Fates(2, 4)
        fates.end_final([SIXTH], Height(1))
        for one in (ONE, OTHER, THIRD):
            fates.end(one, REFUSED)
        return fates

    by_one, together, final = ended(), ended(), [FIFTH, OTHER, SIXTH, FOURTH]
    for one in final:
        by_one.end(one, Fate(Outcome.FINAL, height=Height(2)))
    together.end_final(final, Height(2))
    assert [together.get(one) for one in ALL] == [by_one.get(one) for one in ALL]
    assert together.get(SIXTH) == Fate(Outcome.FINAL, height=Height(1))
    assert together.get(OTHER) == Fate(Outcome.FINAL, height=Height(2))
    assert together.among(ALL) == by_one.among(ALL) == {OTHER, THIRD, FOURTH, FIFTH, SIXTH}


def test_what_is_final_drives_no_other_end_out():
    fates = Fates(2, 2)
    fates.end(ONE, REFUSED)
    fates.end_final([OTHER, THIRD], Height(1))
    fates.end_final([FOURTH, FIFTH], Height(2))
    assert fates.among(ALL) == {ONE, FOURTH, FIFTH}


@pytest.mark.parametrize(("others", "finals", "end"), [(16, 1, EXPIRED), (1, 16, FINAL)])
def test_an_eighth_more_is_forgotten_at_once(others, finals, end):
    fates, ids = Fates(others, finals), [Hash(bytes([n]) * 32) for n in range(40)]
    for count, one in enumerate(ids, 1):
        fates.end(one, end)
        assert min(count, 16) <= len(fates) <= 18
        assert [fates.get(id_) for id_ in ids[count - len(fates) : count]] == [end] * len(fates)
