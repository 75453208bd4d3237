"""The chain of a node: one SQLite file, one transaction for each block. Floor 5.

The commit point is SQLite's: a crash before it leaves the block before, a crash after it the block
itself, and opening the file is the same either way. The node takes what it lacks from its peers.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from p2pledger.chain.block import Boundary, FinalBlock, is_boundary, receipts_root
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Receipt, Result
from p2pledger.chain.transaction import Transaction, decode_transaction
from p2pledger.codec import decode, encode
from p2pledger.errors import Fatal, InvalidMessage
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.state import DIGITS, Entry, entry_of, path_of, path_range
from p2pledger.storage import result_tree, schema
from p2pledger.storage.cache import RowCache
from p2pledger.storage.checks import boundary_of, check_child, check_start, prefix_end, receipt_of, short_id
from p2pledger.storage.database import Database
from p2pledger.storage.store import Located, Tip
from p2pledger.types import ZERO_HASH, Epoch, Hash, Height

CHAIN_FILE = "chain.db"
BOUNDARIES_MAX = 65_536


class OtherGenesis(Fatal):
    """The data directory holds another ledger than the genesis file names."""


class SqliteStore:
    """A `Store` in `directory`/chain.db. A new file begins with what the genesis file itself writes.

    Raises: OtherGenesis; Fatal when the file or its disk cannot be used, or its content is not what
    was written.
    """

    def __init__(self, directory: Path, genesis: Genesis, start: Execution) -> None:
        check_start(start)
        self._genesis = genesis
        self._depth = (genesis.parameters.state_buckets.bit_length() - 1) // 4
        self._database = Database(directory / CHAIN_FILE)
        self._rows = RowCache()
        try:
            if not self._database.rows(schema.HAS_META):
                self._create(start)
            self._check_meta(start)
            self._nodes = self._load_nodes()
            below = self._database.rows(schema.NODES_BELOW_DEPTH, self._depth, self._depth)
            self._split = {prefix for (prefix,) in below}
            self._tip = self._load_tip()
            self._check_tip(start)
        except BaseException:
            self._database.close()
            raise

    # --- opening

    def _create(self, start: Execution) -> None:
        with self._database.writing() as writer:
            for table in schema.TABLES:
                writer.execute(table)
            meta = {
                "format": schema.FORMAT.to_bytes(4, "big"),
                "genesis": self._genesis.hash,
                "start": start.state_root,
            }
            writer.executemany(schema.META_PUT, meta.items())
            _write_effects(writer, start)

    def _check_meta(self, start: Execution) -> None:
        directory = self._database.file.parent
        meta = dict(self._database.rows(schema.META_ALL))
        if int.from_bytes(meta.get("format", b""), "big") != schema.FORMAT:
            raise Fatal(f"{directory} was written by another version of this software; run that one")
        if meta.get("genesis") != self._genesis.hash:
            raise OtherGenesis(
                f"{directory} holds the ledger {meta.get('genesis', b'').hex()}, but the genesis file is that"
                f" of {self._genesis.hash.hex()}: put the right genesis file back, or give up this copy of"
                f" the chain with `rm -r {directory}`"
            )
        if meta.get("start") != start.state_root:
            raise Fatal(
                f"{directory}: this version of the software reads the genesis file differently from the one"
                " that began this chain; run that one"
            )

    def _load_nodes(self) -> dict[str, Hash]:
        # The fixed levels of the state tree (70,000 hashes at most) are read 16 at a time at every
        # write: from memory they cost a hundredth.
        return dict(self._database.rows(schema.NODES_TO_DEPTH, self._depth))

    def _load_tip(self) -> Tip:
        with self._database.snapshot() as reader:
            (height,) = reader.execute(schema.BLOCK_NEWEST).fetchone()
            if height is None:
                return Tip(Height(0), None, result_tree.frontier_of(_reading(reader), 0))
            row = reader.execute(schema.BLOCKS_FROM, (height, 1)).fetchone()
            return Tip(height, _block(row).header, result_tree.frontier_of(_reading(reader), row[4]))

    def _check_tip(self, start: Execution) -> None:
        tip = self._tip
        state_root = tip.header.state_root if tip.header is not None else start.state_root
        is_whole = self._nodes.get("", ZERO_HASH) == state_root
        if tip.header is not None:
            root = receipts_root(tip.frontier.size, tip.frontier.root())
            is_whole = is_whole and root == tip.header.receipts_root
        if not is_whole:
            raise Fatal(
                f"{self._database.file}: the roots at height {tip.height} are not the header's: damaged"
            )

    # --- writing

    def commit(self, block: FinalBlock, transactions: Sequence[Transaction], execution: Execution) -> None:
        """See `Store.commit`."""
        tip, header = self._tip, block.header
        check_child(self._genesis, tip, block, transactions, execution)
        nodes, frontier = result_tree.grow(tip.frontier, [result.leaf() for result in execution.results])
        if frontier != execution.frontier:
            raise Fatal(f"the tree of results of block {header.height} does not grow from the tip's")
        content = encode(block)
        with self._database.writing() as writer:
            writer.executemany(
                schema.TRANSACTION_PUT,
                [
                    _transaction_row(tip.frontier.size + result.position, transaction, result)
                    for transaction, result in zip(transactions, execution.results, strict=True)
                ],
            )
            writer.executemany(schema.NODE_OF_RESULTS_PUT, nodes)
            writer.execute(
                schema.BLOCK_PUT,
                (header.height, header.digest, frontier.size, content, _checksum(header.height, content)),
            )
            _write_effects(writer, execution)
            if is_boundary(header):
                _write_boundary(writer, boundary_of(block, self._genesis, lambda *row: _index(writer, *row)))
        self._rows.replace(execution.writes)
        for prefix, node in execution.nodes.items():
            self._remember(prefix, node)
        self._tip = Tip(header.height, header, frontier)

    def _remember(self, prefix: str, node: Hash | None) -> None:
        if len(prefix) > self._depth:
            # Never taken out again: a bucket that is whole again only costs a look at the disk.
            self._split.add(prefix[: self._depth])
        elif node is None:
            self._nodes.pop(prefix, None)
        else:
            self._nodes[prefix] = node

    # --- the state

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`. Raises: Fatal when the row does not match its leaf."""
        return self._rows.get(key, self._read)

    def _read(self, key: bytes) -> bytes | None:
        rows = self._database.rows(schema.STATE_GET, path_of(key))
        if not rows:
            return None
        leaf, stored, value = rows[0]
        if stored != key or entry_of(key, value).leaf != leaf:
            raise self._damaged("a row of the state")
        return bytes(value)

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`."""
        rows = self._database.rows(schema.STATE_RANGE, *path_range(prefix))
        return [Entry(path, leaf) for path, leaf in rows]

    def node(self, prefix: str) -> Hash | None:
        """See `StateReader.node`."""
        if len(prefix) <= self._depth:
            return self._nodes.get(prefix)
        if prefix[: self._depth] not in self._split:
            return None
        rows = self._database.rows(schema.NODE_GET, prefix)
        return Hash(rows[0][0]) if rows else None

    def children(self, prefix: str) -> list[Hash | None]:
        """See `StateReader.children`."""
        if len(prefix) < self._depth:
            return [self._nodes.get(prefix + digit) for digit in DIGITS]
        if prefix[: self._depth] not in self._split:
            return [None] * 16
        return [self.node(prefix + digit) for digit in DIGITS]

    def is_used(self, transaction_id: Hash) -> bool:
        """See `StateReader.is_used`."""
        header = self._tip.header
        return header is not None and bool(
            self._database.rows(schema.IS_USED, short_id(transaction_id), transaction_id, header.time_ms)
        )

    # --- the chain

    def tip(self) -> Tip:
        """See `Store.tip`."""
        return self._tip

    def block(self, height: Height) -> FinalBlock | None:
        """See `Store.block`."""
        found = self.blocks(height, 1)
        return found[0] if found and found[0].header.height == height else None

    def blocks(self, from_height: Height, count: int) -> Sequence[FinalBlock]:
        """See `Store.blocks`."""
        return [_block(row) for row in self._database.rows(schema.BLOCKS_FROM, from_height, count)]

    def locate(self, transaction_id: Hash) -> Located | None:
        """See `Store.locate`."""
        with self._database.snapshot() as reader:
            return _located(reader, transaction_id)

    def bodies(self, ids: Sequence[Hash]) -> Sequence[Transaction]:
        """See `Store.bodies`."""
        with self._database.snapshot() as reader:
            found = [_located(reader, transaction_id) for transaction_id in ids]
        return [located.transaction for located in found if located is not None]

    def boundary(self, epoch: Epoch) -> Boundary | None:
        """See `Store.boundary`."""
        rows = self._database.rows(schema.BOUNDARIES_FROM, epoch, 1)
        return _boundary(rows[0]) if rows and rows[0][0] == epoch else None

    def scan(self, index: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See `Store.scan`."""
        end = prefix_end(prefix)
        if end is None:
            rows = self._database.rows(schema.INDEX_SCAN_TO_END, index, prefix, after, limit)
        else:
            rows = self._database.rows(schema.INDEX_SCAN, index, prefix, after, end, limit)
        if any(_checksum(index, key, value) != checksum for key, value, checksum in rows):
            raise self._damaged(f"a row of the index {index}")
        return [(key, value) for key, value, _ in rows]

    # --- proofs

    def receipt(self, transaction_id: Hash) -> Receipt | None:
        """See `Store.receipt`. O(log n) reads for the tree of results, one block for `tx_root`."""
        with self._database.snapshot() as reader:
            located = _located(reader, transaction_id)
            if located is None:
                return None
            rows = reader.execute(schema.BLOCKS_FROM, (located.result.height, 1)).fetchall()
            if not rows:
                raise self._damaged(f"block {located.result.height}")
            path = result_tree.path(_reading(reader), located.result_index, rows[0][4])
            return receipt_of(
                located,
                path,
                map(_block, reader.execute(schema.BLOCKS_FROM, (located.result.height, -1))),
                map(_boundary, reader.execute(schema.BOUNDARIES_FROM, (0, BOUNDARIES_MAX))),
            )

    def consistency(self, old_size: int) -> tuple[Hash, ...]:
        """See `Store.consistency`. O(log n) reads."""
        # Nodes of the tree never change, so the tip's size and the reads need no common snapshot.
        size = self._tip.frontier.size
        with self._database.snapshot() as reader:
            return result_tree.consistency(_reading(reader), old_size, size)

    def result_leaves(self, start: int, count: int) -> Sequence[Hash]:
        """See `Store.result_leaves`."""
        return [Hash(row[0]) for row in self._database.rows(schema.LEAVES, 2 * start, 2 * (start + count))]

    # --- the files

    def sizes(self) -> dict[str, int]:
        """See `Store.sizes`."""
        return self._database.sizes()

    def free_bytes(self) -> int:
        """See `Store.free_bytes`."""
        return self._database.free_bytes()

    def close(self) -> None:
        """See `Store.close`."""
        self._database.close()

    def _damaged(self, what: str) -> Fatal:
        return Fatal(f"{self._database.file}: {what} is not what was written: damaged")


# --- rows


def _checksum(*parts: int | str | bytes) -> int:
    checksum = 0
    for part in parts:
        if isinstance(part, int):
            part = part.to_bytes(8, "big")
        elif isinstance(part, str):
            part = part.encode()
        checksum = crc32(part, checksum)
    return checksum


def _decoded(kind: Any, content: bytes, what: str) -> Any:
    try:
        return decode(kind, content)
    except InvalidMessage as error:
        raise Fatal(f"the stored {what} cannot be read: {error}") from error


def _write_effects(writer: sqlite3.Connection, execution: Execution) -> None:
    state = [
        (*_entry_row(key, value), key, value) for key, value in execution.writes.items() if value is not None
    ]
    removed = [(path_of(key),) for key, value in execution.writes.items() if value is None]
    writer.executemany(schema.STATE_PUT, state)
    writer.executemany(schema.STATE_REMOVE, removed)
    nodes = execution.nodes.items()
    writer.executemany(schema.NODE_PUT, [(prefix, node) for prefix, node in nodes if node is not None])
    writer.executemany(schema.NODE_REMOVE, [(prefix,) for prefix, node in nodes if node is None])
    writer.executemany(
        schema.INDEX_PUT,
        [
            (row.index, row.key, row.value, _checksum(row.index, row.key, row.value))
            for row in execution.index_rows
        ],
    )


def _entry_row(key: bytes, value: bytes) -> tuple[Hash, Hash]:
    entry = entry_of(key, value)
    return entry.path, entry.leaf


def _transaction_row(index: int, transaction: Transaction, result: Result) -> tuple[Any, ...]:
    return (
        index,
        short_id(transaction.id),
        transaction.id,
        result.height,
        result.position,
        transaction.body.expires_ms,
        result.output,
        transaction.encoded,
        _checksum(index, transaction.id, transaction.encoded),
    )


def _located(reader: sqlite3.Connection, transaction_id: Hash) -> Located | None:
    row = reader.execute(schema.TRANSACTION_BY_ID, (short_id(transaction_id), transaction_id)).fetchone()
    if row is None:
        return None
    index, height, position, output, body, checksum = row
    result = Result(transaction_id, height, position, output)
    if (
        _checksum(index, transaction_id, body) != checksum
        or _reading(reader)(result_tree.number(0, index)) != result.leaf()
    ):
        raise Fatal(f"the stored transaction {transaction_id.hex()} is not what was written: damaged")
    try:
        transaction = decode_transaction(body)
    except InvalidMessage as error:
        raise Fatal(f"the stored transaction {transaction_id.hex()} cannot be read: {error}") from error
    return Located(transaction, result, index)


def _block(row: Sequence[Any]) -> FinalBlock:
    height, digest, content, checksum = row[:4]
    if _checksum(height, content) != checksum:
        raise Fatal(f"the stored block {height} is not what was written: damaged")
    block: FinalBlock = _decoded(FinalBlock, content, f"block {height}")
    if block.header.digest != digest:
        raise Fatal(f"the digest of the stored block {height} is not its own: damaged")
    return block


def _write_boundary(writer: sqlite3.Connection, boundary: Boundary) -> None:
    epoch, content = boundary.header.epoch, encode(boundary)
    writer.execute(schema.BOUNDARY_PUT, (epoch, content, _checksum(epoch, content)))


def _boundary(row: Sequence[Any]) -> Boundary:
    epoch, content, checksum = row
    if _checksum(epoch, content) != checksum:
        raise Fatal(f"the stored end of epoch {epoch} is not what was written: damaged")
    boundary: Boundary = _decoded(Boundary, content, f"end of epoch {epoch}")
    return boundary


def _index(reader: sqlite3.Connection, index: str, key: bytes) -> bytes | None:
    row = reader.execute(schema.INDEX_GET, (index, key)).fetchone()
    if row is not None and _checksum(index, key, row[0]) != row[1]:
        raise Fatal(f"a row of the index {index} is not what was written: damaged")
    return row[0] if row is not None else None


def _reading(reader: sqlite3.Connection) -> result_tree.ReadNode:
    def read(number: int) -> Hash:
        row = reader.execute(schema.NODE_OF_RESULTS, (number,)).fetchone()
        if row is None:
            raise Fatal(f"node {number} of the tree of results is missing: damaged")
        return Hash(row[0])

    return read
