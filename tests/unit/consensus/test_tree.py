"""The unfinal blocks: ways down, and what is forgotten once one is final."""

import pytest
from p2pledger.consensus import tree as trees
from p2pledger.consensus.events import Judgement
from p2pledger.consensus.tree import Block, Root, Tree
from p2pledger.types import Hash, Height, Millis
from tests.sim.bench import Bench, tx
from tests.sim.cluster import BASE

BENCH = Bench()


def block(header):
    return Block(header, (), ())


@pytest.fixture
def chain():
    headers = [BENCH.header(1)]
    for view in range(2, 6):
        headers.append(BENCH.header(view, headers[-1]))
    return headers


@pytest.fixture
def tree(chain):
    tree = Tree(Root(BASE, Height(0), Millis(0)))
    for header in chain:
        tree.add(block(header))
    return tree


def test_a_way_leads_up_from_the_root(tree, chain):
    blocks, end = tree.branch(chain[3].digest)
    assert [b.header for b in blocks] == chain[:4]
    assert end == BASE
    assert tree.branch(BASE) == ([], BASE)


def test_a_way_ends_at_the_first_missing_block(chain):
    tree = Tree(Root(BASE, Height(0), Millis(0)))
    tree.add(block(chain[3]))
    assert tree.branch(chain[3].digest)[1] == chain[2].digest
    assert tree.branch(tx("nothing")) == ([], tx("nothing"))


def test_the_first_block_under_a_digest_stays(tree, chain):
    again = block(chain[0])
    assert tree.add(again) is not again
    assert tree.add(again) is tree.get(chain[0].digest)


def test_advancing_forgets_siblings_their_descendants_and_what_claims_no_place(tree, chain):
    sibling = BENCH.header(6, chain[0], time_ms=Millis(2_000_000))
    nephew = BENCH.header(7, sibling)
    low_view = BENCH.header(2, parent_digest=tx("?"), height=Height(99))
    for header in (sibling, nephew, low_view):
        tree.add(block(header))
    held = tree.get(chain[1].digest)
    tree.advance(tree.get(chain[0].digest))
    tree.advance(held)
    assert {b.header.digest for b in tree} == {h.digest for h in chain[2:]}
    assert tree.root == Root(chain[1].digest, chain[1].height, chain[1].time_ms)


def test_below_the_root_nothing_is_held(tree, chain):
    for header in chain[:3]:
        tree.advance(tree.get(header.digest))
    size = len(tree)
    tree.add(block(chain[0]))
    assert len(tree) == size


def test_only_what_was_found_valid_is_executed(tree, chain):
    assert tree.is_executed(BASE)
    assert not tree.is_executed(chain[0].digest)
    tree.get(chain[0].digest).judgement = Judgement.INVALID
    assert not tree.is_executed(chain[0].digest)
    tree.get(chain[0].digest).judgement = Judgement.VALID
    assert tree.is_executed(chain[0].digest)


def test_it_is_bounded(monkeypatch):
    monkeypatch.setattr(trees, "BLOCKS_MAX", 10)
    tree = Tree(Root(BASE, Height(0), Millis(0)))
    for i in range(20):
        tree.add(block(BENCH.header(1, time_ms=i + 1, parent_digest=Hash(tx(i)))))
    assert len(tree) == 10
