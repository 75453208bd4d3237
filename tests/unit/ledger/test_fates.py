from p2pledger.chain.transaction import Outcome
from p2pledger.ledger.fates import EXPIRED, Fate, Fates
from p2pledger.types import Hash

ONE, OTHER, THIRD = [Hash(bytes([n]) * 32) for n in range(3)]
REFUSED = Fate(Outcome.REFUSED, code="duplicate", message="taken")


def test_the_first_end_stands():
    fates = Fates(10)
    assert fates.end(ONE, REFUSED)
    assert not fates.end(ONE, EXPIRED)
    assert (fates.get(ONE), fates.get(OTHER), len(fates)) == (REFUSED, None, 1)


def test_an_id_that_is_accepted_again_or_final_is_forgotten():
    fates = Fates(10)
    fates.end(ONE, REFUSED)
    fates.end(OTHER, EXPIRED)
    fates.remove([THIRD])
    assert (fates.get(ONE), fates.get(OTHER)) == (REFUSED, EXPIRED)
    fates.remove([ONE, THIRD])
    assert (fates.get(ONE), fates.get(OTHER), len(fates)) == (None, EXPIRED, 1)
    assert fates.end(ONE, EXPIRED)
    assert fates.get(ONE) == EXPIRED


def test_the_oldest_end_is_forgotten_first():
    fates = Fates(2)
    for one in (ONE, OTHER, THIRD):
        fates.end(one, EXPIRED)
    assert [fates.get(one) for one in (ONE, OTHER, THIRD)] == [None, EXPIRED, EXPIRED]
    assert len(fates) == 2


def test_an_eighth_more_is_forgotten_at_once():
    fates, ids = Fates(16), [Hash(bytes([n]) * 32) for n in range(40)]
    for count, one in enumerate(ids, 1):
        fates.end(one, EXPIRED)
        assert min(count, 16) <= len(fates) <= 18
        assert [fates.get(id_) for id_ in ids[count - len(fates) : count]] == [EXPIRED] * len(fates)
