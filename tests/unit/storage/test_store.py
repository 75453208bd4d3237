"""What every store promises, over both of them."""

import threading
from dataclasses import replace

import pytest
from p2pledger.chain.payloads import Action, RecordAppend
from p2pledger.chain.receipt import check_receipt
from p2pledger.codec import encode
from p2pledger.crypto import is_signed
from p2pledger.errors import Fatal
from p2pledger.ledger.entries import entry_of, path_of
from p2pledger.ledger.machine import IndexRow
from p2pledger.ledger.record import Record
from p2pledger.merkle import Frontier, is_consistent
from p2pledger.storage.memory import MemoryStore
from p2pledger.storage.sqlite import SqliteStore
from p2pledger.storage.store import Store
from p2pledger.types import ZERO_HASH, Hash
from tests.unit.storage.chains import BLOCK_MS, GENESIS, START_MS, Chain, start

UNKNOWN = Hash(bytes(32))


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path):
    made: Store
    made = (
        SqliteStore(tmp_path, GENESIS, start())
        if request.param == "sqlite"
        else MemoryStore(GENESIS, start())
    )
    yield made
    made.close()


@pytest.fixture
def chain() -> Chain:
    return Chain()


def test_begins_with_what_the_genesis_file_writes(store):
    assert store.tip().height == 0
    assert store.tip().header is None
    assert store.get(b"genesis") == b"written"
    assert store.crown.root == start().state_root
    assert store.block(0) is None
    assert store.blocks(0, 10) == []


def test_the_rows_known_are_those_of_the_last_block(store, chain):
    assert store.rows == {}
    for number in range(2):
        step = chain.step(store)
        rows = {b"row": number}
        store.commit(step.block, step.transactions, replace(step.execution, rows=rows))
        assert store.rows is rows


def test_a_block_comes_back_as_it_was(store, chain):
    steps = [chain.commit(store, [chain.transaction() for _ in range(3)]) for _ in range(4)]
    assert store.tip().header == steps[-1].block.header
    assert store.tip().frontier == steps[-1].execution.frontier
    assert [store.block(height) for height in (1, 2, 3, 4)] == [step.block for step in steps]
    assert store.block(5) is None
    assert list(store.blocks(2, 2)) == [steps[1].block, steps[2].block]
    assert list(store.blocks(4, 9)) == [steps[3].block]


def test_a_transaction_is_located_with_its_result(store, chain):
    chain.commit(store, [chain.transaction()])
    step = chain.commit(store, [chain.transaction() for _ in range(3)])
    located = store.locate(step.transactions[2].id)
    assert located.transaction == step.transactions[2]
    assert located.transaction.signatures == step.transactions[2].signatures
    assert located.result == list(step.execution.results)[2]
    assert located.result_index == 3
    assert store.locate(UNKNOWN) is None


def test_bodies_come_in_the_order_asked_without_those_unknown(store, chain):
    a, b, c = chain.commit(store, [chain.transaction() for _ in range(3)]).transactions
    assert list(store.bodies([c.id, UNKNOWN, a.id, b.id])) == [c, a, b]


def test_a_record_is_found_by_the_id_of_its_transaction(store, chain):
    payload = RecordAppend(
        "sensor.reading/1", START_MS, bytes(16), 7, Action.OBSERVE, (), None, None, None, (), b"1", None
    )
    chain.commit(store)
    one = chain.transaction(payload=encode(payload))
    chain.commit(store, [one])
    assert store.record(one.id) == Record("sensor.reading/1", "org-0", bytes(16), START_MS, 2)
    assert store.record(UNKNOWN) is None
    assert store.records([UNKNOWN, one.id]) == {each: store.record(each) for each in (UNKNOWN, one.id)}


def test_dropped_bodies_leave_everything_else(store, chain):
    payload = encode(
        RecordAppend(
            "sensor.reading/1", START_MS, None, None, Action.OBSERVE, (), None, None, None, (), b"1", None
        )
    )
    steps = [
        chain.commit(store, [chain.transaction(payload=payload, sponsor=f"org-{n % 2}") for n in range(4)])
        for _ in range(3)
    ]
    old, new = [t for step in steps[:2] for t in step.transactions], steps[2].transactions
    mine, others = old[::2], old[1::2]
    before = {t.id: (store.record(t.id), store.locate(t.id).result) for t in others}
    assert store.pruned_height == 0
    store.prune(2, "org-0")
    assert store.pruned_height == 2
    assert list(store.bodies([t.id for t in (*old, *new)])) == [*mine, *new]
    for transaction in others:
        located = store.locate(transaction.id)
        assert located.transaction is None and store.receipt(transaction.id) is None
        assert (store.record(transaction.id), located.result) == before[transaction.id]
        assert store.used([transaction.id])
    for transaction in (*mine, *new):
        assert check_receipt(store.receipt(transaction.id), GENESIS, is_signed) == transaction
    assert [store.block(step.block.header.height) for step in steps] == [step.block for step in steps]
    assert len(store.result_leaves(0, 100)) == 12
    store.prune(1, "org-0")
    assert store.pruned_height == 2
    store.prune(9, "org-0")
    assert store.pruned_height == 3 and list(store.bodies([t.id for t in new])) == list(new[::2])
    chain.commit(store, [chain.transaction()])


