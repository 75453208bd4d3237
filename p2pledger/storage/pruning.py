"""Dropping the bodies of old transactions, for nodes that need not show them to everybody. Floor 5.

A row without its body is written anew in the place of the one before: that gives 200 bytes of a record of 250
back. Rows that were only made shorter gave nothing: their pages stay, half empty, and what comes later cannot
fill them.
"""

import sqlite3

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.transaction import Transaction
from p2pledger.ledger.record import record_of
from p2pledger.storage import schema
from p2pledger.storage.database import Damaged
from p2pledger.storage.rows import remnant_row, transaction_of
from p2pledger.types import Height

BLOCKS_MAX = 256
ROWS_MAX = 4_096
"""At a time: the next block waits for so long to be stored."""


def drop_bodies(writer: sqlite3.Connection, first: Height, last: Height, own: OrganisationId) -> Height:
    """Drop bodies of blocks from `first` on that `own` did not sponsor; the height of the last block done.

    That is `last`, unless it is too much for one time.
    """
    ends = writer.execute(schema.RESULTS_ENDS, (first - 1, last, BLOCKS_MAX)).fetchall()
    start = 0 if first == 1 else ends.pop(0)[1]
    if not ends:
        raise Damaged(f"block {first}")
    done, end = next((one for one in reversed(ends) if one[1] - start <= ROWS_MAX), ends[0])
    dropped = []
    for row in writer.execute(schema.TRANSACTIONS_BETWEEN, (start, end)):
        index, id_, height, *_, body, checksum = row
        transaction = transaction_of(index, id_, body, checksum)
        if isinstance(transaction, Transaction) and transaction.body.sponsor != own:
            dropped.append(remnant_row(row, record_of(transaction, height)))
    writer.executemany(schema.TRANSACTION_REMOVE, [row[:1] for row in dropped])
    writer.executemany(schema.TRANSACTION_PUT, dropped)
    return Height(done)
