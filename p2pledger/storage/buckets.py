"""A bucket of the state that is neither empty nor split is one row beside its entries' own. Floor 5.

By the entries' rows it would be read from as many places of a page, and checked from as many pieces: this row
is what the commitment hashes, and answers for every key that hangs there, also for one that does not. Where a
bucket is split there is none, and the entries are read by their paths.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from mmap import mmap

from p2pledger.ledger.commitment import packed_hashes
from p2pledger.ledger.crown import EMPTY, HASH_BYTES
from p2pledger.storage import schema
from p2pledger.storage.database import Database
from p2pledger.types import Hash


class Buckets:
    """Reads many buckets at once, each checked against its node, of which one copy is in memory.

    `nodes` are the tables' own. Two megabytes for 65,536 buckets; of a small state the pages with a node.
    """

    def __init__(self, database: Database, nodes: Mapping[str, Hash], depth: int) -> None:
        self._database, self._depth = database, depth
        self._nodes = mmap(-1, HASH_BYTES * 16**depth)
        self.replace(nodes.items())

    def replace(self, nodes: Iterable[tuple[str, Hash | None]]) -> None:
        """These nodes are in the tables now, by their digits; None: removed."""
        for prefix, node in nodes:
            if len(prefix) == self._depth:
                start = HASH_BYTES * int(prefix, 16)
                self._nodes[start : start + HASH_BYTES] = node or EMPTY

    def read(self, prefixes: Collection[str]) -> dict[str, bytes]:
        """The entries of these buckets, packed, by their digits.

        Some may be left out: what is split, was committed in between, or is not what was written.
        """
        numbers = {int(prefix, 16): prefix for prefix in prefixes}
        rows = dict(self._database.rows(schema.BUCKETS, json.dumps([*numbers])))
        if not all(isinstance(bucket, bytes) for bucket in rows.values()):
            return {}
        found = [rows.get(number, b"") for number in numbers]
        hashes, nodes = packed_hashes(found), self._nodes
        return {
            prefix: bucket
            for (number, prefix), bucket, node in zip(numbers.items(), found, hashes, strict=True)
            if nodes[HASH_BYTES * number : HASH_BYTES * (number + 1)] == node
        }