def test_state_is_written_replaced_and_removed(store, chain):
    chain.commit(store, writes={b"a": b"1", b"b": b"2", b"c": b"3"})
    chain.commit(store, writes={b"a": b"9", b"b": None, b"unknown": None})
    assert [store.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"9", None, b"3", None]
    assert store.get_all([b"a", b"b", b"c", b"d"]) == {b"a": b"9", b"b": None, b"c": b"3", b"d": None}
    expected = sorted(
        (entry_of(b"a", b"9"), entry_of(b"c", b"3"), entry_of(b"genesis", b"written")), key=lambda e: e.path
    )
    assert list(store.entries("")) == expected
    for entry in expected:
        for digits in (1, 2, 5, 64):
            assert entry in store.entries(entry.path.hex()[:digits])
    assert not store.entries(path_of(b"b").hex())


def test_a_bucket_that_splits_and_is_whole_again(store, chain):
    # 16 buckets, so 2,000 keys overfill each of them, and removing them mends it.
    keys = [b"key %d" % i for i in range(2_000)]
    step = chain.commit(store, writes=dict.fromkeys(keys, b"v"))
    assert any(len(prefix) == 2 and node for prefix, node in step.execution.nodes.items())
    for prefix, node in step.execution.nodes.items():
        assert store.node(prefix) == node
    step = chain.commit(store, writes=dict.fromkeys(keys))
    assert step.execution.state_root == start().state_root
    for prefix, node in step.execution.nodes.items():
        assert store.node(prefix) == node


def test_an_id_is_used_until_its_expiry_has_passed(store, chain):
    first_ms = START_MS + BLOCK_MS
    short, exact, long = (chain.transaction(expires_ms=first_ms + more) for more in (500, BLOCK_MS, 5_000))
    ids = [short.id, exact.id, long.id]
    assert store.used(ids) == set()
    chain.commit(store, [short, exact, long])
    assert store.used([*ids, UNKNOWN]) == set(ids)
    chain.commit(store)
    assert store.used(ids) == {exact.id, long.id}
    chain.commit(store)
    assert store.used([*ids, UNKNOWN]) == {long.id}
    assert store.locate(short.id) is not None


def test_every_receipt_verifies_from_the_genesis_alone(store, chain):
    steps = [chain.commit(store, [chain.transaction() for _ in range(n)]) for n in (1, 0, 5, 2, 7)]
    for step in steps:
        for transaction, result in zip(step.transactions, step.execution.results, strict=True):
            receipt = store.receipt(transaction.id)
            assert check_receipt(receipt, GENESIS, is_signed) == transaction
            assert receipt.result == result
            assert receipt.headers == (step.block.header,)
    assert store.receipt(UNKNOWN) is None


def test_a_receipt_waits_for_a_certificate_above(store, chain):
    (transaction,) = chain.commit(store, [chain.transaction()], is_certified=False).transactions
    assert store.receipt(transaction.id) is None
    chain.commit(store, [chain.transaction()], is_certified=False)
    chain.commit(store)
    receipt = store.receipt(transaction.id)
    assert len(receipt.headers) == 3
    assert check_receipt(receipt, GENESIS, is_signed) == transaction


def test_the_end_of_an_epoch_is_kept_and_goes_into_receipts(store, chain):
    later = replace(GENESIS.authorities, members=GENESIS.authorities.members[::-1])
    boundary = chain.commit(store, next_set=later).block
    assert store.boundary(0).header == boundary.header
    assert store.boundary(0).certificate == boundary.certificate
    assert store.boundary(0).next_set == later
    assert store.boundary(1) is None
    (transaction,) = chain.commit(store, [chain.transaction()], epoch=1).transactions
    receipt = store.receipt(transaction.id)
    assert receipt.boundaries == (store.boundary(0),)
    assert check_receipt(receipt, GENESIS, is_signed) == transaction


@pytest.mark.parametrize(
    ("named", "decided"),
    [(Hash(b"x" * 32), None), (ZERO_HASH, GENESIS.authorities), (Hash(b"x" * 32), GENESIS.authorities)],
)
def test_a_block_names_the_list_that_its_execution_decided_on(store, chain, named, decided):
    with pytest.raises(Fatal, match="not that of its execution"):
        chain.commit(store, next_set=decided, next_set_hash=named)
    assert store.tip().height == 0


def test_a_boundary_without_its_certificate_is_refused(store, chain):
    with pytest.raises(Fatal, match="without its certificate"):
        chain.commit(store, next_set=GENESIS.authorities, is_certified=False)
    assert store.tip().height == 0


