"""The states after blocks that are executed but not yet stored: a tree of layers over the store. Floor 6.

A block's layer stays until the store holds the block; its children then stand on the store. Reading
through a layer whose parent was stored meanwhile gives the same answers, because the layer's own writes
come first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from p2pledger.chain.block import Header
from p2pledger.chain.transaction import Transaction
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.overlay import Overlay
from p2pledger.ledger.state import StateReader
from p2pledger.merkle import Frontier
from p2pledger.storage.store import Store
from p2pledger.types import Hash


@dataclass(frozen=True)
class Layer:
    """An executed block and the state after it."""

    header: Header
    transactions: tuple[Transaction, ...]
    execution: Execution
    state: Overlay


class Layers:
    """All executed blocks above the stored ones. `base_digest` is the digest of the store's tip."""

    def __init__(self, store: Store, base_digest: Hash) -> None:
        self._store = store
        self._base_digest = base_digest
        self._frontier = store.tip().frontier
        self._layers: dict[Hash, Layer] = {}

    def after(self, digest: Hash) -> tuple[StateReader, Frontier] | None:
        """The state and the tree of results after a block; None when it was not executed here."""
        if digest == self._base_digest:
            return self._store, self._frontier
        layer = self._layers.get(digest)
        return (layer.state, layer.execution.frontier) if layer is not None else None

    def get(self, digest: Hash) -> Layer | None:
        """The layer of a block that is executed but not yet stored."""
        return self._layers.get(digest)

    def add(self, header: Header, transactions: Sequence[Transaction], execution: Execution) -> None:
        """Keep what executing a block on its parent gave."""
        parent = self.after(header.parent_digest)
        assert parent is not None, "a block is executed on its parent's state"
        state = Overlay(parent[0], execution)
        self._layers.setdefault(header.digest, Layer(header, tuple(transactions), execution, state))

    def branch(self, digest: Hash) -> Iterator[Layer]:
        """The layers from a block down to the store, nearest first."""
        layer = self._layers.get(digest)
        while layer is not None:
            yield layer
            layer = self._layers.get(layer.header.parent_digest)

    def holds(self, transaction_id: Hash) -> bool:
        """Whether a block that is executed and not yet stored holds this transaction."""
        return any(transaction_id in layer.execution.transactions for layer in self._layers.values())

    def settle(self, digest: Hash) -> None:
        """The store holds this block now: its children stand on the store, and what lost is forgotten."""
        stored = self._layers.pop(digest)
        self._base_digest, self._frontier = digest, stored.execution.frontier
        kept = {digest}
        for other, layer in list(self._layers.items()):  # a parent stands before its children
            if layer.header.parent_digest in kept:
                kept.add(other)
            else:
                del self._layers[other]
        for layer in self._layers.values():
            if layer.header.parent_digest == digest:
                layer.state.rebase(self._store)
