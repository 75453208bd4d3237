"""Merkle trees as in the transparency logs: roots, inclusion and consistency proofs. Floor 2.

RFC 6962, section 2.1 (and RFC 9162, section 2.1, for checking): a leaf is hashed behind 0x00, a node
behind 0x01, and a tree of n leaves splits at the largest power of two below n. Everything here is pure
and works on leaf hashes, `leaf_hash(entry)`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, cast

from p2pledger.codec import U64, Length
from p2pledger.types import Hash

EMPTY_ROOT = Hash(sha256(b"").digest())
"""The root of a tree without leaves."""

PROOF_HASHES_MAX = 64
"""The longest path: a tree of 2**64 leaves."""


def leaf_hash(entry: bytes) -> Hash:
    """The hash of an entry as a leaf."""
    return Hash(sha256(b"\x00" + entry).digest())


def leaf_hashes(entries: Iterable[bytes]) -> list[Hash]:
    """`leaf_hash` of each entry, in a third less time: for trees of thousands of leaves."""
    return cast("list[Hash]", [sha256(b"\x00" + entry).digest() for entry in entries])


def node_hash(left: Hash, right: Hash) -> Hash:
    """The hash of an inner node."""
    return Hash(sha256(b"\x01" + left + right).digest())


def root(leaves: Sequence[Hash]) -> Hash:
    """The root over leaf hashes, in time proportional to their number."""
    return Tree(leaves).root


def _above(level: Sequence[Hash]) -> list[Hash]:
    # A last node without a sibling rises as it is: that is the RFC's split at the largest power of two.
    return [*_pairs(level), level[-1]] if len(level) % 2 else _pairs(level)


def _pairs(level: Sequence[Hash]) -> list[Hash]:
    """`node_hash` of the first and the second, the third and the fourth, and so on."""
    each = iter(level)
    pairs = [sha256(b"\x01" + left + right).digest() for left, right in zip(each, each, strict=False)]
    return cast("list[Hash]", pairs)


@dataclass(frozen=True)
class Path:
    """That a leaf stands at `index` in a tree of `size` leaves: the siblings from the leaf up."""

    index: U64
    size: U64
    siblings: Annotated[tuple[Hash, ...], Length(0, PROOF_HASHES_MAX)]

    def root(self, leaf: Hash) -> Hash | None:
        """The root that this path leads to from a leaf hash; None when its length does not fit.

        The caller compares it with a root that it trusts (RFC 9162, section 2.1.3.2).
        """
        if self.index >= self.size:
            return None
        position, last, current = self.index, self.size - 1, leaf
        for sibling in self.siblings:
            if last == 0:
                return None
            if position % 2 or position == last:
                current = node_hash(sibling, current)
                while not position % 2 and position:
                    position, last = position // 2, last // 2
            else:
                current = node_hash(current, sibling)
            position, last = position // 2, last // 2
        return current if last == 0 else None


class Tree:
    """All hashes of one tree at hand: for more paths than one. It takes twice the leaves' memory."""

    def __init__(self, leaves: Sequence[Hash]) -> None:
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_above(self._levels[-1]))

    @property
    def root(self) -> Hash:
        """See `root`."""
        (*_, top) = self._levels
        return top[0] if top else EMPTY_ROOT

    def path(self, index: int) -> Path:
        """The inclusion proof of leaf `index`. Raises IndexError when there is no such leaf."""
        size = len(self._levels[0])
        if not 0 <= index < size:
            raise IndexError(f"leaf {index} of {size}")
        beside = [(level, index >> height ^ 1) for height, level in enumerate(self._levels)]
        return Path(index, size, tuple(level[at] for level, at in beside if at < len(level)))


def path(leaves: Sequence[Hash], index: int) -> Path:
    """See `Tree.path`."""
    return Tree(leaves).path(index)


