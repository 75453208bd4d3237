import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.vote import Ballot, Vote, VoteKind, finalise, is_contradiction, notarise, skip
from p2pledger.signer.guard import Guard, GuardRefused, Reason, check_guard
from p2pledger.types import Epoch, Hash, Signature, View

A, B = Hash(b"a" * 32), Hash(b"b" * 32)
SIGNATURE = Signature(bytes(64))


def n(digest: Hash = A, view: int = 5, epoch: int = 1) -> Ballot:
    return notarise(Epoch(epoch), View(view), digest)


def x(view: int = 5, epoch: int = 1) -> Ballot:
    return skip(Epoch(epoch), View(view))


def f(digest: Hash = A, view: int = 5, epoch: int = 1) -> Ballot:
    return finalise(Epoch(epoch), View(view), digest)


# The table of PROTOCOL's sign_vote, row by row: what was voted in the view, what is asked for, the answer.
TABLE = [
    ([], n(), None),
    ([], x(), None),
    ([], f(), None),
    ([n()], n(), None),
    ([n()], n(B), Reason.OTHER_BLOCK),
    ([n()], x(), None),
    ([n()], f(), None),
    ([n()], f(B), None),
    ([x()], n(), Reason.SKIPPED),
    ([x()], x(), None),
    ([x()], f(), Reason.SKIPPED),
    ([f()], n(), None),
    ([f()], x(), Reason.FINALISED),
    ([f()], f(), None),
    ([f()], f(B), Reason.OTHER_BLOCK),
    ([n(), x()], f(), Reason.SKIPPED),
    ([n(), x()], n(), Reason.SKIPPED),
    ([n(), f()], x(), Reason.FINALISED),
    ([n(), f()], n(B), Reason.OTHER_BLOCK),
    ([x()], n(view=6), None),
    ([f()], x(view=6), None),
    ([n()], n(B, view=6), None),
    ([n()], n(view=4), Reason.BELOW_GUARD),
    ([n()], x(view=4), Reason.BELOW_GUARD),
    ([n()], f(view=4), Reason.BELOW_GUARD),
    ([n()], n(view=1, epoch=2), None),
    ([n()], x(view=9, epoch=0), Reason.BELOW_GUARD),
]


@pytest.mark.parametrize(("before", "asked", "answer"), TABLE)
def test_the_table(before, asked, answer):
    guard = Guard()
    for ballot in before:
        guard = check_guard(guard, ballot)
    if answer is None:
        assert asked in check_guard(guard, asked).ballots()
    else:
        with pytest.raises(GuardRefused) as refused:
            check_guard(guard, asked)
        assert refused.value.reason is answer


def test_a_later_view_begins_with_nothing_signed():
    guard = check_guard(check_guard(check_guard(Guard(), n()), f()), x(view=6))
    assert guard == Guard(Epoch(1), View(6), None, True, None)
    assert guard.ballots() == (x(view=6),)


BALLOTS = st.builds(
    lambda kind, epoch, view, digest: (
        {VoteKind.NOTARISE: n, VoteKind.FINALISE: f}[kind](digest, view, epoch)
        if kind is not VoteKind.SKIP
        else x(view, epoch)
    ),
    st.sampled_from(VoteKind),
    st.integers(0, 2),
    st.integers(1, 3),
    st.sampled_from([A, B]),
)


@given(st.lists(BALLOTS, max_size=40))
def test_what_was_signed_never_contradicts_itself_and_never_goes_back(asked):
    guard, signed = Guard(), []
    for ballot in asked:
        try:
            after = check_guard(guard, ballot)
        except GuardRefused:
            continue
        assert after.at >= guard.at
        assert (ballot.epoch, ballot.view) == after.at
        vote = Vote(ballot, 0, SIGNATURE)
        assert not any(is_contradiction(vote, other) for other in signed)
        signed.append(vote)
        guard = after
        # Asking for the same again is never refused: the chain would halt on a replay.
        assert check_guard(guard, ballot) == guard


@given(st.lists(BALLOTS, max_size=20), BALLOTS)
def test_nothing_is_refused_without_need(asked, ballot):
    """The guard refuses below its view, for a contradiction, and N behind an own X; nothing else."""
    guard, signed = Guard(), []
    for one in asked:
        try:
            guard = check_guard(guard, one)
        except GuardRefused:
            continue
        signed.append(one)
    vote = Vote(ballot, 0, SIGNATURE)
    is_needed = (
        (ballot.epoch, ballot.view) < guard.at
        or any(is_contradiction(vote, Vote(other, 0, SIGNATURE)) for other in signed)
        or (ballot.kind is VoteKind.NOTARISE and x(ballot.view, ballot.epoch) in signed)
    )
    try:
        check_guard(guard, ballot)
    except GuardRefused:
        assert is_needed
    else:
        assert not is_needed
