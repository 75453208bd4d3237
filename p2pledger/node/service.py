"""What the HTTP API may ask of a running node. Floor 6.

The API is written against this protocol and knows nothing of loops, sockets or locks below it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Receipt, Result
from p2pledger.chain.transaction import Transaction
from p2pledger.consensus.diagnosis import Accusation, Diagnosis
from p2pledger.errors import Code
from p2pledger.ledger.fates import Fate as Fate
from p2pledger.ledger.queries import Answer, Page, Query
from p2pledger.types import Epoch, Hash, Height, Millis


@dataclass(frozen=True)
class Health:
    """The three probes, each with what is the matter when it is False."""

    started: bool
    live: bool
    ready: bool
    reasons: tuple[str, ...]
    notices: tuple[str, ...] = ()
    """What an operator has to know and no restart would mend: an authority that votes no more."""


@dataclass(frozen=True)
class NodeStatus:
    """Where a node stands, for people and for gateways' scripts."""

    version: str
    chain_id: str
    genesis_hash: Hash
    role: str
    peer: str
    addresses: tuple[str, ...]
    topics: tuple[str, ...]
    protocols: tuple[str, ...]
    peers: tuple[str, ...]
    height: Height
    digest: Hash
    head_time_ms: Millis
    best_known_height: Height
    epoch: int
    view: int
    authorities: int
    is_authority: bool
    is_voting: bool
    notice: str
    """Why an authority does not vote, in a sentence; empty when all is well."""
    mempool_transactions: int
    mempool_bytes: int


@dataclass(frozen=True)
class FinalEvent:
    """A block became final here."""

    height: Height
    digest: Hash
    time_ms: Millis
    transaction_ids: tuple[Hash, ...]


MEMPOOL_FULL = "mempool_full"
TOO_BUSY = "too_busy"
"""These codes of a refusal have nothing to do with the transaction."""

_BUSY = {
    MEMPOOL_FULL: "the mempool is full",
    TOO_BUSY: "more is waiting than becomes final soon",
    Code.TOO_MANY_PENDING: "too much of the sponsor's is waiting",
}


class Busy(Exception):
    """There is no room for this now, or none for this sponsor: try again after `retry_after_ms`."""

    def __init__(self, retry_after_ms: int, code: str = MEMPOOL_FULL) -> None:
        super().__init__(f"{_BUSY[code]}; try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms
        self.code = code


class Service(Protocol):
    """A running node, as the API sees it."""

    @property
    def genesis(self) -> Genesis:
        """The genesis file that this node runs on."""

    async def submit(self, encoded: Sequence[bytes]) -> Sequence[Hash | Exception]:
        """Judge transactions and take the good ones into the mempool, each on its own.

        The answer has one item per transaction, in order: its id once it is accepted (again, if it
        already was), else InvalidMessage or InvalidTransaction with the code of the refusal, or Busy.
        An accepted transaction ends as final, refused with a code, or expired; its fate is kept.
        """

    def fate(self, transaction_id: Hash) -> Fate:
        """What is known now of a transaction."""

    async def wait(self, transaction_id: Hash, timeout_ms: int) -> Fate:
        """Like `fate`, but waits up to `timeout_ms` while it is pending or unknown."""

    def result(self, transaction_id: Hash) -> Result | None:
        """The result of a final transaction."""

    def receipt(self, transaction_id: Hash) -> Receipt | None:
        """The receipt of a final transaction; None until there is one, and once its body was dropped."""

    def transaction(self, transaction_id: Hash) -> Transaction | None:
        """A transaction that is final or in the mempool; None when its body was dropped."""

    def block(self, height: Height) -> FinalBlock | None:
        """A final block."""

    async def ask(self, query: Query, asked: Any, page: Page) -> Answer:
        """Answer a query from the last final block, in a thread. `asked`: an instance of `query.asked`.

        Raises: Unanswered with the code of the refusal.
        """

    def status(self) -> NodeStatus:
        """Where this node stands."""

    def consensus(self) -> Diagnosis:
        """Where its agreement stands, and why it is not further."""

    def offences(self, from_epoch: Epoch) -> tuple[tuple[Accusation, ...], Epoch | None]:
        """What final blocks have recorded against authorities, by epoch, view and signer.

        Of whole epochs, from this one on; the second is the epoch to go on with, None at the end.
        """

    def health(self) -> Health:
        """The three probes."""

    def final_events(self) -> AsyncIterator[FinalEvent]:
        """Blocks that become final from now on, in order, none left out.

        A subscriber that falls too far behind is ended (it resumes by height).
        """
