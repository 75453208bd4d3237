"""Real blocks over a fabricated ledger: every transaction writes what its payload says.

Headers, ids, roots, results and certificates are what a store sees in earnest; only the rules are
missing, so that a test can write any state it likes.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count

from p2pledger.chain.authority import Authority, AuthoritySet
from p2pledger.chain.block import FinalBlock, Header, evidence_root, genesis_digest, receipts_root, tx_root
from p2pledger.chain.genesis import GENESIS_VERSION, LAN, Genesis, GenesisOrganisation, Quota
from p2pledger.chain.receipt import Results
from p2pledger.chain.transaction import TRANSACTION_VERSION, Body, Transaction
from p2pledger.chain.vote import Vote, certificate_of, finalise
from p2pledger.crypto import KeySigner
from p2pledger.ledger.commitment import Commitment
from p2pledger.ledger.machine import Execution, IndexRow, IndexRows
from p2pledger.ledger.state import EmptyState, StateReader
from p2pledger.merkle import Frontier
from p2pledger.storage import ids, result_tiles, tail
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height, Millis, PeerId, View

KEYS = [KeySigner(sha256(b"consensus %d" % i).digest()) for i in range(4)]
ADMIN = KeySigner(sha256(b"admin").digest())
START_MS = Millis(1_700_000_000_000)
BLOCK_MS = 1_000


def make_genesis(chain_id: str = "storage-test") -> Genesis:
    members = tuple(Authority(f"org-{i}", key.public_key, PeerId(f"peer-{i}")) for i, key in enumerate(KEYS))
    quota = Quota(1_000, 1_000_000)
    organisations = tuple(
        GenesisOrganisation(
            f"org-{i}", "city", (KeySigner(sha256(b"org %d" % i).digest()).public_key,), 1, quota
        )
        for i in range(4)
    )
    return Genesis(
        version=GENESIS_VERSION,
        chain_id=chain_id,
        time_ms=START_MS,
        parameters=replace(LAN, state_buckets=16),
        authorities=AuthoritySet(members),
        next_authorities=AuthoritySet(members[1:] + members[:1]),
        organisations=organisations,
        gateways=(),
        residents_quota=quota,
    )


GENESIS = make_genesis()
_COMMITMENT = Commitment(GENESIS.parameters.state_buckets)


def execution(
    reader: StateReader,
    frontier: Frontier,
    height: int,
    transactions: Sequence[Transaction] = (),
    writes: Mapping[bytes, bytes | None] | None = None,
    index_rows: tuple[IndexRow, ...] = (),
) -> Execution:
    writes = writes or {}
    update = _COMMITMENT.update(reader, writes)
    outputs = tuple(b"\x00" * (position % 3) for position in range(len(transactions)))
    results = Results(Height(height), tuple(t.id for t in transactions), outputs)
    growth = frontier.grow(results.leaves)
    return Execution(
        height=Height(height),
        state_root=update.crown.root,
        receipts_root=receipts_root(growth.after.size, growth.after.root()),
        tx_root=tx_root([t.id for t in transactions]),
        writes=writes,
        crown=update.crown,
        entries=update.entries,
        nodes=update.nodes,
        results=results,
        growth=growth,
        transactions={t.id: t for t in transactions},
        kinds=Counter(t.body.kind for t in transactions),
        index_rows=IndexRows.of(index_rows),
    )


def start() -> Execution:
    return execution(EmptyState(), Frontier(), 0, writes={b"genesis": b"written"})


def make_small(put: Callable[[object, str, int], None] = setattr) -> None:
    """Let a few blocks fill runs of ids and generations of rows. Who reads the file needs the same sizes."""
    put(ids, "RUN_BITS", 3)
    put(ids, "CHUNK_BITS", 2)
    put(result_tiles, "TILE_BITS", 2)
    put(tail, "GENERATION_ROWS_MAX", 12)
    put(tail, "SLICE_ROWS", 4)


@dataclass
class Step:
    """One block with all that goes to a store."""

    block: FinalBlock
    transactions: tuple[Transaction, ...]
    execution: Execution

    @property
    def everything(self) -> tuple[FinalBlock, tuple[Transaction, ...], Execution]:
        return self.block, self.transactions, self.execution


@dataclass
class Chain:
    """Makes the next block on a store's tip; `commit` also commits it."""

    genesis: Genesis = GENESIS
    salts: "count[int]" = field(default_factory=count)

    def transaction(
        self, expires_ms: int = START_MS + 120_000, payload: object = None, sponsor: str = "org-0"
    ) -> Transaction:
        body = Body(
            version=TRANSACTION_VERSION,
            genesis_hash=self.genesis.hash,
            expires_ms=Millis(expires_ms),
            salt=next(self.salts).to_bytes(8, "big"),
            kind="record.append",
            payload=payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
            sponsor=sponsor,
            signers=(ADMIN.public_key,),
        )
        return Transaction(body, (ADMIN.sign(body.id),))

    def step(
        self,
        store,
        transactions: Sequence[Transaction] = (),
        writes: Mapping[bytes, bytes | None] | None = None,
        index_rows: tuple[IndexRow, ...] = (),
        is_certified: bool = True,
        epoch: int = 0,
        next_set: AuthoritySet | None = None,
        next_set_hash: Hash | None = None,
    ) -> Step:
        tip = store.tip()
        height = tip.height + 1
        done = execution(store, tip.frontier, height, transactions, writes, index_rows)
        done = replace(done, next_set=next_set)
        if next_set_hash is None:
            next_set_hash = ZERO_HASH if next_set is None else next_set.hash
        header = Header(
            version=1,
            genesis_hash=self.genesis.hash,
            epoch=Epoch(epoch),
            view=View(height),
            height=Height(height),
            parent_digest=tip.header.digest if tip.header else genesis_digest(self.genesis),
            parent_view=View(height - 1),
            time_ms=Millis(START_MS + height * BLOCK_MS),
            tx_root=done.tx_root,
            state_root=done.state_root,
            receipts_root=done.receipts_root,
            next_set_hash=next_set_hash,
            evidence_root=evidence_root(()),
            proposer=0,
        )
        certificate = self._certificate(header) if is_certified else None
        named = tuple(t.id for t in transactions)
        return Step(FinalBlock(header, named, (), certificate), tuple(transactions), done)

    def commit(self, store, *args, **kwargs) -> Step:
        step = self.step(store, *args, **kwargs)
        store.commit(*step.everything)
        return step

    def _certificate(self, header: Header):
        sets = {0: self.genesis.authorities, 1: self.genesis.next_authorities}
        authorities = sets[header.epoch]
        ballot = finalise(header.epoch, header.view, header.digest)
        digest = ballot.sign_digest(self.genesis.hash, authorities.hash)
        by_key = {key.public_key: key for key in KEYS}
        votes = [Vote(ballot, i, by_key[authorities.members[i].key].sign(digest)) for i in range(3)]
        return certificate_of(votes, 4)
