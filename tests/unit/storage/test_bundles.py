"""Transactions in bundles are what was committed: each by itself, some across bundles, and nothing else."""

import sqlite3
from contextlib import closing

import pytest
from p2pledger.chain.receipt import Results
from p2pledger.storage import bundles, schema
from p2pledger.storage.bundles import Bundle, Bundles, Kept, bundled, kept_between
from p2pledger.storage.database import Damaged, asking
from p2pledger.storage.sqlite import CHAIN_FILE, SqliteStore
from p2pledger.types import Height
from tests.unit.storage.chains import GENESIS, Chain, start

SIZES = (3, 1, 70, 0, 32, 33)


def kept(index: int) -> Kept:
    return Kept(
        index, bytes([index]) * 32, 7, index - 5, 1_000 + index, b"o" * (index % 3), b"body %d" % index
    )


@pytest.fixture
def chain(tmp_path):
    """A file with a block for each of SIZES, and the transactions in their order."""
    chain, transactions = Chain(), []
    with closing(SqliteStore(tmp_path, GENESIS, start())) as store:
        for size in SIZES:
            transactions += chain.commit(store, [chain.transaction() for _ in range(size)]).transactions
    with closing(sqlite3.connect(tmp_path / CHAIN_FILE)) as reader:
        yield reader, transactions


def test_a_bundle_is_read_as_it_was_written():
    some = [kept(index) for index in range(5, 12)]
    (row,) = bundled(some)
    assert list(Bundle(row)) == some


def test_a_bundle_with_any_byte_changed_is_none():
    ((index, content, checksum),) = bundled([kept(5), kept(6)])
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(Damaged):
            Bundle((index, changed, checksum))
    for row in ((6, content, checksum), (5, content[:-1], checksum), (5, "text", checksum), (5, b"", 5)):
        with pytest.raises(Damaged):
            Bundle(row)


def test_results_are_found_one_by_one_and_by_any_range(chain):
    reader, transactions = chain
    found = Bundles(asking(reader))
    for index, transaction in [*enumerate(transactions), *reversed(list(enumerate(transactions)))]:
        one = found.find(index, transaction.id)
        assert one is not None and (one.result_index, one.body) == (index, transaction.encoded)
        assert found.find(index, transactions[index - 1].id) is None
        assert found.find(index + len(transactions), transaction.id) is None
    for begin in range(len(transactions)):
        for end in range(begin, len(transactions) + 2, 7):
            some = [one.id for one in kept_between(asking(reader), begin, end)]
            assert some == [transaction.id for transaction in transactions[begin:end]]


def test_a_bundle_is_of_one_block_and_as_long_as_it_gets(chain, monkeypatch):
    reader, transactions = chain
    rows = reader.execute(schema.BUNDLES_BETWEEN, (0, len(transactions))).fetchall()
    assert all(len({kept.height for kept in Bundle(row)}) == 1 for row in rows)
    lengths = [len(row[1]) for row in rows]
    assert bundles.BUNDLE_BYTES - 300 < max(lengths) <= bundles.BUNDLE_BYTES
    monkeypatch.setattr(bundles, "BUNDLE_BYTES", 1)
    results = Results(Height(1), tuple(one.id for one in transactions[:5]), (b"",) * 5)
    assert len(bundles.bundles_of(0, transactions[:5], results)) == 5
    assert bundles.bundles_of(0, [], Results(Height(1), (), ())) == []
