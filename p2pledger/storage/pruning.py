"""Dropping the bodies of old transactions, for nodes that need not show them to everybody. Floor 5.

A bundle without these bodies is written anew in the place of the one before: that gives 200 bytes of a record
of 250 back. What is only made shorter gives nothing: its pages stay, half empty, and what comes later cannot
fill them.
"""

import sqlite3

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.transaction import Transaction
from p2pledger.ledger.record import record_of
from p2pledger.storage import schema
from p2pledger.storage.bundles import Bundle, Kept, bundle_of
from p2pledger.storage.database import Damaged
from p2pledger.storage.rows import remnant_of, transaction_of
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
    bundles = [list(Bundle(row)) for row in writer.execute(schema.BUNDLES_BETWEEN, (start, end))]
    bare = [(bundle, [_without_body(kept, own) for kept in bundle]) for bundle in bundles]
    dropped = [bundle_of(now) for before, now in bare if now != before]
    writer.executemany(schema.BUNDLE_REMOVE, [row[:1] for row in dropped])
    writer.executemany(schema.BUNDLE_PUT, dropped)
    return Height(done)


def _without_body(kept: Kept, own: OrganisationId) -> Kept:
    transaction = transaction_of(kept)
    if isinstance(transaction, Transaction) and transaction.body.sponsor != own:
        return kept._replace(body=remnant_of(record_of(transaction, Height(kept.height))))
    return kept
