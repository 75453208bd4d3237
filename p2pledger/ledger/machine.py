"""Executes blocks: a pure function from a state and transactions to everything that follows. Floor 4."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Result
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import InvalidTransaction
from p2pledger.ledger.state import StateReader
from p2pledger.merkle import Frontier
from p2pledger.types import Epoch, Hash, Height, Millis


@dataclass(frozen=True)
class IndexRow:
    """A row that a module wants to be found by: storage keeps it, `Store.scan` reads it in key order."""

    index: str
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Execution:
    """All that follows from a block: the roots for its header, and what a store must write for it.

    `writes` and `nodes` are the state's and the commitment's changes (None: removed), `results` the new
    leaves of the tree whose right edge is `frontier` afterwards, `used` the new ids and their expiries.
    """

    state_root: Hash
    receipts_root: Hash
    tx_root: Hash
    writes: Mapping[bytes, bytes | None]
    nodes: Mapping[str, Hash | None]
    results: tuple[Result, ...]
    frontier: Frontier
    used: Mapping[Hash, Millis]
    index_rows: tuple[IndexRow, ...]


@dataclass(frozen=True)
class Round:
    """Where in the chain a block stands: what rules may know of it beside the state."""

    epoch: Epoch
    height: Height
    time_ms: Millis


@dataclass(frozen=True)
class Refusal:
    """A candidate that a leader left out: it does not apply on this parent."""

    transaction_id: Hash
    error: InvalidTransaction


@dataclass(frozen=True)
class Built:
    """What a leader makes of its candidates: those that succeed, in the block's order."""

    transactions: tuple[Transaction, ...]
    execution: Execution
    refused: tuple[Refusal, ...]


class Machine:
    """The ledger's rules over one genesis. Pure and without memory of its own."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis

    def start(self) -> Execution:
        """The execution of the genesis block: what the genesis file itself writes."""
        raise NotImplementedError

    def check_form(self, transaction: Transaction) -> None:
        """Refuse what no state could accept: another ledger's, an unknown kind, a payload that is not one."""
        raise NotImplementedError

    def check(self, parent: StateReader, round: Round, transaction: Transaction) -> None:
        """A dry run on throw-away changes: raises what executing it on `parent` would raise."""
        raise NotImplementedError

    def execute(
        self, parent: StateReader, frontier: Frontier, round: Round, transactions: Sequence[Transaction]
    ) -> Execution:
        """Apply transactions in order; each must succeed. Signatures are the caller's to verify."""
        raise NotImplementedError

    def build(
        self, parent: StateReader, frontier: Frontier, round: Round, candidates: Sequence[Transaction]
    ) -> Built:
        """Choose from candidates what fits a block and succeeds, and execute it."""
        raise NotImplementedError
