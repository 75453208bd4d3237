"""The incremental commitment against a naive one that is recomputed from the whole content.

The oracle shares no code with what it judges; it is the definition in the head of `commitment`, read as
slowly as possible. Keys are ground, so that they crowd into few buckets.
"""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.commitment import Commitment, StateProof, check_state_proof
from p2pledger.ledger.entries import unpacked
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.state import EmptyState
from tests.ledgers import Effects
from tests.properties.effort import effort

DEPTH = 1
BUCKETS = 16


def tagged(name: str, data: bytes) -> bytes:
    tag = sha256(name.encode()).digest()
    return sha256(tag + tag + data).digest()


def naive_root(content: dict[bytes, bytes]) -> bytes:
    leaves = [
        (
            sha256(key).hexdigest(),
            tagged("p2pledger/state-leaf/1", len(key).to_bytes(4, "big") + key + value),
        )
        for key, value in content.items()
    ]

    def subtree(prefix: str) -> bytes:
        inside = sorted((path, leaf) for path, leaf in leaves if path.startswith(prefix))
        if not inside:
            return bytes(32)
        if len(prefix) >= DEPTH and len(inside) <= 64:
            joined = b"".join(bytes.fromhex(path) + leaf for path, leaf in inside)
            return tagged("p2pledger/state-bucket/1", joined)
        children = b"".join(subtree(prefix + digit) for digit in "0123456789abcdef")
        return tagged("p2pledger/state-node/1", children)

    return subtree("")


@cache
def ground_keys() -> tuple[bytes, ...]:
    """Keys that all hang below `a`, most of them below `a5`; and some that hang anywhere."""
    keys = [b"%d" % n for n in range(40_000)]
    crowded = [key for key in keys if sha256(key).hexdigest().startswith("a5")][:120]
    beside = [key for key in keys if sha256(key).hexdigest().startswith("a")][:100]
    return (*crowded, *beside, *keys[:30])


class Tree:
    def __init__(self):
        self.commitment, self.reader, self.content = Commitment(BUCKETS), EmptyState(), {}
        self.root = bytes(32)
        self.nodes: dict[str, bytes | None] = {}

    def write(self, writes):
        effects = Effects(self.reader, writes, buckets=BUCKETS)
        self.root = effects.crown.root
        self.reader = Overlay(self.reader, effects)
        self.nodes |= effects.nodes
        self.content |= writes
        self.content = {key: value for key, value in self.content.items() if value is not None}


writes = st.dictionaries(
    st.integers(0, 249).map(lambda n: ground_keys()[n]), st.one_of(st.none(), st.binary(max_size=2))
)


@given(st.lists(writes, max_size=4), st.integers(60, 130), st.randoms(use_true_random=False))
@effort(150)
def test_the_root_is_that_of_the_content_whatever_the_way_there(blocks, crowd, random):
    tree = Tree()
    tree.write(dict.fromkeys(ground_keys()[:crowd], b"crowd"))
    for block in blocks:
        tree.write(block)
        assert tree.root == naive_root(tree.content)
    thinned = random.sample(sorted(tree.content), k=len(tree.content) * 3 // 4)
    tree.write(dict.fromkeys(thinned))
    assert tree.root == naive_root(tree.content)
    fresh = Tree()
    fresh.write(dict(tree.content))
    assert fresh.root == tree.root
    assert live(fresh.nodes) == live(tree.nodes), "no node is left behind that the content does not ask for"


def live(nodes):
    return {prefix: value for prefix, value in nodes.items() if value is not None}


@given(writes, st.integers(0, 249), st.integers(0, 130))
@effort(100)
def test_every_key_has_a_proof_of_its_value_or_of_its_absence(block, asked, crowd):
    tree = Tree()
    tree.write(dict.fromkeys(ground_keys()[:crowd], b"crowd"))
    tree.write(block)
    key = ground_keys()[asked]
    value = tree.content.get(key)
    proof = tree.commitment.prove(tree.reader, key)
    check_state_proof(proof, tree.root, key, value)
    for lie in (b"another", None if value is not None else b""):
        if lie != value:
            with pytest.raises(InvalidMessage):
                check_state_proof(proof, tree.root, key, lie)
    with pytest.raises(InvalidMessage):
        check_state_proof(proof, bytes([tree.root[0] ^ 1]) + tree.root[1:], key, value)


@given(st.integers(0, 2**32), st.integers(1, 119))
@effort(100)
def test_a_proof_with_anything_changed_does_not_hold(where, asked):
    tree = Tree()
    tree.write(dict.fromkeys(ground_keys()[:120], b"crowd"))
    key = ground_keys()[asked]
    proof = tree.commitment.prove(tree.reader, key)
    entries = list(proof.bucket)
    dropped = where % len(entries)
    for bucket in (entries[:dropped] + entries[dropped + 1 :], entries[::-1], entries + entries[:1]):
        for value in (b"crowd", None):
            with pytest.raises(InvalidMessage):
                check_state_proof(StateProof(proof.levels, tuple(bucket)), tree.root, key, value)
    with pytest.raises(InvalidMessage):
        check_state_proof(StateProof(proof.levels[:-1], proof.bucket), tree.root, key, b"crowd")


def test_an_update_reads_only_what_it_changes():
    tree = Tree()
    tree.write({b"%d" % n: b"x" for n in range(3_000)})

    class Counting:
        def __init__(self, reader):
            self.reader, self.crown, self.entries_read = reader, reader.crown, 0

        def entries(self, prefix):
            found = self.reader.entries(prefix)
            self.entries_read += len(found)
            return found

        def buckets(self, prefixes):
            found = self.reader.buckets(prefixes)
            self.entries_read += sum(len(unpacked(bucket)) for bucket in found.values() if bucket is not None)
            return found

        def node(self, prefix):
            return self.reader.node(prefix)

        def children(self, prefix):
            return self.reader.children(prefix)

    counting = Counting(tree.reader)
    update = tree.commitment.update(counting, {b"7": b"y"})
    assert update.crown.root == naive_root(tree.content | {b"7": b"y"})
    assert counting.entries_read <= 64


def test_an_empty_state_has_no_nodes():
    update = Commitment(65_536).update(EmptyState(), {})
    root = update.crown.root
    assert root == bytes(32) and live(update.nodes) == {}
    proof = Commitment(65_536).prove(EmptyState(), b"nothing")
    assert proof == StateProof((), ())
    check_state_proof(proof, root, b"nothing", None)


@pytest.mark.parametrize("buckets", [0, 2, 15, 32, 8_192])
def test_the_number_of_buckets_is_a_power_of_16(buckets):
    with pytest.raises(ValueError):
        Commitment(buckets)