def test_consistency_between_any_two_sizes(store, chain):
    roots = {}
    for n in (1, 2, 4, 1, 3):
        frontier = chain.commit(store, [chain.transaction() for _ in range(n)]).execution.frontier
        roots[frontier.size] = frontier.root()
    newest = max(roots)
    for size, root in roots.items():
        assert is_consistent(size, root, newest, roots[newest], store.consistency(size))
    for size in (0, newest + 1):
        with pytest.raises(IndexError):
            store.consistency(size)


def test_leaves_of_all_results(store, chain):
    steps = [chain.commit(store, [chain.transaction() for _ in range(n)]) for n in (3, 4)]
    leaves = [result.leaf() for step in steps for result in step.execution.results]
    assert list(store.result_leaves(0, 100)) == leaves
    assert list(store.result_leaves(2, 3)) == leaves[2:5]
    assert list(store.result_leaves(7, 3)) == []


def test_index_rows_are_scanned_in_key_order_page_by_page(store, chain):
    keys = [b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"]
    chain.commit(store, index_rows=tuple(IndexRow("one", key, b"old") for key in reversed(keys)))
    chain.commit(store, index_rows=(IndexRow("one", b"b", b"new"), IndexRow("two", b"a", b"other")))
    rows = [(key, b"new" if key == b"b" else b"old") for key in sorted(keys)]
    assert list(store.scan("one", b"", b"", 100)) == rows
    assert list(store.scan("one", b"a", b"", 100)) == rows[:4]
    assert list(store.scan("one", b"a", b"a\x00", 100)) == rows[2:4]
    assert list(store.scan("one", b"\xff", b"", 100)) == rows[-2:]
    assert list(store.scan("one", b"", b"a\xff", 2)) == rows[3:5]
    assert list(store.scan("three", b"", b"", 100)) == []
    assert list(store.scan("two", b"b", b"", 100)) == []


def resulted(step, **changes):
    """The step, with other results."""
    results = replace(step.execution.results, **changes)
    return replace(step, execution=replace(step.execution, results=results))


def grown(step, **otherwise):
    """The step with a tree of results that grows in another way."""
    return replace(
        step, execution=replace(step.execution, growth=replace(step.execution.growth, **otherwise))
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: replace(s, block=replace(s.block, header=replace(s.block.header, height=7))),
        lambda s: replace(s, block=replace(s.block, header=replace(s.block.header, parent_digest=UNKNOWN))),
        lambda s: replace(s, block=replace(s.block, header=replace(s.block.header, genesis_hash=UNKNOWN))),
        lambda s: replace(s, block=replace(s.block, header=replace(s.block.header, state_root=UNKNOWN))),
        lambda s: replace(s, block=replace(s.block, header=replace(s.block.header, tx_root=UNKNOWN))),
        lambda s: replace(s, block=replace(s.block, header=replace(s.block.header, receipts_root=UNKNOWN))),
        lambda s: replace(s, transactions=s.transactions[::-1]),
        lambda s: replace(s, execution=replace(s.execution, transactions={})),
        lambda s: resulted(s, transaction_ids=s.execution.results.transaction_ids[::-1]),
        lambda s: resulted(s, height=s.block.header.height + 1),
        lambda s: resulted(s, outputs=(b"x", s.execution.results.outputs[1])),
        lambda s: grown(s, before=Frontier()),
        lambda s: grown(s, levels=s.execution.growth.levels[1:]),
        lambda s: grown(s, after=s.execution.growth.before),
    ],
)
def test_what_is_not_the_next_block_is_refused_and_leaves_nothing(store, chain, spoil):
    chain.commit(store, [chain.transaction()], writes={b"a": b"1"})
    before = store.tip()
    good = chain.step(store, [chain.transaction(), chain.transaction()], writes={b"a": b"2"})
    with pytest.raises(Fatal):
        store.commit(*spoil(good).everything)
    assert store.tip() == before
    assert store.get(b"a") == b"1"
    store.commit(*good.everything)
    assert store.get(b"a") == b"2"


def test_a_block_is_committed_once(store, chain):
    step = chain.commit(store, [chain.transaction()])
    with pytest.raises(Fatal):
        store.commit(*step.everything)


def test_read_from_other_threads_while_one_commits(store, chain):
    first = chain.commit(store, [chain.transaction()], writes={b"n": b"0"}).transactions[0]
    is_done, faults = threading.Event(), []

    def read() -> None:
        try:
            while not is_done.is_set():
                tip = store.tip()
                assert store.block(tip.height).header == tip.header
                assert check_receipt(store.receipt(first.id), GENESIS, is_signed) == first
                assert int(store.get(b"n")) <= store.tip().height
                assert store.entries("")
        except BaseException as error:
            faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(1, 20):
        chain.commit(store, [chain.transaction()], writes={b"n": b"%d" % n})
    is_done.set()
    for reader in readers:
        reader.join()
    assert not faults
