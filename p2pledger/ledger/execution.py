"""What follows from a block, and what a leader makes of its candidates. Floor 4, pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.receipt import Results
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.crown import Crown
from p2pledger.ledger.entries import Changed
from p2pledger.ledger.rules import IndexRows
from p2pledger.merkle import Frontier, Growth
from p2pledger.types import Hash, Height


@dataclass(frozen=True)
class Execution:
    """All that follows from a block: the roots for its header, and what a store must write for it.

    `writes` are the state's changes (None: removed); `crown`, `entries` and `nodes` are the commitment's, as
    in its `Update`; `results` are the leaves by which `growth` makes the tree of all results grow;
    `transactions` are the block's own by id, so many of each of `kinds`. The evidence of a block counts as
    carried out after them.
    """

    height: Height
    state_root: Hash
    receipts_root: Hash
    tx_root: Hash
    writes: Mapping[bytes, bytes | None]
    crown: Crown
    entries: Mapping[str, Changed]
    nodes: Mapping[str, Hash | None]
    results: Results
    growth: Growth
    transactions: Mapping[Hash, Transaction]
    kinds: Mapping[str, int]
    index_rows: IndexRows
    next_set: AuthoritySet | None = None
    """What the last block of an epoch decides: the list that sits two epochs later."""

    rows: Mapping[bytes, Any] = field(default_factory=dict, compare=False, repr=False)
    """See `StateReader.rows`, of the state after the block: how many are known does not follow from it."""

    @property
    def frontier(self) -> Frontier:
        """The right edge of the tree of all results after the block."""
        return self.growth.after


@dataclass(frozen=True)
class Refusal:
    """A candidate that a leader left out: it does not apply on this parent."""

    transaction_id: Hash
    error: InvalidTransaction


@dataclass(frozen=True)
class Built:
    """What a leader makes of its candidates: those that succeed, in the block's order.

    A candidate in neither list is still good: it found no room.
    """

    transactions: tuple[Transaction, ...]
    execution: Execution
    refused: tuple[Refusal, ...]
