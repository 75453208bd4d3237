"""What a gateway keeps of its devices: each reading with its salt, durably, before a batch is sent. Floor 8.

The ledger holds a batch's root only. Whoever is to be shown a reading gets it from here with its path,
and needs nothing but the batch on the ledger to check it (`chain.reading.check_reading`).
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from p2pledger import merkle
from p2pledger.chain.reading import Reading, prove_reading
from p2pledger.codec import decode, encode
from p2pledger.types import Hash

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reading (
    device BLOB NOT NULL, seq INTEGER NOT NULL, batch INTEGER NOT NULL, encoded BLOB NOT NULL,
    PRIMARY KEY (device, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (number INTEGER PRIMARY KEY, transaction_id BLOB NOT NULL);
"""


class ReadingsFile:
    """A gateway's own file of readings. One process at a time; committed data survive a power loss."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def keep(self, batches: Sequence[tuple[Hash, bytes, Sequence[Reading]]]) -> None:
        """Keep batches (transaction id, device, readings) as one: when this returns, they are on disk.

        A batch that is signed anew (its first transaction expired) replaces its transaction's id.
        """
        self._db.execute("BEGIN IMMEDIATE")
        for transaction_id, device, readings in batches:
            cursor = self._db.execute("INSERT INTO batch (transaction_id) VALUES (?)", (transaction_id,))
            rows = [(device, reading.seq, cursor.lastrowid, encode(reading)) for reading in readings]
            self._db.executemany("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")

    def prove(self, device: bytes, seq: int) -> tuple[Hash, Reading, merkle.Path]:
        """A reading, its path, and the id of the transaction that carries its batch.

        Raises KeyError when the gateway never had that reading.
        """
        batch = "SELECT batch FROM reading WHERE device = ? AND seq = ?"
        rows = self._db.execute(
            f"SELECT encoded FROM reading WHERE device = ? AND batch = ({batch}) ORDER BY seq",  # noqa: S608
            (device, device, seq),
        ).fetchall()
        readings: list[Reading] = [decode(Reading, encoded) for (encoded,) in rows]
        if not readings:
            raise KeyError(f"device {device.hex()} has no reading {seq}")
        (transaction_id,) = self._db.execute(
            f"SELECT transaction_id FROM batch WHERE number = ({batch})",  # noqa: S608
            (device, seq),
        ).fetchone()
        return Hash(transaction_id), readings[seq - readings[0].seq], prove_reading(readings, seq)

    def count(self) -> int:
        """How many readings are kept."""
        (count,) = self._db.execute("SELECT count(*) FROM reading").fetchone()
        return int(count)

    def close(self) -> None:
        """Release the file."""
        self._db.close()
