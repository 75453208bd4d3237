"""What a gateway keeps of its devices: each reading with its salt, durably, before a batch is sent. Floor 7.

The ledger holds a batch's root only. Whoever is to be shown a reading gets it from here with its path,
and needs nothing but the batch on the ledger to check it (`chain.reading.check_reading`).
"""

import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path

from p2pledger import merkle
from p2pledger.chain.reading import EncodedReadings, Reading
from p2pledger.types import Hash

# One row a batch: its readings one after the other, and how long each is (a byte: it is at most 181). That
# costs 0.2 us a reading; a row for each reading cost 3.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept_batch (
    device BLOB NOT NULL, from_seq INTEGER NOT NULL, transaction_id BLOB NOT NULL,
    lengths BLOB NOT NULL, encoded BLOB NOT NULL,
    PRIMARY KEY (device, from_seq)
);
"""
_AT = """
SELECT rowid, from_seq, length(lengths) FROM kept_batch
WHERE device = ? AND from_seq <= ? ORDER BY from_seq DESC LIMIT 1
"""
_BATCH = "SELECT transaction_id, from_seq, lengths, encoded FROM kept_batch WHERE rowid = ?"


BATCHES_AT_HAND = 4
"""So many batches are left in memory with their trees: who proves one reading often proves its neighbours."""


class ReadingsFile:
    """A gateway's own file of readings. One process at a time; committed data survive a power loss."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        self._batch = lru_cache(BATCHES_AT_HAND)(self._read)

    def keep(self, batches: Iterable[tuple[Hash, bytes, EncodedReadings]]) -> None:
        """Keep batches (transaction id, device, readings) as one: when this returns, they are on disk.

        Waiting for the disk is most of it: give it several batches at once. A batch that is made anew from
        the same number on (its first transaction expired) takes the place of the one before; others of one
        device do not overlap.
        """
        rows = [
            (device, some.from_seq, transaction_id, bytes(map(len, some.encoded)), b"".join(some.encoded))
            for transaction_id, device, some in batches
        ]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO kept_batch VALUES (?, ?, ?, ?, ?)", rows)
        self._batch.cache_clear()

    def prove(self, device: bytes, seq: int) -> tuple[Hash, Reading, merkle.Path]:
        """A reading, its path, and the id of the transaction that carries its batch.

        Raises KeyError when the gateway never had that reading.
        """
        row = self._db.execute(_AT, (device, seq)).fetchone()
        if row is None or seq >= row[1] + row[2]:
            raise KeyError(f"device {device.hex()} has no reading {seq}")
        transaction_id, readings = self._batch(row[0])
        return transaction_id, readings.reading(seq), readings.path(seq)

    def _read(self, row: int) -> tuple[Hash, EncodedReadings]:
        transaction_id, from_seq, lengths, encoded = self._db.execute(_BATCH, (row,)).fetchone()
        bounds = pairwise(accumulate(lengths, initial=0))
        return Hash(transaction_id), EncodedReadings(from_seq, [encoded[start:end] for start, end in bounds])

    def count(self) -> int:
        """How many readings are kept."""
        (count,) = self._db.execute("SELECT coalesce(sum(length(lengths)), 0) FROM kept_batch").fetchone()
        return int(count)

    def close(self) -> None:
        """Release the file."""
        self._db.close()
