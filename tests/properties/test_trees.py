"""Both trees against their definitions, read word by word: RFC 6962's of results, and the state's buckets."""

from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from p2pledger import merkle
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.commitment import Level, StateProof, check_state_proof
from p2pledger.storage import result_tree
from tests.properties.effort import effort
from tests.properties.test_commitment import Tree, ground_keys, naive_root

SIZES = range(1, 35)
ENTRIES = tuple(b"%d" % n for n in range(200))
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    return max(1 << i for i in range(n) if 1 << i < n)


@cache
def mth(start: int, end: int) -> bytes:
    """MTH(D[start:end]) of RFC 6962, section 2.1."""
    if start == end:
        return sha256(b"").digest()
    if end - start == 1:
        return sha256(b"\x00" + ENTRIES[start]).digest()
    k = start + split(end - start)
    return sha256(b"\x01" + mth(start, k) + mth(k, end)).digest()


def path(m: int, start: int, end: int) -> tuple[bytes, ...]:
    """PATH(m, D[start:end]), section 2.1.1."""
    if end - start == 1:
        return ()
    k = split(end - start)
    if m < k:
        return (*path(m, start, start + k), mth(start + k, end))
    return (*path(m - k, start + k, end), mth(start, start + k))


def proof(m: int, start: int, end: int, b: bool = True) -> tuple[bytes, ...]:
    """SUBPROOF(m, D[start:end], b), section 2.1.2."""
    if m == end - start:
        return () if b else (mth(start, end),)
    k = split(end - start)
    if m <= k:
        return (*proof(m, start, start + k, b), mth(start + k, end))
    return (*proof(m - k, start + k, end, False), mth(start, start + k))


@pytest.mark.parametrize("n", SIZES)
def test_every_root_path_and_proof_of_growth_is_the_rfcs(n):
    growth = merkle.Frontier().grow(LEAVES[:n])
    read, frontier = dict(growth.nodes).__getitem__, growth.after
    assert merkle.root(LEAVES[:n]) == frontier.root() == mth(0, n)
    assert result_tree.frontier_of(read, n) == frontier
    for m in range(n):
        expected = merkle.Path(m, n, path(m, 0, n))
        assert merkle.path(LEAVES[:n], m) == result_tree.path(read, m, n) == expected
        assert expected.root(LEAVES[m]) == mth(0, n)
    for m in range(1, n + 1):
        expected_proof = proof(m, 0, n)
        assert merkle.consistency(LEAVES[:n], m) == result_tree.consistency(read, m, n) == expected_proof
        assert merkle.is_consistent(m, mth(0, m), n, mth(0, n), expected_proof)


@effort(60)
@given(st.lists(st.integers(0, 60), max_size=5), st.data())
def test_a_tree_that_grows_in_steps(steps, data):
    nodes, frontier, size = {}, merkle.Frontier(), 0
    for step in steps:
        step = min(step, len(LEAVES) - size)
        old, growth = size, frontier.grow(LEAVES[size : size + step])
        assert growth.after == frontier.append(LEAVES[size : size + step])
        assert not nodes.keys() & dict(growth.nodes).keys()
        frontier = growth.after
        nodes |= dict(growth.nodes)
        size += step
        assert frontier.root() == mth(0, size)
        if old:
            assert result_tree.consistency(nodes.__getitem__, old, size) == proof(old, 0, size)
    if size:
        m = data.draw(st.integers(0, size - 1))
        assert result_tree.path(nodes.__getitem__, m, size).siblings == path(m, 0, size)


HASHES = st.integers(0, 40).map(lambda n: LEAVES[n]) | st.integers(1, 30).map(lambda n: mth(0, n))


