"""The chain of a node: one SQLite file, one transaction for each block. Floor 5.

The commit point is SQLite's: a crash before it leaves the block before, a crash after it the block
itself, and opening the file is the same either way. The node takes what it lacks from its peers.
"""

import os
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.block import Boundary, FinalBlock, receipts_root
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Receipt
from p2pledger.chain.transaction import Transaction
from p2pledger.codec import encode
from p2pledger.errors import Fatal
from p2pledger.ledger.crown import Crown
from p2pledger.ledger.entries import Entry
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.record import Record
from p2pledger.merkle import Frontier, is_consistent
from p2pledger.storage import pruning, result_tree, schema
from p2pledger.storage.bundles import Bundles, bundles_of
from p2pledger.storage.checks import boundary_of, check_child, check_start, receipt_of
from p2pledger.storage.database import Damaged, Database, asking
from p2pledger.storage.ids import SECRET_BYTES, Ids
from p2pledger.storage.index_rows import IndexRows
from p2pledger.storage.journal import effects_of
from p2pledger.storage.result_tiles import ResultTiles
from p2pledger.storage.rows import (
    block_of,
    boundary_of_row,
    checksum_of,
    located_of,
    write_boundary,
)
from p2pledger.storage.state_rows import StateRows
from p2pledger.storage.stillness import Stillness
from p2pledger.storage.store import Located, Tip
from p2pledger.storage.tail import Generation, Tail, slices
from p2pledger.types import Epoch, Hash, Height

T = TypeVar("T")

CHAIN_FILE = "chain.db"
BOUNDARIES_MAX = 65_536
NUMBER_MAX = 2**63 - 1
"""SQLite's largest integer. No row has a larger number, and whoever asks for one gets none."""


