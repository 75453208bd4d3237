"""The stored tree of results against the whole-tree functions of `merkle`."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger import merkle
from p2pledger.merkle import Frontier, leaf_hash
from p2pledger.storage import result_tree
from p2pledger.types import Hash


def leaves_of(count: int) -> list[Hash]:
    return [leaf_hash(sha256(b"%d" % i).digest()) for i in range(count)]


class Nodes(dict[int, Hash]):
    """A stored tree that counts how often it is read."""

    reads = 0

    def read(self, number: int) -> Hash:
        self.reads += 1
        return self[number]


def stored(count: int) -> Nodes:
    return Nodes(Frontier().grow(leaves_of(count)).nodes)


def test_numbers_lie_from_left_to_right():
    assert [result_tree.number(0, i) for i in range(4)] == [0, 2, 4, 6]
    assert [result_tree.number(1, i) for i in range(2)] == [1, 5]
    assert result_tree.number(2, 0) == 3


def test_no_two_nodes_share_a_number():
    nodes = Frontier().grow(leaves_of(300)).nodes
    assert len({number for number, _ in nodes}) == len(nodes) < 600


@given(st.lists(st.integers(0, 9), max_size=12))
def test_growing_in_steps_is_growing_at_once(steps):
    frontier, nodes, leaves = Frontier(), {}, leaves_of(sum(steps))
    for step in steps:
        growth = frontier.grow(leaves[frontier.size : frontier.size + step])
        assert growth.before == frontier and growth.after == frontier.append(growth.leaves())
        assert growth.leaves() == leaves[frontier.size : growth.after.size]
        assert not set(dict(growth.nodes)) & set(nodes), "a stored node never changes"
        nodes.update(growth.nodes)
        frontier = growth.after
    assert nodes == dict(Frontier().grow(leaves).nodes)
    assert frontier == Frontier().append(leaves)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 33])
def test_every_proof_of_every_size(count):
    nodes, leaves = stored(count), leaves_of(count)
    for size in range(1, count + 1):
        assert result_tree.frontier_of(nodes.read, size) == Frontier().append(leaves[:size])
        for index in range(size):
            assert result_tree.path(nodes.read, index, size) == merkle.path(leaves[:size], index)
        for old in range(1, size + 1):
            expected = merkle.consistency(leaves[:size], old)
            assert result_tree.consistency(nodes.read, old, size) == expected


@pytest.mark.parametrize("old", [-1, 0, 9])
def test_no_consistency_beyond_the_tree(old):
    with pytest.raises(IndexError):
        result_tree.consistency(stored(8).read, old, 8)


def test_proofs_of_a_long_tree_take_few_reads():
    count = 5_000
    nodes = stored(count)
    for index in (0, 1, 2_047, 2_048, 4_095, 4_096, 4_999):
        nodes.reads = 0
        result_tree.path(nodes.read, index, count)
        assert nodes.reads <= 2 * count.bit_length()
        nodes.reads = 0
        result_tree.consistency(nodes.read, index + 1, count)
        assert nodes.reads <= 2 * count.bit_length()