def consistency(leaves: Sequence[Hash], old_size: int) -> tuple[Hash, ...]:
    """The proof that the tree over the first `old_size` leaves is a prefix of this one.

    Raises IndexError unless 1 <= old_size <= len(leaves).
    """
    if not 1 <= old_size <= len(leaves):
        raise IndexError(f"{old_size} of {len(leaves)} leaves")

    def sub_proof(start: int, end: int, old: int, whole: bool) -> list[Hash]:
        size = end - start
        if old == size:
            return [] if whole else [root(leaves[start:end])]
        split = 1 << (size - 1).bit_length() - 1
        if old <= split:
            return [*sub_proof(start, start + split, old, whole), root(leaves[start + split : end])]
        return [*sub_proof(start + split, end, old - split, False), root(leaves[start : start + split])]

    return tuple(sub_proof(0, len(leaves), old_size, True))


def is_consistent(old_size: int, old_root: Hash, size: int, new_root: Hash, proof: Sequence[Hash]) -> bool:
    """Whether `proof` shows that nothing of the old tree was changed or removed (RFC 9162, 2.1.4.2)."""
    if not 1 <= old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == new_root
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    position, last = old_size - 1, size - 1
    while position % 2:
        position, last = position // 2, last // 2
    old, new = hashes[0], hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if position % 2 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position % 2 and position:
                position, last = position // 2, last // 2
        else:
            new = node_hash(new, sibling)
        position, last = position // 2, last // 2
    return last == 0 and old == old_root and new == new_root


def node_number(level: int, index: int) -> int:
    """The number of the complete subtree of 2**level leaves that begins at leaf index * 2**level.

    Subtrees are numbered as they lie from left to right: leaf i has the number 2i, and a tree of n leaves
    has fewer than 2n of them.
    """
    return (2 * index + 1 << level) - 1


@dataclass(frozen=True)
class Frontier:
    """The right edge of an append-only tree: enough to append to it and to know its root.

    `peaks` are the roots of its complete subtrees, largest first: one for each set bit of `size`.
    """

    size: U64 = 0
    peaks: Annotated[tuple[Hash, ...], Length(0, 64)] = ()

    def append(self, leaves: Sequence[Hash]) -> "Frontier":
        """The tree with these leaf hashes after its own; this one is left as it is."""
        return self.grow(leaves).after

    def grow(self, leaves: Sequence[Hash]) -> "Growth":
        """Like `append`, with all that becomes complete by it."""
        # Level by level: a node is complete when its right child is, and a left one without it is a peak.
        pending, peaks = list(self.peaks), list[Hash]()
        levels: list[tuple[int, Sequence[Hash]]] = []
        index, new = self.size, leaves
        while new or pending:
            levels.append((index, new))
            both = [pending.pop(), *new] if index % 2 else new
            if len(both) % 2:
                peaks.append(both[-1])
            index, new = index // 2, _pairs(both)
        return Growth(self, levels, Frontier(self.size + len(leaves), tuple(reversed(peaks))))

    def root(self) -> Hash:
        """The root of the tree, as `root(leaves)` would give it."""
        if not self.peaks:
            return EMPTY_ROOT
        current = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            current = node_hash(peak, current)
        return current


@dataclass(frozen=True)
class Growth:
    """What leaves do to an append-only tree: its right edge `before` and `after` them, and between the two
    the root of each subtree that became complete.

    `levels` has these by the logarithm of their leaves: the index of the first one, then they themselves.
    """

    before: Frontier
    levels: Sequence[tuple[int, Sequence[Hash]]]
    after: Frontier

    @property
    def nodes(self) -> list[tuple[int, Hash]]:
        """The roots of the subtrees that became complete, each with its `node_number`."""
        return [
            (node_number(level, index), node)
            for level, (first, roots) in enumerate(self.levels)
            for index, node in enumerate(roots, first)
        ]

    def leaves(self) -> list[Hash]:
        """The leaf hashes that were appended."""
        return list(self.levels[0][1]) if self.levels else []
