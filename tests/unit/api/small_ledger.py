"""A ledger of one authority in memory: what the API and the client are tried against.

Real genesis, signatures, blocks, certificates and receipts; no consensus, network or disk. A test says
when a block becomes final.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import trio
from p2pledger import merkle
from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.block import FinalBlock, Header, evidence_root, genesis_digest, receipts_root, tx_root
from p2pledger.chain.genesis import LAN, Genesis, GenesisOrganisation, Quota
from p2pledger.chain.receipt import Receipt, Result
from p2pledger.chain.transaction import Body, Outcome, Transaction, decode_transaction, is_authentic
from p2pledger.chain.vote import Vote, certificate_of, finalise
from p2pledger.consensus.diagnosis import Accusation, Diagnosis, diagnose
from p2pledger.crypto import KeySigner, is_signed
from p2pledger.errors import Fatal, InvalidTransaction
from p2pledger.ledger.queries import Answer, Page, Query
from p2pledger.node import queries
from p2pledger.node.service import Busy, Fate, FinalEvent, Health, NodeStatus
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, PeerId, View
from tests import ledgers
from tests.committed import Committed
from tests.sim.bench import Bench

AUTHORITY = KeySigner(b"\x01" * 32)
ADMIN = KeySigner(b"\x02" * 32)
WRITER = KeySigner(b"\x03" * 32)
START_MS = 1_800_000_000_000
BLOCK_MS = 1_000


def make_genesis(chain_id: str = "small") -> Genesis:
    authorities = AuthoritySet((Authority("city", AUTHORITY.public_key, PeerId("peer-of-the-city")),))
    quota = Quota(transactions=1_000, size_bytes=1_000_000)
    city = GenesisOrganisation("city", "operator", (ADMIN.public_key,), 1, quota)
    return Genesis(1, chain_id, Millis(START_MS), LAN, authorities, authorities, (city,), (), quota)


def make_transaction(
    genesis: Genesis, salt: int = 0, *, signer: KeySigner = WRITER, **changes
) -> Transaction:
    fields = {
        "version": 1,
        "genesis_hash": genesis.hash,
        "expires_ms": Millis(START_MS + 60_000),
        "salt": salt.to_bytes(8, "big"),
        "kind": "record.append",
        "payload": b"\x80",
        "sponsor": "city",
        "signers": (signer.public_key,),
    }
    body = Body(**(fields | changes))
    return Transaction(body, (signer.sign(body.id),))


@dataclass
class SmallLedger:
    """A `Service`. Attributes without an underscore are for tests to set."""

    genesis: Genesis = field(default_factory=make_genesis)
    busy: int = 0
    fatal: bool = False
    fault: bool = False
    health_now: Health = Health(started=True, live=True, ready=True, reasons=())
    diagnosis: Diagnosis = field(default_factory=lambda: just_started())
    accusations: tuple[Accusation, ...] = ()
    codes: dict[bytes, str] = field(default_factory=dict)
    """Payloads that the rules refuse, and with which code."""
    submissions: list[Sequence[bytes]] = field(default_factory=list)
    mempool: dict[Hash, Transaction] = field(default_factory=dict)
    located: dict[Hash, tuple[Transaction, Result, int]] = field(default_factory=dict)
    ended: dict[Hash, Fate] = field(default_factory=dict)
    blocks: list[FinalBlock] = field(default_factory=list)
    leaves: list[Hash] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    uncertified: bool = False
    is_pruned: bool = False
    events_known: trio.Event = field(default_factory=trio.Event)

    async def submit(self, encoded: Sequence[bytes]) -> Sequence[Hash | Exception]:
        await trio.lowlevel.checkpoint()
        self.submissions.append(encoded)
        if self.fatal:
            raise Fatal("the disk is on fire")
        if self.fault:
            raise ZeroDivisionError("a fault of ours")
        return [self._judge(data) for data in encoded]

    def _judge(self, data: bytes) -> Hash | Exception:
        try:
            transaction = decode_transaction(data)
        except Exception as error:
            return error
        if transaction.body.genesis_hash != self.genesis.hash:
            return InvalidTransaction("wrong_genesis", "it is another ledger's")
        if not is_authentic(transaction, is_signed):
            return InvalidTransaction("bad_signature", "a signature does not hold")
        if transaction.body.payload in self.codes:
            return InvalidTransaction(self.codes[transaction.body.payload], "the rules refuse it")
        if transaction.id in self.located:
            return InvalidTransaction("duplicate", "it is final already")
        if self.busy:
            self.busy -= 1
            return Busy(retry_after_ms=20)
        self.mempool[transaction.id] = transaction
        return transaction.id

    def finalise(self) -> FinalBlock:
        """Make one block of all that waits, final at once."""
        height = Height(len(self.blocks) + 1)
        transactions = list(self.mempool.values())
        ids = tuple(transaction.id for transaction in transactions)
        for position, transaction in enumerate(transactions):
            result = Result(transaction.id, height, position, b"\x80")
            self.located[transaction.id] = transaction, result, len(self.leaves)
            self.leaves.append(result.leaf())
        self.sizes.append(len(self.leaves))
        header = Header(
            version=1,
            genesis_hash=self.genesis.hash,
            epoch=Epoch(0),
            view=View(height),
            height=height,
            parent_digest=self.blocks[-1].header.digest if self.blocks else genesis_digest(self.genesis),
            parent_view=View(height - 1),
            time_ms=Millis(START_MS + height * BLOCK_MS),
            tx_root=tx_root(ids),
            state_root=ZERO_HASH,
            receipts_root=receipts_root(len(self.leaves), merkle.root(self.leaves)),
            next_set_hash=ZERO_HASH,
            evidence_root=evidence_root(()),
            proposer=0,
        )
        ballot = finalise(Epoch(0), header.view, header.digest)
        digest = ballot.sign_digest(self.genesis.hash, self.genesis.authorities.hash)
        certificate = certificate_of([Vote(ballot, 0, AUTHORITY.sign(digest))], 1)
        self.blocks.append(FinalBlock(header, ids, (), certificate))
        self.mempool.clear()
        self._wake()
        return self.blocks[-1]

    def refuse_late(self, transaction_id: Hash, code: str) -> None:
        del self.mempool[transaction_id]
        self.ended[transaction_id] = Fate(Outcome.REFUSED, code=code, message="it no longer applies")
        self._wake()

    def expire(self, transaction_id: Hash) -> None:
        self.mempool.pop(transaction_id, None)
        self.ended[transaction_id] = Fate(Outcome.EXPIRED)
        self._wake()

    def _wake(self) -> None:
        self.events_known.set()
        self.events_known = trio.Event()

    def fate(self, transaction_id: Hash) -> Fate:
        if transaction_id in self.located:
            return Fate(Outcome.FINAL, height=self.located[transaction_id][1].height)
        if transaction_id in self.ended:
            return self.ended[transaction_id]
        return Fate(Outcome.PENDING if transaction_id in self.mempool else Outcome.UNKNOWN)

    async def wait(self, transaction_id: Hash, timeout_ms: int) -> Fate:
        with trio.move_on_after(timeout_ms / 1_000):
            while self.fate(transaction_id).outcome in (Outcome.PENDING, Outcome.UNKNOWN):
                await self.events_known.wait()
        return self.fate(transaction_id)

    def result(self, transaction_id: Hash) -> Result | None:
        return self.located[transaction_id][1] if transaction_id in self.located else None

    def receipt(self, transaction_id: Hash) -> Receipt | None:
        if self.uncertified or self.is_pruned or transaction_id not in self.located:
            return None
        transaction, result, index = self.located[transaction_id]
        block = self.blocks[result.height - 1]
        leaves = [merkle.leaf_hash(i) for i in block.transaction_ids]
        grown = self.leaves[: self.sizes[result.height - 1]]
        return Receipt(
            transaction=transaction.encoded,
            inclusion=merkle.path(leaves, result.position),
            result=result,
            result_path=merkle.path(grown, index),
            headers=(block.header,),
            certificate=block.certificate,
            boundaries=(),
        )

    def transaction(self, transaction_id: Hash) -> Transaction | None:
        if transaction_id in self.located:
            return None if self.is_pruned else self.located[transaction_id][0]
        return self.mempool.get(transaction_id)

    def block(self, height: Height) -> FinalBlock | None:
        return self.blocks[height - 1] if 1 <= height <= len(self.blocks) else None

    @cached_property
    def chain(self) -> Committed:
        """What queries are answered from: a chain of its own, with real rules."""
        return Committed(ledgers.genesis(parameters=replace(LAN, state_buckets=16)))

    async def ask(self, query: Query, asked: object, page: Page) -> Answer:
        await trio.lowlevel.checkpoint()
        return queries.answer(self.chain.store, self.chain.genesis, query, asked, page)

    def status(self) -> NodeStatus:
        header = self.blocks[-1].header if self.blocks else None
        return NodeStatus(
            version="0.1.0",
            chain_id=self.genesis.chain_id,
            genesis_hash=self.genesis.hash,
            role="authority",
            peer="peer-of-the-city",
            addresses=("/ip4/127.0.0.1/tcp/4001",),
            topics=("transactions",),
            protocols=("/p2pledger/small/frames/1",),
            peers=(),
            height=Height(len(self.blocks)),
            digest=header.digest if header else genesis_digest(self.genesis),
            head_time_ms=header.time_ms if header else Millis(START_MS),
            best_known_height=Height(len(self.blocks)),
            epoch=0,
            view=len(self.blocks) + 1,
            authorities=1,
            is_authority=True,
            is_voting=True,
            notice="",
            mempool_transactions=len(self.mempool),
            mempool_bytes=sum(len(t.encoded) for t in self.mempool.values()),
        )

    def consensus(self) -> Diagnosis:
        return self.diagnosis

    def offences(self, from_epoch: Epoch) -> tuple[tuple[Accusation, ...], Epoch | None]:
        return tuple(each for each in self.accusations if each.epoch >= from_epoch), None

    def health(self) -> Health:
        return self.health_now

    def final_events(self) -> AsyncIterator[FinalEvent]:
        return self._events(len(self.blocks))

    async def _events(self, told: int) -> AsyncIterator[FinalEvent]:
        while True:
            while told < len(self.blocks):
                block = self.blocks[told]
                told += 1
                header = block.header
                yield FinalEvent(header.height, header.digest, header.time_ms, block.transaction_ids)
            await self.events_known.wait()


def unhealthy(reason: str) -> Health:
    return replace(SmallLedger.health_now, live=False, ready=False, reasons=(reason,))


def just_started() -> Diagnosis:
    """What a core of four says at its start."""
    bench = Bench()
    return diagnose(bench.s, Millis(bench.now))
