"""The nodes are compared block by block: one that differs spoils the measurement, it does not hide in it."""

from types import SimpleNamespace

import pytest
from p2pledger.bench.chains import Chains, Disagreement

A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))


class Node:
    """What a client tells of a node with these blocks: digests and ids, from height 1 on."""

    def __init__(self, *blocks) -> None:
        self.blocks = list(blocks)
        self.asked = []

    async def status(self):
        return SimpleNamespace(height=len(self.blocks))

    async def block(self, height):
        self.asked.append(height)
        digest, *ids = self.blocks[height - 1]
        return SimpleNamespace(header=SimpleNamespace(digest=digest), transaction_ids=tuple(ids))


async def test_ids_are_found_at_their_height_at_every_node():
    ahead, behind = Node((b"x", A), (b"y", B)), Node((b"x", A))
    chains = Chains([ahead, behind])
    assert await chains.common_height() == 1
    await chains.await_final({A}, patience_s=60)
    assert chains.held == [{A: 1, B: 2}, {A: 1}]


async def test_waiting_ends_with_the_patience(autojump_clock):
    chains = Chains([Node((b"x", A, B)), Node((b"x", A))])
    await chains.await_final({A, B}, patience_s=30)
    assert B not in chains.held[1]


async def test_nodes_that_differ_at_a_height_are_found_out():
    with pytest.raises(Disagreement, match="height 2"):
        await Chains([Node((b"x", A), (b"y", B)), Node((b"x", A), (b"z", B))]).await_final({B}, 60)


async def test_what_was_read_is_not_read_again():
    node = Node((b"x", A))
    chains = Chains([node])
    await chains.await_final({A}, 60)
    chains.forget()
    node.blocks.append((b"y", C))
    await chains.await_final({C}, 60)
    assert node.asked == [1, 2] and chains.held == [{C: 2}]
