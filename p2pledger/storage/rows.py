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
from p2pledger.ledger.record import Record
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


def transaction_rows(
    first: int, transactions: Sequence[Transaction], results: Sequence[Result]
) -> list[tuple[Any, ...]]:
    """The rows of a block's transactions and their results, which are the chain's from number `first` on."""
    return [
        (
            index,
            result.transaction_id,
            result.height,
            result.position,
            transaction.body.expires_ms,
            result.output,
            transaction.encoded,
            # as in `_checksum_of_body`, which would be called for each
            crc32(transaction.encoded, crc32(result.transaction_id, index & 0xFFFF_FFFF)),
        )
        for index, (transaction, result) in enumerate(zip(transactions, results, strict=True), first)
    ]


def _checksum_of_body(index: int, id_: bytes, body: bytes) -> int:
    return crc32(body, crc32(id_, index & 0xFFFF_FFFF))


@dataclass(frozen=True)
class Remnant:
    """What stands in place of a body that was dropped: an array of one, where a transaction is one of two."""

    record: Record | None


_REMNANT = encode(Remnant(None))[:1]


def remnant_row(row: Sequence[Any], record: Record | None) -> tuple[Any, ...]:
    """The row of a transaction whose body is dropped."""
    index, id_, *others, _, _ = row
    body = encode(Remnant(record))
    return (index, id_, *others, body, _checksum_of_body(index, id_, body))


def transaction_of(index: int, id_: bytes, body: bytes, checksum: int) -> Transaction | Remnant:
    """What a row of the transactions has as its body."""
    what = f"the transaction of result {index}"
    if not isinstance(body, bytes) or not isinstance(id_, bytes):
        raise Damaged(what)
    if _checksum_of_body(index, id_, body) != checksum:
        raise Damaged(what)
    if body[:1] == _REMNANT:
        remnant: Remnant = _decoded(Remnant, body, what)
        return remnant
    try:
        transaction = decode_transaction(body)
    except _UNREADABLE as error:
        raise Damaged(what) from error
    if transaction.id != id_:
        raise Damaged(what)
    return transaction


def located_of(
    reader: sqlite3.Connection, read: result_tree.ReadNode, transaction_id: Hash, indexes: Iterable[int]
) -> Located | None:
    """A transaction that has one of these results, with the one that the tree of results has for it."""
    found = (reader.execute(schema.TRANSACTION_BY_ID, (i, transaction_id)).fetchone() for i in indexes)
    row = next(filter(None, found), None)
    if row is None:
        return None
    index, height, position, output, body, checksum = row
    found_body = transaction_of(index, transaction_id, body, checksum)
    result = Result(transaction_id, height, position, output)
    try:
        is_whole = read(result_tree.number(0, index)) == result.leaf()
    except _UNREADABLE as error:
        raise Damaged(f"transaction {transaction_id.hex()}") from error
    if not is_whole:
        raise Damaged(f"transaction {transaction_id.hex()}")
    if isinstance(found_body, Remnant):
        return Located(None, result, index, found_body.record)
    return Located(found_body, result, index)
