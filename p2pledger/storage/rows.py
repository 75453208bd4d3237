"""Rows of chain.db, from values and back; what does not lead to its digest is refused. Floor 5.

Reading raises Damaged, also where damage has changed the very type of a column.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from p2pledger.chain.block import Boundary, FinalBlock, evidence_root, tx_root
from p2pledger.chain.receipt import Result
from p2pledger.chain.transaction import Transaction, decode_transaction
from p2pledger.codec import decode, encode
from p2pledger.errors import InvalidMessage
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.record import Record
from p2pledger.ledger.state import path_of
from p2pledger.merkle import node_hash
from p2pledger.storage import result_tree, schema
from p2pledger.storage.database import Damaged
from p2pledger.storage.store import Located
from p2pledger.types import Hash

_UNREADABLE = (InvalidMessage, TypeError, ValueError, OverflowError, AttributeError)


def checksum_of(*parts: int | str | bytes) -> int:
    """The checksum of a row; -1, which no row has, where a column is of another type."""
    checksum = 0
    for part in parts:
        if not isinstance(part, bytes):  # most are
            if isinstance(part, int):
                part = (part % 2**64).to_bytes(8, "big")
            elif isinstance(part, str):
                part = part.encode()
            else:
                return -1
        checksum = crc32(part, checksum)
    return checksum


# --- blocks and boundaries


def block_of(row: Sequence[Any]) -> FinalBlock:
    """A block, from (height, digest, content, checksum, ...): its ids and evidence lead to its digest."""
    height, digest, content, checksum = row[:4]
    if checksum_of(height, content) != checksum:
        raise Damaged(f"block {height}")
    block: FinalBlock = _decoded(FinalBlock, content, f"block {height}")
    header = block.header
    roots = tx_root(block.transaction_ids), evidence_root(block.evidence)
    if (header.height, header.digest) != (height, digest) or roots != (header.tx_root, header.evidence_root):
        raise Damaged(f"the digest of block {height}")
    return block


def write_boundary(writer: sqlite3.Connection, boundary: Boundary) -> None:
    """Keep the end of an epoch."""
    epoch, content = boundary.header.epoch, encode(boundary)
    writer.execute(schema.BOUNDARY_PUT, (epoch, content, checksum_of(epoch, content)))


def boundary_of_row(row: Sequence[Any]) -> Boundary:
    """The end of an epoch, from (epoch, content, checksum)."""
    epoch, content, checksum = row
    if checksum_of(epoch, content) != checksum:
        raise Damaged(f"the end of epoch {epoch}")
    boundary: Boundary = _decoded(Boundary, content, f"the end of epoch {epoch}")
    return boundary


def _decoded(kind: Any, content: bytes, what: str) -> Any:
    try:
        return decode(kind, content)
    except _UNREADABLE as error:
        raise Damaged(what) from error


# --- transactions


def transaction_row(index: int, transaction: Transaction, result: Result) -> tuple[Any, ...]:
    """The row of a transaction and its result, which is the chain's result number `index`."""
    id_, body = result.transaction_id, transaction.encoded
    return (
        index,
        id_,
        result.height,
        result.position,
        transaction.body.expires_ms,
        result.output,
        body,
        checksum_of(index, id_, body),
    )


@dataclass(frozen=True)
class Remnant:
    """What stands in place of a body that was dropped: an array of one, where a transaction is one of two."""

    record: Record | None


_REMNANT = encode(Remnant(None))[:1]


def remnant_row(row: Sequence[Any], record: Record | None) -> tuple[Any, ...]:
    """The row of a transaction whose body is dropped."""
    index, id_, *others, _, _ = row
    body = encode(Remnant(record))
    return (index, id_, *others, body, checksum_of(index, id_, body))


def transaction_of(index: int, id_: bytes, body: bytes, checksum: int) -> Transaction | Remnant:
    """What a row of the transactions has as its body."""
    what = f"the transaction of result {index}"
    if checksum_of(index, id_, body) != checksum:
        raise Damaged(what)
    if isinstance(body, bytes) and body[:1] == _REMNANT:
        remnant: Remnant = _decoded(Remnant, body, what)
        return remnant
    try:
        transaction = decode_transaction(body)
    except _UNREADABLE as error:
        raise Damaged(what) from error
    if transaction.id != id_:
        raise Damaged(what)
    return transaction


