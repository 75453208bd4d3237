"""The tables of chain.db. Floor 5.

Rows that grow with the chain have integer keys in ascending order: half the cost of a blob key, and a
block's rows lie side by side. A transaction is found by its id as `ids` says; rows of the state and of the
indexes come by way of the journal, as `tail` says, and the leaves of the tree of results lie in tiles.

What is read back is checked: a block against its digest, a transaction against its id, a state row
against its leaf, a bucket of the state against its node, nodes against their parents, a result against
the tree of results, everything else against a checksum (CRC-32 over the row's key and content). A key
that the state does not have is missing from a bucket that is whole.
"""

FORMAT = 6
"""Raised by every change of the tables that older software could not read."""

TABLES = (
    """CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID""",
    # results_end: how many results the chain has after the block. content: the encoded FinalBlock.
    """CREATE TABLE blocks (
        height INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        results_end INTEGER NOT NULL,
        content BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    # Transactions and their results, some in one row: see bundles.py. The row's number is the first result's
    # index among all results. Where a body was dropped, an encoded `rows.Remnant` stands in its place.
    """CREATE TABLE transactions (
        result_index INTEGER PRIMARY KEY,
        content BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    # Where transactions are, by their ids: see ids.py.
    """CREATE TABLE id_chunks (
        number INTEGER PRIMARY KEY,
        content BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    # The leaves of the tree of results, and its complete subtrees of whole tiles: see result_tiles.py.
    """CREATE TABLE result_tiles (
        number INTEGER PRIMARY KEY,
        leaves BLOB NOT NULL
    )""",
    """CREATE TABLE result_nodes (
        number INTEGER PRIMARY KEY,
        hash BLOB NOT NULL
    )""",
    """CREATE TABLE state (
        path BLOB PRIMARY KEY,
        leaf BLOB NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL
    ) WITHOUT ROWID""",
    # The entries of a bucket that is neither empty nor split, packed: see buckets.py.
    """CREATE TABLE buckets (
        number INTEGER PRIMARY KEY,
        entries BLOB NOT NULL
    )""",
    """CREATE TABLE nodes (
        prefix TEXT PRIMARY KEY,
        hash BLOB NOT NULL
    ) WITHOUT ROWID""",
    # Index rows, some hundred in one row, and which of these belong together: see parcels.py.
    """CREATE TABLE index_parcels (
        number INTEGER PRIMARY KEY,
        first BLOB NOT NULL,
        content BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    """CREATE TABLE index_shelves (
        name TEXT NOT NULL,
        start INTEGER NOT NULL,
        parcels INTEGER NOT NULL,
        first BLOB NOT NULL,
        last BLOB NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (name, start)
    ) WITHOUT ROWID""",
    # What the newest blocks write to the state and to the indexes: see tail.py.
    """CREATE TABLE journal (
        height INTEGER PRIMARY KEY,
        content BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    """CREATE TABLE boundaries (
        epoch INTEGER PRIMARY KEY,
        content BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
)

META_PUT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
META_ALL = "SELECT name, value FROM meta"
HAS_META = "SELECT 1 FROM sqlite_master WHERE name = 'meta'"

BLOCK_PUT = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?)"
BLOCK_NEWEST = "SELECT MAX(height) FROM blocks"
BLOCKS_FROM = (
    "SELECT height, digest, content, checksum, results_end FROM blocks"
    " WHERE height >= ? ORDER BY height LIMIT ?"
)

BUNDLE_PUT = "INSERT INTO transactions VALUES (?, ?, ?)"
BUNDLES_REMOVE = "DELETE FROM transactions WHERE result_index >= ? AND result_index < ?"
BUNDLE_AT = "SELECT * FROM transactions WHERE result_index <= ? ORDER BY result_index DESC LIMIT 1"
BUNDLES_BETWEEN = (
    "SELECT * FROM transactions WHERE result_index >="
    " (SELECT COALESCE(MAX(result_index), 0) FROM transactions WHERE result_index <= ?)"
    " AND result_index < ? ORDER BY result_index"
)
"""From the bundle on that the first of these results is in."""
RESULTS_ENDS = "SELECT height, results_end FROM blocks WHERE height BETWEEN ? AND ? ORDER BY height LIMIT ?"

ID_CHUNK_PUT = "INSERT INTO id_chunks VALUES (?, ?, ?)"
ID_CHUNKS = (
    "SELECT number, content, checksum FROM id_chunks WHERE number BETWEEN ? AND ? ORDER BY number DESC"
)
"""One statement, so that what was joined and what was not yet are of one commit."""
ID_CHUNKS_REMOVE = "DELETE FROM id_chunks WHERE number BETWEEN ? AND ?"

NODE_OF_RESULTS_PUT = "INSERT INTO result_nodes VALUES (?, ?)"
NODE_OF_RESULTS = "SELECT hash FROM result_nodes WHERE number = ?"
TILE_PUT = "INSERT INTO result_tiles VALUES (?, ?)"
TILE = "SELECT leaves FROM result_tiles WHERE number = ?"

STATE_PUT = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)"
STATE_REMOVE = "DELETE FROM state WHERE path = ?"
STATE_GET = "SELECT leaf, key, value FROM state WHERE path = ?"
STATE_PART = (
    "SELECT NULL, hash FROM nodes WHERE prefix = ?"
    " UNION ALL SELECT path, leaf FROM state WHERE path BETWEEN ? AND ? ORDER BY 1"
)
"""The node at a split bucket's digits or below them, then the entries there by path. One statement, so that
a commit between them cannot set them at odds."""
STATE_ENTRIES = "SELECT path, leaf FROM state WHERE path BETWEEN ? AND ? ORDER BY path LIMIT ?"

BUCKET = "SELECT (SELECT hash FROM nodes WHERE prefix = ?), (SELECT entries FROM buckets WHERE number = ?)"
"""The node at a bucket's digits, and its entries; NULL for what is not there."""
BUCKETS = "SELECT number, entries FROM buckets WHERE number IN (SELECT value FROM json_each(?))"
"""Of many buckets, those that are there; looked for in the order of their numbers."""
BUCKET_PUT = "INSERT OR REPLACE INTO buckets VALUES (?, ?)"
BUCKET_REMOVE = "DELETE FROM buckets WHERE number = ?"

NODE_PUT = "INSERT OR REPLACE INTO nodes VALUES (?, ?)"
NODE_REMOVE = "DELETE FROM nodes WHERE prefix = ?"
NODE_GET = "SELECT hash FROM nodes WHERE prefix = ?"
NODES = "SELECT prefix, hash FROM nodes"
NODE_AND_CHILDREN = (
    "SELECT prefix, hash FROM nodes WHERE prefix BETWEEN ? AND ? || 'f' AND LENGTH(prefix) <= LENGTH(?) + 1"
)

PARCEL_PUT = "INSERT OR REPLACE INTO index_parcels VALUES (?, ?, ?, ?)"
"""After a crash a generation goes into the tables again, and it has grown: every parcel is written anew."""
PARCEL = "SELECT * FROM index_parcels WHERE number = ?"
PARCEL_FIRST = "SELECT first FROM index_parcels WHERE number = ?"
SHELF_PUT = "INSERT INTO index_shelves VALUES (?, ?, ?, ?, ?, ?)"
SHELVES = "SELECT * FROM index_shelves WHERE name = ? ORDER BY start"

JOURNAL_PUT = "INSERT INTO journal VALUES (?, ?, ?)"
JOURNAL_REMOVE = (
    "DELETE FROM journal WHERE height IN"
    " (SELECT height FROM journal WHERE height < ? ORDER BY height LIMIT ?)"
)
JOURNAL_NEWEST = "SELECT height, content, checksum FROM journal ORDER BY height DESC LIMIT 1"
JOURNAL_BETWEEN = "SELECT height, content, checksum FROM journal WHERE height BETWEEN ? AND ? ORDER BY height"

BOUNDARY_PUT = "INSERT INTO boundaries VALUES (?, ?, ?)"
BOUNDARIES_FROM = "SELECT epoch, content, checksum FROM boundaries WHERE epoch >= ? ORDER BY epoch LIMIT ?"
