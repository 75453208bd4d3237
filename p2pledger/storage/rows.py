"""Rows of chain.db, from values and back; what does not lead to its digest is refused. Floor 5.

Reading raises Damaged, also where damage has changed the very type of a column.
"""

import sqlite3
from collections.abc import Sequence
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
from p2pledger.storage.bundles import Kept
from p2pledger.storage.database import Damaged
from p2pledger.storage.store import Located
from p2pledger.types import Height

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


@dataclass(frozen=True)
class Remnant:
    """What stands in place of a body that was dropped: an array of one, where a transaction is one of two."""

    record: Record | None


_REMNANT = encode(Remnant(None))[:1]


def remnant_of(record: Record | None) -> bytes:
    """What is kept in place of the body of a transaction that made this record."""
    return encode(Remnant(record))


def transaction_of(kept: Kept) -> Transaction | Remnant:
    """What is kept of a transaction as its body. Raises: Damaged."""
    what = f"the transaction of result {kept.result_index}"
    if kept.body[:1] == _REMNANT:
        remnant: Remnant = _decoded(Remnant, kept.body, what)
        return remnant
    try:
        transaction = decode_transaction(kept.body)
    except _UNREADABLE as error:
        raise Damaged(what) from error
    if transaction.id != kept.id:
        raise Damaged(what)
    return transaction


def located_of(kept: Kept, read: result_tree.ReadNode) -> Located:
    """A transaction with its result, which is the one in the tree of results. Raises: Damaged."""
    body = transaction_of(kept)
    result = Result(kept.id, Height(kept.height), kept.position, kept.output)
    try:
        is_whole = read(result_tree.number(0, kept.result_index)) == result.leaf()
    except _UNREADABLE as error:
        raise Damaged(f"transaction {kept.id.hex()}") from error
    if not is_whole:
        raise Damaged(f"transaction {kept.id.hex()}")
    if isinstance(body, Remnant):
        return Located(None, result, kept.result_index, body.record)
    return Located(body, result, kept.result_index)
