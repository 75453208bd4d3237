"""The crown is what hashing every level anew gives, and shares what did not change."""

from hashlib import sha256

import pytest
from p2pledger.ledger.crown import EMPTY, Crown, row_hash


def bucket(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def naive(depth: int, buckets: dict[int, bytes]) -> list[list[bytes]]:
    """Every level from the buckets up, hashed anew."""
    levels = [[buckets.get(number, EMPTY) for number in range(16**depth)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([row_hash(b"".join(below[i : i + 16])) for i in range(0, len(below), 16)])
    return levels[::-1]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_node_is_as_if_hashed_anew(depth):
    crown, buckets = Crown.empty(depth), {}
    for changes in ({0: bucket(1)}, {n: bucket(n) for n in range(0, 16**depth, 7)}, {7: EMPTY, 0: EMPTY}, {}):
        crown, buckets = crown.grown(changes), buckets | changes
        levels = naive(depth, buckets)
        assert crown.root == crown.node("") == levels[0][0]
        for digits in range(1, depth + 1):
            for number, expected in enumerate(levels[digits]):
                assert crown.node(f"{number:0{digits}x}") == expected
        for digits in range(depth):
            for number in range(16**digits):
                name = f"{number:0{digits}x}" if digits else ""
                assert crown.children(name) == levels[digits + 1][number * 16 : number * 16 + 16]


def test_it_is_a_value():
    empty = Crown.empty(2)
    one = empty.grown({3: bucket(3)})
    assert empty.root == EMPTY and one.root != EMPTY
    assert one.grown({3: EMPTY}).root == EMPTY
    assert one.grown({3: bucket(4)}).root != one.root
    assert one.node("03") == bucket(3)
