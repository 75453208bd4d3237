"""Carrying out what the agreement asks of the ledger: executing blocks and building them. Floor 6."""

from collections.abc import Callable, Iterable
from typing import Protocol

from p2pledger.chain.authority import AuthoritySet
from p2pledger.chain.block import BLOCK_TRANSACTIONS_MAX, HEADER_VERSION, Header, evidence_root
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Transaction
from p2pledger.consensus import events
from p2pledger.errors import InvalidMessage, InvalidTransaction
from p2pledger.ledger.machine import Machine, Round
from p2pledger.ledger.mempool import Mempool
from p2pledger.node.age import GossipAge
from p2pledger.node.layers import Layers
from p2pledger.types import ZERO_HASH, Hash, Millis

SPARE_MAX = 64
SPARE_BYTES_MAX = 65_536
"""So much more than a block holds is tried for it: what is refused takes no place of what is not.

Where governance has made blocks small, a few that are refused would fill one candidate's place after the
other's, and the leader would have nothing to propose before the ledger counts as idle.
"""


class Pending(Protocol):
    """What the executor asks of the transactions that wait (`node.pool.Pool`, or a simulator's)."""

    mempool: Mempool
    is_unfinal: Callable[[Hash], bool]

    def get(self, transaction_id: Hash) -> Transaction | None:
        """See `Pool.get`."""

    def suspect(self, transaction_ids: Iterable[Hash]) -> None:
        """See `Pool.suspect`."""


class Executor:
    """Executes blocks on the states of their parents, and keeps the states after them."""

    def __init__(self, genesis: Genesis, machine: Machine, layers: Layers, pool: Pending) -> None:
        self._genesis, self._machine, self._layers, self._pool = genesis, machine, layers, pool
        pool.is_unfinal = layers.holds
        self.gossip_age = GossipAge(genesis.parameters.delta_ms)

    def unfinal_ids(self, digest: Hash) -> frozenset[Hash]:
        """The ids in a block and its ancestors that are not stored yet."""
        return frozenset().union(*(layer.execution.transactions for layer in self._layers.branch(digest)))

    def bodies(self, digest: Hash) -> tuple[Transaction, ...]:
        """The transactions of a block that was executed here and is not stored yet; else none."""
        layer = self._layers.get(digest)
        return layer.transactions if layer is not None else ()

    def execute(self, work: events.Execute) -> events.Executed:
        """Whether a block's claims hold on its parent's state; the ids of the bodies that are lacking."""
        header, digest = work.header, work.header.digest
        known = self._layers.get(digest)
        if known is not None:
            return events.Executed(digest, events.Judgement.VALID, next_set=known.execution.next_set)
        found: list[Transaction] = []
        missing: list[Hash] = []
        for transaction_id in work.transaction_ids:
            transaction = self._pool.get(transaction_id)
            if transaction is None:
                missing.append(transaction_id)
            else:
                found.append(transaction)
        self.observe(work, is_whole=not missing)
        if missing:
            return events.Executed(digest, events.Judgement.MISSING, missing=tuple(missing))
        parent = self._layers.after(header.parent_digest)
        assert parent is not None, "the agreement executes a block after its parent"
        offences = tuple(item.offence for item in work.evidence)
        at = Round(header.epoch, header.height, header.time_ms, offences)
        try:
            execution = self._machine.execute(*parent, at, found)
        except (InvalidTransaction, InvalidMessage) as error:
            return events.Executed(digest, events.Judgement.INVALID, str(error))
        for name in ("tx_root", "state_root", "receipts_root"):
            if getattr(execution, name) != getattr(header, name):
                return events.Executed(digest, events.Judgement.INVALID, f"the {name} is another")
        if header.next_set_hash != _hash_of(execution.next_set):
            return events.Executed(digest, events.Judgement.INVALID, "the next authority list is another")
        self._layers.add(header, found, execution)
        return events.Executed(digest, events.Judgement.VALID, next_set=execution.next_set)

    def observe(self, work: events.Execute, *, is_whole: bool) -> None:
        """A block's bodies were all here when it was to be executed, or not: learn how late gossip is."""
        if work.transaction_ids:
            self.gossip_age.observe(is_whole=is_whole)

    def build(
        self, work: events.Build, now: Millis, transactions_max: int = BLOCK_TRANSACTIONS_MAX
    ) -> events.Built:
        """The block that a leader proposes: what of the mempool succeeds on this parent.

        It has `transactions_max` at most, and no more than the ledger's parameters allow.
        Raises: Fatal when the block follows rules that this software does not know.
        """
        parent = self._layers.after(work.parent_digest)
        assert parent is not None, "a leader builds on an executed parent"
        offences = tuple(item.offence for item in work.evidence)
        at = Round(work.epoch, work.height, work.time_ms, offences)
        limits = places, room = self._machine.limits(parent[0], at)
        candidates = (
            []
            if work.is_empty
            else self._pool.mempool.candidates(
                min(transactions_max, places + SPARE_MAX),
                room + SPARE_BYTES_MAX,
                self.gossip_age.ms,
                now,
                self.unfinal_ids(work.parent_digest),
            )
        )
        built = self._machine.build(*parent, at, candidates, limits)
        self._pool.suspect(refusal.transaction_id for refusal in built.refused)
        execution = built.execution
        header = Header(
            version=HEADER_VERSION,
            genesis_hash=self._genesis.hash,
            epoch=work.epoch,
            view=work.view,
            height=work.height,
            parent_digest=work.parent_digest,
            parent_view=work.parent_view,
            time_ms=work.time_ms,
            tx_root=execution.tx_root,
            state_root=execution.state_root,
            receipts_root=execution.receipts_root,
            next_set_hash=_hash_of(execution.next_set),
            evidence_root=evidence_root(work.evidence),
            proposer=work.proposer,
        )
        self._layers.add(header, built.transactions, execution)
        ids = tuple(transaction.id for transaction in built.transactions)
        return events.Built(work.view, header, ids, work.evidence, execution.next_set)


def _hash_of(next_set: AuthoritySet | None) -> Hash:
    return ZERO_HASH if next_set is None else next_set.hash
