"""The arithmetic of quorums against every subset there is."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.chain.authority import faulty, from_bitmap, quorum, to_bitmap

SIZES = range(1, 14)


def sets_of(size: int, n: int) -> list[int]:
    """All subsets of that many of n authorities, each as the bits of a number."""
    return [sum(1 << member for member in members) for members in combinations(range(n), size)]


def least_shared(size: int, n: int) -> int:
    """How many authorities the two subsets of that size have in common that share the fewest."""
    subsets = sets_of(size, n)
    return min((subsets[0] & other).bit_count() for other in subsets)  # any one will do for the first


@pytest.mark.parametrize("n", SIZES)
def test_any_two_quorums_share_an_honest_authority_whoever_lies(n):
    quorums = sets_of(quorum(n), n)
    for liars in sets_of(faulty(n), n):
        assert all(quorums[0] & other & ~liars for other in quorums)
    assert least_shared(quorum(n), n) > faulty(n)


@pytest.mark.parametrize("n", range(1, 9))
def test_the_first_quorum_stands_for_all(n):
    """What the test above takes for granted, since renaming authorities changes nothing."""
    quorums = sets_of(quorum(n), n)
    assert min((a & b).bit_count() for a in quorums for b in quorums) == least_shared(quorum(n), n)


@pytest.mark.parametrize("n", SIZES)
def test_whoever_is_silent_leaves_a_quorum(n):
    everyone = (1 << n) - 1
    quorums = sets_of(quorum(n), n)
    for silent in sets_of(faulty(n), n):
        assert any(one & silent == 0 for one in quorums)
        assert (everyone & ~silent).bit_count() >= quorum(n)


@pytest.mark.parametrize("n", SIZES)
def test_no_smaller_quorum_is_safe_and_no_more_faults_can_be_borne(n):
    assert quorum(n) == next(q for q in range(1, n + 1) if least_shared(q, n) > faulty(n))
    one_more = faulty(n) + 1
    safe = [q for q in range(1, n + 1) if least_shared(q, n) > one_more]
    assert not any(n - one_more >= q for q in safe)


@given(st.integers(1, 256))
def test_large_sets_too(n):
    """Counted, since enumerating is out of reach: two sets of q out of n share at least 2q - n."""
    f = max(k for k in range(n) if 3 * k < n)
    q = next(q for q in range(n + 1) if 2 * q - n > f)
    assert (faulty(n), quorum(n)) == (f, q)
    assert n - f >= q


@given(st.integers(1, 256).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_a_bitmap_is_its_signers_read_from_the_right(case):
    n, signers = case
    bitmap = to_bitmap(signers, n)
    assert len(bitmap) == -(-n // 8)
    text = "".join("1" if i in signers else "0" for i in range(8 * len(bitmap)))
    assert int.from_bytes(bitmap, "little") == int(text[::-1], 2)
    assert from_bitmap(bitmap) == tuple(sorted(signers))


@given(st.binary(max_size=32))
def test_any_bytes_are_the_bitmap_of_some_signers(bitmap):
    assert to_bitmap(from_bitmap(bitmap), 8 * len(bitmap)) == bitmap
