"""The fixed upper part of the state's tree: every node above the buckets, and the buckets' own hashes.

Floor 4, pure. What is hashed for a node is its 16 children, 512 bytes, so that is how they are kept: a level
is a tuple of such rows. A new crown shares with the old one every row that did not change.
"""

from collections.abc import Mapping, Sequence

from p2pledger.crypto import Domain
from p2pledger.types import ZERO_HASH, Hash

ARITY = 16
HASH_BYTES = 32
EMPTY = ZERO_HASH
"""The hash of a subtree without entries: an empty state costs nothing."""

_NODE_DOMAIN = Domain("p2pledger/state-node/1")
_EMPTY_ROW = EMPTY * ARITY


def row_hash(row: bytes) -> Hash:
    """The hash of an inner node over the row of its 16 children."""
    return row_hashes([row])[0]


def row_hashes(rows: Sequence[bytes]) -> list[Hash]:
    """`row_hash` of each."""
    hashes = _NODE_DOMAIN.hash_all(rows)
    if _EMPTY_ROW not in rows:
        return hashes
    return [EMPTY if row == _EMPTY_ROW else node for node, row in zip(hashes, rows, strict=True)]


class Crown:
    """The nodes at 0 to `depth` digits, as a value: `grown` makes another one."""

    __slots__ = ("_levels", "depth", "root")

    def __init__(self, levels: tuple[tuple[bytes, ...], ...]) -> None:
        self._levels = levels
        self.depth = len(levels)
        """How many hexadecimal digits lead to a bucket."""
        self.root = row_hash(levels[0][0])
        """The state root."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Crown) and (self.depth, self.root) == (other.depth, other.root)

    def __hash__(self) -> int:
        return hash(self.root)

    @staticmethod
    def empty(depth: int) -> "Crown":
        """The crown of a state that holds nothing."""
        return Crown(tuple((_EMPTY_ROW,) * ARITY**level for level in range(depth)))

    def grown(self, buckets: Mapping[int, Hash]) -> "Crown":
        """The crown once these buckets, by number, have these hashes. Costs what changes."""
        changed, levels = buckets, []
        for level in reversed(self._levels):
            rows = list(level)
            for number, value in changed.items():
                above, start = number // ARITY, number % ARITY * HASH_BYTES
                row = rows[above]
                rows[above] = row[:start] + value + row[start + HASH_BYTES :]
            touched = {number // ARITY for number in changed}
            changed = dict(zip(touched, row_hashes([rows[above] for above in touched]), strict=True))
            levels.append(tuple(rows))
        return Crown(tuple(reversed(levels)))

    def node(self, digits: str) -> Hash:
        """The hash at up to `depth` hexadecimal digits; EMPTY where nothing hangs."""
        if not digits:
            return self.root
        start = int(digits[-1], 16) * HASH_BYTES
        return Hash(self._row(digits[:-1])[start : start + HASH_BYTES])

    def children(self, digits: str) -> list[Hash]:
        """The sixteen nodes just below one that is no bucket."""
        row = self._row(digits)
        return [Hash(row[start : start + HASH_BYTES]) for start in range(0, len(row), HASH_BYTES)]

    def _row(self, digits: str) -> bytes:
        return self._levels[len(digits)][int(digits or "0", 16)]
