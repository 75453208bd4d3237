"""Layers hand each block its parent's state, and let go of what lost once a block is stored."""

from p2pledger.chain.block import FinalBlock, Header, evidence_root, genesis_digest
from p2pledger.chain.vote import Vote, certificate_of, finalise
from p2pledger.ledger.machine import Round
from p2pledger.node.layers import Layers
from p2pledger.storage.memory import MemoryStore
from p2pledger.types import ZERO_HASH, Epoch, Height, View
from tests import ledgers
from tests.unit.node.solo import fact, genesis


class Grown:
    """A store with layers on it, and blocks made by the real machine."""

    def __init__(self):
        self.of = genesis()
        self.ledger = ledgers.Ledger(self.of)
        self.store = MemoryStore(self.of, self.ledger.machine.start())
        self.base = genesis_digest(self.of)
        self.layers = Layers(self.store, self.base)

    def grow(self, parent, height, view, *transactions):
        state, frontier = self.layers.after(parent)
        time_ms = max(t.body.expires_ms for t in transactions) - 30_000
        at = Round(Epoch(0), Height(height), time_ms)
        execution = self.ledger.machine.execute(state, frontier, at, transactions)
        header = Header(
            version=1, genesis_hash=self.of.hash, epoch=Epoch(0), view=View(view), height=Height(height),
            parent_digest=parent, parent_view=View(view - 1), time_ms=time_ms, tx_root=execution.tx_root,
            state_root=execution.state_root, receipts_root=execution.receipts_root, next_set_hash=ZERO_HASH,
            evidence_root=evidence_root(()), proposer=0,
        )  # fmt: skip
        self.layers.add(header, transactions, execution)
        return header.digest

    def commit(self, digest):
        layer = self.layers.get(digest)
        key = ledgers.signer("authority 0")
        ballot = finalise(layer.header.epoch, layer.header.view, digest)
        vote = Vote(ballot, 0, key.sign(ballot.sign_digest(self.of.hash, self.of.authorities.hash)))
        ids = tuple(t.id for t in layer.transactions)
        block = FinalBlock(layer.header, ids, (), certificate_of([vote], 1))
        self.store.commit(block, layer.transactions, layer.execution)
        self.layers.settle(digest)


def test_a_child_stands_on_its_parents_state_before_and_after_that_is_stored():
    grown = Grown()
    one, two, three = (fact(grown.of) for _ in range(3))
    first = grown.grow(grown.base, 1, 1, one)
    second = grown.grow(first, 2, 2, two)
    state, _ = grown.layers.after(second)
    assert state.used([one.id, two.id]) == {one.id, two.id}
    grown.commit(first)
    assert grown.layers.get(first) is None
    state, frontier = grown.layers.after(second)
    assert state.used([one.id, two.id]) == {one.id, two.id} and frontier.size == 2
    third = grown.grow(second, 3, 3, three)
    assert [layer.header.height for layer in grown.layers.branch(third)] == [3, 2]
    grown.commit(second)
    grown.commit(third)
    assert grown.store.tip().height == 3 and grown.layers.after(third)[0] is grown.store


def test_the_same_roots_whether_the_parent_was_stored_or_not():
    one, two = Grown(), Grown()
    transactions = [fact(one.of) for _ in range(2)]
    for grown in (one, two):
        first = grown.grow(grown.base, 1, 1, transactions[0])
        if grown is two:
            grown.commit(first)
        grown.last = grown.grow(first, 2, 2, transactions[1])
    assert one.last == two.last


def test_what_lost_is_forgotten():
    grown = Grown()
    one, two, three = (fact(grown.of) for _ in range(3))
    won = grown.grow(grown.base, 1, 1, one)
    lost = grown.grow(grown.base, 1, 2, two)
    child = grown.grow(lost, 2, 3, three)
    grown.commit(won)
    assert grown.layers.after(lost) is None
    assert grown.layers.after(child) is None
    assert not grown.layers.holds(three.id)
    assert grown.layers.after(grown.base) is None
