"""The judge of votes is no judge if it lets everything pass."""

import pytest
from p2pledger.chain.vote import Ballot, Vote, finalise, notarise, skip
from p2pledger.types import Epoch, Hash, Signature, View
from tests.faults.oracle import check_no_contradiction

ONE, OTHER = Hash(b"\1" * 32), Hash(b"\2" * 32)
HERE = Epoch(0), View(7)


def vote(ballot: Ballot, signer: int = 0) -> Vote:
    return Vote(ballot, signer, Signature(bytes(64)))


@pytest.mark.parametrize(
    "first, second",
    [
        (notarise(*HERE, ONE), notarise(*HERE, OTHER)),
        (finalise(*HERE, ONE), finalise(*HERE, OTHER)),
        (skip(*HERE), finalise(*HERE, ONE)),
    ],
)
def test_two_votes_that_contradict_each_other_are_found(first: Ballot, second: Ballot) -> None:
    with pytest.raises(AssertionError, match="authority 0 in epoch 0, view 7"):
        check_no_contradiction([vote(first), vote(second)])
    check_no_contradiction([vote(first), vote(second, signer=1)])


def test_what_the_rules_allow_is_no_contradiction() -> None:
    check_no_contradiction([vote(notarise(*HERE, ONE)), vote(skip(*HERE))])
    check_no_contradiction([vote(notarise(*HERE, ONE)), vote(finalise(*HERE, ONE))])
    check_no_contradiction([vote(notarise(*HERE, ONE)), vote(notarise(Epoch(1), View(7), OTHER))])
