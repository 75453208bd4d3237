from p2pledger.chain.transaction import Outcome
from p2pledger.ledger.fates import EXPIRED, Fate, Fates
from p2pledger.types import Hash, Height

ALL = ONE, OTHER, THIRD, FOURTH, FIFTH, SIXTH = [Hash(bytes([n]) * 32) for n in range(6)]
REFUSED = Fate(Outcome.REFUSED, code="duplicate", message="taken")


def test_the_first_end_stands_unless_the_chain_says_final():
    fates = Fates(10)
    assert fates.end(ONE, REFUSED)
    assert not fates.end(ONE, EXPIRED)
    assert fates.get(ONE) == REFUSED
    fates.end_final([ONE], Height(7))
    assert fates.get(ONE) == Fate(Outcome.FINAL, height=Height(7))
    assert not fates.end(ONE, REFUSED)
    assert fates.get(ONE) == Fate(Outcome.FINAL, height=Height(7))


def test_an_id_that_is_accepted_again_is_open_again_unless_it_is_final():
    fates = Fates(10)
    fates.end(ONE, REFUSED)
    fates.reopen([ONE, THIRD])
    assert fates.get(ONE) is None
    fates.end_final([ONE], Height(1))
    fates.end(OTHER, EXPIRED)
    fates.reopen([THIRD])
    fates.reopen([ONE, OTHER])
    assert fates.among([ONE, OTHER]) == {ONE}


def test_the_oldest_end_is_forgotten_first():
    fates = Fates(2)
    for one in (ONE, OTHER, THIRD):
        fates.end(one, EXPIRED)
    assert [fates.get(one) for one in (ONE, OTHER, THIRD)] == [None, EXPIRED, EXPIRED]
    assert len(fates) == 2


def test_many_become_final_as_one_after_the_other_would():
    def ended():
        fates = Fates(5)
        fates.end_final([SIXTH], Height(1))
        for one in (ONE, OTHER, THIRD):
            fates.end(one, REFUSED)
        return fates

    by_one, together, final = ended(), ended(), [FIFTH, OTHER, SIXTH, FOURTH]
    for one in final:
        by_one.end(one, Fate(Outcome.FINAL, height=Height(2)))
    together.end_final(final, Height(2))
    assert [together.get(one) for one in ALL] == [by_one.get(one) for one in ALL]
    assert list(together._ends) == list(by_one._ends) == [ONE, THIRD, FIFTH, OTHER, FOURTH]


def test_an_eighth_more_is_forgotten_at_once():
    fates, ids = Fates(16), [Hash(bytes([n]) * 32) for n in range(40)]
    for count, one in enumerate(ids, 1):
        fates.end(one, EXPIRED)
        assert min(count, 16) <= len(fates) <= 18
        assert [fates.get(id_) for id_ in ids[count - len(fates) : count]] == [EXPIRED] * len(fates)
