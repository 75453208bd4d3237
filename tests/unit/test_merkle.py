"""RFC 6962 trees: the vectors of the Certificate Transparency log, and its definition read naively."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pledger import merkle
from p2pledger.codec import decode, encode

ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                  "606162636465666768696a6b6c6d6e6f")
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]

sizes = st.integers(1, 70)


def leaves(count: int):
    return [merkle.leaf_hash(b"%d" % n) for n in range(count)]


def naive_root(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size):
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "siblings"),
    [(0, 1, []), (0, 8, [A, B, C]), (5, 8, [D, E, ROOTS[4]]), (2, 3, [ROOTS[2]])],
)
def test_paths_are_the_published_ones(index, size, siblings):
    path = merkle.path(LEAVES[:size], index)
    assert [sibling.hex() for sibling in path.siblings] == siblings
    assert path.root(LEAVES[index]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[4]]), (2, 5, [B, D])],
)
def test_consistency_proofs_are_the_published_ones(old, new, proof):
    found = merkle.consistency(LEAVES[:new], old)
    assert [one.hex() for one in found] == proof
    old_root, new_root = merkle.root(LEAVES[:old]), merkle.root(LEAVES[:new])
    assert merkle.is_consistent(old, old_root, new, new_root, found)


@given(st.lists(st.binary(max_size=3), max_size=70))
def test_the_root_is_the_definitions(entries):
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    assert merkle.leaf_hashes(entries) == leaves
    assert merkle.root(leaves) == naive_root(entries)


@given(sizes, st.data())
def test_every_leaf_has_a_path_and_no_other_leaf_or_place_has_it(size, data):
    tree, index = leaves(size), data.draw(st.integers(0, size - 1))
    path, root = merkle.path(tree, index), merkle.root(tree)
    assert path.root(tree[index]) == root
    assert path.root(merkle.leaf_hash(b"another")) != root
    assert decode(merkle.Path, encode(path)) == path
    elsewhere = data.draw(st.integers(0, size))
    if elsewhere != index:
        assert replace(path, index=elsewhere).root(tree[index]) != root
    if path.siblings:
        assert replace(path, siblings=path.siblings[:-1]).root(tree[index]) != root
        assert replace(path, siblings=path.siblings[1:]).root(tree[index]) != root
    assert replace(path, siblings=(*path.siblings, root)).root(tree[index]) != root


@given(sizes, st.data())
def test_growth_can_be_proved_and_another_past_cannot(size, data):
    tree, old = leaves(size), data.draw(st.integers(1, size))
    proof = merkle.consistency(tree, old)
    old_root, root = merkle.root(tree[:old]), merkle.root(tree)
    assert merkle.is_consistent(old, old_root, size, root, proof)
    altered = [merkle.leaf_hash(b"altered"), *tree[1:]]
    assert not merkle.is_consistent(old, merkle.root(altered[:old]), size, root, proof)
    assert not merkle.is_consistent(old, old_root, size, merkle.root(altered), proof)
    assert not merkle.is_consistent(old, old_root, size, root, (*proof, root))
    if proof:
        assert not merkle.is_consistent(old, old_root, size, root, proof[:-1])


@given(st.lists(st.integers(0, 20), max_size=8))
def test_a_frontier_grows_like_the_tree(steps):
    frontier, tree = merkle.Frontier(), []
    for step in steps:
        more = [merkle.leaf_hash(b"%d" % n) for n in range(len(tree), len(tree) + step)]
        tree += more
        frontier = frontier.append(more)
        assert (frontier.size, frontier.root()) == (len(tree), merkle.root(tree))
        assert len(frontier.peaks) == len(tree).bit_count()


@pytest.mark.parametrize(("size", "index"), [(0, 0), (3, 3), (3, -1)])
def test_a_leaf_that_is_not_there_has_no_path(size, index):
    with pytest.raises(IndexError):
        merkle.path(leaves(size), index)


@pytest.mark.parametrize("old", [0, 4])
def test_a_size_that_was_not_has_no_proof(old):
    with pytest.raises(IndexError):
        merkle.consistency(leaves(3), old)


def test_a_path_of_a_place_outside_leads_nowhere():
    path = merkle.path(leaves(3), 2)
    assert replace(path, index=3).root(leaves(3)[2]) is None
    assert not merkle.is_consistent(4, bytes(32), 3, bytes(32), ())
    assert not merkle.is_consistent(0, bytes(32), 3, bytes(32), ())
