"""The chain of a node read from beginning to end, by somebody who changes nothing. Floor 5.

What a `SqliteStore` does when it opens a file (it writes the log anew, moves it, begins a new file) is for
its one owner. This reads beside a running node, too: blocks and transactions never change once they are
written, but that a gateway drops bodies.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from p2pledger import wal
from p2pledger.chain.block import FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.transaction import Transaction
from p2pledger.errors import Fatal
from p2pledger.storage import schema
from p2pledger.storage.bundles import kept_between
from p2pledger.storage.database import Damaged
from p2pledger.storage.rows import Remnant, block_of, transaction_of
from p2pledger.storage.sqlite import CHAIN_FILE, OtherGenesis
from p2pledger.types import Height

PAGE_BLOCKS = 64
"""Blocks read at a time."""


class Dropped(Fatal):
    """A body that is asked for is not here any more: this node prunes (`bodies_kept_blocks`)."""


class Archive:
    """The chain in `directory`/chain.db as it is now; blocks that come later are not seen.

    Raises: OtherGenesis; Fatal when there is no chain, or it cannot be read.
    """

    def __init__(self, directory: Path, genesis: Genesis) -> None:
        self._file = directory / CHAIN_FILE
        if not self._file.is_file():
            raise Fatal(f"{directory} holds no chain: there is no {CHAIN_FILE}")
        self._connection = self._open()
        try:
            self._check_meta(directory, genesis)
            (height,) = self._rows(schema.BLOCK_NEWEST)[0]
        except BaseException:
            self._connection.close()
            raise
        self.height = Height(height or 0)

    def _open(self) -> sqlite3.Connection:
        # Reading a file in WAL mode takes a log beside it, and so a directory that can be written. Where
        # there is no log nobody has the file open, and a directory that cannot be written keeps it so.
        place = self._file.absolute().as_uri()
        for way in ("mode=ro", "immutable=1"):
            try:
                connection = sqlite3.connect(f"{place}?{way}", uri=True, isolation_level=None)
            except sqlite3.Error as error:
                raise Fatal(f"{self._file}: {error}") from error
            try:
                connection.execute(schema.HAS_META).fetchone()
            except sqlite3.Error as error:
                connection.close()
                if way != "mode=ro" or wal.log_of(self._file).exists():
                    raise Fatal(f"{self._file}: {error}") from error
            else:
                return connection
        raise AssertionError("the last way either opens the file or raises")

    def _check_meta(self, directory: Path, genesis: Genesis) -> None:
        if not self._rows(schema.HAS_META):
            raise Fatal(f"{self._file} holds no chain")
        meta = dict(self._rows(schema.META_ALL))
        if int.from_bytes(meta.get("format", b""), "big") != schema.FORMAT:
            raise Fatal(f"{directory} was written by another version of this software; run that one")
        if meta.get("genesis") != genesis.hash:
            raise OtherGenesis(
                f"{directory} holds the ledger {meta.get('genesis', b'').hex()}, but the genesis file is that"
                f" of {genesis.hash.hex()}"
            )

    def _rows(self, statement: str, *parameters: Any) -> list[Any]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise Fatal(f"{self._file}: {error}") from error

    def blocks(self) -> Iterator[tuple[FinalBlock, tuple[Transaction, ...]]]:
        """Every block from the first on with its transactions, in the chain's order.

        Each was checked against its digest and each transaction against its id, as far as the file says
        them; that they form a chain is the caller's to see. Raises: Dropped; Fatal.
        """
        first, start = 1, 0
        while first <= self.height:
            rows = self._rows(schema.BLOCKS_FROM, first, min(PAGE_BLOCKS, self.height - first + 1))
            if not rows or [row[0] for row in rows] != list(range(first, first + len(rows))):
                raise Damaged(f"block {first} or one of the next ones")
            for row in rows:
                block, end = block_of(row), row[4]
                yield block, self._transactions(block, start, end)
                start = end
            first += len(rows)

    def _transactions(self, block: FinalBlock, start: int, end: int) -> tuple[Transaction, ...]:
        height, bundled = block.header.height, list(kept_between(self._rows, start, end))
        numbers = [kept.result_index for kept in bundled]
        if numbers != list(range(start, end)) or tuple(kept.id for kept in bundled) != block.transaction_ids:
            raise Damaged(f"which transactions are in block {height}")
        found = []
        for kept in bundled:
            transaction = transaction_of(kept)
            if isinstance(transaction, Remnant):
                raise Dropped(
                    f"the bodies of block {height} were dropped here (bodies_kept_blocks): take the data"
                    " directory of a node that keeps all, as authorities do"
                )
            found.append(transaction)
        return tuple(found)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()
