from p2pledger.chain.transaction import Outcome
from p2pledger.ledger.fates import EXPIRED, Fate, Fates
from p2pledger.types import Hash, Height

ONE, OTHER, THIRD = (Hash(bytes([n]) * 32) for n in range(3))
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
    fates.reopen(ONE)
    assert fates.get(ONE) is None
    fates.end_final([ONE], Height(1))
    fates.reopen(ONE)
    fates.reopen(OTHER)
    assert fates.get(ONE) is not None


def test_the_oldest_end_is_forgotten_first():
    fates = Fates(2)
    for one in (ONE, OTHER, THIRD):
        fates.end(one, EXPIRED)
    assert [fates.get(one) for one in (ONE, OTHER, THIRD)] == [None, EXPIRED, EXPIRED]
    assert len(fates) == 2
