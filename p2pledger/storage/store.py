"""What the node asks of its chain store, and what a store promises. Floor 5.

`SqliteStore` for nodes, `MemoryStore` for the simulator and for tests; both pass the same tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.block import Boundary, FinalBlock, Header
from p2pledger.chain.receipt import Receipt, Result
from p2pledger.chain.transaction import Transaction
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.record import Record, record_of
from p2pledger.ledger.state import StateReader
from p2pledger.merkle import Frontier
from p2pledger.types import Epoch, Hash, Height

T = TypeVar("T")


@dataclass(frozen=True)
class Tip:
    """The newest final block of a store, and the tree of results after it.

    `header` is None while only the genesis block is there.
    """

    height: Height
    header: Header | None
    frontier: Frontier


@dataclass(frozen=True)
class Located:
    """A transaction in the chain: where it is, and what became of it.

    `transaction` is None when its body was dropped; then `remnant` is the record that it made, if any.
    """

    transaction: Transaction | None
    result: Result
    result_index: int
    remnant: Record | None = None

    @property
    def record(self) -> Record | None:
        """The record that it made; None when it is of another kind."""
        return self.remnant if self.transaction is None else record_of(self.transaction, self.result.height)


class Store(StateReader, Protocol):
    """A chain on disk: blocks, bodies, state, results and index rows, all of one height at any time.

    Readable from any thread; written by one.
    """

    def commit(self, block: FinalBlock, transactions: Sequence[Transaction], execution: Execution) -> None:
        """Make the next final block durable, with all that follows from it, as ONE transaction.

        A crash at any point leaves the height before or the height after, never between. When this
        returns, it survives a power loss. `transactions` are in the block's order.
        Raises: Fatal when the block is not the child of the tip, or the disk fails.
        """

    def tip(self) -> Tip:
        """The newest final block."""

    def block(self, height: Height) -> FinalBlock | None:
        """A final block; None when the chain is not that long. Its digest is checked on load (Fatal)."""

    def blocks(self, from_height: Height, count: int) -> Sequence[FinalBlock]:
        """Up to `count` final blocks in order."""

    def locate(self, transaction_id: Hash) -> Located | None:
        """A transaction of the chain by id, however old."""

    def bodies(self, ids: Sequence[Hash]) -> Sequence[Transaction]:
        """Those of these transactions that are in the chain with their bodies, in the order asked."""

    def receipt(self, transaction_id: Hash) -> Receipt | None:
        """The proof that a transaction is final.

        None when it is not, when no certificate covers it yet, or when its body was dropped.
        """

    def consistency(self, old_size: int) -> tuple[Hash, ...]:
        """The proof that the tree of results only grew since it had `old_size` leaves."""

    def result_leaves(self, start: int, count: int) -> Sequence[Hash]:
        """Up to `count` leaf hashes of the tree of results, from leaf `start` on: for auditors."""

    def boundary(self, epoch: Epoch) -> Boundary | None:
        """The end of an epoch; None while it lasts."""

    def scan(self, index: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Up to `limit` rows (key, value) of an index whose key starts with `prefix` and is above `after`."""

    def together(self, read: Callable[[], T]) -> T:
        """What `read` finds, all of one height: no block is committed between its reads.

        It may be called several times, and has to be short. Not for the thread that commits.
        """

    def prune(self, to_height: Height, own: OrganisationId) -> None:
        """Drop bodies of transactions in blocks up to a height, but not those that `own` sponsors.

        Some at a time, the oldest first: see `pruned_height`. What a transaction was a record of, its result
        and everything else stays. Called by the thread that commits. Raises: Fatal when the disk fails.
        """

    @property
    def pruned_height(self) -> Height:
        """Up to which block bodies were dropped; 0 when none were."""

    def sizes(self) -> Mapping[str, int]:
        """The bytes of each of the store's files, by file name; empty when it has none."""

    def free_bytes(self) -> int | None:
        """How many bytes are free on the volume of the files; None when there are none."""

    def close(self) -> None:
        """Release the files. Nothing else may be called afterwards."""