def located_of(reader: sqlite3.Connection, transaction_id: Hash, indexes: Iterable[int]) -> Located | None:
    """A transaction that has one of these results, with the one that the tree of results has for it."""
    found = (reader.execute(schema.TRANSACTION_BY_ID, (i, transaction_id)).fetchone() for i in indexes)
    row = next(filter(None, found), None)
    if row is None:
        return None
    index, height, position, output, body, checksum = row
    found_body = transaction_of(index, transaction_id, body, checksum)
    result = Result(transaction_id, height, position, output)
    try:
        is_whole = reading(reader)(result_tree.number(0, index)) == result.leaf()
    except _UNREADABLE as error:
        raise Damaged(f"transaction {transaction_id.hex()}") from error
    if not is_whole:
        raise Damaged(f"transaction {transaction_id.hex()}")
    if isinstance(found_body, Remnant):
        return Located(None, result, index, found_body.record)
    return Located(found_body, result, index)


# --- results


def reading(reader: sqlite3.Connection) -> result_tree.ReadNode:
    """Reads nodes of the tree of results."""

    def read(number: int) -> Hash:
        row = reader.execute(schema.NODE_OF_RESULTS, (number,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise Damaged(f"node {number} of the tree of results")
        return Hash(row[0])

    return read


def leaves_of(reader: sqlite3.Connection, start: int, end: int, size: int) -> list[Hash]:
    """Leaves [start, end) of the tree of results over `size` leaves, each pair checked against its parent.

    The last leaf of an odd number has no parent; it is part of the root, which was checked at the start.
    """
    low, high = start - start % 2, min(end + end % 2, size)
    rows = reader.execute(schema.NODES_OF_RESULTS_BETWEEN, (2 * low, 2 * high)).fetchall()
    nodes: dict[int, Any] = dict(rows)
    leaves: list[Any] = [nodes.get(result_tree.number(0, i)) for i in range(low, high)]
    for i in range(0, len(leaves), 2):
        pair = leaves[i : i + 2]
        if not all(isinstance(leaf, bytes) for leaf in pair):
            raise Damaged(f"leaf {low + i} of the tree of results")
        if len(pair) == 2 and node_hash(*pair) != nodes.get(result_tree.number(1, (low + i) // 2)):
            raise Damaged(f"leaf {low + i} of the tree of results")
    return leaves[start - low : end - low]


# --- the state and the indexes


def write_effects(writer: sqlite3.Connection, execution: Execution) -> None:
    """Write what a block does to the state, to the commitment and to the indexes."""
    entries = {path: entry for bucket in execution.entries.values() for path, entry in bucket.items()}
    state: list[tuple[bytes, ...]] = []
    removed: list[tuple[bytes]] = []
    for key, value in execution.writes.items():
        path = path_of(key)
        entry = entries[path]
        if value is None or entry is None:
            removed.append((path,))
        else:
            state.append((path, entry.leaf, key, value))
    writer.executemany(schema.STATE_PUT, state)
    writer.executemany(schema.STATE_REMOVE, removed)
    nodes = execution.nodes.items()
    writer.executemany(schema.NODE_PUT, [(prefix, node) for prefix, node in nodes if node is not None])
    writer.executemany(schema.NODE_REMOVE, [(prefix,) for prefix, node in nodes if node is None])
    writer.executemany(
        schema.INDEX_PUT,
        [
            (row.index, row.key, row.value, checksum_of(row.index, row.key, row.value))
            for row in execution.index_rows
        ],
    )


def index_value(reader: sqlite3.Connection, index: str, key: bytes) -> bytes | None:
    """The value of one row of an index; None when there is none."""
    row = reader.execute(schema.INDEX_GET, (index, key)).fetchone()
    if row is not None and checksum_of(index, key, row[0]) != row[1]:
        raise Damaged(f"a row of the index {index}")
    return row[0] if row is not None else None
