"""Dropping the bodies of old transactions, for nodes that need not show them to everybody. Floor 5.

What is left of a block is put into bundles anew, as long as they were and fewer: that gives 200 bytes of a
record of 250 back. Bundles that are only made shorter give less: a part of a page of each stays empty.
"""

import sqlite3
from itertools import groupby
from operator import attrgetter

from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.transaction import Transaction
from p2pledger.ledger.record import record_of
from p2pledger.storage import schema
from p2pledger.storage.bundles import Kept, bundled, kept_between
from p2pledger.storage.database import Damaged, asking
from p2pledger.storage.rows import remnant_of, transaction_of
from p2pledger.types import Height

BLOCKS_MAX = 256
ROWS_MAX = 4_096
"""At a time: the next block waits for so long to be stored."""

_height = attrgetter("height")


def drop_bodies(writer: sqlite3.Connection, first: Height, last: Height, own: OrganisationId) -> Height:
    """Drop bodies of blocks from `first` on that `own` did not sponsor; the height of the last block done.

    That is `last`, unless it is too much for one time.
    """
    ends = writer.execute(schema.RESULTS_ENDS, (first - 1, last, BLOCKS_MAX)).fetchall()
    start = 0 if first == 1 else ends.pop(0)[1]
    if not ends:
        raise Damaged(f"block {first}")
    done, end = next((one for one in reversed(ends) if one[1] - start <= ROWS_MAX), ends[0])
    for _, block in groupby(list(kept_between(asking(writer), start, end)), _height):
        before = list(block)
        now = [_without_body(kept, own) for kept in before]
        if now != before:
            writer.execute(schema.BUNDLES_REMOVE, (now[0].result_index, now[-1].result_index + 1))
            writer.executemany(schema.BUNDLE_PUT, bundled(now))
    return Height(done)


def _without_body(kept: Kept, own: OrganisationId) -> Kept:
    transaction = transaction_of(kept)
    if isinstance(transaction, Transaction) and transaction.body.sponsor != own:
        return kept._replace(body=remnant_of(record_of(transaction, Height(kept.height))))
    return kept
