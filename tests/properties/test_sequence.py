"""The numbers of a device against a plain set of all numbers that were accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.modules.sequence import Gap, Sequence

ranges = st.tuples(st.integers(0, 300), st.integers(1, 6)).map(lambda r: (r[0], r[0] + r[1] - 1))


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Maximal runs of consecutive numbers."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


@given(st.lists(ranges, max_size=150))
def test_a_range_is_accepted_when_none_of_its_numbers_was_and_few_gaps_stay_open(offered):
    sequence, accepted = Sequence(), set()
    for first, last in offered:
        wanted = set(range(first, last + 1))
        after = accepted | wanted
        missing = runs([n for n in range(max(after) + 1) if n not in after])
        if wanted & accepted:
            expected = "duplicate"
        elif len(missing) > 64:
            expected = "too_many_gaps"
        else:
            sequence, accepted = sequence.accept(first, last), after
            assert [(gap.first, gap.last) for gap in sequence.gaps] == missing
            assert sequence.next_number == max(accepted) + 1
            continue
        with pytest.raises(InvalidTransaction) as refusal:
            sequence.accept(first, last)
        assert refusal.value.code == expected


@given(st.permutations(range(40)))
def test_any_order_of_arrival_ends_alike(order):
    sequence = Sequence()
    for number in order:
        sequence = sequence.accept(number, number)
    assert sequence == Sequence(40, ())


def test_the_64th_gap_is_kept_and_the_65th_is_refused_until_one_closes():
    sequence = Sequence()
    for n in range(64):
        sequence = sequence.accept(2 * n + 1, 2 * n + 1)
    assert len(sequence.gaps) == 64
    with pytest.raises(InvalidTransaction) as refusal:
        sequence.accept(200, 200)
    assert refusal.value.code == "too_many_gaps"
    sequence = sequence.accept(64, 64).accept(200, 200)
    assert sequence.gaps[-1] == Gap(128, 199)


def test_the_last_number_there_is():
    sequence = Sequence().accept(2**63 - 1, 2**63 - 1)
    assert sequence == Sequence(2**63, (Gap(0, 2**63 - 2),))
