"""The tree of results as the file holds it: leaves in tiles, and the nodes that stand on whole ones. Floor 5.

A tile is one row with 2**TILE_BITS leaves, written when the last of them is there; until then its leaves are
in memory. The nodes within a tile are worked out when they are asked for, one hash for each leaf at most. So
a transaction costs a part of a row instead of two rows, and a proof still takes O(log n) reads.

A tile that is neither in memory nor in the file is made of its transactions' rows: the one that a start goes
on with, and the one that has just been completed by a commit that a reader does not see yet.
"""

import sqlite3
from collections.abc import Sequence

from p2pledger import merkle
from p2pledger.chain.receipt import Result
from p2pledger.errors import InvalidMessage
from p2pledger.storage import result_tree, schema
from p2pledger.storage.bundles import kept_between
from p2pledger.storage.database import Damaged, asking
from p2pledger.types import HASH_BYTES, Hash, Height

TILE_BITS = 8


class ResultTiles:
    """Reads and writes the tree of results. One thread writes, any may read, each with its own connection.

    Raises: Damaged, from all that reads.
    """

    def __init__(self) -> None:
        self._newest: tuple[int, list[Hash]] = (0, [])
        """The tile that is not full: its number, and its leaves."""

    def load(self, reader: sqlite3.Connection, size: int) -> None:
        """Begin with a tree over `size` leaves."""
        number = size >> TILE_BITS
        self._newest = number, _from_transactions(reader, number)[: size % (1 << TILE_BITS)]

    def write(self, writer: sqlite3.Connection, growth: merkle.Growth) -> None:
        """Add what became complete with new leaves, as part of a commit."""
        leaves, tiles = growth.leaves(), []
        while leaves:
            tile, newest = self._newest
            some = leaves[: (1 << TILE_BITS) - len(newest)]
            newest += some  # a reader asks for no more leaves than the chain has that it sees
            leaves = leaves[len(some) :]
            if len(newest) == 1 << TILE_BITS:
                tiles.append((tile, b"".join(newest)))
                self._newest = tile + 1, []
        if tiles:
            writer.executemany(schema.TILE_PUT, tiles)
            writer.executemany(
                schema.NODE_OF_RESULTS_PUT,
                [
                    (result_tree.number(level, index), node)
                    for level, (first, nodes) in enumerate(growth.levels[TILE_BITS:], TILE_BITS)
                    for index, node in enumerate(nodes, first)
                ],
            )

    def reading(self, reader: sqlite3.Connection) -> result_tree.ReadNode:
        """Reads nodes, by number."""
        kept: tuple[int, Sequence[Hash]] = (-1, ())

        def read(number: int) -> Hash:
            nonlocal kept
            level = (~number & number + 1).bit_length() - 1
            if level >= TILE_BITS:
                return _stored_node(reader, number)
            first = number >> level + 1 << level
            tile, start = first >> TILE_BITS, first % (1 << TILE_BITS)
            if kept[0] != tile or len(kept[1]) < start + (1 << level):
                kept = tile, self._leaves(reader, tile)
            leaves = kept[1][start : start + (1 << level)]
            if len(leaves) < 1 << level:
                raise Damaged(f"node {number} of the tree of results")
            return merkle.root(leaves)

        return read

    def leaves(self, reader: sqlite3.Connection, start: int, end: int) -> list[Hash]:
        """Leaves [start, end), those of whole tiles checked against the node above them."""
        found: list[Hash] = []
        first = start >> TILE_BITS
        for tile in range(first, (end - 1 >> TILE_BITS) + 1):
            leaves = self._leaves(reader, tile)
            if end > tile + 1 << TILE_BITS and merkle.root(leaves) != _stored_node(
                reader, result_tree.number(TILE_BITS, tile)
            ):
                raise Damaged(f"tile {tile} of the tree of results")
            found += leaves
        if len(found) < end - (first << TILE_BITS):
            raise Damaged(f"leaf {end - 1} of the tree of results")
        return found[start - (first << TILE_BITS) : end - (first << TILE_BITS)]

    def _leaves(self, reader: sqlite3.Connection, tile: int) -> Sequence[Hash]:
        number, newest = self._newest
        if tile == number:
            return newest
        row = reader.execute(schema.TILE, (tile,)).fetchone()
        if row is None:
            return _from_transactions(reader, tile)
        if not isinstance(row[0], bytes) or len(row[0]) != HASH_BYTES << TILE_BITS:
            raise Damaged(f"tile {tile} of the tree of results")
        return [Hash(row[0][at : at + HASH_BYTES]) for at in range(0, len(row[0]), HASH_BYTES)]


def _from_transactions(reader: sqlite3.Connection, tile: int) -> list[Hash]:
    start = tile << TILE_BITS
    kept = kept_between(asking(reader), start, start + (1 << TILE_BITS))
    try:
        return [Result(one.id, Height(one.height), one.position, one.output).leaf() for one in kept]
    except (InvalidMessage, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise Damaged(f"a result from {start} on") from error


def _stored_node(reader: sqlite3.Connection, number: int) -> Hash:
    row = reader.execute(schema.NODE_OF_RESULTS, (number,)).fetchone()
    if row is None or not isinstance(row[0], bytes):
        raise Damaged(f"node {number} of the tree of results")
    return Hash(row[0])