class OtherGenesis(Fatal):
    """The data directory holds another ledger than the genesis file names."""

    code = "other_genesis"


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
        self.rows: Mapping[bytes, Any] = {}
        """See `StateReader.rows`."""
        self._stillness = Stillness()
        try:
            if not self._database.rows(schema.HAS_META):
                self._create(start)
            self._check_meta(start)
            self._results = ResultTiles()
            self._tip = self._load_tip()
            self._tail = Tail(self._depth)
            with self._database.snapshot() as reader:
                self._tail.load(reader, self._tip.height)
            self._state = StateRows(self._database, self._tail, self._depth)
            self._index = IndexRows(self._database, self._tail)
            self._check_tip(start)
            self._load_ids()
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
                "secret": _with_checksum(os.urandom(SECRET_BYTES)),
            }
            writer.executemany(schema.META_PUT, meta.items())
            written = Generation(0)
            written.add(effects_of(start), 0)
            for rows in slices(written, self._depth):
                rows.write(writer)

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
        secret = meta.get("secret", b"")[:SECRET_BYTES]
        if meta.get("secret") != _with_checksum(secret):
            raise Damaged("the secret of the ids")
        self._ids = Ids(secret, self._genesis.parameters.expiry_window_ms)
        pruned = meta.get("pruned", _with_checksum(bytes(8)))
        if pruned != _with_checksum(pruned[:8]):
            raise Damaged("how far bodies were dropped")
        self.pruned_height = Height(int.from_bytes(pruned[:8], "big"))

    def _load_tip(self) -> Tip:
        with self._database.snapshot() as reader:
            (height,) = reader.execute(schema.BLOCK_NEWEST).fetchone()
            if height is None:
                return Tip(Height(0), None, Frontier())
            row = reader.execute(schema.BLOCKS_FROM, (height, 1)).fetchone()
            block, size = block_of(row), row[4]
            self._results.load(reader, size)
            return Tip(height, block.header, result_tree.frontier_of(self._results.reading(reader), size))

    def _check_tip(self, start: Execution) -> None:
        tip = self._tip
        state_root = tip.header.state_root if tip.header is not None else start.state_root
        is_whole = self._state.crown.root == state_root
        if tip.header is not None:
            root = receipts_root(tip.frontier.size, tip.frontier.root())
            is_whole = is_whole and root == tip.header.receipts_root
        if not is_whole:
            raise Damaged(f"what block {tip.height} leads to")

    def _load_ids(self) -> None:
        tip, window_ms = self._tip, self._genesis.parameters.expiry_window_ms
        if tip.header is None:
            return
        oldest_ms = tip.header.time_ms - window_ms
        before = bisect_left(range(1, tip.height + 1), oldest_ms, key=self._time_ms)
        with self._database.snapshot() as reader:
            row = reader.execute(schema.BLOCKS_FROM, (before, 1)).fetchone()
            self._ids.load(reader, row[4] if before else 0, tip.frontier.size)

    def _time_ms(self, height: int) -> int:
        return self.blocks(Height(height), 1)[0].header.time_ms

    # --- writing

    def commit(self, block: FinalBlock, transactions: Sequence[Transaction], execution: Execution) -> None:
        """See `Store.commit`."""
        with self._stillness.changing():
            self._commit(block, transactions, execution)

    def _commit(self, block: FinalBlock, transactions: Sequence[Transaction], execution: Execution) -> None:
        tip, header = self._tip, block.header
        check_child(self._genesis, tip, block, transactions, execution)
        content, frontier, effects = encode(block), execution.frontier, effects_of(execution)
        boundary = boundary_of(block, execution)
        with self._database.writing() as writer:
            rows = bundles_of(tip.frontier.size, transactions, execution.results)
            writer.executemany(schema.BUNDLE_PUT, rows)
            self._ids.add(writer, header.time_ms, tip.frontier.size, block.transaction_ids)
            self._results.write(writer, execution.growth)
            writer.execute(
                schema.BLOCK_PUT,
                (header.height, header.digest, frontier.size, content, checksum_of(header.height, content)),
            )
            written = self._tail.write(writer, header.height, effects)
            if boundary is not None:
                write_boundary(writer, boundary)
        self._state.prepare(execution, written.slices)
        self._tail.add(written)
        self._state.replace(execution)
        self._tip, self.rows = Tip(header.height, header, frontier), execution.rows

    def prune(self, to_height: Height, own: OrganisationId) -> None:
        """See `Store.prune`. At most pruning.ROWS_MAX transactions at a time, or those of one block."""
        first, last = Height(self.pruned_height + 1), Height(min(to_height, self._tip.height))
        if first <= last:
            with self._stillness.changing(), self._database.writing() as writer:
                pruned = pruning.drop_bodies(writer, first, last, own)
                writer.execute(schema.META_PUT, ("pruned", _with_checksum(pruned.to_bytes(8, "big"))))
            self.pruned_height = pruned

    # --- the state

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        return self._state.get(key)

    def get_all(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """See `StateReader.get_all`."""
        return self._state.get_all(keys)

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`."""
        return self._state.entries(prefix)

    def buckets(self, prefixes: Collection[str]) -> dict[str, bytes | None]:
        """See `StateReader.buckets`."""
        return self._state.buckets(prefixes)

    @property
    def crown(self) -> Crown:
        """See `StateReader.crown`."""
        return self._state.crown

    def node(self, prefix: str) -> Hash | None:
        """See `StateReader.node`."""
        return self._state.node(prefix)

    def children(self, prefix: str) -> list[Hash | None]:
        """See `StateReader.children`."""
        return self._state.children(prefix)

    def record(self, transaction_id: Hash) -> Record | None:
        """See `StateReader.record`."""
        located = self.locate(transaction_id)
        return None if located is None else located.record

    def records(self, transaction_ids: Collection[Hash]) -> dict[Hash, Record | None]:
        """See `StateReader.records`."""
        with self._locating() as (_, locate):
            found = {transaction_id: locate(transaction_id) for transaction_id in transaction_ids}
        return {id_: None if located is None else located.record for id_, located in found.items()}

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """See `StateReader.used`."""
        header, recent, ask = self._tip.header, self._ids.recent, self._database.rows
        if header is None:
            return frozenset()
        bundles, found = Bundles(ask), set[Hash]()
        for transaction_id in self._ids.doubtful(transaction_ids, recent, self._ids.unexpired):
            for index in self._ids.indexes(transaction_id, recent, ask, self._ids.unexpired):
                kept = bundles.find(index, transaction_id)
                if kept is not None and kept.expires_ms >= header.time_ms:
                    found.add(transaction_id)
        return found

    # --- the chain

    def tip(self) -> Tip:
        """See `Store.tip`."""
        return self._tip

    def block(self, height: Height) -> FinalBlock | None:
        """See `Store.block`."""
        found = self.blocks(height, 1) if height > 0 else ()
        return found[0] if found else None

    def blocks(self, from_height: Height, count: int) -> Sequence[FinalBlock]:
        """See `Store.blocks`."""
        first = max(1, from_height)
        there = min(count, self._tip.height - first + 1)
        if there <= 0:
            return []
        blocks = [block_of(row) for row in self._database.rows(schema.BLOCKS_FROM, first, count)]
        heights = [block.header.height for block in blocks]
        if len(blocks) < there or heights != list(range(first, first + len(blocks))):
            raise Damaged("a row of the blocks")
        return blocks

    @contextmanager
    def _locating(self) -> Iterator[tuple[sqlite3.Connection, Callable[[Hash], Located | None]]]:
        recent = self._ids.recent  # before the snapshot, as `Ids` asks for
        with self._database.snapshot() as reader:
            ask, read = asking(reader), self._results.reading(reader)
            bundles = Bundles(ask)

            def locate(id_: Hash) -> Located | None:
                found = (bundles.find(index, id_) for index in self._ids.indexes(id_, recent, ask))
                kept = next(filter(None, found), None)
                return None if kept is None else located_of(kept, read)

            yield reader, locate

    def locate(self, transaction_id: Hash) -> Located | None:
        """See `Store.locate`."""
        with self._locating() as (_, locate):
            return locate(transaction_id)

    def bodies(self, ids: Sequence[Hash]) -> Sequence[Transaction]:
        """See `Store.bodies`."""
        with self._locating() as (_, locate):
            found = [locate(transaction_id) for transaction_id in ids]
        return [one.transaction for one in found if one is not None and one.transaction is not None]

    def boundary(self, epoch: Epoch) -> Boundary | None:
        """See `Store.boundary`."""
        if epoch > NUMBER_MAX:
            return None
        rows = self._database.rows(schema.BOUNDARIES_FROM, epoch, 1)
        return boundary_of_row(rows[0]) if rows and rows[0][0] == epoch else None

    def scan(self, index: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See `Store.scan`."""
        return self._index.scan(index, prefix, after, limit)

    def together(self, read: Callable[[], T]) -> T:
        """See `Store.together`."""
        return self._stillness.together(read)

    # --- proofs

    def receipt(self, transaction_id: Hash) -> Receipt | None:
        """See `Store.receipt`. O(log n) reads for the tree of results, one block for `tx_root`."""
        with self._locating() as (reader, locate):
            located = locate(transaction_id)
            if located is None or located.transaction is None:
                return None
            rows = reader.execute(schema.BLOCKS_FROM, (located.result.height, 1)).fetchall()
            if not rows or not isinstance(rows[0][4], int):
                raise Damaged(f"block {located.result.height}")
            path = result_tree.path(self._results.reading(reader), located.result_index, rows[0][4])
            return receipt_of(
                located,
                path,
                map(block_of, reader.execute(schema.BLOCKS_FROM, (located.result.height, -1))),
                map(boundary_of_row, reader.execute(schema.BOUNDARIES_FROM, (0, BOUNDARIES_MAX))),
            )

    def consistency(self, old_size: int) -> tuple[Hash, ...]:
        """See `Store.consistency`. O(log n) reads."""
        # Nodes of the tree never change, so the tip's size and the reads need no common snapshot.
        frontier = self._tip.frontier
        with self._database.snapshot() as reader:
            read = self._results.reading(reader)
            proof = result_tree.consistency(read, old_size, frontier.size)
            old_root = result_tree.frontier_of(read, old_size).root()
        if not is_consistent(old_size, old_root, frontier.size, frontier.root(), proof):
            raise Damaged("a node of the tree of results")
        return proof

    def result_leaves(self, start: int, count: int) -> Sequence[Hash]:
        """See `Store.result_leaves`."""
        size = self._tip.frontier.size
        if start >= size:
            return ()
        with self._database.snapshot() as reader:
            return self._results.leaves(reader, start, min(start + count, size))

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


def _with_checksum(secret: bytes) -> bytes:
    return secret + checksum_of(secret).to_bytes(4, "big")
