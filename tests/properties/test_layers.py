"""States above the store against plain dicts: one whole copy of the content for each block.

Blocks are executed on any block that is not final, stored in order, and what lost is forgotten; at any
time each block's state is the content of its own branch, and of no other.
"""

import shutil

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from p2pledger.chain.block import FinalBlock, Header, evidence_root, genesis_digest
from p2pledger.chain.vote import Vote, certificate_of, finalise
from p2pledger.ledger.entries import entry_of
from p2pledger.merkle import root as root_of
from p2pledger.node.layers import Layers
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.types import ZERO_HASH, Epoch, Height, Millis, View
from tests.properties.effort import effort, scratch
from tests.properties.test_commitment import naive_root
from tests.unit.storage.chains import BLOCK_MS, GENESIS, KEYS, START_MS, Chain, execution, start

KEY_NAMES = [b"key-%d" % n for n in range(12)]
WRITES = st.dictionaries(st.sampled_from(KEY_NAMES), st.none() | st.binary(max_size=2), max_size=6)
EXPIRES_MS = [START_MS + n * BLOCK_MS for n in (2, 5, 9, 30)]
CHAIN = Chain()
TRANSACTIONS = [CHAIN.transaction(expires_ms) for expires_ms in EXPIRES_MS]


class Copy:
    """The whole content after a block: values, results, and until when each id is remembered."""

    def __init__(self, height, content, leaves, used, path):
        self.height, self.content, self.leaves, self.used, self.path = height, content, leaves, used, path


class LayersAgainstDicts(RuleBasedStateMachine):
    @initialize(on_disk=st.sampled_from([False, False, True]))
    def begin(self, on_disk):
        self.directory = scratch() if on_disk else None
        self.store = (
            SqliteStore(self.directory, GENESIS, start()) if self.directory else MemoryStore(GENESIS, start())
        )
        self.base = genesis_digest(GENESIS)
        self.layers = Layers(self.store, self.base)
        self.view = 0
        self.copies = {self.base: Copy(0, {b"genesis": b"written"}, [], {}, (self.base,))}

    @rule(on=st.integers(0, 10**6), writes=WRITES, chosen=st.sets(st.sampled_from(range(len(EXPIRES_MS)))))
    def execute(self, on, writes, chosen):
        parent = list(self.copies)[on % len(self.copies)]
        below = self.copies[parent]
        height, self.view = below.height + 1, self.view + 1
        time_ms = Millis(START_MS + height * BLOCK_MS)
        transactions = [
            one
            for one in (TRANSACTIONS[i] for i in sorted(chosen))
            if one.id not in below.used and one.body.expires_ms >= time_ms
        ]
        state, frontier = self.layers.after(parent)
        done = execution(state, frontier, height, transactions, writes)
        header = Header(
            version=1, genesis_hash=GENESIS.hash, epoch=Epoch(0), view=View(self.view),
            height=Height(height), parent_digest=parent, parent_view=View(0),
            time_ms=time_ms, tx_root=done.tx_root, state_root=done.state_root,
            receipts_root=done.receipts_root, next_set_hash=ZERO_HASH, evidence_root=evidence_root(()),
            proposer=0,
        )  # fmt: skip
        self.layers.add(header, transactions, done)
        content = {k: v for k, v in (below.content | writes).items() if v is not None}
        leaves = [*below.leaves, *(result.leaf() for result in done.results)]
        used = below.used | {one.id: one.body.expires_ms for one in transactions}
        self.copies[header.digest] = Copy(height, content, leaves, used, (*below.path, header.digest))

    @precondition(lambda self: len(self.copies) > 1)
    @rule(which=st.integers(0, 10**6))
    def settle(self, which):
        base = self.copies[self.base]
        children = [d for d, copy in self.copies.items() if copy.height == base.height + 1]
        self.base = children[which % len(children)]
        layer = self.layers.get(self.base)
        ballot = finalise(Epoch(0), layer.header.view, self.base)
        vote = Vote(ballot, 0, KEYS[0].sign(ballot.sign_digest(GENESIS.hash, GENESIS.authorities.hash)))
        ids = tuple(one.id for one in layer.transactions)
        block = FinalBlock(layer.header, ids, (), certificate_of([vote], 4))
        self.store.commit(block, layer.transactions, layer.execution)
        self.layers.settle(self.base)
        won = self.copies[self.base]
        self.copies = {
            digest: copy
            for digest, copy in self.copies.items()
            if digest == self.base or copy.path[: len(won.path)] == won.path
        }

    @invariant()
    def each_state_is_that_of_its_own_branch(self):
        for digest, copy in self.copies.items():
            state, frontier = self.layers.after(digest)
            keys = (*KEY_NAMES, b"genesis", b"never")
            assert [state.get(key) for key in keys] == [copy.content.get(key) for key in keys]
            assert state.get_all(keys) == {key: copy.content.get(key) for key in keys}
            entries = sorted((entry_of(k, v) for k, v in copy.content.items()), key=lambda e: e.path)
            assert list(state.entries("")) == entries
            assert state.crown.root == naive_root(copy.content)
            assert (frontier.size, frontier.root()) == (len(copy.leaves), root_of(copy.leaves))
            stored_ms = START_MS + self.copies[self.base].height * BLOCK_MS
            for one in TRANSACTIONS:
                is_remembered = copy.used.get(one.id, 0) >= stored_ms
                assert state.used([one.id]) == ({one.id} if is_remembered else set())

    @invariant()
    def branches_and_what_they_hold(self):
        for digest, copy in self.copies.items():
            below = list(reversed(copy.path[copy.path.index(self.base) + 1 :]))
            assert [layer.header.digest for layer in self.layers.branch(digest)] == below
            assert (self.layers.get(digest) is None) == (digest == self.base)
        stored = self.copies[self.base].used
        waiting = {one for copy in self.copies.values() for one in copy.used if one not in stored}
        assert {one.id for one in TRANSACTIONS if self.layers.holds(one.id)} == waiting

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            if self.directory:
                shutil.rmtree(self.directory)


TestLayersAgainstDicts = LayersAgainstDicts.TestCase
TestLayersAgainstDicts.settings = effort(20, steps=25)
