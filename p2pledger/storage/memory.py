"""A chain in memory, for the simulator and for tests. Floor 5.

It keeps what it is given and works proofs out from scratch, so it also judges `SqliteStore`.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import replace
from threading import RLock
from typing import Any, TypeVar

from p2pledger import merkle
from p2pledger.chain.authority import OrganisationId
from p2pledger.chain.block import Boundary, FinalBlock
from p2pledger.chain.genesis import Genesis
from p2pledger.chain.receipt import Receipt
from p2pledger.chain.transaction import Transaction
from p2pledger.ledger.crown import Crown
from p2pledger.ledger.entries import BUCKET_ENTRIES_MAX, DIGITS, Entry, packed
from p2pledger.ledger.machine import Execution
from p2pledger.ledger.record import Record
from p2pledger.merkle import Frontier
from p2pledger.storage.checks import boundary_of, check_child, check_start, receipt_of
from p2pledger.storage.store import Located, Tip
from p2pledger.types import Epoch, Hash, Height, Millis

T = TypeVar("T")


class MemoryStore:
    """A `Store` whose disk is this object. It begins with what the genesis file itself writes."""

    def __init__(self, genesis: Genesis, start: Execution) -> None:
        check_start(start)
        self._genesis = genesis
        self._depth = (genesis.parameters.state_buckets.bit_length() - 1) // 4
        self._lock = RLock()
        self._values: dict[bytes, bytes] = {}
        self._buckets: dict[str, dict[Hash, Entry]] = {}
        self._nodes: dict[str, Hash] = {}
        self._crown = start.crown
        self._used: dict[Hash, Millis] = {}
        self._indexes: dict[str, dict[bytes, bytes]] = {}
        self._index_keys: dict[str, list[bytes]] = {}
        self._blocks: list[FinalBlock] = []
        self._sizes: list[int] = []
        self._leaves: list[Hash] = []
        self._located: dict[Hash, Located] = {}
        self._boundaries: list[Boundary] = []
        self._tip = Tip(Height(0), None, Frontier())
        self.rows: Mapping[bytes, Any] = {}
        self.pruned_height = Height(0)
        self._write_effects(start)

    def commit(self, block: FinalBlock, transactions: Sequence[Transaction], execution: Execution) -> None:
        """See `Store.commit`."""
        header = block.header
        check_child(self._genesis, self._tip, block, transactions, execution)
        boundary = boundary_of(block, execution)
        with self._lock:
            for transaction, result in zip(transactions, execution.results, strict=True):
                index = len(self._leaves) + result.position
                self._located[transaction.id] = Located(transaction, result, index)
            self._leaves += execution.growth.leaves()
            self._blocks.append(block)
            self._sizes.append(len(self._leaves))
            if boundary is not None:
                self._boundaries.append(boundary)
            self._write_effects(execution)
            self._used = {id_: expiry for id_, expiry in self._used.items() if expiry >= header.time_ms}
            self._tip, self.rows = Tip(header.height, header, execution.frontier), execution.rows

    def _write_effects(self, execution: Execution) -> None:
        for key, value in execution.writes.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
        for prefix, changed in execution.entries.items():
            bucket = self._buckets.setdefault(prefix, {})
            for path, leaf in changed.leaves.items():
                if leaf is None:
                    bucket.pop(path, None)
                else:
                    bucket[path] = Entry(path, leaf)
        self._crown = execution.crown
        for prefix, node in execution.nodes.items():
            if node is None:
                self._nodes.pop(prefix, None)
            else:
                self._nodes[prefix] = node
        self._used.update((t.id, t.body.expires_ms) for t in execution.transactions.values())
        for row in execution.index_rows:
            index = self._indexes.setdefault(row.name, {})
            if row.key not in index:
                insort(self._index_keys.setdefault(row.name, []), row.key)
            index[row.key] = row.value

    def get(self, key: bytes) -> bytes | None:
        """See `StateReader.get`."""
        return self._values.get(key)

    def get_all(self, keys: Collection[bytes]) -> dict[bytes, bytes | None]:
        """See `StateReader.get_all`."""
        return {key: self._values.get(key) for key in keys}

    def entries(self, prefix: str) -> Sequence[Entry]:
        """See `StateReader.entries`."""
        with self._lock:
            if len(prefix) >= self._depth:
                within = list(self._buckets.get(prefix[: self._depth], {}).items())
            else:
                within = [item for bucket in self._buckets.values() for item in bucket.items()]
        return [entry for path, entry in sorted(within) if path.hex().startswith(prefix)]

    def buckets(self, prefixes: Collection[str]) -> dict[str, bytes | None]:
        """See `StateReader.buckets`."""
        found = {prefix: self.entries(prefix) for prefix in prefixes}
        return {
            prefix: packed(entries) if len(entries) <= BUCKET_ENTRIES_MAX else None
            for prefix, entries in found.items()
        }

    @property
    def crown(self) -> Crown:
        """See `StateReader.crown`."""
        return self._crown

    def node(self, prefix: str) -> Hash | None:
        """See `StateReader.node`."""
        return self._nodes.get(prefix)

    def children(self, prefix: str) -> list[Hash | None]:
        """See `StateReader.children`."""
        return [self._nodes.get(prefix + digit) for digit in DIGITS]

    def record(self, transaction_id: Hash) -> Record | None:
        """See `StateReader.record`."""
        located = self._located.get(transaction_id)
        return None if located is None else located.record

    def records(self, transaction_ids: Collection[Hash]) -> dict[Hash, Record | None]:
        """See `StateReader.records`."""
        return {transaction_id: self.record(transaction_id) for transaction_id in transaction_ids}

    def used(self, transaction_ids: Collection[Hash]) -> Set[Hash]:
        """See `StateReader.used`."""
        return self._used.keys() & transaction_ids

    def tip(self) -> Tip:
        """See `Store.tip`."""
        return self._tip

    def block(self, height: Height) -> FinalBlock | None:
        """See `Store.block`."""
        return self._blocks[height - 1] if 1 <= height <= len(self._blocks) else None

    def blocks(self, from_height: Height, count: int) -> Sequence[FinalBlock]:
        """See `Store.blocks`."""
        first = max(from_height - 1, 0)
        return self._blocks[first : first + count]

    def locate(self, transaction_id: Hash) -> Located | None:
        """See `Store.locate`."""
        return self._located.get(transaction_id)

    def bodies(self, ids: Sequence[Hash]) -> Sequence[Transaction]:
        """See `Store.bodies`."""
        found = [self._located.get(transaction_id) for transaction_id in ids]
        return [one.transaction for one in found if one is not None and one.transaction is not None]

    def receipt(self, transaction_id: Hash) -> Receipt | None:
        """See `Store.receipt`."""
        with self._lock:
            located = self._located.get(transaction_id)
            if located is None:
                return None
            first = located.result.height - 1
            path = merkle.path(self._leaves[: self._sizes[first]], located.result_index)
            return receipt_of(located, path, self._blocks[first:], self._boundaries)

    def consistency(self, old_size: int) -> tuple[Hash, ...]:
        """See `Store.consistency`."""
        with self._lock:
            return merkle.consistency(self._leaves, old_size)

    def result_leaves(self, start: int, count: int) -> Sequence[Hash]:
        """See `Store.result_leaves`."""
        return self._leaves[start : start + count]

    def boundary(self, epoch: Epoch) -> Boundary | None:
        """See `Store.boundary`."""
        return self._boundaries[epoch] if epoch < len(self._boundaries) else None

    def scan(self, index: str, prefix: bytes, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """See `Store.scan`."""
        with self._lock:
            keys, rows = self._index_keys.get(index, []), self._indexes.get(index, {})
            first = bisect_right(keys, after)
            found = [(key, rows[key]) for key in keys[first:] if key.startswith(prefix)]
        return found[:limit]

    def together(self, read: Callable[[], T]) -> T:
        """See `Store.together`."""
        with self._lock:
            return read()

    def prune(self, to_height: Height, own: OrganisationId) -> None:
        """See `Store.prune`."""
        with self._lock:
            for block in self._blocks[self.pruned_height : to_height]:
                for transaction_id in block.transaction_ids:
                    one = self._located[transaction_id]
                    if one.transaction is not None and one.transaction.body.sponsor != own:
                        bare = replace(one, transaction=None, remnant=one.record)
                        self._located[transaction_id] = bare
                self.pruned_height = block.header.height

    def sizes(self) -> dict[str, int]:
        """See `Store.sizes`."""
        return {}

    def free_bytes(self) -> None:
        """See `Store.free_bytes`."""
        return

    def close(self) -> None:
        """See `Store.close`."""
