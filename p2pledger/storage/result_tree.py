"""The append-only tree of all results, kept so that proofs take O(log n) reads. Floor 5.

Every complete subtree has its root stored once, under its `merkle.node_number`, as `merkle.Frontier.grow`
gives it. Stored nodes never change. The ragged right edge of a tree of any older size is put together from
those. The splits are RFC 6962's.
"""

from collections.abc import Callable

from p2pledger.merkle import EMPTY_ROOT, Frontier, Path, node_hash, node_number
from p2pledger.types import Hash

number = node_number

ReadNode = Callable[[int], Hash]
"""The stored hash of a node, by number; called only for complete subtrees."""


def frontier_of(read: ReadNode, size: int) -> Frontier:
    """The right edge of the tree over the first `size` leaves."""
    peaks, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(read(number(level, start >> level)))
            start += 1 << level
    return Frontier(size, tuple(peaks))


def path(read: ReadNode, index: int, size: int) -> Path:
    """The inclusion proof of leaf `index` in the tree over the first `size` leaves (index < size)."""
    siblings = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(_root(read, middle, end))
            end = middle
        else:
            siblings.append(_root(read, start, middle))
            start = middle
    return Path(index, size, tuple(reversed(siblings)))


def consistency(read: ReadNode, old_size: int, size: int) -> tuple[Hash, ...]:
    """The proof that the tree over `old_size` leaves is a prefix of the one over `size`.

    Raises IndexError unless 1 <= old_size <= size.
    """
    if not 1 <= old_size <= size:
        raise IndexError(f"{old_size} of {size} leaves")
    proof = []
    start, end, whole = 0, size, True
    while end > old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(_root(read, middle, end))
            end = middle
        else:
            proof.append(_root(read, start, middle))
            start, whole = middle, False
    if not whole:
        proof.append(_root(read, start, end))
    return tuple(reversed(proof))


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _root(read: ReadNode, start: int, end: int) -> Hash:
    """The root over leaves [start, end), where start is a multiple of a power of two >= end - start."""
    if start == end:
        return EMPTY_ROOT
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return read(number(level, start >> level))
    middle = start + _split(size)
    return node_hash(_root(read, start, middle), _root(read, middle, end))
