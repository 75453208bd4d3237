"""A chain of real blocks in a store: executed by the real machine, certified by the genesis authorities.

Imported by tests that ask a store what transactions have led to.
"""

from collections.abc import Callable

from p2pledger.chain.block import FinalBlock, Header, evidence_root, genesis_digest
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.payloads import Action, RecordAppend, RecordBatch
from p2pledger.chain.transaction import Transaction
from p2pledger.chain.vote import Vote, certificate_of, finalise
from p2pledger.ledger.machine import Machine, Round
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.store import Store
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, View
from tests import ledgers
from tests.ledgers import START_MS, signer


class Committed:
    """A store that `block` appends to; `make` makes it from a genesis file and its execution."""

    def __init__(
        self, of: Genesis | None = None, make: Callable[..., Store] = MemoryStore, step_ms: int = 1_000
    ) -> None:
        self.genesis = of or ledgers.genesis()
        self.machine = Machine(self.genesis)
        self.store = make(self.genesis, self.machine.start())
        self._step_ms = step_ms

    @property
    def time_ms(self) -> int:
        """The next block's time."""
        return START_MS + (self.store.tip().height + 1) * self._step_ms

    def block(self, *transactions: Transaction) -> FinalBlock:
        """Execute and commit; raises what the machine raises."""
        tip, of = self.store.tip(), self.genesis
        height, time_ms = Height(tip.height + 1), Millis(self.time_ms)
        done = self.machine.execute(self.store, tip.frontier, Round(Epoch(0), height, time_ms), transactions)
        header = Header(
            version=1,
            genesis_hash=of.hash,
            epoch=Epoch(0),
            view=View(height),
            height=height,
            parent_digest=tip.header.digest if tip.header else genesis_digest(of),
            parent_view=View(height - 1),
            time_ms=time_ms,
            tx_root=done.tx_root,
            state_root=done.state_root,
            receipts_root=done.receipts_root,
            next_set_hash=ZERO_HASH,
            evidence_root=evidence_root(()),
            proposer=0,
        )
        ballot = finalise(Epoch(0), header.view, header.digest)
        digest = ballot.sign_digest(of.hash, of.authorities.hash)
        members = range(len(of.authorities.members))
        votes = [Vote(ballot, i, signer(f"authority {i}").sign(digest)) for i in members]
        certificate = certificate_of(votes, len(votes))
        block = FinalBlock(header, tuple(t.id for t in transactions), (), certificate)
        self.store.commit(block, transactions, done)
        return block

    def transaction(self, payload: object, sponsor: str, *names: str) -> Transaction:
        """One that the next block may hold."""
        return ledgers.transaction(self.genesis, payload, sponsor, *names, expires_ms=self.time_ms + 60_000)

    def does(self, payload: object, sponsor: str, *names: str) -> Transaction:
        """A block with one transaction, which succeeds."""
        made = self.transaction(payload, sponsor, *names)
        self.block(made)
        return made


def fact(
    time_ms: int = START_MS,
    *,
    schema: str = "epcis.object/1",
    where: str | None = None,
    references: tuple[Hash, ...] = (),
) -> RecordAppend:
    """A record of an organisation."""
    return RecordAppend(
        schema, Millis(time_ms), None, None, Action.OBSERVE, (), where, None, None, references, None, None
    )


def batch(device: bytes, first: int, last: int, time_ms: int = START_MS) -> RecordBatch:
    """Readings of a device."""
    times = Millis(time_ms), Millis(time_ms)
    return RecordBatch("sensor.reading/1", device, first, last, last - first + 1, *times, ZERO_HASH)