@effort(200)
@given(st.integers(1, 40), st.data())
def test_in_a_tree_of_known_size_only_the_true_path_leads_to_the_root(n, data):
    m = data.draw(st.integers(0, n - 1))
    true = merkle.Path(m, n, path(m, 0, n))
    siblings = list(true.siblings)
    for _ in range(data.draw(st.integers(0, 2))):
        where = data.draw(st.integers(0, len(siblings)))
        match data.draw(st.sampled_from(["set", "drop", "insert", "swap"])):
            case "set" if where < len(siblings):
                siblings[where] = data.draw(HASHES)
            case "drop" if where < len(siblings):
                del siblings[where]
            case "insert":
                siblings.insert(where, data.draw(HASHES))
            case "swap":
                siblings.reverse()
    forged = replace(true, index=data.draw(st.integers(0, n - 1) | st.just(m)), siblings=tuple(siblings))
    assert (forged.root(LEAVES[m]) == mth(0, n)) == (forged == true)


@effort(200)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.data())
def test_no_other_past_is_consistent(old, size, other_old, other_size, data):
    old, size = sorted((old, size))
    shown = list(proof(old, 0, size))
    if data.draw(st.booleans()) and shown:
        shown[data.draw(st.integers(0, len(shown) - 1))] = data.draw(HASHES)
    old_root = mth(0, data.draw(st.sampled_from([old, other_old])))
    root = mth(0, data.draw(st.sampled_from([size, other_size])))
    holds = merkle.is_consistent(old, old_root, size, root, shown)
    if old == size:
        assert holds == (old_root == root)  # of which tree, the caller knows
    else:
        is_true = old_root == mth(0, old) and root == mth(0, size) and shown == list(proof(old, 0, size))
        assert holds == is_true


KEYS = st.integers(0, 249).map(lambda n: ground_keys()[n])


class StateTreeAgainstItsContent(RuleBasedStateMachine):
    """Blocks of inserts and deletions that make buckets split and become whole again, and forged proofs."""

    def __init__(self):
        super().__init__()
        self.tree = Tree()

    @rule(writes=st.dictionaries(KEYS, st.none() | st.binary(max_size=1), max_size=40))
    def write(self, writes):
        self.tree.write(writes)

    @rule(first=st.integers(0, 200), count=st.integers(20, 100), value=st.none() | st.just(b"crowd"))
    def crowd(self, first, count, value):
        self.tree.write(dict.fromkeys(ground_keys()[first : first + count], value))

    @rule(key=KEYS, other=KEYS, depth=st.integers(0, 4), dropped=st.integers(0, 70), how=st.integers(0, 6))
    def prove(self, key, other, depth, dropped, how):
        true = self.tree.commitment.prove(self.tree.reader, key)
        check_state_proof(true, self.tree.root, key, self.tree.content.get(key))
        others = self.tree.commitment.prove(self.tree.reader, other)
        bucket, levels = list(true.bucket), list(true.levels)
        match how:
            case 0:
                levels = list(others.levels)
            case 1:
                bucket = list(others.bucket)
            case 2:
                levels, bucket = levels[:depth], []
            case 3:
                del bucket[dropped : dropped + 1]
            case 4:
                levels = [*levels[:depth], *others.levels[depth:]]
            case 5:
                levels += [Level((bytes(32),) * 15)]
            case 6:
                bucket, levels = list(others.bucket), list(others.levels)
        forged = StateProof(tuple(levels), tuple(bucket))
        for value in (self.tree.content.get(key), self.tree.content.get(other), None, b"", b"lie"):
            try:
                check_state_proof(forged, self.tree.root, key, value)
            except InvalidMessage:
                continue
            assert self.tree.content.get(key) == value

    @invariant()
    def the_root_is_that_of_the_content(self):
        assert self.tree.root == naive_root(self.tree.content)

    def teardown(self):
        """The way there leaves no trace: neither in the root nor in the nodes."""
        fresh = Tree()
        fresh.write(dict(self.tree.content))
        assert fresh.root == self.tree.root
        kept = {prefix: node for prefix, node in self.tree.nodes.items() if node is not None}
        assert kept == {prefix: node for prefix, node in fresh.nodes.items() if node is not None}


TestStateTreeAgainstItsContent = StateTreeAgainstItsContent.TestCase
TestStateTreeAgainstItsContent.settings = effort(40, steps=15)
