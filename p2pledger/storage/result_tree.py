"""The append-only tree of all results, kept so that proofs take O(log n) reads. Floor 5.

Every complete subtree has its root stored once, under an integer: nodes are numbered as they lie from
left to right, leaf i at 2i and the subtree of 2**level leaves from i * 2**level on at
(2i + 1) * 2**level - 1. Stored nodes never change; a tree of n leaves has fewer than 2n of them. The
ragged right edge of a tree of any older size is put together from those. The splits are RFC 6962's.
"""

from collections.abc import Callable, Sequence

from p2pledger.merkle import EMPTY_ROOT, Frontier, Path, node_hash
from p2pledger.types import Hash

ReadNode = Callable[[int], Hash]
"""The stored hash of a node, by number; called only for complete subtrees."""


def number(level: int, index: int) -> int:
    """The number of the subtree of 2**level leaves that begins at leaf index * 2**level."""
    return (2 * index + 1 << level) - 1


def grow(frontier: Frontier, leaves: Sequence[Hash]) -> tuple[list[tuple[int, Hash]], Frontier]:
    """Append leaf hashes: every node that becomes complete by it, and the new right edge. Pure."""
    nodes, peaks, size = [], list(frontier.peaks), frontier.size
    for leaf in leaves:
        nodes.append((number(0, size), leaf))
        current, carry, level = leaf, size, 0
        while carry % 2:
            current, carry, level = node_hash(peaks.pop(), current), carry // 2, level + 1
            nodes.append((number(level, carry), current))
        peaks.append(current)
        size += 1
    return nodes, Frontier(size, tuple(peaks))


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
